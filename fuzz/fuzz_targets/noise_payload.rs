//! See `swarm/src/transport/security/noise/fuzz.rs`.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| pointsub_swarm::noise_payload(data));
