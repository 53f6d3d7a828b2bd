//! The seam between the planes: machines of streams and the policy of their node exchange messages,
//! which the libp2p half passes on at once or a little later.
//!
//! In half of the lives they wait in a mailbox for a moment. Messages of one stream keep their order,
//! messages of different streams overtake each other, and streams are cut while messages are under way.

pub(super) mod client;
mod mailbox;
mod plant;
pub(super) mod server;

pub use client::Parts;
pub use plant::Plant;
pub use server::ServerParts;

pub(super) use mailbox::{Delays, Mailbox};

use super::Rng;

/// What decides about the seam of a client, apart from all else.
const CLIENT: u64 = 0x5ea3_c11e;
/// The same of a server.
const SERVER: u64 = 0x5ea3_5e2e;

/// How the client and the servers of a life are composed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Seam {
    /// With a seam in half of the cases; the seed decides.
    #[default]
    BySeed,
    /// As whole machines, in which no message is under way.
    Never,
    /// With a seam on one side, at which messages go astray as the checkers must find.
    Planted(Plant),
}

impl Seam {
    /// Whether there is a seam in the client, and what goes astray there.
    pub(super) fn of_client(self, seed: u64) -> Option<Faults> {
        self.at(Rng::of(seed, &[CLIENT]), Plant::is_at_client)
    }

    /// The same in a life of the server of a peer.
    pub(super) fn of_server(self, seed: u64, peer: usize, life: u64) -> Option<Faults> {
        self.at(Rng::of(seed, &[SERVER, peer as u64, life]), Plant::is_at_server)
    }

    fn at(self, mut by_seed: Rng, is_here: fn(Plant) -> bool) -> Option<Faults> {
        match self {
            Self::Planted(plant) if is_here(plant) => Some(Faults(Some(plant))),
            Self::BySeed | Self::Planted(_) => by_seed.chance(50).then_some(Faults(None)),
            Self::Never => None,
        }
    }
}

/// What goes astray at a seam.
#[derive(Debug, Clone, Copy)]
pub(super) struct Faults(Option<Plant>);

impl Faults {
    /// Whether a message goes astray in this way now.
    fn strike(self, plant: Plant, rng: &mut Rng) -> bool {
        /// In so many percent of the cases.
        const STRIKES: u64 = 20;
        self.0 == Some(plant) && rng.chance(STRIKES)
    }
}
