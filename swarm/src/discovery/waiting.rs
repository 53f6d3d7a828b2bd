//! Callers that wait for a server to be found.

use futures::channel::oneshot;
use futures::future::{Either, select};
use pointsub_core::network::candidates::{CandidateFact, Sources};
use pointsub_core::{Cause, Delivery, Phase, ProtocolName, RequestError, SendError, Timestamp};

use crate::api::client::shared::ClientShared;

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
            state.candidates.handle(CandidateFact::Wanted(protocol.clone()), now);
            state.carry_out(self, now);
            let has_one =
                self.with_dispatcher(|d| d.server_nodes(protocol.as_str()).next().is_some());
            if has_one {
                return Ok(None);
            }
            if !state.dialling && !state.candidates.looks_for(protocol.as_str()) {
                return Err(not_found(asked));
            }
            let (found, waiting) = oneshot::channel();
            state.waiting.push((protocol.clone(), found));
            Ok(Some((waiting, asked)))
        })
    }
}

fn failed(cause: Cause) -> RequestError {
    RequestError::new(cause, Phase::Discover, Delivery::NotProcessed)
}

fn not_found(asked: Sources) -> RequestError {
    failed(Cause::NoServerFound { asked })
}
