//! Every command of the tool, run as its users run it.

mod call;
mod discover;
mod doctor;
mod help;
mod local;
mod network;
mod properties;
#[cfg(unix)]
mod serve;
mod sources;
mod support;
#[cfg(unix)]
mod terminal;
mod typed;
