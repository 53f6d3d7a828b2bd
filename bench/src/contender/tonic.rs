//! gRPC: one unary method whose messages are bytes as they are, so that what is compared is the
//! transport and not Protocol Buffers.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{NamedService, ServerStreamingService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{
    Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig,
};
use tonic::{Request, Response, Status};

use super::feed::Feed;
use super::{Caller, Failure};

const SERVICE: &str = "bench.Echo";
const METHOD: &str = "/bench.Echo/Echo";
const PUSH: &str = "/bench.Echo/Push";
const HOST: &str = "localhost";
const LIMIT: usize = 64 * 1024 * 1024;
/// Lines of a certificate in an address, which is one line.
const LINE: &str = "|";

/// Serves on tokio; with TLS, the certificate is part of the address.
pub(super) async fn serve(tls: bool) -> Result<String, Failure> {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?.with_nodelay(Some(true));
    let mut address = incoming.local_addr()?.to_string();
    let mut server = Server::builder();
    if tls {
        use_ring();
        let key = rcgen::generate_simple_self_signed([HOST.to_owned()])?;
        let pem = key.cert.pem();
        let identity = Identity::from_pem(&pem, key.key_pair.serialize_pem());
        server = server.tls_config(ServerTlsConfig::new().identity(identity))?;
        address = [&address, LINE, &pem.lines().collect::<Vec<_>>().join(LINE)].concat();
    }
    tokio::spawn(server.add_service(EchoService).serve_with_incoming(incoming));
    Ok(address)
}

/// Others in this program bring another implementation of TLS's algorithms; this one is compared.
fn use_ring() {
    // An error means that it has been said before.
    let _said = rustls::crypto::ring::default_provider().install_default();
}

/// Connects.
pub(super) async fn connect(address: &str, tls: bool) -> Result<impl Caller, Failure> {
    let (address, pem) = address.split_once(LINE).unwrap_or((address, ""));
    let scheme = if tls { "https" } else { "http" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))?.tcp_nodelay(true);
    if tls {
        use_ring();
        let certificate = Certificate::from_pem(pem.replace(LINE, "\n"));
        let config = ClientTlsConfig::new().ca_certificate(certificate).domain_name(HOST);
        endpoint = endpoint.tls_config(config)?;
    }
    Ok(Requests(endpoint.connect().await?))
}

#[derive(Clone)]
struct Requests(Channel);

impl Caller for Requests {
    async fn call(&self, body: Bytes) -> Result<Bytes, Failure> {
        let client = tonic::client::Grpc::new(self.0.clone());
        let mut client = client.max_decoding_message_size(LIMIT).max_encoding_message_size(LIMIT);
        client.ready().await?;
        let path = http::uri::PathAndQuery::from_static(METHOD);
        Ok(client.unary(Request::new(body), path, AsItIs).await?.into_inner())
    }

    async fn subscribe(
        &self,
        feed: Feed,
    ) -> Result<BoxStream<'static, Result<Bytes, Failure>>, Failure> {
        let mut client = tonic::client::Grpc::new(self.0.clone());
        client.ready().await?;
        let path = http::uri::PathAndQuery::from_static(PUSH);
        let request = Request::new(feed.encode());
        let messages = client.server_streaming(request, path, AsItIs).await?.into_inner();
        Ok(messages.map_err(Failure::from).boxed())
    }
}

/// What `tonic-build` would write for a service with these methods.
#[derive(Clone)]
struct EchoService;

impl NamedService for EchoService {
    const NAME: &'static str = SERVICE;
}

impl Service<http::Request<Body>> for EchoService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<http::Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let server = tonic::server::Grpc::new(AsItIs);
            let mut server =
                server.max_decoding_message_size(LIMIT).max_encoding_message_size(LIMIT);
            match request.uri().path() {
                PUSH => Ok(server.server_streaming(Push, request).await),
                _ => Ok(server.unary(Echo, request).await),
            }
        })
    }
}

struct Echo;

impl UnaryService<Bytes> for Echo {
    type Response = Bytes;
    type Future = Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        ready(Ok(Response::new(request.into_inner())))
    }
}

struct Push;

impl ServerStreamingService<Bytes> for Push {
    type Response = Bytes;
    type ResponseStream = BoxStream<'static, Result<Bytes, Status>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let feed = Feed::decode(request.get_ref())
            .map_err(|failure| Status::invalid_argument(failure.to_string()));
        ready(feed.map(|feed| Response::new(feed.messages().map(Ok).boxed())))
    }
}

/// Bytes are their own encoding.
#[derive(Clone, Copy, Default)]
struct AsItIs;

impl Codec for AsItIs {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for AsItIs {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, body: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(body);
        Ok(())
    }
}

impl Decoder for AsItIs {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
