//! Bodies of requests and where they lie, hashed once.

use bytes::Bytes;
use pointsub_core::endpoint::closest::Point;

use crate::sim::Rng;

/// How many different bodies there are.
const COUNT: u64 = 4096;

/// The bodies that callers send.
#[derive(Debug)]
pub(super) struct Keys(Vec<(Point, Bytes)>);

impl Keys {
    pub(super) fn new() -> Self {
        let body = |n: u64| Bytes::copy_from_slice(&[n.to_le_bytes(), n.to_be_bytes()].concat());
        Self((0..COUNT).map(body).map(|body| (Point::of_key(&body), body)).collect())
    }

    /// One of them.
    pub(super) fn draw(&self, rng: &mut Rng) -> (Point, Bytes) {
        self.0[rng.below(COUNT) as usize].clone()
    }
}
