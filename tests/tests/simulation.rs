//! The simulator: that lives are good, that they are the same each time, that nothing depends on
//! what must not matter, and that what once went wrong does not again.
//!
//! `SIM_SEEDS=100000` lives more of them, `SIM_SEED=7` begins with another one; the command
//! `simulate` does so on all cores.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pointsub_tests::calls_sim::{self, Met, Planted};
use pointsub_tests::coverage::Situation;
use pointsub_tests::network;
use pointsub_tests::scenario::{Fault, LinkPlan, Op, Scenario, ServerPlan, shrink, source};
use pointsub_tests::sim::{self, Life, Options, Outcome, Plant, Seam};

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

fn live(name: &str, scenario: &Scenario, options: Options) -> Life {
    match sim::run(scenario, options) {
        Ok(life) => life,
        Err(failure) => panic!("{name} breaks {}: {}", failure.check, failure.message),
    }
}

#[test]
fn every_life_keeps_every_promise() {
    let (first, seeds) = (from_env("SIM_SEED", 0), from_env("SIM_SEEDS", 300));
    for seed in first..first + seeds {
        live(&format!("seed {seed}"), &Scenario::of_seed(seed), Options::default());
    }
}

#[test]
fn every_network_keeps_every_promise() {
    let lives = network::live_all(from_env("SIM_SEED", 0), from_env("SIM_SEEDS", 300), None);
    assert!(lives.is_good(), "{lives}");
}

/// Networks in which something was called broken once: a verdict of before a sleep that is told after it,
/// a doubt that a sleep does not end, and one that a clock that runs backwards brings on early.
#[test]
fn networks_that_once_broke_keep_every_promise() {
    for seed in [235_116_952_586_114, 235_116_952_588_769, 1_013_478] {
        assert_eq!(network::live(seed, false).broken, None, "seed {seed}");
    }
}

#[test]
fn all_calls_keep_every_promise() {
    let (first, seeds) = (from_env("SIM_SEED", 0), from_env("SIM_SEEDS", 300));
    let mut met = Met::default();
    for seed in first..first + seeds {
        match calls_sim::live(seed, None) {
            Ok(life) => met = met.and(life),
            Err(broken) => panic!("seed {seed}: {broken}"),
        }
    }
    println!("{met:?}");
    let Met { ok, failed, cancelled, messages, long, waited, expired, refused, .. } = met;
    let Met { late, resumed, moved, results, gave_up, .. } = met;
    let all = [ok, failed, cancelled, messages, long, waited, expired, refused];
    let all = all.into_iter().chain([late, resumed, moved, results, gave_up]);
    assert!(seeds < 100 || all.clone().all(|met| met > 0), "{met:?}");
}

#[test]
fn equal_seeds_give_equal_calls() {
    for seed in 0..20 {
        assert_eq!(calls_sim::live(seed, None), calls_sim::live(seed, None), "seed {seed}");
    }
}

#[test]
fn faults_in_calls_are_found() {
    sim::keep_panics_quiet();
    for fault in Planted::ALL {
        let found = (0..1000).find(|seed| calls_sim::live(*seed, Some(fault)).is_err());
        assert!(found.is_some(), "{fault:?} is not found in a thousand lives");
        println!("{fault:?}: seed {}", found.unwrap_or_default());
    }
}

#[test]
fn equal_seeds_give_equal_networks_in_one_process_and_in_two() {
    for seed in 1000..1010 {
        let life = network::live(seed, false);
        assert_eq!(life, network::live(seed, false), "seed {seed}");
        let other = Command::new(env!("CARGO_BIN_EXE_simulate"))
            .args(["--network", "--hash", "--seed", &seed.to_string()])
            .output()
            .expect("the command runs");
        let said = String::from_utf8_lossy(&other.stdout).into_owned();
        assert_eq!(said, format!("seed {seed}: trace {:016x}\n", life.hash));
    }
}

#[test]
fn equal_seeds_give_equal_lives_in_one_process_and_in_two() {
    for seed in 1000..1010 {
        let scenario = Scenario::of_seed(seed);
        let life = live("it", &scenario, Options::default());
        assert_eq!(life, live("it again", &scenario, Options::default()), "seed {seed}");
        let other = Command::new(env!("CARGO_BIN_EXE_simulate"))
            .args(["--hash", "--seed", &seed.to_string()])
            .output()
            .expect("the command runs");
        let said = String::from_utf8_lossy(&other.stdout).into_owned();
        assert_eq!(said, format!("seed {seed}: trace {:016x}\n", life.hash));
    }
}

#[test]
fn a_life_can_be_read() {
    let options = Options { timeline: true, ..Options::default() };
    let life = live("seed 7", &Scenario::of_seed(7), options);
    let text: Vec<String> = life.timeline.iter().map(ToString::to_string).collect();
    assert!(text.iter().any(|line| line.contains("client  opens stream 0 to peer")), "{text:#?}");
    assert!(text.iter().all(|line| line.contains(" ms  ") && !line.contains('{')));
    // Nobody lives differently for being watched.
    assert_eq!(life.hash, live("seed 7", &Scenario::of_seed(7), Options::default()).hash);
}

/// Where bytes are cut decides what is written together, so writing takes no time here; and what
/// is decided by how many bytes have come is left out.
fn without_byte_counts(mut scenario: Scenario) -> Scenario {
    for peer in &mut scenario.peers {
        // Whoever comes first at one instant finds the last place.
        let ServerPlan { read_timeout, write_timeout, cleanup_interval, .. } = peer.server;
        peer.server =
            ServerPlan { read_timeout, write_timeout, cleanup_interval, ..Default::default() };
        peer.link = LinkPlan { latency: 0, jitter: 0, piece: 0, window: 10_000_000 };
    }
    scenario.peers.retain(|peer| peer.kind.is_honest());
    if scenario.peers.is_empty() {
        scenario.peers.push(Default::default());
    }
    scenario.ops.retain(|(_, op)| !matches!(op, Op::Intrude { .. }));
    scenario.faults.retain(|(_, fault)| !matches!(fault, Fault::Reset { .. }));
    scenario
}

/// What happens at the same instant happens in no order.
fn by_number(life: &Life) -> Vec<Outcome> {
    let mut outcomes = life.outcomes.clone();
    outcomes.sort();
    outcomes
}

#[test]
fn it_does_not_matter_how_bytes_are_cut() {
    for seed in 2000..2080 {
        let scenario = without_byte_counts(Scenario::of_seed(seed));
        // How long a message is under way depends on how many there were before.
        let seamless = Options { seam: Seam::Never, ..Options::default() };
        let whole = live(&format!("seed {seed}"), &scenario, seamless);
        for recut in 0..2 {
            let options = Options { recut: Some(recut), ..seamless };
            let cut = live(&format!("seed {seed}, cut"), &scenario, options);
            let (cut, whole) = (by_number(&cut), by_number(&whole));
            let differs = cut.iter().zip(&whole).find(|(cut, whole)| cut != whole);
            assert_eq!(differs, None, "seed {seed}");
            assert_eq!(cut.len(), whole.len(), "seed {seed}");
        }
    }
}

#[test]
fn it_does_not_matter_how_often_time_is_told() {
    for seed in 3000..3100 {
        let mut scenario = Scenario::of_seed(seed);
        // What is overdue when a clock runs again is not told early by telling it more often.
        scenario.faults.retain(|(_, fault)| !matches!(fault, Fault::ClockStall { .. }));
        // How long a message is under way depends on how many there were before.
        let seamless = Options { seam: Seam::Never, ..Options::default() };
        let seldom = live(&format!("seed {seed}"), &scenario, seamless);
        let options = Options { extra_ticks: true, ..seamless };
        let often = live(&format!("seed {seed}, ticking"), &scenario, options);
        assert_eq!(often.hash, seldom.hash, "seed {seed}");
    }
}

/// Requests of patient callers to servers that have room, and no faults: all that can be said of
/// such a life before it is lived is that every request is answered.
fn calm(mut scenario: Scenario) -> Scenario {
    scenario.faults.clear();
    scenario.client = Default::default();
    for peer in &mut scenario.peers {
        if !peer.kind.is_honest() {
            *peer = Default::default();
        }
        peer.server = Default::default();
        (peer.slow, peer.failing) = (0, 0);
    }
    scenario.ops.retain(|(_, op)| matches!(op, Op::Send { .. } | Op::AddNode { .. }));
    for (_, op) in &mut scenario.ops {
        if let Op::Send { deadline_ms, cancel_ms, len, count, .. } = op {
            (*deadline_ms, *cancel_ms) = (None, None);
            // No crowd, or its connection may have too few streams.
            *count = (*count).min(12);
            // An answer is one byte longer.
            *len = (*len).min(99_999);
        }
    }
    scenario
}

#[test]
fn it_does_not_matter_what_is_told_at_once() {
    for seed in 4000..4100 {
        let mut scenario = calm(Scenario::of_seed(seed));
        let mut outcomes = [false, true].map(|batched| {
            scenario.batched = batched;
            // Behind a seam, connections may have few streams: then one that is idle makes room, and a
            // request of the plain format that is on its way to it is lost.
            let seamless = Options { seam: Seam::Never, ..Options::default() };
            live(&format!("seed {seed}"), &scenario, seamless).outcomes
        });
        // When each comes may differ, since what is told at once is written at once.
        for outcomes in &mut outcomes {
            outcomes.iter_mut().for_each(|outcome| outcome.at = 0);
            outcomes.sort();
        }
        let answered = |outcome: &Outcome| outcome.what.is_ok();
        assert!(outcomes[0].iter().all(answered), "seed {seed}: {:?}", outcomes[0]);
        assert_eq!(outcomes[0], outcomes[1], "seed {seed}");
    }
}

#[test]
fn seeds_are_spread_over_what_can_happen() {
    let all: Vec<Scenario> = (0..200).map(Scenario::of_seed).collect();
    let some = |what: &str, of: &dyn Fn(&Scenario) -> bool| {
        let count = all.iter().filter(|scenario| of(scenario)).count();
        assert!((10..=190).contains(&count), "{what} in {count} of 200 scenarios");
    };
    some("one peer", &|s| s.peers.len() == 1);
    some("four peers", &|s| s.peers.len() == 4);
    some("faults", &|s| !s.faults.is_empty());
    some("many faults", &|s| s.faults.len() > 10);
    some("many operations", &|s| s.ops.len() > 40);
    some("few operations", &|s| s.ops.len() < 20);
    some("batches", &|s| s.batched);
    some("no retries", &|s| s.client.max_retries == 0);
    some("a late last operation", &|s| s.ops.last().is_some_and(|(at, _)| *at > 1_000_000));
    some("strangers", &|s| s.ops.iter().any(|(_, op)| matches!(op, Op::Intrude { .. })));
    some("crashes", &|s| s.faults.iter().any(|(_, f)| matches!(f, Fault::Crash { .. })));
}

/// The names in a cell that are quoted in this way.
fn quoted(cell: &str, quote: char) -> impl Iterator<Item = &str> {
    cell.split(quote).skip(1).step_by(2)
}

/// ARCHITECTURE.md lists decisions: their files, tests and situations exist.
#[test]
fn every_decision_has_a_file_a_test_and_a_situation() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("it is there");
    let section = text.split("## Decisions").nth(1).expect("a section").split("\n## ").next();
    let rows: Vec<Vec<&str>> = section.into_iter().flat_map(str::lines).map(cells).collect();
    let rows: Vec<&Vec<&str>> = rows.iter().filter(|cells| cells.len() == 4).skip(2).collect();
    assert!(rows.len() > 15, "{rows:?}");
    let lives = Situation::ALL.iter().map(|situation| situation.name());
    let networks = network::Situation::ALL.iter().map(|(_, name)| *name);
    let known: Vec<&str> = lives.chain(networks).collect();
    for row in rows {
        let file = quoted(row[1], '`').next().expect("a file");
        assert!(root.join(file).exists(), "{file}");
        let (file, test) = quoted(row[2], '`')
            .next()
            .map(|t| t.split_once("::").unwrap_or((t, "")))
            .expect("a test");
        let tests = fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(tests.contains(&format!("fn {test}")), "{file} has no {test}");
        let mut situations = quoted(row[3], '"').peekable();
        assert!(situations.peek().is_some(), "{row:?}");
        situations.for_each(|name| assert!(known.contains(&name), "no situation is {name:?}"));
    }
}

fn cells(line: &str) -> Vec<&str> {
    let line = line.strip_prefix('|').and_then(|line| line.strip_suffix('|'));
    line.map_or_else(Vec::new, |line| line.split('|').map(str::trim).collect())
}

#[test]
fn what_fails_is_shrunk() {
    let two_big = |s: &Scenario| {
        let big = |op: &Op| matches!(op, Op::Send { len, .. } if *len > 100);
        s.ops.iter().filter(|(_, op)| big(op)).count() >= 2
    };
    let scenario = (0..).map(Scenario::of_seed).find(two_big).expect("there are some");
    let smallest = shrink(&scenario, Duration::from_secs(20), two_big);
    assert_eq!((smallest.ops.len(), smallest.faults.len(), smallest.peers.len()), (2, 0, 1));
    assert_eq!(smallest.client, Default::default());
}

/// Scenarios that once broke a property, as they were printed.
mod regressions {
    use pointsub_tests::scenario::literal::*;

    macro_rules! regressions {
        ($($name:ident)*) => {
            pub(super) fn all() -> Vec<(&'static str, Scenario, &'static str)> {
                vec![$((
                    stringify!($name),
                    include!(concat!("../regressions/", stringify!($name), ".rs")),
                    include_str!(concat!("../regressions/", stringify!($name), ".rs")),
                )),*]
            }
        };
    }

    regressions! {
        a_stream_that_makes_room_is_told_once
        half_closed_before_all_has_left
        given_up_as_it_opens
        refused_request_holds_nothing
        deadline_before_all_has_left
        asked_nothing_is_no_habit
        slot_of_a_closing_stream_is_used_again
        unasked_stream_is_closed
    }
}

#[test]
fn what_went_wrong_once_does_not_again() {
    for (name, scenario, _) in regressions::all() {
        live(name, &scenario, Options::default());
    }
}

#[test]
fn a_printed_scenario_is_source() {
    for (name, scenario, text) in regressions::all() {
        assert_eq!(source(&scenario), text, "{name}");
    }
}

#[test]
fn a_retired_connection_that_is_chosen_is_found() {
    let plant = Some(network::Plant::RetiredChosen);
    let found = (0..1000).find(|seed| network::live_with(*seed, false, plant).broken.is_some());
    println!("it is found in the network of seed {}", found.expect("in one of 1000 networks"));
}

/// The simulator would see it if the libp2p half passed messages between streams and the policy of
/// their node in the wrong way.
#[test]
fn faults_that_are_planted_in_the_seam_are_found() {
    sim::keep_panics_quiet();
    for plant in Plant::ALL {
        let options = Options { seam: Seam::Planted(plant), ..Options::default() };
        let found = (0..1000).find(|seed| sim::run(&Scenario::of_seed(*seed), options).is_err());
        let seed = found.unwrap_or_else(|| panic!("{} is not found in 1000 lives", plant.name()));
        println!("{} is found in the life of seed {seed}", plant.name());
    }
}
