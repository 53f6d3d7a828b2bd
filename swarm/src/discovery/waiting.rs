//! Callers that wait for a server to be found.

use futures::channel::oneshot;
use futures::future::{Either, select};
use pointsub_core::network::candidates::{CandidateFact, Sources};
use pointsub_core::{Cause, Delivery, Phase, ProtocolName, RequestError, SendError, Timestamp};

use super::shared::State;
use crate::api::client::Client;
use crate::api::client::shared::ClientShared;

impl Client {
    /// Waits until a server of the protocol is known: one that the application has
    /// [named](Self::add_server_node), or one that a [source](crate::Discover) has found and that has said
    /// itself that it serves the protocol. Returns at once if there is one.
    ///
    /// It waits for as long as the client's
    /// [`connect_timeout`](pointsub_core::ClientConfig::with_connect_timeout) says (5 s by default), also
    /// while nothing is under way by which a server could be found: one may connect by itself, or be named
    /// meanwhile. [`send_closest`](Self::send_closest) fails at once then. Sources are asked for the
    /// protocol all the while, and some minutes longer.
    ///
    /// That a server is known does not mean that it answers:
    /// [`has_available_nodes`](Self::has_available_nodes) says whether one is in normal use.
    ///
    /// ```
    /// use pointsub_swarm::{Cause, Client, PeerId, ProtocolName, RequestError};
    ///
    /// const SEARCH: ProtocolName = ProtocolName::from_static("/search/1.0.0");
    ///
    /// /// A program that serves nobody before it has somebody to ask.
    /// async fn ready(client: &Client) -> Result<(), RequestError> {
    ///     while let Err(error) = client.wait_for_server(&SEARCH).await {
    ///         match error.cause {
    ///             Cause::NoServerFound { asked } => println!("none yet, asked: {asked}"),
    ///             _ => return Err(error),
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// # futures::executor::block_on(async {
    /// # let client = Client::from_fn(|_: PeerId, _| async { Ok("yes") });
    /// # client.add_server_node(&SEARCH, PeerId::random()).expect("a node");
    /// # ready(&client).await.expect("one is named");
    /// # });
    /// ```
    ///
    /// # Errors
    /// [`Cause::NoServerFound`] if there is none in time, with the sources that were asked,
    /// [`SendError::Overloaded`] if `max_pending` callers wait for servers already, and
    /// [`SendError::Closed`] if the client is closed or its swarm is gone.
    pub async fn wait_for_server(&self, protocol: &ProtocolName) -> Result<(), RequestError> {
        let shared = &self.shared;
        let until = shared.clock.now() + shared.config.connect_timeout();
        let (found, asked) = shared.with_discovery(|state, now| {
            if state.ended || shared.with_dispatcher(|d| d.is_drained()) {
                return Err(SendError::Closed);
            }
            let asked = state.candidates.sources();
            Ok((state.wait(shared, protocol, true, now)?, asked))
        })?;
        let Some(found) = found else { return Ok(()) };
        match select(found, shared.clock.wait_until(until)).await {
            Either::Left((Ok(_), _)) => Ok(()),
            Either::Left((Err(_), _)) => Err(SendError::Closed.into()),
            Either::Right(_) => Err(not_found(asked)),
        }
    }
}

impl ClientShared {
    /// Waits until there is a server of a protocol that has none: for as long as a connection may take,
    /// and no longer than the caller does.
    pub(crate) async fn wait_for_server(
        &self,
        protocol: &ProtocolName,
        deadline: Option<Timestamp>,
    ) -> Result<(), RequestError> {
        let limit = self.clock.now() + self.config.connect_timeout();
        let Some((found, asked)) = self.want_server(protocol)? else { return Ok(()) };
        let until = deadline.map_or(limit, |deadline| deadline.min(limit));
        match select(found, self.clock.wait_until(until)).await {
            Either::Left((Ok(true), _)) => Ok(()),
            Either::Left((Ok(false), _)) => Err(not_found(asked)),
            Either::Left((Err(_), _)) => Err(SendError::Closed.into()),
            Either::Right(_) if until < limit => Err(failed(Cause::Deadline)),
            Either::Right(_) => Err(not_found(asked)),
        }
    }

    /// Looks for servers. `None` if there is one now.
    fn want_server(
        &self,
        protocol: &ProtocolName,
    ) -> Result<Option<(oneshot::Receiver<bool>, Sources)>, RequestError> {
        self.with_discovery(|state, now| {
            let asked = state.candidates.sources();
            let named = self.with_dispatcher(|d| d.has_named_nodes(protocol.as_str()));
            let may_be_found = asked.iter().any(|source| source.is_asked() || !named);
            if !may_be_found || state.ended {
                return Err(SendError::NoNodes.into());
            }
            let Some(found) = state.wait(self, protocol, false, now)? else { return Ok(None) };
            if !state.dialling && !state.candidates.looks_for(protocol.as_str()) {
                return Err(not_found(asked));
            }
            Ok(Some((found, asked)))
        })
    }

    /// The application has named a server of this protocol.
    pub(crate) fn tell_named(&self, protocol: &ProtocolName) {
        self.with_discovery(|state, _| state.tell_found(protocol));
    }
}

impl State {
    /// Looks for servers from now on, and has somebody wait for one. `None` if there is one now.
    fn wait(
        &mut self,
        shared: &ClientShared,
        protocol: &ProtocolName,
        patient: bool,
        now: Timestamp,
    ) -> Result<Option<oneshot::Receiver<bool>>, SendError> {
        self.candidates.handle(CandidateFact::Wanted(protocol.clone()), now);
        self.carry_out(shared, now);
        if shared.with_dispatcher(|d| d.server_nodes(protocol.as_str()).next().is_some()) {
            return Ok(None);
        }
        self.waiting.add(protocol, patient, shared.config.max_pending()).map(Some)
    }
}

fn failed(cause: Cause) -> RequestError {
    RequestError::new(cause, Phase::Discover, Delivery::NotProcessed)
}

fn not_found(asked: Sources) -> RequestError {
    failed(Cause::NoServerFound { asked })
}
