//! Faults planted between the machine and the world, as if a policy of the machine had them. A simulator
//! that does not find them would not find those of the machine either.

use pointsub_core::network::{Act, Fact, Order, Source};

use super::world::World;

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// Streams are opened on a connection that is retired, if there is one.
    UseRetired,
    /// A connection that is taken into use again stays retired.
    NeverResume,
    /// Connections whose peers are silent are not ended.
    NeverAbort,
    /// A connection is suspect as soon as somebody doubts it.
    HastySuspect,
    /// Of too many connections, one at work has to go.
    TrimBusy,
    /// Somebody who is connected is not told.
    LoseOutcome,
    /// Somebody who is connected is told twice.
    RepeatOutcome,
    /// Nobody waits for the probe: whoever asks is connected.
    TrustCorpses,
    /// A dial that has failed goes on for the machine.
    ForgetFailure,
    /// An address that the application names is not kept.
    ForgetAddress,
    /// Dials that are given up are not counted although they go on.
    NoBudget,
    /// Time stands still for the machine.
    StopClock,
    /// Nobody counts what is on its way before a probe.
    IgnoreQueued,
    /// Streams are opened on a connection that was told to end, if there is one.
    UseEnding,
}

impl Planted {
    /// All of them, each with its name.
    pub const ALL: &[(Self, &str)] = &[
        (Self::UseRetired, "use-retired"),
        (Self::NeverResume, "never-resume"),
        (Self::NeverAbort, "never-abort"),
        (Self::HastySuspect, "hasty-suspect"),
        (Self::TrimBusy, "trim-busy"),
        (Self::LoseOutcome, "lose-outcome"),
        (Self::RepeatOutcome, "repeat-outcome"),
        (Self::TrustCorpses, "trust-corpses"),
        (Self::ForgetFailure, "forget-failure"),
        (Self::ForgetAddress, "forget-address"),
        (Self::NoBudget, "no-budget"),
        (Self::StopClock, "stop-clock"),
        (Self::IgnoreQueued, "ignore-queued"),
        (Self::UseEnding, "use-ending"),
    ];

    /// The fault of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, other)| *other == name).map(|(planted, _)| *planted)
    }

    /// What the world sees in place of an order.
    pub(super) fn order(self, order: Order<u32>, world: &World) -> Vec<Order<u32>> {
        match (self, order) {
            (
                Self::UseRetired | Self::UseEnding,
                Order::Connection(peer, key, act @ Act::Open { .. }),
            ) => {
                let ending = self == Self::UseEnding;
                let of = world.number(&peer);
                let retired = world.connections.iter().find(|(_, one)| {
                    let as_said =
                        matches!(act, Act::Open { relayed, .. } if relayed == one.relayed);
                    let used = if ending { one.ending } else { one.retired };
                    one.peer == of && used && as_said
                });
                vec![Order::Connection(peer, retired.map_or(key, |(key, _)| *key), act)]
            }
            (Self::NeverResume, Order::Connection(_, _, Act::Resume))
            | (Self::NeverAbort, Order::Connection(_, _, Act::Abort))
            | (Self::LoseOutcome, Order::Connected(..)) => Vec::new(),
            (Self::RepeatOutcome, order @ Order::Connected(..)) => vec![order.clone(), order],
            (Self::TrimBusy, Order::Connection(peer, key, Act::Close)) => {
                let of = world.number(&peer);
                let busy = world.connections.iter().find(|(_, one)| one.peer == of && one.due > 0);
                vec![Order::Connection(peer, busy.map_or(key, |(key, _)| *key), Act::Close)]
            }
            (_, order) => vec![order],
        }
    }

    /// What the machine is told in place of a fact.
    pub(super) fn fact(self, fact: Fact<u32>) -> Fact<u32> {
        match (self, fact) {
            (Self::ForgetFailure, Fact::DialFailed(..))
            | (Self::ForgetAddress, Fact::Named(_, _, Source::Application)) => Fact::Tick,
            (_, fact) => fact,
        }
    }
}
