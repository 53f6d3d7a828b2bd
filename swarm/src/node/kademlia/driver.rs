//! Carries out what the machine of the core orders.

use libp2p_core::{Endpoint, Multiaddr};
use libp2p_identity::PeerId;
use libp2p_kad::{Event, GetProvidersOk, InboundRequest, QueryResult, QueryStats, RecordKey};
use libp2p_swarm::dial_opts::DialOpts;
use libp2p_swarm::{ConnectionId, NetworkBehaviour, ToSwarm};
use pointsub_core::network::kademlia::{
    KademliaFact, KademliaOrder, Provider, QueryId, ServiceKey,
};

use super::behaviour::Table;
use super::options::named;
use crate::discovery::{FinderTask, Found};
use crate::node::addresses::multiaddr::{of_peer, to_libp2p};
use crate::node::stored::addresses::unix_time;
use crate::peer;

impl Table {
    pub(super) fn tell(&mut self, fact: KademliaFact) {
        self.machine.handle(fact, self.clock.now(), unix_time());
        while let Some(order) = self.machine.poll_order() {
            self.carry_out(order);
        }
    }

    pub(super) fn on_task(&mut self, task: FinderTask) {
        match task {
            FinderTask::LookUp(protocol) => self.tell(KademliaFact::LookUp(protocol)),
            FinderTask::Forget(protocol) => self.tell(KademliaFact::Forget(protocol)),
            FinderTask::Changed => self.tell(KademliaFact::Serves(self.finder.served())),
        }
    }

    fn carry_out(&mut self, order: KademliaOrder) {
        match order {
            KademliaOrder::Join => self.join(),
            KademliaOrder::Announce(id, key) => match self.kad.start_providing(record_key(key)) {
                Ok(query) => _ = self.queries.insert(query, id),
                // Its store takes whatever this node serves.
                Err(error) => tracing::warn!(target: "pointsub::kademlia", %error, "not announced"),
            },
            KademliaOrder::Withdraw(key) => self.kad.stop_providing(&record_key(key)),
            KademliaOrder::Find(id, key) => {
                let query = self.kad.get_providers(record_key(key));
                self.queries.insert(query, id);
            }
            KademliaOrder::Stop(id) => {
                let of_it =
                    self.queries.iter().find(|(_, one)| **one == id).map(|(query, _)| *query);
                if let Some(query) = of_it {
                    self.queries.remove(&query);
                    if let Some(mut query) = self.kad.query_mut(&query) {
                        query.finish();
                    }
                }
            }
            KademliaOrder::Found { peer, service, addresses, ttl } => {
                let found = Found::new(peer::to_libp2p(&peer)).serving(&service).lasting(ttl);
                self.finder.found(found.at(addresses.iter().map(to_libp2p)));
            }
        }
    }

    /// Dials those who are known from the beginning and are not connected.
    fn join(&mut self) {
        let joined = self.machine.is_joined();
        for address in &self.options.bootstrap {
            let opts = match named(address) {
                Some(peer) if self.remotes.contains_key(&peer) || peer == self.local => continue,
                Some(peer) => DialOpts::peer_id(peer).addresses(vec![address.clone()]).build(),
                None if joined => continue,
                None => DialOpts::unknown_peer_id().address(address.clone()).build(),
            };
            self.dials.insert(opts.connection_id());
            self.events.push_back(ToSwarm::Dial { opts });
        }
        if !joined {
            self.rejoined = self.any_connected();
        }
    }

    pub(super) fn on_event(&mut self, event: Event) {
        match event {
            Event::OutboundQueryProgressed { id, result, stats, .. } => {
                let Some(query) = self.queries.get(&id).copied() else { return };
                match result {
                    QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders {
                        providers,
                        ..
                    })) => {
                        let providers = providers.into_iter().map(|peer| self.provider(peer));
                        let providers = providers.collect();
                        self.tell(KademliaFact::Answered(query, providers));
                    }
                    QueryResult::GetProviders(_) | QueryResult::StartProviding(_) => {
                        self.queries.remove(&id);
                        self.ended(query, &stats);
                    }
                    _ => {}
                }
            }
            Event::InboundRequest {
                request: InboundRequest::AddProvider { record: Some(record) },
            } => {
                if let Some((remote, _)) = self.remotes.get(&record.provider).cloned() {
                    self.kad.store_mut().list(&record, &remote);
                }
            }
            Event::RoutingUpdated { peer, .. } if self.remotes.contains_key(&peer) => {
                self.tell(KademliaFact::Joined);
            }
            _ => {}
        }
    }

    fn ended(&mut self, query: QueryId, stats: &QueryStats) {
        let answers = stats.num_successes();
        let (asked, failed) = (stats.num_requests(), stats.num_failures());
        tracing::debug!(target: "pointsub::kademlia", ?query, asked, answers, failed, "a query has ended");
        self.tell(KademliaFact::Ended(query, answers as usize));
    }

    /// Somebody who is listed, with the addresses that are known of it as long as the query is under way.
    fn provider(&mut self, peer: PeerId) -> Provider {
        let (id, role) = (ConnectionId::new_unchecked(0), Endpoint::Dialer);
        let known = self.kad.handle_pending_outbound_connection(id, Some(peer), &[], role);
        let known = known.unwrap_or_default().into_iter();
        let admitted = known.filter(|address| self.options.admits(address));
        let addresses = admitted.filter_map(|address| of_peer(&peer, &address)).collect();
        Provider { peer: peer::to_core(&peer), addresses }
    }

    /// What members say of where a peer is, as far as it is dialled.
    pub(super) fn admitted(&self, addresses: Vec<Multiaddr>) -> Vec<Multiaddr> {
        addresses.into_iter().filter(|address| self.options.admits(address)).collect()
    }

    /// Whoever has not said so again is not listed any more.
    pub(super) fn expire(&mut self) {
        let now = self.clock.now();
        self.kad.store_mut().providers.expire(now);
    }
}

fn record_key(key: ServiceKey) -> RecordKey {
    key.to_bytes().to_vec().into()
}
