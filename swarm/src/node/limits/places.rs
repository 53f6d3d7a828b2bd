//! A limited number of places, shared among networks.

use std::collections::{BTreeMap, HashMap};

use crate::node::addresses::ip::{Prefix, share};

/// One place; later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PlaceId(u64);

/// Lets everybody in. If there is no room, somebody leaves for it: of the same network if that has
/// more than its share, else of the one that has most; one that has said nothing if there is one;
/// and of those the one that has been there for longest.
///
/// `T` is how to tell whoever has to leave.
#[derive(Debug)]
pub(super) struct Places<T> {
    limit: usize,
    next: u64,
    taken: BTreeMap<PlaceId, Taken<T>>,
    by_prefix: HashMap<Prefix, usize>,
}

#[derive(Debug)]
struct Taken<T> {
    prefix: Prefix,
    standing: Standing,
    tell: T,
}

/// Those with less make room first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// It had its turn, and has said nothing.
    Silent,
    /// It is yet to have its turn.
    New,
    Heard,
}

impl<T> Places<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, next: 0, taken: BTreeMap::new(), by_prefix: HashMap::new() }
    }

    /// Takes a place. Returns whom that costs its own, if there was no room.
    pub(super) fn enter(&mut self, prefix: Prefix, tell: T) -> (PlaceId, Option<T>) {
        let here = self.by_prefix.get(&prefix).copied().unwrap_or_default();
        let full = self.taken.len() >= self.limit;
        let evicted = if here > 0 && (full || here >= share(self.limit, self.taken.len(), 1)) {
            self.evict(prefix)
        } else if full {
            self.largest().and_then(|largest| self.evict(largest))
        } else {
            None
        };
        let id = PlaceId(self.next);
        self.next += 1;
        self.taken.insert(id, Taken { prefix, standing: Standing::New, tell });
        *self.by_prefix.entry(prefix).or_default() += 1;
        (id, evicted)
    }

    /// Whoever has this place had its turn; `heard` if it has said something.
    pub(super) fn had_turn(&mut self, id: PlaceId, heard: bool) {
        if let Some(taken) = self.taken.get_mut(&id) {
            taken.standing = if heard { Standing::Heard } else { Standing::Silent };
        }
    }

    /// Gives a place back. It may be gone already.
    pub(super) fn leave(&mut self, id: PlaceId) -> Option<T> {
        let taken = self.taken.remove(&id)?;
        if let Some(here) = self.by_prefix.get_mut(&taken.prefix) {
            *here -= 1;
            if *here == 0 {
                self.by_prefix.remove(&taken.prefix);
            }
        }
        Some(taken.tell)
    }

    /// How many are yet to have their turn.
    pub(super) fn new_ones(&self) -> usize {
        self.taken.values().filter(|taken| taken.standing == Standing::New).count()
    }

    fn evict(&mut self, prefix: Prefix) -> Option<T> {
        let of_prefix = self.taken.iter().filter(|(_, taken)| taken.prefix == prefix);
        let (id, _) = of_prefix.min_by_key(|(id, taken)| (taken.standing, **id))?;
        self.leave(*id)
    }

    /// The network that has most; among equals the one whose first is the most silent and oldest.
    fn largest(&self) -> Option<Prefix> {
        let most = self.by_prefix.values().max()?;
        let of_most = self.taken.iter().filter(|(_, taken)| self.by_prefix[&taken.prefix] == *most);
        of_most.min_by_key(|(id, taken)| (taken.standing, **id)).map(|(_, taken)| taken.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 90;

    fn net(n: u8) -> Prefix {
        Prefix::V4([n, 0, 0])
    }

    /// Full of places of network 1, each told by its number.
    fn flooded() -> Places<usize> {
        let mut places = Places::new(LIMIT);
        for n in 0..10 * LIMIT {
            places.enter(net(1), n);
        }
        places
    }

    #[test]
    fn there_are_so_many_places() {
        let mut places = Places::new(LIMIT);
        let mut evicted = 0;
        for n in 0..10 * LIMIT {
            evicted += usize::from(places.enter(net((n % 200) as u8), n).1.is_some());
            assert!(places.taken.len() <= LIMIT);
        }
        assert_eq!((places.taken.len(), evicted), (LIMIT, 9 * LIMIT));
    }

    #[test]
    fn a_flood_leaves_a_ninth_and_evicts_its_own() {
        let mut places = flooded();
        assert_eq!(places.taken.len(), 80);
        for n in 0..10 {
            assert_eq!(places.enter(net(2 + n as u8), n).1, None, "there is room for others");
        }
        let (_, evicted) = places.enter(net(99), 0);
        assert!(evicted.is_some_and(|evicted| evicted >= 9 * LIMIT), "of those that flood");
        assert_eq!(places.by_prefix[&net(1)], 79);
        assert_eq!(places.taken.len(), LIMIT);
    }

    #[test]
    fn who_says_something_is_not_driven_out_by_who_does_not() {
        let mut places = flooded();
        let (honest, _) = places.enter(net(1), 10_000);
        places.had_turn(honest, true);
        for n in 0..10 * LIMIT {
            assert_ne!(places.enter(net(1), n).1, Some(10_000));
        }
        assert_eq!(places.leave(honest), Some(10_000));
    }

    #[test]
    fn who_has_had_no_turn_yet_stays_while_others_are_silent() {
        let mut places = Places::new(LIMIT);
        let (honest, _) = places.enter(net(1), 0);
        for n in 1..LIMIT {
            let (id, _) = places.enter(net(1), n);
            places.had_turn(id, false);
        }
        for n in 0..79 {
            assert_ne!(places.enter(net(1), LIMIT + n).1, Some(0));
        }
        assert!(places.new_ones() > 0);
        assert_eq!(places.leave(honest), Some(0));
    }

    #[test]
    fn among_equals_the_oldest_goes() {
        let mut places = Places::new(2);
        let (first, _) = places.enter(net(1), 1);
        let (second, _) = places.enter(net(2), 2);
        assert_eq!(places.enter(net(3), 3).1, Some(1));
        places.had_turn(second, true);
        assert_eq!(places.enter(net(4), 4).1, Some(3));
        assert_eq!(places.leave(first), None);
    }

    #[test]
    fn nothing_is_left_of_who_has_left() {
        let mut places = Places::new(LIMIT);
        let ids: Vec<PlaceId> = (0..LIMIT).map(|n| places.enter(net(n as u8), n).0).collect();
        for id in ids {
            places.leave(id);
        }
        assert!(places.taken.is_empty() && places.by_prefix.is_empty());
    }
}
