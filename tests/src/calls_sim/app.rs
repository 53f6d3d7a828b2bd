//! The applications at both ends of a call.

use std::collections::VecDeque;
use std::sync::LazyLock;

use bytes::Bytes;
use pointsub_core::connection::{CallEnd, CallMessage};

use super::plan::MAX_MESSAGE;

/// Who sends a message.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum From {
    Client,
    Server,
}

/// Message number `number` of a call in one direction.
pub(super) fn message(call: usize, from: From, number: usize, len: usize) -> Bytes {
    static PATTERN: LazyLock<Bytes> =
        LazyLock::new(|| (0..MAX_MESSAGE + 30_000).map(|i| (i % 251) as u8).collect());
    let salt = call * 7 + number * 31 + if from == From::Client { 0 } else { 101 };
    let begin = salt % 251;
    PATTERN.slice(begin..begin + len)
}

/// One end of a call.
#[derive(Debug, Default)]
pub(super) struct Half {
    /// Messages that were sent, and that were taken.
    pub(super) sent: usize,
    pub(super) taken: usize,
    /// Messages that have come.
    pub(super) inbox: VecDeque<CallMessage>,
    /// It has said that no more come.
    pub(super) finished: bool,
    /// The other end has said so.
    pub(super) peer_finished: bool,
}

/// Where a call is, at its client.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum ClientState {
    #[default]
    Unopened,
    Refused,
    Open,
    Cancelled,
    Ended(Box<CallEnd>),
}

/// Where it is at its server.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum ServerState {
    #[default]
    Unseen,
    Working,
    /// Told to stop, at that time.
    Stopping(u64),
    Done,
}

/// One call, with both of its ends.
#[derive(Debug, Default)]
pub(super) struct App {
    pub(super) client: Half,
    pub(super) server: Half,
    pub(super) at_client: ClientState,
    pub(super) at_server: ServerState,
    pub(super) opened: u64,
    /// When the handler began.
    pub(super) begun: u64,
    pub(super) accepted: bool,
    pub(super) cancelled: Option<u64>,
    /// The handler has ended by itself, with a result.
    pub(super) succeeded: Option<bool>,
}

impl App {
    /// Whether both ends are done with it.
    pub(super) fn is_over(&self) -> bool {
        let client = match self.at_client {
            ClientState::Unopened | ClientState::Open => false,
            ClientState::Refused | ClientState::Cancelled => true,
            ClientState::Ended(_) => self.client.inbox.is_empty(),
        };
        let server = matches!(self.at_server, ServerState::Unseen | ServerState::Done);
        client && server
    }
}
