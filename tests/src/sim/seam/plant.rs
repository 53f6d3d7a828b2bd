//! Faults that are planted in a seam: a driver that delivers messages wrongly. The machines are as
//! they ship. A sweep that does not find them would not find such a fault in the libp2p half either.

use std::str::FromStr;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// The last report of a client's stream is lost.
    ClientReportLost,
    /// A report of a client's stream arrives twice, and with it the release of a slot.
    ClientReleaseTwice,
    /// A client's stream reports before the dispatcher has heard that it is open.
    ClientReportBeforeOpen,
    /// A verdict of admission control is lost.
    ServerVerdictLost,
    /// A report of a served stream arrives twice, and with it the release of places and bytes.
    ServerReleaseTwice,
    /// A served stream reports before admission control has heard of it.
    ServerReportBeforeOpen,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::ClientReportLost,
        Self::ClientReleaseTwice,
        Self::ClientReportBeforeOpen,
        Self::ServerVerdictLost,
        Self::ServerReleaseTwice,
        Self::ServerReportBeforeOpen,
    ];

    /// Its name on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientReportLost => "client-report-lost",
            Self::ClientReleaseTwice => "client-release-twice",
            Self::ClientReportBeforeOpen => "client-report-before-open",
            Self::ServerVerdictLost => "server-verdict-lost",
            Self::ServerReleaseTwice => "server-release-twice",
            Self::ServerReportBeforeOpen => "server-report-before-open",
        }
    }

    pub(super) const fn is_at_client(self) -> bool {
        matches!(
            self,
            Self::ClientReportLost | Self::ClientReleaseTwice | Self::ClientReportBeforeOpen
        )
    }

    pub(super) const fn is_at_server(self) -> bool {
        !self.is_at_client()
    }
}

impl FromStr for Plant {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|plant| plant.name() == name);
        known.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("no fault is called {name}; there are {names}")
        })
    }
}
