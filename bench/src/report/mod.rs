//! What a run found, for people and for programs.

pub(crate) mod json;
pub(crate) mod machine;
pub(crate) mod markdown;
pub(crate) mod svg;
pub(crate) mod targets;

use std::time::Duration;

use crate::contender::Contender;
use crate::scenario::compression::Compression;
use crate::scenario::core::Core;
use crate::scenario::links::Link;
use crate::scenario::matrix::Matrix;
use crate::scenario::mixed::Mixed;
use crate::scenario::scale::Scale;
use crate::scenario::streams::Streams;
use crate::scenario::threads::Threads;

/// Everybody is compared with this one.
pub(crate) const BASELINE: Contender = Contender::RequestResponse;

/// The file with the picture of cost curves, beside that with the tables.
pub(crate) const CURVES: &str = "scale.svg";

/// What a run found; what was not measured is empty.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Every contender in every cell.
    pub(crate) matrix: Matrix,
    /// Methods, typed services and recorders.
    pub(crate) overheads: Matrix,
    /// Small requests beside large ones.
    pub(crate) mixed: Vec<Mixed>,
    /// Compression on and off.
    pub(crate) compression: Option<Compression>,
    /// The same over slow links.
    pub(crate) links: Vec<Link>,
    /// Messages that the server pushes.
    pub(crate) streams: Streams,
    /// The machines alone.
    pub(crate) core: Vec<Core>,
    /// The server and the machines on one thread and on two.
    pub(crate) threads: Threads,
    /// More and more of everything.
    pub(crate) scale: Scale,
    /// Parts that could not be measured, and why.
    pub(crate) failures: Vec<String>,
    /// How many threads ran the tasks of each process.
    pub(crate) workers: usize,
    /// How long it all took.
    pub(crate) took: Duration,
}
