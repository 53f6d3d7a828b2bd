//! tarpc with bincode over TCP, without encryption.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use tarpc::serde_transport::Transport;
use tarpc::server::{BaseChannel, Channel};
use tarpc::tokio_serde::formats::Bincode;
use tarpc::tokio_util::codec::LengthDelimitedCodec;
use tarpc::{client, context};
use tokio::net::{TcpListener, TcpStream};

use super::{Caller, Failure, MAX_BODY};

/// What bincode and tarpc add to a body, generously.
const FRAME: usize = MAX_BODY + 4096;
const DEADLINE: Duration = Duration::from_secs(30);

#[tarpc::service]
trait Echo {
    async fn echo(body: Bytes) -> Bytes;
}

#[derive(Clone)]
struct Server;

impl Echo for Server {
    async fn echo(self, _: context::Context, body: Bytes) -> Bytes {
        body
    }
}

type Framed<In, Out> = Transport<TcpStream, In, Out, Bincode<In, Out>>;

fn framed<In, Out>(socket: TcpStream) -> io::Result<Framed<In, Out>>
where
    In: for<'de> tarpc::serde::Deserialize<'de>,
    Out: tarpc::serde::Serialize,
{
    socket.set_nodelay(true)?;
    let codec = LengthDelimitedCodec::builder().max_frame_length(FRAME).new_codec();
    let framed = tarpc::tokio_util::codec::Framed::new(socket, codec);
    Ok(tarpc::serde_transport::new(framed, Bincode::default()))
}

/// Serves on tokio, each request on a task of its own, as its documentation has it.
pub(super) async fn serve() -> Result<String, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(transport) = framed(socket) else { continue };
            let requests = BaseChannel::with_defaults(transport).execute(Server.serve());
            tokio::spawn(requests.for_each(|request| async {
                tokio::spawn(request);
            }));
        }
    });
    Ok(address)
}

/// Connects.
pub(super) async fn connect(address: &str) -> Result<impl Caller, Failure> {
    let transport = framed(TcpStream::connect(address).await?)?;
    Ok(Requests(EchoClient::new(client::Config::default(), transport).spawn()))
}

#[derive(Clone)]
struct Requests(EchoClient);

impl Caller for Requests {
    async fn call(&self, body: Bytes) -> Result<Bytes, Failure> {
        let mut context = context::current();
        context.deadline = Instant::now() + DEADLINE;
        Ok(self.0.echo(context, body).await?)
    }
}
