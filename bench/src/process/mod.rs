//! The processes of a measurement, and how they are told what to do: by lines on their standard
//! input, each of which is answered by one on their standard output. They end with their input.

pub(crate) mod child;
mod message;
mod parent;

use std::sync::OnceLock;

pub(crate) use self::parent::{Client, Loaded, Pair, Server};

/// How many threads run the tasks of a process; set once, before the first is started.
pub(crate) static WORKERS: OnceLock<usize> = OnceLock::new();

/// The first argument of a process that serves.
pub(crate) const SERVE: &str = "serve-as-child";
/// The first argument of a process that sends.
pub(crate) const SEND: &str = "send-as-child";
