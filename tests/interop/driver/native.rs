//! What a peer of the native format does beside what every peer does.

use pointsub_swarm::PeerId;
use sha2::{Digest, Sha256};

use crate::checks::{Body, name};
use crate::peer::{Answer, Peer};

/// A stream on which the peer is the client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client(usize);

/// A call that the peer has opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call(usize);

impl Peer {
    pub(crate) async fn try_client(&self, to: PeerId, habit: &str) -> Result<Client, String> {
        let client = self.command(format!("open {to} {}", name(habit))).await?;
        Ok(Client(client.parse().expect("a number")))
    }

    pub(crate) async fn client(&self, to: PeerId, habit: &str) -> Client {
        self.try_client(to, habit).await.expect("a stream")
    }

    /// Sends a request, with what else is said of it, and waits for the answer.
    pub(crate) async fn request(&self, client: Client, body: &Body, options: &str) -> Answer {
        let (Client(client), Body { size, seed }) = (client, body);
        self.command(format!("ask {client} {size} {seed} {options}")).await
    }

    /// Sends a body and gets the same one back, compressed or not.
    pub(crate) async fn check_echoed(&self, client: Client, body: &Body) {
        let answer = self.request(client, body, "").await.expect("an answer");
        assert_eq!(answer.trim_end_matches(" packed"), body.receipt());
    }

    /// Opens a call, and waits until it is accepted.
    pub(crate) async fn try_call(
        &self,
        Client(client): Client,
        argument: &str,
        options: &str,
    ) -> Result<(Call, String), String> {
        let size = argument.len();
        let argument = if argument.is_empty() { "-" } else { argument };
        let call = self.command(format!("call {client} {size} {argument} {options}")).await?;
        let (call, metadata) = call.split_once(' ').unwrap_or((&call, ""));
        Ok((Call(call.parse().expect("a number")), metadata.to_owned()))
    }

    pub(crate) async fn call(&self, client: Client, argument: &str, options: &str) -> Call {
        self.try_call(client, argument, options).await.expect("it is accepted").0
    }

    /// Sends messages of a size in a call.
    pub(crate) async fn push(&self, Call(call): Call, count: usize, size: usize, seed: &str) {
        self.surely(format!("push {call} {count} {size} {seed}")).await;
    }

    /// Receives so many messages, or with 0 all there are: their [receipt](Receipts), and then why no more
    /// come.
    pub(crate) async fn pull(&self, Call(call): Call, count: usize) -> String {
        self.surely(format!("pull {call} {count}")).await
    }

    pub(crate) async fn finish(&self, Call(call): Call) {
        self.surely(format!("finish {call}")).await;
    }

    pub(crate) async fn result(&self, Call(call): Call) -> Answer {
        self.command(format!("result {call}")).await
    }

    pub(crate) async fn cancel(&self, Call(call): Call) {
        self.surely(format!("cancel {call}")).await;
    }

    /// Waits until the peer has heard that the server drains the stream of a call.
    pub(crate) async fn drained(&self, Call(call): Call) {
        self.surely(format!("drained {call}")).await;
    }

    /// Drains all streams that the peer serves.
    pub(crate) async fn drain(&self, grace_ms: u64) {
        self.surely(format!("drain {grace_ms}")).await;
    }
}

/// The messages of a call, told as the peer tells them.
#[derive(Default)]
pub(crate) struct Receipts {
    count: usize,
    hash: Sha256,
}

impl Receipts {
    pub(crate) fn add(&mut self, message: &[u8]) {
        self.count += 1;
        self.hash.update((message.len() as u32).to_be_bytes());
        self.hash.update(message);
    }

    pub(crate) fn say(self) -> String {
        let hex: String = self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{} {hex}", self.count)
    }
}

/// The messages that a peer sends when it is told to.
pub(crate) fn messages(count: usize, size: usize, seed: &str) -> impl Iterator<Item = Vec<u8>> {
    (0..count).map(move |number| Body::new(size, format!("{number}{seed}")).bytes())
}

/// What a peer says when it has received them.
pub(crate) fn receipt_of(messages: impl IntoIterator<Item = Vec<u8>>) -> String {
    let mut receipts = Receipts::default();
    for message in messages {
        receipts.add(&message);
    }
    receipts.say()
}
