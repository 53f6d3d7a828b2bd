//! Many simulated lives, each from one seed. `SIM_SEEDS=100000` runs more of them, `SIM_SEED=7`
//! begins with another one.

use pointsub_tests::sim;

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

#[test]
fn every_life_keeps_every_promise() {
    let (first, seeds) = (from_env("SIM_SEED", 0), from_env("SIM_SEEDS", 500));
    let mut sum = sim::Summary::default();
    for seed in first..first + seeds {
        let summary = sim::run(seed);
        sum.ok += summary.ok;
        sum.failed += summary.failed;
        sum.cancelled += summary.cancelled;
        sum.opens += summary.opens;
        sum.closest += summary.closest;
        sum.more_nodes += summary.more_nodes;
        sum.raws += summary.raws;
    }
    println!("{seeds} lives: {sum:?}");
    if seeds >= 100 {
        let calls = [sum.ok, sum.failed, sum.cancelled, sum.closest, sum.more_nodes];
        let events = calls.into_iter().chain([sum.opens, sum.raws]);
        assert!({ events }.all(|count| count > 0), "lives without events: {sum:?}");
    }
}

#[test]
fn equal_seeds_give_equal_lives() {
    for seed in 1000..1020 {
        assert_eq!(sim::run(seed), sim::run(seed), "seed {seed}");
    }
}
