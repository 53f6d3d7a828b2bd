//! What is measured, a part at a time.

pub(crate) mod compression;
pub(crate) mod core;
pub(crate) mod links;
pub(crate) mod matrix;
pub(crate) mod mixed;
pub(crate) mod overheads;
pub(crate) mod scale;
pub(crate) mod streams;
pub(crate) mod threads;
