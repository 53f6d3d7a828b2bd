//! Situations with names: a sweep that never comes into one of them proves nothing about it.

/// A situation that lives should come into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Situation {
    Abandoned,
    Answered,
    Anybody,
    CameBack,
    ConnectFailed,
    Crowded,
    Dead,
    Dialled,
    Inbound,
    Late,
    OpenFailed,
    OpenedRetired,
    PlaceAskedAgain,
    PlaceForgotten,
    PlaceHeld,
    PlaceLost,
    PlaceRefused,
    Recovered,
    Refused,
    Relayed,
    Restarted,
    StreamsRetired,
    Surplus,
    Suspect,
    TransportTimeout,
    WrongPeer,
}

impl Situation {
    /// All of them, each with what it is.
    pub const ALL: &[(Self, &str)] = &[
        (Self::Dialled, "a dial led to a connection"),
        (Self::Late, "a dial led to a connection after its time"),
        (Self::Surplus, "a dial came second"),
        (Self::Refused, "a dial was refused"),
        (Self::TransportTimeout, "a dial was never answered"),
        (Self::WrongPeer, "another peer was at an address"),
        (Self::Anybody, "whoever is at an address was wanted"),
        (Self::Inbound, "a peer dialled"),
        (Self::CameBack, "a peer came back beside its corpse"),
        (Self::Relayed, "a connection through a relay"),
        (Self::Answered, "a probe was answered"),
        (Self::Suspect, "a connection was suspect"),
        (Self::Recovered, "a suspect connection recovered"),
        (Self::Dead, "a connection was dead"),
        (Self::Restarted, "a peer was started anew at another address"),
        (Self::Crowded, "a connection made room"),
        (Self::Abandoned, "somebody gave up"),
        (Self::ConnectFailed, "somebody could not be connected"),
        (Self::OpenFailed, "there was no connection for a stream"),
        (Self::StreamsRetired, "streams retired with their connection"),
        (Self::OpenedRetired, "a stream came up on a connection that was retired"),
        (Self::PlaceHeld, "a relay gave a place"),
        (Self::PlaceRefused, "a relay gave no place"),
        (Self::PlaceLost, "a place at a relay was lost"),
        (Self::PlaceAskedAgain, "a relay was asked again"),
        (Self::PlaceForgotten, "a relay was not wanted any more"),
    ];
}
