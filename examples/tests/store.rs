//! The example of a typed service has tests of its own. Here they are run: as a test, cargo would not build
//! the program that it is.

#[allow(dead_code, reason = "its main function is run by another test")]
#[path = "../store.rs"]
mod store;
