//! The task between the machine and the resolver.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::rdata::TXT;
use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use pointsub_core::network::Address;
use pointsub_core::network::dns::{
    Dns, DnsAnswer, DnsEntry, DnsFact, DnsName, DnsOrder, DnsOutcome, QueryId,
};

use super::list::DnsList;
use super::resolver::{Resolver, resolver};
use crate::clock::Clock;
use crate::discovery::finder::{Finder, FinderTask, Found};
use crate::node::addresses::multiaddr::{to_core, to_libp2p};
use crate::peer;
use crate::random::random;
use crate::timer::Timer;

type Answer = (QueryId, DnsName, Result<Lookup, NetError>);

/// Reads a list in the DNS.
pub(super) struct Task {
    finder: Finder,
    clock: Clock,
    list: DnsList,
    dns: Dns,
    /// While the list is read: afterwards, others may be to be asked.
    resolver: Option<Resolver>,
    queries: FuturesUnordered<BoxFuture<'static, Answer>>,
    timer: Timer,
    /// Whether the list was of use when it was read last.
    of_use: bool,
}

impl Task {
    pub(super) fn new(name: DnsName, list: DnsList, finder: Finder) -> Self {
        let clock = finder.clock();
        Self {
            dns: Dns::new(name, Some(peer::to_core(&finder.local_peer_id())), random()),
            resolver: None,
            queries: FuturesUnordered::new(),
            timer: Timer::new(clock.clone()),
            of_use: true,
            finder,
            clock,
            list,
        }
    }

    fn handle(&mut self, fact: DnsFact) {
        self.dns.handle(fact, self.clock.now());
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(order) = self.dns.poll_order() {
            match order {
                DnsOrder::Query(id, name) => self.ask(id, name),
                DnsOrder::Found { peer, addresses, ttl } => {
                    let found = Found::new(peer::to_libp2p(&peer)).lasting(ttl);
                    self.finder.found(found.at(addresses.iter().map(to_libp2p)));
                }
                DnsOrder::Lost(peer) => self.finder.lost(peer::to_libp2p(&peer), None),
                DnsOrder::Ended(outcome) => self.ended(outcome),
            }
        }
    }

    fn ask(&mut self, id: QueryId, name: DnsName) {
        if self.resolver.is_none() {
            match resolver(&self.list.servers, self.clock.clone()) {
                Ok(resolver) => self.resolver = Some(resolver),
                Err(error) => {
                    tracing::debug!(target: "pointsub::dns", %name, %error, "no resolver");
                    return self.dns.handle(DnsFact::Failed(id), self.clock.now());
                }
            }
        }
        let Some(resolver) = self.resolver.clone() else { return };
        self.queries.push(Box::pin(async move {
            let answer = resolver.txt_lookup(name.txt_name()).await;
            (id, name, answer)
        }));
    }

    fn answered(&mut self, (id, name, answer): Answer) {
        let fact = match answer {
            Ok(lookup) => DnsFact::Answered(id, self.read(&lookup)),
            Err(error) if error.is_no_records_found() => {
                tracing::debug!(target: "pointsub::dns", %name, %error, "no list");
                DnsFact::Answered(id, DnsAnswer::default())
            }
            Err(error) => {
                tracing::debug!(target: "pointsub::dns", %name, %error, "not answered");
                DnsFact::Failed(id)
            }
        };
        self.handle(fact);
    }

    fn read(&self, lookup: &Lookup) -> DnsAnswer {
        let ttl = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or_default();
        let texts = lookup.answers().iter().filter_map(|record| match &record.data {
            RData::TXT(text) => Some(text),
            _ => None,
        });
        let entries = texts.filter_map(|text| self.entry(text)).collect();
        DnsAnswer { ttl: Duration::from_secs(ttl.into()), entries }
    }

    /// What a record says, unless it names an address that is not to be dialled.
    fn entry(&self, text: &TXT) -> Option<DnsEntry<Address>> {
        let text = text.txt_data.concat();
        match DnsEntry::parse(&text)? {
            DnsEntry::Peer { peer, address } => {
                PeerId::from_bytes(peer.as_bytes()).ok()?;
                let address: Multiaddr = address.parse().ok()?;
                if !self.list.admits(&address) {
                    tracing::debug!(target: "pointsub::dns", %peer, %address, "not dialled");
                    return None;
                }
                Some(DnsEntry::Peer { peer, address: to_core(&address) })
            }
            DnsEntry::List { name, peer } => Some(DnsEntry::List { name, peer }),
        }
    }

    fn ended(&mut self, outcome: DnsOutcome) {
        self.queries.clear();
        self.resolver = None;
        let DnsOutcome { peers, queries, unanswered, cut, .. } = outcome;
        let (name, was_of_use) = (self.dns.name(), self.of_use);
        self.of_use = peers > 0;
        if was_of_use && !self.of_use {
            tracing::warn!(
                target: "pointsub::dns", %name, queries, unanswered, "nobody who is dialled is listed"
            );
        } else {
            tracing::debug!(target: "pointsub::dns", %name, queries, unanswered, peers, cut, "read");
        }
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        while let Poll::Ready(task) = this.finder.poll_task(cx) {
            match task {
                Some(FinderTask::LookUp(_)) => this.handle(DnsFact::LookUp),
                Some(_) => {}
                None => return Poll::Ready(()),
            }
        }
        while let Poll::Ready(Some(answer)) = this.queries.poll_next_unpin(cx) {
            this.answered(answer);
        }
        while this.timer.poll_due(this.dns.next_deadline(), cx) {
            this.handle(DnsFact::Tick);
        }
        Poll::Pending
    }
}
