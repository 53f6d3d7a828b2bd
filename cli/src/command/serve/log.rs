//! A line for each request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use pointsub_tokio::{HandlerError, PeerId, ProtocolName, Reply, Request};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::output::{Mark, Output, duration, millis, size, time_of_day, unix_time};

/// How many lines wait for whoever reads them.
const WAITING: usize = 4096;
/// How long the last ones may take when the server ends.
const FLUSH: Duration = Duration::from_secs(1);

/// Prints lines on a thread of its own: a reader that is slow keeps nobody waiting. Lines for which there
/// is no room are left out, and the next one says how many.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    lines: SyncSender<Entry>,
    left_out: Arc<AtomicU64>,
    output: Output,
}

#[derive(Debug)]
enum Entry {
    Line(String),
    /// Everything before it was printed when this is told.
    Flush(oneshot::Sender<()>),
}

impl Journal {
    pub(super) fn new(output: Output) -> Self {
        let (lines, waiting) = sync_channel(WAITING);
        let left_out = Arc::new(AtomicU64::new(0));
        let missed = left_out.clone();
        std::thread::spawn(move || {
            while let Ok(entry) = waiting.recv() {
                let line = match entry {
                    Entry::Line(line) => line,
                    Entry::Flush(printed) => {
                        // Whoever wanted to know may have given up.
                        let _gone = printed.send(());
                        continue;
                    }
                };
                let missed = missed.swap(0, Ordering::Relaxed);
                if missed > 0 {
                    let _closed = output.line(match output.json {
                        true => json!({ "event": "left_out", "lines": missed }).to_string(),
                        false => format!("{missed} lines were left out"),
                    });
                }
                // Whoever has closed the standard output is served all the same.
                let _closed = output.line(line);
            }
        });
        Self { lines, left_out, output }
    }

    fn write(&self, line: String) {
        if self.lines.try_send(Entry::Line(line)).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything is printed, unless that takes too long.
    pub(crate) async fn flush(&self) {
        let (printed, done) = oneshot::channel();
        if self.lines.try_send(Entry::Flush(printed)).is_ok() {
            let _slow = timeout(FLUSH, done).await;
        }
    }
}

/// A request that is being answered. Dropped before its end, it was cancelled.
pub(super) struct Log {
    peer: PeerId,
    protocol: ProtocolName,
    method: Option<String>,
    asked: usize,
    began: Instant,
    journal: Journal,
    ended: bool,
}

impl Log {
    pub(super) fn begin(request: &Request, journal: Journal) -> Self {
        let method = request.method.as_ref().map(|method| method.as_str().to_owned());
        let (peer, protocol, asked) = (request.peer, request.protocol.clone(), request.body.len());
        Self { peer, protocol, method, asked, began: Instant::now(), journal, ended: false }
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
        let (took, output) = (self.began.elapsed(), self.journal.output);
        let line = if output.json {
            json!({
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
            })
            .to_string()
        } else {
            let answer = match (answered, error) {
                (Some(answered), _) => size(answered as u64),
                (None, Some(error)) => output.mark(Mark::Bad, printable(&error)),
                (None, None) => output.mark(Mark::Faint, outcome),
            };
            let method = self.method.as_deref().map_or(String::new(), |m| format!("{m}  "));
            format!(
                "{}  {}  {}{} → {answer}  {}",
                output.mark(Mark::Faint, time_of_day()),
                short(&self.peer),
                printable(&method),
                size(self.asked as u64),
                output.mark(Mark::Faint, duration(took)),
            )
        };
        self.journal.write(line);
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
