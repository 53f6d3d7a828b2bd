//! Callers that wait for a server to be found.

use std::collections::BTreeMap;

use futures::channel::oneshot;
use futures::future::{Either, select};
use pointsub_core::network::candidates::{CandidateFact, Sources};
use pointsub_core::{Cause, Delivery, Phase, ProtocolName, RequestError, SendError, Timestamp};

use crate::api::client::shared::ClientShared;

/// Who waits, by protocol. It holds as many of them as requests may wait at a client.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    callers: BTreeMap<ProtocolName, Vec<oneshot::Sender<bool>>>,
    len: usize,
}

impl Waiting {
    fn add(
        &mut self,
        protocol: &ProtocolName,
        limit: usize,
    ) -> Result<oneshot::Receiver<bool>, SendError> {
        if self.len >= limit {
            self.forget_gone();
        }
        if self.len >= limit {
            return Err(SendError::Overloaded { limit });
        }
        let (found, waiting) = oneshot::channel();
        self.callers.entry(protocol.clone()).or_default().push(found);
        self.len += 1;
        Ok(waiting)
    }

    /// There is a server of this protocol.
    pub(super) fn found(&mut self, protocol: &ProtocolName) {
        let told = self.callers.remove(protocol).unwrap_or_default();
        self.len -= told.len();
        told.into_iter().for_each(|caller| _ = caller.send(true));
    }

    /// There is none, and none is looked for, but for these protocols.
    pub(super) fn give_up(&mut self, mut but_for: impl FnMut(&ProtocolName) -> bool) {
        self.callers.retain(|protocol, callers| {
            let stays = but_for(protocol);
            if !stays {
                self.len -= callers.len();
                callers.drain(..).for_each(|caller| _ = caller.send(false));
            }
            stays
        });
    }

    /// Callers that have given up take no place.
    fn forget_gone(&mut self) {
        self.callers.retain(|_, callers| {
            callers.retain(|caller| !caller.is_canceled());
            !callers.is_empty()
        });
        self.len = self.callers.values().map(Vec::len).sum();
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
            let found = state.waiting.add(protocol, self.config.max_pending())?;
            Ok(Some((found, asked)))
        })
    }
}

fn failed(cause: Cause) -> RequestError {
    RequestError::new(cause, Phase::Discover, Delivery::NotProcessed)
}

fn not_found(asked: Sources) -> RequestError {
    failed(Cause::NoServerFound { asked })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_wait_as_may_and_who_has_given_up_does_not_count() {
        let [a, b] = ["/a", "/b"].map(|name| ProtocolName::new(name).expect("a name"));
        let mut waiting = Waiting::default();
        let mut first = waiting.add(&a, 2).expect("there is room");
        let gone = waiting.add(&b, 2).expect("there is room");
        assert_eq!(waiting.add(&b, 2).err(), Some(SendError::Overloaded { limit: 2 }));
        drop(gone);
        let mut second = waiting.add(&b, 2).expect("one has given up");
        waiting.found(&a);
        assert_eq!(first.try_recv(), Ok(Some(true)));
        let mut third = waiting.add(&a, 2).expect("one was told");
        waiting.give_up(|protocol| *protocol == a);
        assert_eq!((second.try_recv(), third.try_recv()), (Ok(Some(false)), Ok(None)));
        let _fourth = waiting.add(&b, 2).expect("one was told");
        assert_eq!(waiting.add(&b, 2).err(), Some(SendError::Overloaded { limit: 2 }));
    }
}
