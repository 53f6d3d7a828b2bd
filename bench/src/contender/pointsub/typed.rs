//! The echo as a method of a typed service.

use bytes::Bytes;
use pointsub_service::{Cx, Never, RegisterError, service};
use pointsub_swarm::{Client, PeerId, Server};

use crate::contender::{Caller, Failure};

/// What every contender does, as a service.
#[service("/typed-echo/1")]
trait Echo {
    /// Answers with what it was sent.
    async fn echo(&self, cx: &Cx, body: Bytes) -> Result<Bytes, Never>;
}

struct Same;

impl Echo for Same {
    async fn echo(&self, _cx: &Cx, body: Bytes) -> Result<Bytes, Never> {
        Ok(body)
    }
}

/// Serves it.
pub(super) fn serve(server: &Server) -> Result<(), RegisterError> {
    EchoServer::new(Same).serve(server)
}

/// A client of it.
#[derive(Clone)]
pub(in crate::contender) struct Typed(EchoClient);

impl Typed {
    pub(in crate::contender) fn new(client: Client, peer: PeerId) -> Result<Self, Failure> {
        Ok(Self(EchoClient::peer(client, peer)))
    }
}

impl Caller for Typed {
    async fn call(&self, body: Bytes) -> Result<Bytes, Failure> {
        Ok(self.0.echo(body).await?)
    }
}
