//! Nodes for calls to the closest of them.

use std::time::Duration;

use bytes::Bytes;
use pointsub_core::endpoint::Offer;
use pointsub_core::endpoint::closest::{Distance, XorOrder};
use pointsub_core::{
    ClientConfig, ClosestAnswer, ClosestFailure, ClosestOptions, Format, Hedge, NodeOutcome,
    NodeTry, PeerId, StreamError, StreamId,
};

use super::{ClientScript, PROTOCOL, id, peer, request};

pub(crate) fn any() -> ClosestOptions {
    ClosestOptions::default()
}

/// A client that knows nodes 1 to `count` and orders them by distance.
pub(crate) fn farm(config: ClientConfig, count: u8) -> ClientScript {
    let mut c = ClientScript::new(config);
    c.client.set_strategy(XorOrder);
    (1..=count).for_each(|n| assert_eq!(c.add_node(n), Ok(true)));
    c
}

/// Nodes 1 to `count`, closest to `key` first.
pub(crate) fn order(key: &str, count: u8) -> Vec<u8> {
    let mut nodes: Vec<u8> = (1..=count).collect();
    nodes.sort_by_key(|n| Distance::between(key.as_bytes(), &peer(*n)));
    nodes
}

/// A node is asked for the first time.
#[track_caller]
pub(crate) fn asked(c: &mut ClientScript, n: u8, body: &'static str) -> StreamId {
    let stream = c.expect_open_to(n, PROTOCOL, Offer::Both);
    c.opened(stream, Format::Native);
    c.expect_sent(stream, [c.settings(), request(id(1, 0), body)]);
    stream
}

pub(crate) fn unreachable() -> StreamError {
    StreamError::Unreachable("no route".into())
}

/// Whom a call asked, and what came of it.
pub(crate) fn trail(attempts: &[NodeTry]) -> Vec<(PeerId, &'static str)> {
    let what = |outcome: &NodeOutcome| match outcome {
        NodeOutcome::Answered => "answered",
        NodeOutcome::Failed(_) => "failed",
        NodeOutcome::Cancelled => "cancelled",
        _ => "something else",
    };
    attempts.iter().map(|attempt| (attempt.node, what(&attempt.outcome))).collect()
}

#[track_caller]
pub(crate) fn expect_answer(
    outcome: Result<ClosestAnswer, ClosestFailure>,
    node: u8,
    body: &'static str,
) -> ClosestAnswer {
    let answer = outcome.expect("an answer");
    assert_eq!(answer.node, peer(node));
    assert_eq!(answer.payload.clone().into_bytes(), Ok(Bytes::from(body)));
    answer
}

/// One more node after each so many milliseconds.
pub(crate) fn hedged(millis: u64) -> ClosestOptions {
    any().with_hedge(Hedge::after(Duration::from_millis(millis)))
}
