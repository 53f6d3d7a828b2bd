//! What the servers of all contenders push: streams of messages, as the client asks for them.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt};
use futures_timer::Delay;
use tokio::sync::watch;

use super::Failure;

/// The times between messages of one subscription.
const EACH: Duration = Duration::from_millis(100);
/// The time between messages to all subscriptions together.
const TOGETHER: Duration = Duration::from_secs(1);

/// When messages are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As fast as they are taken.
    Full,
    /// Ten in a second, at times of their own.
    Each,
    /// One in a second, to all at the same time.
    Together,
}

impl Pace {
    const ALL: [Self; 3] = [Self::Full, Self::Each, Self::Together];

    const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Each => "each",
            Self::Together => "together",
        }
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Pace {
    type Err = Failure;

    fn from_str(name: &str) -> Result<Self, Failure> {
        let found = Self::ALL.into_iter().find(|pace| pace.name() == name);
        found.ok_or_else(|| format!("no pace is called {name:?}").into())
    }
}

/// A stream of messages that a client asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Feed {
    /// Bytes of a message.
    pub(crate) size: usize,
    /// When they are sent.
    pub(crate) pace: Pace,
}

impl Feed {
    /// What the client sends.
    pub(super) fn encode(self) -> Bytes {
        format!("{} {}", self.size, self.pace).into()
    }

    /// What the server takes.
    pub(super) fn decode(argument: &[u8]) -> Result<Self, Failure> {
        let text = std::str::from_utf8(argument)?;
        let (size, pace) = text.split_once(' ').ok_or("a feed is `512 full`")?;
        Ok(Self { size: size.parse()?, pace: pace.parse()? })
    }

    /// The messages. Those that have a time begin with it.
    pub(super) fn messages(self) -> BoxStream<'static, Bytes> {
        let Self { size, pace } = self;
        match pace {
            Pace::Full => stream::repeat(Bytes::from(vec![7; size])).boxed(),
            Pace::Each => {
                let next = move |()| async move {
                    Delay::new(EACH).await;
                    Some((stamped(now(), size), ()))
                };
                stream::unfold((), next).boxed()
            }
            Pace::Together => {
                let next = move |mut ticks: watch::Receiver<u64>| async move {
                    ticks.changed().await.ok()?;
                    let tick = *ticks.borrow_and_update();
                    Some((stamped(tick, size), ticks))
                };
                stream::unfold(TICKS.subscribe(), next).boxed()
            }
        }
    }
}

/// How long ago a message was to be sent.
pub(crate) fn age(message: &[u8]) -> Duration {
    let stamp = message.first_chunk().map_or(0, |stamp| u64::from_le_bytes(*stamp));
    Duration::from_nanos(now().saturating_sub(stamp))
}

/// The clock that both processes share.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}

fn stamped(time: u64, size: usize) -> Bytes {
    let mut message = BytesMut::with_capacity(size);
    message.put_u64_le(time);
    message.resize(size, 7);
    message.freeze()
}

/// The time of the last message to all, from the first subscription on.
static TICKS: LazyLock<watch::Sender<u64>> = LazyLock::new(|| {
    let ticks = watch::Sender::new(0);
    let sender = ticks.clone();
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(TOGETHER);
            sender.send_replace(now());
        }
    });
    ticks
});
