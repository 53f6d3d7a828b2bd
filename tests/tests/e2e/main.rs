//! Whole nodes talk over loopback sockets: the library from its public API down to the wire, with
//! peers of its own kind, with peers that speak the plain format by hand, and with hostile ones.
//!
//! Only `support` names a runtime. To run everything on another one, write a second `support` and
//! include the other modules with `#[path]`.

mod addresses;
mod admission;
mod bodies;
mod breaks;
mod calls;
mod calls_closest;
mod calls_endurance;
mod calls_resumption;
mod cancel;
mod closest;
mod common;
mod composed;
mod compression;
mod connecting;
mod crash;
mod crowds;
mod delivery;
mod dialects;
mod discovery;
mod dns;
mod draining;
mod dropping;
mod duplex;
mod events;
mod field;
mod formats;
mod handlers;
mod headers;
mod held_up;
mod hostile;
mod hostile_servers;
mod info;
mod kademlia;
mod lan;
mod limits;
mod load;
mod middleware;
mod pointsub;
mod protocols;
mod proxy;
mod raw;
mod registry;
mod registry_wire;
mod relay;
mod retry;
mod security;
mod services;
mod services_answers;
mod services_layers;
mod services_versions;
mod serving;
mod silence;
mod slow_links;
mod steering;
mod stopping;
mod streams;
mod support;
mod telemetry;
