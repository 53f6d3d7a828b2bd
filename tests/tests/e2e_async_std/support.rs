//! The runtime under test: all that differs between runtimes.

pub(crate) use pointsub_async_std::AsyncStd as Rt;

pub(crate) const fn rt() -> Rt {
    Rt
}

/// Runs a test. The threads of async-std are there for all tests of a process.
pub(crate) fn block_on<F: Future>(test: F) -> F::Output {
    async_std::task::block_on(test)
}

/// Connections before they are encrypted.
pub(crate) fn tcp() -> pointsub_async_std::tcp::Transport {
    pointsub_async_std::tcp::Transport::new()
}
