//! When whoever watches is told of changes, and of how many: servers that change all the time cost little.

use std::collections::BTreeMap;

use pointsub_core::Timestamp;
use pointsub_core::network::registry::{
    Announcement, EntryId, Registry, RegistryEvent as Event, RegistryLimits, RegistryOrder,
    RegistryRefusal, WatcherId,
};

use super::{ECHO, SEARCH, events, millis, network, orders, peer, says, settle};

const START: Timestamp = Timestamp::ZERO;

fn watching(limits: RegistryLimits) -> (Registry<u32>, WatcherId) {
    let mut registry = Registry::new(limits);
    let watcher = registry.watch(peer(1_000_000), network(1), ECHO).expect("it may");
    assert_eq!(events(&mut registry, watcher), [Event::Begin, Event::Complete]);
    (registry, watcher)
}

fn announce(registry: &mut Registry<u32>, n: u32, of: u64, now: Timestamp) -> EntryId {
    registry.announce(peer(n), network(of), says(&[ECHO], n), now).expect("there is room")
}

#[test]
fn a_slow_watcher_gets_the_newest_state_once() {
    let (mut registry, watcher) = watching(RegistryLimits::new().with_history(3));
    let entry = announce(&mut registry, 1, 1, START);
    for record in 2..1000 {
        registry.update(entry, says(&[ECHO], record), START).expect("it is there");
    }
    settle(&mut registry);
    assert_eq!(orders(&mut registry), [RegistryOrder::Wake(watcher)], "it is woken once");
    assert_eq!(events(&mut registry, watcher), [Event::Here(peer(1), 999)]);
    for n in 2..100 {
        announce(&mut registry, n, 1, START);
    }
    settle(&mut registry);
    let told = events(&mut registry, watcher);
    assert_eq!(told.len(), 98, "what is listed is never forgotten");
    let other = registry.watch(peer(98), network(1), ECHO).expect("it may");
    events(&mut registry, other);
    let gone = announce(&mut registry, 500, 1, START);
    settle(&mut registry);
    events(&mut registry, watcher);
    registry.withdraw(gone, millis(60_000));
    assert_eq!(events(&mut registry, watcher), [Event::Gone(peer(500))]);
    for n in 600..604 {
        let now = settle(&mut registry);
        let gone = announce(&mut registry, n, 2, now);
        settle(&mut registry);
        registry.withdraw(gone, now);
    }
    assert_eq!(events(&mut registry, watcher).len(), 101, "four have gone, and three are known");
    assert_eq!(events(&mut registry, watcher), []);
}

/// Nobody who changes all the time keeps a watcher from ever hearing the end.
#[test]
fn a_table_that_is_told_is_told_to_its_end() {
    let (mut registry, watcher) = watching(RegistryLimits::new().with_history(1));
    let mut now = START;
    for n in 1..=20 {
        announce(&mut registry, n, u64::from(n), now);
    }
    settle(&mut registry);
    let mut told = Vec::new();
    for n in 0..200 {
        now = now + core::time::Duration::from_secs(1);
        let entry = announce(&mut registry, 100 + n % 3, 7, now);
        registry.tick(now + core::time::Duration::from_millis(200));
        registry.withdraw(entry, now + core::time::Duration::from_millis(400));
        told.extend(registry.next_event(watcher));
    }
    let ends = told.iter().filter(|event| **event == Event::Complete).count();
    assert!(ends >= 3, "{ends} of {}", told.len());
}

#[test]
fn changes_are_told_at_once_after_a_quiet_time_and_then_together() {
    let (mut registry, watcher) = watching(RegistryLimits::new());
    let entry = announce(&mut registry, 1, 1, START);
    assert_eq!(events(&mut registry, watcher), [Event::Here(peer(1), 1)]);
    for at in 1..100 {
        registry.update(entry, says(&[ECHO], 100 + at as u32), millis(at)).expect("it is there");
    }
    announce(&mut registry, 2, 2, millis(99));
    assert_eq!(events(&mut registry, watcher), []);
    assert_eq!(registry.next_deadline(), Some(millis(100)));
    registry.tick(millis(100));
    let both = [Event::Here(peer(1), 199), Event::Here(peer(2), 2)];
    assert_eq!(events(&mut registry, watcher), both);
    // That one has gone waits for no turn.
    registry.withdraw(entry, millis(150));
    assert_eq!(events(&mut registry, watcher), [Event::Gone(peer(1))]);
    registry.tick(millis(200));
    assert_eq!(registry.next_deadline(), None);
}

/// How many events a watcher gets in a minute of servers that change as often as they can, after the first
/// minute, and how long an honest server of another network waits.
fn flapping(networks: u64, of_each: u32) -> (usize, u64) {
    let (mut registry, watcher) = watching(RegistryLimits::new());
    let mut entries = BTreeMap::new();
    let (mut told, mut longest, mut honest) = (0, 0, None);
    for tenth in 0..1200_u64 {
        let now = millis(tenth * 100);
        for n in 0..of_each * networks as u32 {
            let (id, of) = (10 + n, u64::from(n) % networks + 10);
            match entries.remove(&id) {
                Some(entry) if tenth % 2 == 0 => registry.withdraw(entry, now),
                Some(entry) => {
                    let says = says(&[ECHO], tenth as u32);
                    registry.update(entry, says, now).expect("it is there");
                    entries.insert(id, entry);
                }
                None => _ = entries.insert(id, announce(&mut registry, id, of, now)),
            }
        }
        // An honest server comes every few seconds, and goes when it has been seen.
        let (since, entry) =
            *honest.get_or_insert_with(|| (tenth, announce(&mut registry, 1, 1, now)));
        let news = events(&mut registry, watcher);
        let seen = news.iter().any(|event| matches!(event, Event::Here(of, _) if *of == peer(1)));
        if seen {
            longest = longest.max(tenth - since);
        } else {
            assert!(tenth - since < 100 || tenth % 50 != 49, "it is told of within 10 s");
        }
        if tenth % 50 == 49 {
            registry.withdraw(entry, now);
            honest = None;
        }
        told += if tenth < 600 { 0 } else { news.len() };
    }
    (told, longest)
}

#[test]
fn servers_that_change_all_the_time_cost_a_watcher_little() {
    let (one, longest) = flapping(1, 1);
    // It gets 8 turns in a second, and may go after each; beside it the honest one comes and goes.
    assert!((100..=60 * 8 * 2 + 30).contains(&one), "{one} events");
    assert!(longest <= 1, "{longest} tenths of a second");
    let (network, longest) = flapping(1, 100);
    assert!((100..=60 * 8 * 2 + 30).contains(&network), "{network} events");
    assert!(longest <= 1, "{longest} tenths of a second");
    let (many, longest) = flapping(64, 2);
    assert!((1000..=60 * 64 * 2 + 30).contains(&many), "{many} events");
    // One turn of each of 64 networks takes a second.
    assert!(longest <= 11, "{longest} tenths of a second");
}

#[test]
fn what_may_be_late_comes_after_all_else() {
    let limits = RegistryLimits::new().with_changes(4).with_changes_per_network(1);
    let (mut registry, watcher) = watching(limits);
    let entry = announce(&mut registry, 1, 1, START);
    let (mut now, mut told) = (START, 0);
    // Half of its allowance goes for how much it has to do.
    for record in 0..300 {
        now = now + core::time::Duration::from_millis(100);
        let load = Announcement { may_be_late: true, ..says(&[ECHO], record) };
        registry.update(entry, load, now).expect("it is there");
        told += events(&mut registry, watcher).len();
    }
    assert!((30..70).contains(&told), "{told}");
    announce(&mut registry, 2, 1, now);
    registry.tick(now + core::time::Duration::from_millis(100));
    let news = events(&mut registry, watcher);
    assert!(news.contains(&Event::Here(peer(2), 2)), "{news:?}");
    let moved = says(&[ECHO, SEARCH], 999);
    registry.update(entry, moved, now).expect("it is there");
    registry.tick(now + core::time::Duration::from_millis(200));
    assert_eq!(events(&mut registry, watcher), [Event::Here(peer(1), 999)]);
}

#[test]
fn names_without_end_take_no_more_than_the_memory_of_a_network() {
    let limits = RegistryLimits::new().with_memory(100_000).with_memory_per_network(30_000);
    let mut registry = Registry::new(limits);
    let names = |from: u32| -> Vec<_> {
        let names = (from..from + 20).map(|n| format!("/{n:040}"));
        names.map(|name| pointsub_core::ProtocolName::new(&name).expect("a name")).collect()
    };
    let mut fits = 0;
    for n in 0..100 {
        let listed = registry.announce(peer(n), network(1), says(&names(n * 20), n), START);
        match listed {
            Ok(_) => fits += 1,
            Err(error) => assert_eq!(error, RegistryRefusal::NoMemory { limit: 30_000 }),
        }
    }
    assert_eq!((fits, registry.memory() <= 30_000), (3, true));
    for n in 100..200 {
        let _listed = registry.announce(peer(n), network(u64::from(n)), says(&names(n), n), START);
        assert!(registry.memory() <= 100_000);
    }
    let small = registry.announce(peer(300), network(300), says(&[ECHO], 0), START);
    small.expect("one that says little takes the place of one that says much");
    let ended =
        orders(&mut registry).into_iter().filter(|order| matches!(order, RegistryOrder::End(..)));
    assert!(ended.count() > 0);
}
