//! The commands, one module for each.

pub(crate) mod bench;
pub(crate) mod call;
pub(crate) mod decode;
pub(crate) mod discover;
pub(crate) mod doctor;
pub(crate) mod expose;
pub(crate) mod forward;
pub(crate) mod generate;
pub(crate) mod id;
pub(crate) mod info;
pub(crate) mod key;
pub(crate) mod ping;
pub(crate) mod relay;
pub(crate) mod serve;
pub(crate) mod ticket;
pub(crate) mod top;
