//! The machines on scripts, in virtual time, and the parts that they are made of. One program, so that
//! it is built quickly.

mod buffers;
mod client;
mod client_answers;
mod client_cancel;
mod client_caps;
mod client_deadlines;
mod client_dispatcher;
mod client_freed;
mod client_moves;
mod client_opens;
mod client_pool;
mod client_retry;
mod client_stopping;
mod closest;
mod closest_ends;
mod closest_hedging;
mod compress;
mod frames;
mod limit;
mod nearest;
mod raw;
mod server;
mod server_config;
mod server_connections;
mod server_drain;
mod server_limits;
mod server_memory;
mod server_patience;
mod server_portions;
mod server_refusals;
mod server_schedules;
mod server_shares;
mod server_timers;
mod support;
mod wire_vectors;
