//! Operations on one stream are in order: none before it is open or after its end, and one write
//! at a time.

use pointsub_core::StreamOp;

use super::{Check, ensure};
use crate::sim::{Event, Side, World};

/// See the module.
#[derive(Debug)]
pub(super) struct Outputs;

impl Check for Outputs {
    fn name(&self) -> &'static str {
        "outputs"
    }

    fn observe(&mut self, event: &Event<'_>, world: &World) -> Result<(), String> {
        match event {
            Event::Output { link, to, op } => {
                let Some(link) = world.links.get(link) else {
                    return Err(format!("{} on a stream that is gone", name(op)));
                };
                let pipe = if *to == Side::Server { &link.to_server } else { &link.to_client };
                ensure!(!pipe.closed, "{} after the end of the stream", name(op));
                if let StreamOp::Write(bytes) = op {
                    ensure!(pipe.writing.is_none(), "two writes at a time");
                    ensure!(!bytes.is_empty(), "an empty write");
                }
            }
            // A stream that is not wanted any more when it comes is reset.
            Event::Stray(StreamOp::Reset) => {}
            Event::Stray(op) => return Err(format!("{} on a stream that is gone", name(op))),
            Event::Drained { who, asked } => ensure!(*asked, "{who:?} has stopped unasked"),
            _ => {}
        }
        Ok(())
    }
}

fn name(op: &StreamOp) -> &'static str {
    match op {
        StreamOp::Write(_) => "a write",
        StreamOp::Finish => "an end",
        StreamOp::Reset => "a reset",
    }
}
