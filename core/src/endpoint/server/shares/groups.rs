//! The groups that have streams open: networks, and parts of networks.

use alloc::collections::BTreeMap;
use slotmap::{SlotMap, new_key_type};

use super::holding::Holding;
use super::origin::GroupId;
use crate::endpoint::server::penalty::{Credit, Remembered};
use crate::time::Timestamp;

new_key_type! {
    /// A group with open streams.
    pub(in crate::endpoint::server) struct GroupKey;
}

/// A network, or another group of peers.
#[derive(Debug)]
pub(in crate::endpoint::server) struct Group {
    id: GroupId,
    open: usize,
    pub(in crate::endpoint::server) has: Holding,
    pub(in crate::endpoint::server) credit: Credit,
}

/// All groups of one size. A group is known for as long as a stream of it is open, and a while longer
/// after an offence.
#[derive(Debug, Default)]
pub(in crate::endpoint::server) struct Groups {
    known: SlotMap<GroupKey, Group>,
    by_id: BTreeMap<GroupId, GroupKey>,
    gone: Remembered<GroupId, Credit>,
}

impl Groups {
    pub(in crate::endpoint::server) fn len(&self) -> usize {
        self.known.len()
    }

    pub(in crate::endpoint::server) fn get(&self, key: GroupKey) -> Option<&Group> {
        self.known.get(key)
    }

    #[inline]
    pub(in crate::endpoint::server) fn get_mut(&mut self, key: GroupKey) -> Option<&mut Group> {
        self.known.get_mut(key)
    }

    /// A stream of a group opens.
    pub(in crate::endpoint::server) fn enter(&mut self, id: GroupId, now: Timestamp) -> GroupKey {
        let key = *self.by_id.entry(id).or_insert_with(|| {
            let credit = self.gone.take(&id).unwrap_or_else(|| Credit::new(now));
            self.known.insert(Group { id, open: 0, has: Holding::default(), credit })
        });
        if let Some(group) = self.known.get_mut(key) {
            group.open += 1;
            group.credit.refill(now);
        }
        key
    }

    /// A stream of a group has closed.
    pub(in crate::endpoint::server) fn leave(&mut self, key: GroupKey, now: Timestamp) {
        let Some(group) = self.known.get_mut(key) else { return };
        group.open -= 1;
        if group.open == 0
            && let Some(group) = self.known.remove(key)
        {
            self.by_id.remove(&group.id);
            self.gone.keep(group.id, group.credit, now);
        }
    }
}
