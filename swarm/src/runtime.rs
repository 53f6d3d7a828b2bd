//! What differs between runtimes, and nothing else.

use std::io;
use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use libp2p_core::muxing::StreamMuxerBox;
use libp2p_core::transport::Boxed;
use libp2p_identity::PeerId;

use crate::transport::security::Security;

/// Runs a future to its end on a task of its own.
pub type Executor = Arc<dyn Fn(BoxFuture<'static, ()>) + Send + Sync>;

/// An async runtime: how to run tasks on it, and how to reach other machines with it.
pub trait Runtime: Send + Sync + 'static {
    /// Runs a future to its end on a task of its own.
    fn spawn(future: BoxFuture<'static, ()>);

    /// Whether tasks can be run here and now. [`NodeBuilder::build`](crate::NodeBuilder::build) fails
    /// if not. A runtime that runs wherever it is called keeps the default, `true`.
    fn is_running() -> bool {
        true
    }

    /// Tells each time that the system reports something new of a network interface. Whoever cannot tell
    /// keeps the default, which never does: then [`Node::network_changed`](crate::Node::network_changed)
    /// is for the application to call.
    fn interface_changes() -> BoxStream<'static, ()> {
        futures::stream::pending().boxed()
    }

    /// The transports that a [`Node`](crate::Node) uses, all of which share its `security`:
    /// [`Security::establish`] adds it to one of plain bytes. A transport that is made in another way
    /// gets the connection driver from [`with_driver`](crate::with_driver).
    ///
    /// # Errors
    /// Any I/O error of setting them up.
    fn transport(security: &Security) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>>;
}
