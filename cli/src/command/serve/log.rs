//! A line for each request.

use std::time::Instant;

use pointsub_tokio::{HandlerError, PeerId, ProtocolName, Reply, Request};
use serde_json::json;

use crate::output::{Mark, Output, duration, millis, size, time_of_day, unix_time};

/// A request that is being answered. Dropped before its end, it was cancelled.
pub(super) struct Log {
    peer: PeerId,
    protocol: ProtocolName,
    method: Option<String>,
    asked: usize,
    began: Instant,
    output: Output,
    ended: bool,
}

impl Log {
    pub(super) fn begin(request: &Request, output: Output) -> Self {
        let method = request.method.as_ref().map(|method| method.as_str().to_owned());
        let (peer, protocol, asked) = (request.peer, request.protocol.clone(), request.body.len());
        Self { peer, protocol, method, asked, began: Instant::now(), output, ended: false }
    }

    /// Writes the line.
    pub(super) fn end(
        mut self,
        outcome: Result<Reply, HandlerError>,
    ) -> Result<Reply, HandlerError> {
        self.ended = true;
        match &outcome {
            Ok(reply) => self.write("ok", Some(reply.body().len()), None),
            Err(error) => self.write("error", None, Some(error.to_string())),
        }
        outcome
    }

    fn write(&self, outcome: &str, answered: Option<usize>, error: Option<String>) {
        let (took, output) = (self.began.elapsed(), self.output);
        let written = if output.json {
            output.value(&json!({
                "event": "request",
                "time": unix_time(),
                "peer": self.peer.to_string(),
                "protocol": self.protocol.as_str(),
                "method": self.method,
                "outcome": outcome,
                "request_bytes": self.asked,
                "response_bytes": answered,
                "error": error,
                "ms": millis(took),
            }))
        } else {
            let answer = match (answered, error) {
                (Some(answered), _) => size(answered as u64),
                (None, Some(error)) => output.mark(Mark::Bad, printable(&error)),
                (None, None) => output.mark(Mark::Faint, outcome),
            };
            let method = self.method.as_deref().map_or(String::new(), |m| format!("{m}  "));
            output.line(format_args!(
                "{}  {}  {}{} → {answer}  {}",
                output.mark(Mark::Faint, time_of_day()),
                short(&self.peer),
                printable(&method),
                size(self.asked as u64),
                output.mark(Mark::Faint, duration(took)),
            ))
        };
        // Whoever has closed the standard output is served all the same.
        drop(written);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if !self.ended {
            self.write("cancelled", None, None);
        }
    }
}

/// A Peer ID as people tell them apart: the end differs.
fn short(peer: &PeerId) -> String {
    let text = peer.to_string();
    let end = text.len().saturating_sub(6);
    format!("…{}", &text[end..])
}

/// On one line, and without what moves a terminal's cursor.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
