//! The end-to-end tests on async-std: the files of `e2e`, with another `support`.

#[path = "../e2e/addresses.rs"]
mod addresses;
#[path = "../e2e/admission.rs"]
mod admission;
#[path = "../e2e/bodies.rs"]
mod bodies;
#[path = "../e2e/breaks.rs"]
mod breaks;
#[path = "../e2e/calls.rs"]
mod calls;
#[path = "../e2e/calls_closest.rs"]
mod calls_closest;
#[path = "../e2e/calls_endurance.rs"]
mod calls_endurance;
#[path = "../e2e/calls_resumption.rs"]
mod calls_resumption;
#[path = "../e2e/cancel.rs"]
mod cancel;
#[path = "../e2e/closest.rs"]
mod closest;
#[path = "../e2e/common.rs"]
mod common;
#[path = "../e2e/composed.rs"]
mod composed;
#[path = "../e2e/compression.rs"]
mod compression;
#[path = "../e2e/connecting.rs"]
mod connecting;
#[path = "../e2e/crash.rs"]
mod crash;
#[path = "../e2e/crowds.rs"]
mod crowds;
#[path = "../e2e/delivery.rs"]
mod delivery;
#[path = "../e2e/dialects.rs"]
mod dialects;
#[path = "../e2e/discovery.rs"]
mod discovery;
#[path = "../e2e/dns.rs"]
mod dns;
#[path = "../e2e/draining.rs"]
mod draining;
#[path = "../e2e/dropping.rs"]
mod dropping;
#[path = "../e2e/duplex.rs"]
mod duplex;
#[path = "../e2e/events.rs"]
mod events;
#[path = "../e2e/field.rs"]
mod field;
#[path = "../e2e/formats.rs"]
mod formats;
#[path = "../e2e/handlers.rs"]
mod handlers;
#[path = "../e2e/headers.rs"]
mod headers;
#[path = "../e2e/held_up.rs"]
mod held_up;
#[path = "../e2e/hostile.rs"]
mod hostile;
#[path = "../e2e/hostile_servers.rs"]
mod hostile_servers;
#[path = "../e2e/info.rs"]
mod info;
#[path = "../e2e/kademlia.rs"]
mod kademlia;
#[path = "../e2e/lan.rs"]
mod lan;
#[path = "../e2e/limits.rs"]
mod limits;
#[path = "../e2e/load.rs"]
mod load;
#[path = "../e2e/middleware.rs"]
mod middleware;
#[path = "../e2e/pointsub.rs"]
mod pointsub;
#[path = "../e2e/protocols.rs"]
mod protocols;
#[path = "../e2e/proxy/mod.rs"]
mod proxy;
#[path = "../e2e/raw.rs"]
mod raw;
#[path = "../e2e/registry.rs"]
mod registry;
#[path = "../e2e/registry_wire.rs"]
mod registry_wire;
#[path = "../e2e/relay.rs"]
mod relay;
#[path = "../e2e/retry.rs"]
mod retry;
#[path = "../e2e/security.rs"]
mod security;
#[path = "../e2e/services.rs"]
mod services;
#[path = "../e2e/services_answers.rs"]
mod services_answers;
#[path = "../e2e/services_layers.rs"]
mod services_layers;
#[path = "../e2e/services_versions.rs"]
mod services_versions;
#[path = "../e2e/serving.rs"]
mod serving;
#[path = "../e2e/silence.rs"]
mod silence;
#[path = "../e2e/slow_links.rs"]
mod slow_links;
#[path = "../e2e/steering.rs"]
mod steering;
#[path = "../e2e/stopping.rs"]
mod stopping;
#[path = "../e2e/streams.rs"]
mod streams;
mod support;
#[path = "../e2e/telemetry.rs"]
mod telemetry;
