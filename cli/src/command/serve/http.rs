//! An HTTP server on this machine that answers.

use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{Method, Uri};
use hyper_util::rt::TokioIo;
use pointsub_tokio::{BoxError, HandlerError, Metadata, Reply, Request};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{too_long, too_slow};
use crate::error::Failure;
use crate::local;

/// Where the server is, and what it may take.
#[derive(Debug)]
pub(super) struct Http {
    server: String,
    time: Duration,
    max_len: usize,
}

impl Http {
    pub(super) fn new(server: &str, time: Duration, max_len: usize) -> Result<Self, Failure> {
        Ok(Self { server: local::address(server)?, time, max_len })
    }

    /// Asks the server. An answer with a status of 400 and more is a failure with that code.
    pub(super) async fn answer(&self, request: Request) -> Result<Reply, HandlerError> {
        match timeout(self.time, self.ask(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(too_slow(self.time)),
        }
    }

    async fn ask(&self, request: Request) -> Result<Reply, HandlerError> {
        let (method, uri) = target(&request)?;
        let stream = TcpStream::connect(&self.server).await?;
        let (mut requests, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(internal)?;
        let connection = tokio::spawn(connection);
        let content = request.metadata.get("content-type").unwrap_or(b"application/octet-stream");
        let http = hyper::Request::builder()
            .method(method)
            .uri(uri)
            .header("host", &self.server)
            .header("content-type", content)
            // Who asks; the server may trust it, since nobody else reaches it through this node.
            .header("x-pointsub-peer", request.peer.to_string())
            .body(Full::new(request.body))
            .map_err(|error| HandlerError::invalid_request(error.to_string()))?;
        let answer = requests.send_request(http).await.map_err(internal)?;
        let (status, kind) = (answer.status(), answer.headers().get("content-type").cloned());
        let body = Limited::new(answer.into_body(), self.max_len).collect().await;
        connection.abort();
        let body = match body {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Err(too_long(self.max_len)),
            Err(error) => return Err(HandlerError::internal(error)),
        };
        if status.is_client_error() || status.is_server_error() {
            let text = String::from_utf8_lossy(&body[..body.len().min(900)]).trim().to_owned();
            let text = if text.is_empty() { status.to_string() } else { text };
            return Err(HandlerError::new(u32::from(status.as_u16()), text));
        }
        Ok(Reply::new(body).with_metadata(metadata(status, kind.as_ref())?))
    }
}

fn internal(error: hyper::Error) -> HandlerError {
    HandlerError::internal(BoxError::from(error))
}

fn metadata(
    status: hyper::StatusCode,
    kind: Option<&hyper::header::HeaderValue>,
) -> Result<Metadata, HandlerError> {
    let mut metadata = Metadata::new();
    let mut insert = |key, value: &[u8]| {
        metadata.insert(key, value).map_err(|error| HandlerError::internal(BoxError::from(error)))
    };
    insert("http-status", status.as_str().as_bytes())?;
    if let Some(kind) = kind {
        insert("content-type", kind.as_bytes())?;
    }
    Ok(metadata)
}

/// What the method of the request says: `GET /users`, or `/users` for a POST.
fn target(request: &Request) -> Result<(Method, Uri), HandlerError> {
    let wrong =
        || HandlerError::invalid_request("a method is such as \"GET /users\" or \"/users\"");
    let Some(method) = &request.method else { return Ok((Method::POST, Uri::from_static("/"))) };
    let (verb, path) = match method.as_str().split_once(' ') {
        Some((verb, path)) => (verb.parse().map_err(|_| wrong())?, path),
        None => (Method::POST, method.as_str()),
    };
    // Nothing but a path, so that no other server can be named.
    match path.starts_with('/') && !path.starts_with("//") && verb != Method::CONNECT {
        true => Ok((verb, path.parse().map_err(|_| wrong())?)),
        false => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use pointsub_tokio::PeerId;

    use super::*;

    #[test]
    fn a_method_names_a_path_and_no_server() {
        let of = |method: &str| {
            let request = Request::new(PeerId::random(), "/http/1".parse().expect("a name"), "");
            let method = pointsub_tokio::Method::new(method).expect("a method");
            let request = request.with_method(method);
            target(&request).map(|(verb, uri)| format!("{verb} {uri}")).ok()
        };
        assert_eq!(of("GET /users?a=1").as_deref(), Some("GET /users?a=1"));
        assert_eq!(of("/users").as_deref(), Some("POST /users"));
        for wrong in ["users", "GET http://other/", "CONNECT /x", "GET //other/", "G T /", "GET "] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
