//! See `swarm/src/discovery/lan/fuzz.rs`.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| pointsub_swarm::lan_packet(data));
