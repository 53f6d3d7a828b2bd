//! Tests of the core that need more than one of its parts: the simulator and the bodies of the
//! fuzz targets.

pub mod calls_sim;
pub mod check;
pub mod coverage;
pub mod fleet;
pub mod fuzz;
pub mod hunt;
pub mod network;
pub mod pair;
pub mod scenario;
pub mod sim;
pub mod sources;
