//! The runtime under test: all that differs between runtimes.

pub(crate) use pointsub_tokio::Tokio as Rt;

pub(crate) fn rt() -> Rt {
    Rt::default()
}

/// Runs a test on a runtime of its own.
pub(crate) fn block_on<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a tokio runtime")
        .block_on(test)
}

/// Connections before they are encrypted.
pub(crate) fn tcp() -> libp2p_tcp::tokio::Transport {
    libp2p_tcp::tokio::Transport::new(libp2p_tcp::Config::default().nodelay(true))
}
