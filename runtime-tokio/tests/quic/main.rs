//! The QUIC transport alone, over real sockets of the loopback interface.

mod connections;
mod dialects;
mod ends;
mod listening;
mod negotiation;
mod support;
