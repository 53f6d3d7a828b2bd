//! Bodies are compressed and inflated on the task of whoever has them, in steps. Between two steps
//! the others on the thread have their turn.

use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use pointsub_core::wire::compress::{Deflate, Inflate, InflateError};
use pointsub_core::{Body, Payload};

/// Pending once. Whatever waits for a socket has its turn too, for which tokio would wait until 61
/// tasks have run, if the one that is pending had merely woken itself.
#[cfg(feature = "tokio")]
pub(crate) use tokio::task::yield_now as give_way;

use crate::clock::Clock;

/// The body compressed, if that pays, and how long that took.
pub(crate) async fn deflate(raw: Bytes, clock: &Clock) -> (Body, Duration) {
    in_steps(Deflate::new(raw), Deflate::step, clock).await
}

/// The bytes of a body that came, and how long it took to inflate it.
pub(crate) async fn inflate(
    payload: Payload,
    clock: &Clock,
) -> (Result<Bytes, InflateError>, Duration) {
    in_steps(Inflate::new(payload), Inflate::step, clock).await
}

/// Takes the time of the steps alone.
async fn in_steps<W, T>(
    mut work: W,
    step: impl Fn(W) -> ControlFlow<T, W>,
    clock: &Clock,
) -> (T, Duration) {
    let mut took = Duration::ZERO;
    loop {
        let began = clock.now();
        let stepped = step(work);
        took += clock.now().since(began);
        match stepped {
            ControlFlow::Break(done) => return (done, took),
            ControlFlow::Continue(rest) => work = rest,
        }
        give_way().await;
    }
}

/// Pending once.
#[cfg(not(feature = "tokio"))]
pub(crate) async fn give_way() {
    let mut waited = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use bytes::Bytes;
    use pointsub_core::Body;
    use pointsub_core::wire::compress::ONE_STEP;

    use super::deflate;
    use crate::clock::Clock;

    fn polls<T>(work: impl Future<Output = T>) -> (usize, T) {
        let mut work = pin!(work);
        let cx = &mut Context::from_waker(Waker::noop());
        let mut polls = 1;
        loop {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return (polls, done);
            }
            polls += 1;
        }
    }

    /// C6: whoever has a large body keeps nobody from a thread for long.
    #[test]
    fn a_large_body_gives_way_to_others() {
        for (len, most) in [(ONE_STEP, 1), (1 << 20, 128)] {
            let text = Bytes::from("round and round ".repeat(len / 16));
            let clock = Clock::system();
            let (turns, (body, _)) = polls(deflate(text.clone(), &clock));
            assert!(body == Body::compressed(text.clone()) && body != Body::uncompressed(text));
            assert_eq!(turns, most, "{len} bytes");
        }
    }
}
