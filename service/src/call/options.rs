//! Options of calls that are made of different things.

/// Sets an option of a call, whatever its `State` has. Behind `closest`, it is one that calls of a certain peer
/// do not have; behind `local`, what is set of a call in the same program.
macro_rules! set {
    ($of:expr, $call:ident => $set:expr) => {
        set!($of, $call => $set, $call => $set, local => {})
    };
    ($of:expr, $call:ident => $set:expr, local $local:ident => $add:expr) => {
        set!($of, $call => $set, $call => $set, $local => $add)
    };
    ($of:expr, closest $call:ident => $set:expr) => {
        set!($of, call => call, $call => $set, local => {})
    };
    ($of:expr, $peer:ident => $to_peer:expr, $call:ident => $set:expr, $local:ident => $add:expr) => {{
        let mut of = $of;
        of.state = match of.state {
            State::Peer($peer, wire) => State::Peer($to_peer, wire),
            State::Closest($call, wire) => State::Closest($set, wire),
            #[cfg(feature = "tower")]
            State::Layers(unsent, wire) => {
                State::Layers(Box::new(unsent.with(|$call| $set)), wire)
            }
            #[allow(unused_mut, unused_variables)]
            State::Local(mut $local) => {
                $add;
                State::Local($local)
            }
            other => other,
        };
        of
    }};
}

pub(crate) use set;
