//! Runtimes side by side: nodes of different ones talk to each other, and one program text runs
//! on each.

mod mixed;
mod program;
