//! Tests of the core that need more than one of its parts.
#![forbid(unsafe_code)]

pub mod fuzz;
pub mod sim;
