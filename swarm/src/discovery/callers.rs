//! Who waits for a server to be found.

use std::collections::BTreeMap;

use futures::channel::oneshot;
use pointsub_core::{ProtocolName, SendError};

/// Callers that wait for a server, by protocol.
#[derive(Debug, Default)]
pub(super) struct Callers {
    by_protocol: BTreeMap<ProtocolName, Vec<Caller>>,
    len: usize,
}

/// One of them.
#[derive(Debug)]
struct Caller {
    /// It waits also while nothing is under way by which a server could be found.
    patient: bool,
    /// Where it is told whether there is a server.
    found: oneshot::Sender<bool>,
}

impl Callers {
    /// One more, if there are less than `limit`.
    pub(super) fn add(
        &mut self,
        protocol: &ProtocolName,
        patient: bool,
        limit: usize,
    ) -> Result<oneshot::Receiver<bool>, SendError> {
        if self.len >= limit {
            self.retain(|_, caller| !caller.found.is_canceled());
        }
        if self.len >= limit {
            return Err(SendError::Overloaded { limit });
        }
        let (found, waiting) = oneshot::channel();
        self.by_protocol.entry(protocol.clone()).or_default().push(Caller { patient, found });
        self.len += 1;
        Ok(waiting)
    }

    /// Whether anybody waits for this one.
    pub(super) fn wait_for(&self, protocol: &ProtocolName) -> bool {
        let callers = self.by_protocol.get(protocol).into_iter().flatten();
        callers.into_iter().any(|caller| !caller.found.is_canceled())
    }

    /// There is a server of this protocol.
    pub(super) fn found(&mut self, protocol: &ProtocolName) {
        let told = self.by_protocol.remove(protocol).unwrap_or_default();
        self.len -= told.len();
        told.into_iter().for_each(|caller| _ = caller.found.send(true));
    }

    /// No server is looked for, but for these protocols.
    pub(super) fn give_up(&mut self, but_for: impl Fn(&ProtocolName) -> bool) {
        if self.len > 0 {
            self.retain(|protocol, caller| caller.patient || but_for(protocol));
        }
    }

    /// Those that do not stay are told that there is no server.
    fn retain(&mut self, stays: impl Fn(&ProtocolName, &Caller) -> bool) {
        self.by_protocol.retain(|protocol, callers| {
            let told = callers.extract_if(.., |caller| !stays(protocol, caller));
            told.for_each(|caller| _ = caller.found.send(false));
            !callers.is_empty()
        });
        self.len = self.by_protocol.values().map(Vec::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_wait_as_may_and_who_has_given_up_does_not_count() {
        let [a, b] = ["/a", "/b"].map(|name| ProtocolName::new(name).expect("a name"));
        let mut callers = Callers::default();
        let mut first = callers.add(&a, false, 2).expect("there is room");
        let gone = callers.add(&b, true, 2).expect("there is room");
        assert!(callers.wait_for(&b));
        assert_eq!(callers.add(&b, false, 2).err(), Some(SendError::Overloaded { limit: 2 }));
        drop(gone);
        assert!(!callers.wait_for(&b));
        let mut second = callers.add(&b, false, 2).expect("one has given up");
        callers.found(&a);
        assert_eq!(first.try_recv(), Ok(Some(true)));
        let mut third = callers.add(&a, false, 2).expect("one was told");
        callers.give_up(|protocol| *protocol == a);
        assert_eq!((second.try_recv(), third.try_recv()), (Ok(Some(false)), Ok(None)));
        let mut fourth = callers.add(&b, true, 2).expect("one was told");
        callers.give_up(|_| false);
        assert_eq!((third.try_recv(), fourth.try_recv()), (Ok(Some(false)), Ok(None)));
    }
}
