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
    Crowding,
    Dead,
    Dialled,
    Flooded,
    Forgotten,
    InLine,
    Inbound,
    Late,
    OpenFailed,
    Recovered,
    Refused,
    Relayed,
    Restarted,
    Roamed,
    Skewed,
    Slept,
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
        (Self::Crowding, "a connection at work was spared when one had to make room"),
        (Self::Slept, "this node slept"),
        (Self::Roamed, "this node came into another network"),
        (Self::Forgotten, "a NAT forgot a connection"),
        (Self::Skewed, "the clock ran backwards"),
        (Self::Flooded, "many peers were dialled that are not there"),
        (Self::InLine, "there were as many dials as there may be"),
        (Self::Abandoned, "somebody gave up"),
        (Self::ConnectFailed, "somebody could not be connected"),
        (Self::OpenFailed, "there was no connection for a stream"),
    ];
}
