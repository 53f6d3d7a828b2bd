//! How the program fails: an exit code, a text, and what to do next.

use std::fmt;
use std::io;
use std::time::Duration;

use pointsub_tokio::service::CallError;
use pointsub_tokio::{
    Cause, ConnectError, ListenFailure, NodeError, RequestError, Sources, StatusCode,
};
use serde_json::{Value, json};

use crate::node::nobody_there;
use crate::output::source_name;
use crate::target::Target;

/// Why a command failed, as the exit code says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// The peer answered with an error.
    Refused = 1,
    /// The command line, the configuration or a ticket is wrong. clap ends with this code too.
    Usage = 2,
    /// The peer was not reached.
    NotReached = 3,
    /// Time ran out.
    TimedOut = 4,
    /// The peer is at a limit: later there may be room.
    Busy = 5,
    /// Something on this machine: a file, a key, a port.
    Local = 6,
    /// Bytes that cannot be understood.
    Malformed = 7,
    /// Interrupted with Ctrl-C.
    Interrupted = 130,
}

impl Exit {
    /// What `--json` calls it.
    const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Usage => "usage",
            Self::NotReached => "not_reached",
            Self::TimedOut => "timed_out",
            Self::Busy => "busy",
            Self::Local => "local",
            Self::Malformed => "malformed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A failure of a command.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    message: String,
    next: Option<String>,
    /// What a service says in its own words.
    detail: Option<Value>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string(), next: None, detail: None }
    }

    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn local(message: impl fmt::Display) -> Self {
        Self::new(Exit::Local, message)
    }

    /// A file that cannot be used.
    pub(crate) fn file(path: &std::path::Path, error: &io::Error) -> Self {
        Self::local(format_args!("{}: {error}", path.display()))
    }

    pub(crate) const fn interrupted() -> Self {
        Self { exit: Exit::Interrupted, message: String::new(), next: None, detail: None }
    }

    /// Says what to do next.
    #[must_use]
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    #[must_use]
    pub(crate) fn with_detail(mut self, detail: Value) -> Self {
        self.detail = Some(detail);
        self
    }

    /// The two lines for people. Empty if the user has interrupted it.
    pub(crate) fn lines(&self) -> (&str, Option<&str>) {
        (&self.message, self.next.as_deref())
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut error = json!({ "kind": self.exit.name(), "message": self.message });
        if let Some(next) = &self.next {
            error["next"] = json!(next);
        }
        if let Some(detail) = &self.detail {
            error["detail"] = detail.clone();
        }
        json!({ "error": error, "exit": self.exit as u8 })
    }

    /// Nothing at work any more reads what is printed.
    pub(crate) fn output(error: &io::Error) -> Self {
        Self::local(format_args!("cannot write the output: {error}"))
    }
}

/// What helps where a peer is not reached.
const NOT_THERE: &str = "is the other end running, and is the ticket from its last start? \
                         `pointsub doctor TARGET` looks where it fails";

impl Failure {
    /// No address of a peer has answered in time.
    pub(crate) fn unanswered(target: &Target, after: Duration) -> Self {
        let (peer, addresses) = (target.peer, target.addresses.len());
        let text = format!("no connection to {peer} within {after:?}, at {addresses} addresses");
        Self::new(Exit::TimedOut, text).next(NOT_THERE)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let exit = if error.is_timeout() { Exit::TimedOut } else { Exit::NotReached };
        let failure = Self::new(exit, &error);
        match error {
            ConnectError::SelfDial => failure.next(
                "this is the node's own key: give this command another one with --key, or none",
            ),
            ConnectError::Unreachable { .. } | ConnectError::TimedOut { .. } => {
                failure.next(NOT_THERE)
            }
            _ => failure,
        }
    }
}

impl Failure {
    /// No server was found where it was looked; `text` says so.
    pub(crate) fn nobody(text: impl fmt::Display, asked: Sources) -> Self {
        let names: Vec<&str> = asked.iter().map(source_name).collect();
        Self::new(Exit::NotReached, format_args!("{text}, asked: {asked}"))
            .next(nobody_there(asked))
            .with_detail(json!({ "asked": names }))
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        if let Cause::NoServerFound { asked } = error.cause {
            return Self::nobody("no server of this protocol was found", asked);
        }
        let (exit, next) = match &error.cause {
            Cause::Remote(status) => of_status(status.code),
            Cause::Unreachable(_) | Cause::NoAddress => (
                Exit::NotReached,
                Some("is the other end running? `pointsub doctor TARGET` looks where it fails"),
            ),
            Cause::Unsupported => (
                Exit::Refused,
                Some("`pointsub id TARGET` lists what the peer serves; names match to the letter"),
            ),
            Cause::RemoteClosed => (
                Exit::Refused,
                Some("its handler failed, or it did not take this request; its own log says more"),
            ),
            Cause::Lost(_) | Cause::RelayLost(_) => {
                (Exit::NotReached, Some("try again; `pointsub ping TARGET` shows how the way is"))
            }
            Cause::Violation(_) | Cause::Body(_) => (Exit::Malformed, None),
            Cause::Refused(_) | Cause::CutShort { .. } if !error.is_busy() => (Exit::Usage, None),
            _ if error.is_timeout() => {
                (Exit::TimedOut, Some("give it longer with --timeout, such as --timeout 2m"))
            }
            _ if error.is_busy() => (Exit::Busy, Some("try again later")),
            _ => (Exit::NotReached, None),
        };
        let failure = Self::new(exit, &error);
        match next {
            Some(next) => failure.next(next),
            None => failure,
        }
    }
}

fn of_status(code: StatusCode) -> (Exit, Option<&'static str>) {
    match code {
        StatusCode::Busy | StatusCode::Draining => (Exit::Busy, Some("try again later")),
        StatusCode::DeadlineExceeded => (
            Exit::TimedOut,
            Some("the peer has a limit of its own, or it needs longer: --timeout 2m"),
        ),
        StatusCode::NotFound => {
            (Exit::Refused, Some("`pointsub id TARGET` lists what the peer serves"))
        }
        StatusCode::PermissionDenied | StatusCode::Unauthenticated => (
            Exit::Refused,
            Some(
                "the other end has to allow your Peer ID: `pointsub key show` prints it, \
                  and --key uses it",
            ),
        ),
        _ => (Exit::Refused, None),
    }
}

impl<E: fmt::Display> From<CallError<E>> for Failure {
    fn from(error: CallError<E>) -> Self {
        match error {
            CallError::Request(error) => error.into(),
            CallError::Codec(error) => Self::new(Exit::Malformed, error),
            error if error.is_unknown_method() => Self::new(Exit::Refused, &error)
                .next("`pointsub info TARGET` lists the methods, where the peer describes them"),
            error => Self::new(Exit::Refused, error),
        }
    }
}

impl From<NodeError> for Failure {
    fn from(error: NodeError) -> Self {
        let failure = Self::local(&error);
        match error {
            NodeError::Listen { reason: ListenFailure::InUse, .. } => failure.next(
                "end the other program, or choose a port with --listen; port 0 takes a free one",
            ),
            NodeError::Listen { reason: ListenFailure::Denied, .. } => {
                failure.next("choose a port from 1024 on with --listen; port 0 takes a free one")
            }
            NodeError::Listen { reason: ListenFailure::NoRelay, .. } => {
                failure.next("name a peer that runs `pointsub relay`")
            }
            NodeError::Listen { .. } => {
                failure.next("is it an address of this machine? `ip address` lists them")
            }
            NodeError::KeyFile(_) => failure.next(
                "`pointsub doctor` looks at the key file; --key takes another one, \
                 and --ephemeral none",
            ),
            _ => failure,
        }
    }
}
