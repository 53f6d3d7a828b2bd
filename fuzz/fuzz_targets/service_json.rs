//! See `pointsub_tests::fuzz::service_json`.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| pointsub_tests::fuzz::service_json(data));
