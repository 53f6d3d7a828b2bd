//! The async runtimes, as far as the load needs them.

use futures::future::BoxFuture;
use pointsub_async_std::{AsyncStd, Runtime};

use super::Failure;

/// Runs tasks on worker threads, and one future on the main thread.
pub(crate) trait Runner {
    /// Runs a future to its end on a task of its own.
    fn spawn(&self, future: BoxFuture<'static, ()>);

    /// Waits for a future on this thread, in the context of the runtime.
    fn block_on<F: Future>(&self, future: F) -> F::Output;
}

/// tokio with as many workers as the environment says.
pub(super) struct OnTokio(tokio::runtime::Runtime);

impl OnTokio {
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self(tokio::runtime::Builder::new_multi_thread().enable_all().build()?))
    }
}

impl Runner for OnTokio {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        self.0.spawn(future);
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }
}

/// async-std, which starts as many threads as the environment says when it is first used.
pub(super) struct OnAsyncStd;

impl Runner for OnAsyncStd {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        AsyncStd.spawn(future);
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        futures::executor::block_on(future)
    }
}
