//! A subscription that outlives the connections that carry it.

use std::time::{Duration, Instant};

use futures_timer::Delay;
use pointsub_swarm::{
    HandlerError, IncomingCall, Node, PeerId, ProtocolName, ResumableCall, ResumePolicy, Runtime,
};

use crate::RELAY_BYTES;
use crate::peer::Outcome;

const NUMBERS: ProtocolName = ProtocolName::from_static("/numbers/1.0.0");
/// Bytes of a message.
const LEN: usize = 300;

/// Hands out numbers with cursors to whoever subscribes.
pub(crate) fn serve<R: Runtime>(node: &Node<R>) -> Outcome {
    Ok(node.server().register_call(&NUMBERS, count)?)
}

/// Counts on behind the cursor, and pauses after each number for as many milliseconds as the argument says.
async fn count(call: IncomingCall) -> Result<(), HandlerError> {
    let IncomingCall { argument, resume, mut sender, .. } = call;
    let pause = Duration::from_millis(std::str::from_utf8(&argument)?.parse()?);
    let first: u64 = match resume {
        Some(cursor) => std::str::from_utf8(&cursor)?.parse()?,
        None => 0,
    };
    for number in first.. {
        sender.send_with_cursor(format!("{number:LEN$}"), (number + 1).to_string()).await?;
        if !pause.is_zero() {
            Delay::new(pause).await;
        }
    }
    Ok(())
}

/// One that the relay cuts at its limit of bytes, and one that it cuts at its limit of time.
pub(crate) async fn outlives_limits<R: Runtime>(node: &Node<R>, peer: PeerId) -> Outcome<String> {
    let mut found = Vec::new();
    for (pause, times) in [(0, 3), (100, 2)] {
        let mut subscription = Subscription::open(node, peer, pause).await?;
        let took = subscription.is_resumed(times).await?;
        subscription.receive_some(10).await?;
        let (numbers, resumed) = subscription.seen();
        found.push(format!("{numbers} numbers in {took:.0?}, resumed {resumed} times"));
    }
    Ok(format!("subscriptions: {}", found.join("; ")))
}

/// The numbers that were received, each once.
pub(crate) struct Subscription {
    call: ResumableCall,
    next: u64,
    /// Bytes since the call was last opened.
    bytes: u64,
}

impl Subscription {
    pub(crate) async fn open<R: Runtime>(
        node: &Node<R>,
        peer: PeerId,
        pause: u64,
    ) -> Outcome<Self> {
        let open = node.client().open(peer, &NUMBERS, pause.to_string());
        let call = open.resumable(ResumePolicy::default()).await?;
        Ok(Self { call, next: 0, bytes: 0 })
    }

    /// Receives the next number.
    async fn receive(&mut self) -> Outcome {
        let resumed = self.call.resumed();
        let message = self.call.recv().await?.ok_or("the numbers come to an end")?;
        let found: u64 = std::str::from_utf8(&message)?.trim().parse()?;
        if found != self.next {
            return Err(format!("{found} came, and {} is the next", self.next).into());
        }
        self.next += 1;
        let before = if self.call.resumed() == resumed { self.bytes } else { 0 };
        self.bytes = before + message.len() as u64;
        Ok(())
    }

    pub(crate) async fn receive_some(&mut self, count: u64) -> Outcome {
        for _ in 0..count {
            self.receive().await?;
        }
        Ok(())
    }

    /// Receives numbers until the call was opened again so often. How long that takes.
    pub(crate) async fn is_resumed(&mut self, times: u64) -> Outcome<Duration> {
        let began = Instant::now();
        while self.call.resumed() < times {
            self.receive().await?;
        }
        Ok(began.elapsed())
    }

    /// Receives numbers until more have come since it was last opened than the relay carries.
    pub(crate) async fn is_direct(&mut self) -> Outcome {
        while self.bytes < 4 * RELAY_BYTES {
            self.receive().await?;
        }
        Ok(())
    }

    /// How many numbers were received, and how often the call was opened again.
    pub(crate) const fn seen(&self) -> (u64, u64) {
        (self.next, self.call.resumed())
    }
}
