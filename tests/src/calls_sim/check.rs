//! What must hold of two tables of calls, whatever their applications do.

use std::collections::BTreeMap;

use pointsub_core::connection::CallMessage;
use pointsub_core::wire::{Credit, Flags, Frame, Kind, tag};

use super::app::{App, ClientState, From, Half, ServerState, message};

/// What one end may send in each call, and has sent: seen from outside.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    granted: BTreeMap<u64, (u64, u64)>,
    used: BTreeMap<u64, (u64, u64)>,
    within: BTreeMap<u64, bool>,
}

fn number(frame: &Frame, wanted: u8) -> u64 {
    let mut head = &frame.head[..];
    let mut found = 0;
    while let [tag, high, low, rest @ ..] = head {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        if *tag == wanted {
            found = rest[..len].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        }
        head = &rest[len..];
    }
    found
}

impl Ledger {
    /// This end has received a frame.
    pub(crate) fn received(&mut self, frame: &Frame) {
        let grants = matches!(frame.header.kind, Some(Kind::Request | Kind::Accept | Kind::Credit));
        if grants {
            let granted = self.granted.entry(frame.header.id).or_default();
            granted.0 += number(frame, tag::BYTES);
            granted.1 += number(frame, tag::MESSAGES);
        }
    }

    /// This end was granted so much with a request.
    pub(crate) fn grant(&mut self, id: u64, credit: Credit) {
        let granted = self.granted.entry(id).or_default();
        granted.0 += u64::from(credit.bytes);
        granted.1 += u64::from(credit.messages);
    }

    /// This end has written a frame.
    pub(crate) fn sent(&mut self, frame: &Frame) -> Result<(), String> {
        if frame.header.kind != Some(Kind::Data) {
            return Ok(());
        }
        let id = frame.header.id;
        let within = self.within.entry(id).or_default();
        let used = self.used.entry(id).or_default();
        used.0 += frame.body.len() as u64;
        used.1 += u64::from(!*within);
        *within = frame.header.flags.contains(Flags::MORE);
        let granted = self.granted.get(&id).copied().unwrap_or_default();
        if used.0 > granted.0 || used.1 > granted.1 {
            return Err(format!("call {id} has sent {used:?}, and was granted {granted:?}"));
        }
        Ok(())
    }
}

/// A message has come to an application.
pub(super) fn arrived(half: &Half, window: Credit, longest: usize) -> Result<(), String> {
    let bytes: usize = half.inbox.iter().map(|message| message.payload.wire_len()).sum();
    let window_bytes = (window.bytes as usize).max(8192);
    if half.inbox.len() > window.messages as usize || bytes > window_bytes + longest {
        return Err(format!("{} messages of {bytes} bytes wait for a reader", half.inbox.len()));
    }
    Ok(())
}

/// An application takes a message: it has to be the next one.
pub(super) fn taken(
    call: usize,
    from: From,
    half: &Half,
    lengths: &[usize],
    found: CallMessage,
) -> Result<(), String> {
    let number = half.taken;
    let Some(len) = lengths.get(number) else {
        return Err(format!("call {call} got a message {number} that nobody sent"));
    };
    let bytes = found.payload.into_bytes().map_err(|error| error.to_string())?;
    if bytes != message(call, from, number, *len) {
        return Err(format!("call {call}: message {number} from the {from:?} is another one"));
    }
    Ok(())
}

/// A cancellation reaches the handler within a round trip.
pub(super) fn cancelled(app: &App, now: u64, latency: u64) -> Result<(), String> {
    match app.cancelled {
        Some(at) if app.at_server == ServerState::Working && now > at + 2 * latency + 4 => {
            Err(format!("a handler works at {now}, and was cancelled at {at}"))
        }
        _ => Ok(()),
    }
}

/// All is over: what the client has is what the server sent, if that went well.
pub(super) fn ended(call: usize, app: &App) -> Result<(), String> {
    let ClientState::Ended(end) = &app.at_client else { return Ok(()) };
    let (sent, taken) = (app.server.sent, app.client.taken);
    match (&end.outcome, app.succeeded) {
        (Ok(_), Some(true)) if taken != sent => {
            Err(format!("call {call} went well, with {taken} of {sent} messages"))
        }
        (Ok(_), Some(true)) => Ok(()),
        (Ok(_), _) => Err(format!("call {call} went well, but its handler did not say so")),
        // The last one may not have been sent whole.
        (Err(_), Some(false)) if end.outcome_is_remote() && taken + 1 < sent => {
            Err(format!("call {call} failed behind {sent} messages, and {taken} came"))
        }
        _ => Ok(()),
    }
}

/// Whether an end is what the handler answered.
trait Remote {
    fn outcome_is_remote(&self) -> bool;
}

impl Remote for pointsub_core::connection::CallEnd {
    fn outcome_is_remote(&self) -> bool {
        let application = pointsub_core::StatusCode::Application(7);
        matches!(&self.outcome, Err((pointsub_core::Cause::Remote(status), _)) if status.code == application)
    }
}
