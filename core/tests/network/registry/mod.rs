//! Registries: the table of one against a model, of what it tells and when, nodes that know several, and a crowd
//! that comes back to one that has ended.

mod crowd;
mod registries;
mod table;
mod turns;

use core::time::Duration;

use pointsub_core::endpoint::GroupId;
use pointsub_core::network::registry::{
    Announcement, Registry, RegistryEvent as Event, RegistryOrder, WatcherId,
};
use pointsub_core::{PeerId, ProtocolName, Timestamp};

const ECHO: ProtocolName = ProtocolName::from_static("/echo/1");
const SEARCH: ProtocolName = ProtocolName::from_static("/search/1");

fn peer(n: u32) -> PeerId {
    PeerId::from_bytes(&n.to_be_bytes()).expect("four bytes")
}

const fn network(n: u64) -> GroupId {
    GroupId::new(n)
}

fn millis(millis: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_millis(millis)
}

fn says(services: &[ProtocolName], record: u32) -> Announcement<u32> {
    Announcement { services: services.to_vec(), record, size: 4, may_be_late: false }
}

/// Takes all events of a watcher.
fn events(registry: &mut Registry<u32>, watcher: WatcherId) -> Vec<Event<u32>> {
    std::iter::from_fn(|| registry.next_event(watcher)).collect()
}

fn orders(registry: &mut Registry<u32>) -> Vec<RegistryOrder> {
    std::iter::from_fn(|| registry.poll_order()).collect()
}

/// Lets time pass until nothing waits any more: until when.
fn settle(registry: &mut Registry<u32>) -> Timestamp {
    let mut now = Timestamp::ZERO;
    while let Some(due) = registry.next_deadline() {
        now = due;
        registry.tick(now);
    }
    now
}

/// Pseudorandom numbers (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % end
    }
}
