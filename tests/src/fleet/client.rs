//! A client of the fleet: the real machine, and its callers.

use std::collections::HashMap;

use pointsub_core::endpoint::closest::{PeakEwma, Weighted, XorOrder};
use pointsub_core::{
    Client, ClientConfig, ClosestId, ProtocolName, RequestId, StreamId, Timestamp,
};
use slotmap::SecondaryMap;

use crate::sim::Rng;

use super::event::{Ask, LinkKey};
use super::reference::Reference;
use super::server::{PROTOCOL, peer_of_client, peer_of_server};
use super::setup::{Choice, Setup};
use super::timer::Timer;

#[derive(Debug)]
pub(super) struct SimClient {
    pub(super) machine: Client,
    pub(super) links: SecondaryMap<StreamId, LinkKey>,
    /// Calls to the closest node.
    pub(super) calls: SecondaryMap<ClosestId, Call>,
    /// Calls of a reference, and requests of hostile clients.
    pub(super) requests: HashMap<RequestId, Call>,
    pub(super) timer: Timer,
    pub(super) rng: Rng,
    pub(super) reference: Option<Reference>,
    pub(super) hostile: bool,
}

/// A call without an outcome.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) ask: Ask,
    /// When it began.
    pub(super) began: u64,
    /// Which server was asked, for a reference.
    pub(super) server: u32,
}

impl SimClient {
    pub(super) fn new(number: usize, setup: &Setup) -> Self {
        let seed = Rng::of(setup.seed, &[1, number as u64]).next_u64();
        let mut rng = Rng::new(seed);
        let mut config: ClientConfig = setup.client.clone();
        if setup.choice.is_reference() {
            config = config.with_max_retries(0);
        }
        let local = peer_of_client(number);
        let mut machine = Client::new(config, Some(local), rng.next_u64()).expect("valid options");
        match setup.choice {
            Choice::Xor => machine.set_strategy(XorOrder),
            Choice::Weighted => machine.set_strategy(Weighted::default()),
            Choice::TwoChoices => machine.set_strategy(PeakEwma),
            Choice::Default
            | Choice::OneServer
            | Choice::ReferenceTwoChoices
            | Choice::ReferenceRoundRobin => {}
        }
        let protocol = ProtocolName::new(PROTOCOL).expect("a usable name");
        for server in 0..setup.servers {
            let peer = peer_of_server(server);
            _ = machine.add_server_node(&protocol, peer, Timestamp::ZERO).expect("few nodes");
        }
        let reference = setup
            .choice
            .is_reference()
            .then(|| Reference::new(setup.choice, setup.servers, Rng::new(rng.next_u64())));
        Self {
            machine,
            links: SecondaryMap::new(),
            calls: SecondaryMap::new(),
            requests: HashMap::new(),
            timer: Timer::default(),
            rng,
            reference,
            hostile: number < setup.hostile,
        }
    }

    /// Calls without an outcome.
    pub(super) fn open_calls(&self) -> usize {
        self.calls.len() + self.requests.len()
    }
}
