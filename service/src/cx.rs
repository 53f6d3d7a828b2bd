//! Who calls, what is known of the call, and what the caller is told beside the result.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use pointsub_swarm::{CallAcceptor, GroupId, Metadata, MetadataError, PeerId};

use crate::call::local::LocalAcceptance;

/// The context of a call, which every method gets first. Cheap to clone; what clones
/// [tell](Self::tell) the caller is one.
///
/// ```
/// use pointsub_service::{Cx, PeerId};
///
/// // Methods are called in a unit test as a server calls them.
/// let peer = PeerId::random();
/// let cx = Cx::new(peer).with_metadata("tenant", "blue");
/// assert_eq!((cx.peer(), cx.metadata().get("tenant")), (peer, Some(&b"blue"[..])));
/// ```
#[derive(Debug, Clone)]
pub struct Cx(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    peer: PeerId,
    network: Option<GroupId>,
    metadata: Metadata,
    deadline: Option<Instant>,
    resume: Option<Bytes>,
    acceptor: Option<Acceptor>,
    /// What travels beside the result.
    told: Mutex<Metadata>,
}

/// What accepts a call with messages.
#[derive(Debug, Clone)]
pub(crate) enum Acceptor {
    Call(CallAcceptor),
    Local(Arc<LocalAcceptance>),
}

impl Clone for Inner {
    fn clone(&self) -> Self {
        let Self { peer, network, metadata, deadline, resume, acceptor, told } = self;
        Self {
            peer: *peer,
            network: *network,
            metadata: metadata.clone(),
            deadline: *deadline,
            resume: resume.clone(),
            acceptor: acceptor.clone(),
            told: Mutex::new(told.lock().clone()),
        }
    }
}

impl Cx {
    /// The context of a call by this peer.
    #[must_use]
    pub fn new(peer: PeerId) -> Self {
        Self::of(peer, Metadata::new(), None)
    }

    pub(crate) fn of(peer: PeerId, metadata: Metadata, remaining: Option<Duration>) -> Self {
        let deadline = remaining.and_then(|remaining| Instant::now().checked_add(remaining));
        let (network, resume, acceptor, told) = (None, None, None, Mutex::default());
        Self(Arc::new(Inner { peer, network, metadata, deadline, resume, acceptor, told }))
    }

    /// Sets the network from which the caller is connected.
    #[must_use]
    pub fn with_network(mut self, network: Option<GroupId>) -> Self {
        self.inner().network = network;
        self
    }

    /// It has messages.
    pub(crate) fn of_call(mut self, acceptor: Acceptor, resume: Option<Bytes>) -> Self {
        let inner = self.inner();
        inner.acceptor = Some(acceptor);
        inner.resume = resume.or(inner.resume.take());
        self
    }

    /// Its contents: of a clone, a copy.
    fn inner(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.0)
    }

    /// Sets how much time is left.
    #[must_use]
    pub fn with_remaining(mut self, remaining: Duration) -> Self {
        self.inner().deadline = Instant::now().checked_add(remaining);
        self
    }

    /// Adds metadata of the caller's. A key that [cannot travel](Metadata::insert) is left out.
    #[must_use]
    pub fn with_metadata(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.add_metadata(key, value.as_ref());
        self
    }

    pub(crate) fn add_metadata(&mut self, key: &str, value: &[u8]) {
        let _left_out = self.inner().metadata.insert(key, value);
    }

    pub(crate) fn set_resume(&mut self, cursor: Bytes) {
        self.inner().resume = Some(cursor);
    }

    /// Who calls; authenticated by the connection.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.0.peer
    }

    /// The network from which the caller is connected, as
    /// [`IncomingCall::network`](pointsub_swarm::IncomingCall::network) has it: many peers of one network may
    /// be one machine. `None` if the method has no messages, or is called in the same program.
    #[must_use]
    pub fn network(&self) -> Option<GroupId> {
        self.0.network
    }

    /// What the caller says beside the arguments.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    /// How long the caller still waits, if it said so. The method is stopped (its future is dropped) when
    /// that is over. It is counted by the system's clock, also where a test pauses that of a runtime.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.0.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// The cursor behind which the caller wants to go on, if it has opened the call again.
    #[must_use]
    pub fn resume(&self) -> Option<&Bytes> {
        self.0.resume.as_ref()
    }

    /// Tells the caller a key with its value, which travels beside the result: [`Answer::metadata`]. A key
    /// may be told more than once. A method that fails tells nothing.
    ///
    /// ```
    /// use pointsub_service::{Cx, Failure, service};
    ///
    /// #[service("/half/1")]
    /// trait Half {
    ///     async fn half(&self, cx: &Cx, number: u32) -> Result<u32, Failure>;
    /// }
    ///
    /// struct Halves;
    ///
    /// impl Half for Halves {
    ///     async fn half(&self, cx: &Cx, number: u32) -> Result<u32, Failure> {
    ///         if number % 2 == 1 {
    ///             cx.tell("rounded", "down")?;
    ///         }
    ///         Ok(number / 2)
    ///     }
    /// }
    ///
    /// # futures::executor::block_on(async {
    /// let halves = HalfClient::local(Halves);
    /// let answer = halves.half(7).answer().await.unwrap();
    /// assert_eq!((*answer, answer.metadata().get("rounded")), (3, Some(&b"down"[..])));
    /// # });
    /// ```
    ///
    /// # Errors
    /// [`MetadataError`] if the key cannot be used, or all that is told takes more than 12 KiB.
    ///
    /// [`Answer::metadata`]: crate::Answer::metadata
    pub fn tell(&self, key: &str, value: impl AsRef<[u8]>) -> Result<(), MetadataError> {
        self.0.told.lock().insert(key, value)
    }

    /// What the caller is told beside the result, so far.
    #[must_use]
    pub fn told(&self) -> Metadata {
        self.0.told.lock().clone()
    }

    /// Accepts a call with messages, and tells the caller something before the first of them:
    /// [`Streaming::metadata`](crate::Streaming::metadata). Whether the call was not accepted before. A
    /// method accepts its call when it first sends, receives or waits, and then it is too late for this. A
    /// method without messages has nothing to accept.
    pub fn accept(&self, metadata: Metadata) -> bool {
        match &self.0.acceptor {
            Some(Acceptor::Call(acceptor)) => acceptor.accept(metadata),
            Some(Acceptor::Local(acceptance)) => acceptance.accept(metadata),
            None => false,
        }
    }

    /// The keys of the metadata that name a trace, as the W3C does, with their values.
    pub(crate) fn trace(&self) -> impl Iterator<Item = (&str, &[u8])> {
        const KEYS: [&str; 3] = ["traceparent", "tracestate", "baggage"];
        self.0.metadata.iter().filter(|(key, _)| KEYS.contains(key))
    }
}
