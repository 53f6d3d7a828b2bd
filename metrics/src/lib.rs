#![doc = include_str!("instruments.md")]
#![cfg_attr(
    not(any(feature = "prometheus", feature = "opentelemetry")),
    allow(dead_code, reason = "the recorders use it")
)]

mod instrument;
mod readings;
mod table;

#[cfg(feature = "opentelemetry")]
pub mod opentelemetry;
#[cfg(feature = "prometheus")]
pub mod prometheus;
