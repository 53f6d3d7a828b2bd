//! What is drawn at random.

use std::time::Duration;

use crate::sim::Rng;

/// A number from 0 to 1, 0 excluded.
#[must_use]
pub fn unit(rng: &mut Rng) -> f64 {
    ((rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
}

/// A time between two events of a Poisson process with so many a second, in nanoseconds.
#[must_use]
pub fn exponential(rng: &mut Rng, rate: f64) -> u64 {
    (-unit(rng).ln() / rate * 1e9).min(1e18) as u64
}

/// A lognormally distributed time, in nanoseconds.
#[must_use]
pub fn lognormal(rng: &mut Rng, mean: Duration, sigma: f64) -> u64 {
    let (radius, angle) = (unit(rng), unit(rng));
    let normal = (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos();
    (mean.as_nanos() as f64 * (sigma * normal - sigma * sigma / 2.0).exp()) as u64
}
