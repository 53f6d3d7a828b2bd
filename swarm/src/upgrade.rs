//! What is negotiated on a new stream, by name.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;

use libp2p_core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p_swarm::Stream;
use pointsub_core::client::Offer;
use pointsub_core::{Format, ProtocolName};

/// A name that nobody listens for. Proposed behind another one, it makes sure that the stream is
/// not there before the peer has answered to that.
const NOBODY: &str = "/pointsub/none";

/// A name on the wire and what it stands for.
#[derive(Debug, Clone)]
pub struct WireName {
    name: Arc<str>,
    pub(crate) protocol: ProtocolName,
    pub(crate) speaks: Speaks,
}

/// What a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Messages(Format),
    Raw,
    /// The peer refuses what was asked for.
    Nothing,
}

impl WireName {
    pub(crate) fn new(protocol: &ProtocolName, speaks: Speaks) -> Self {
        let name = match speaks {
            Speaks::Messages(Format::Native) => protocol.native_name().into(),
            Speaks::Messages(Format::Plain) | Speaks::Raw => protocol.as_str().into(),
            Speaks::Nothing => NOBODY.into(),
        };
        Self { name, protocol: protocol.clone(), speaks }
    }
}

impl AsRef<str> for WireName {
    fn as_ref(&self) -> &str {
        &self.name
    }
}

/// A list of names, one of which both ends agree on.
#[derive(Debug, Clone)]
pub struct Names(pub(crate) Arc<[WireName]>);

impl Names {
    /// What to propose for an outbound stream, in this order.
    pub(crate) fn offered(protocol: &ProtocolName, offer: Offer) -> Self {
        let formats: &[Format] = match offer {
            Offer::Both => &[Format::Native, Format::Plain],
            Offer::Only(Format::Native) => &[Format::Native],
            Offer::Only(Format::Plain) => &[Format::Plain],
        };
        let name = |format: &Format| WireName::new(protocol, Speaks::Messages(*format));
        Self(formats.iter().map(name).collect())
    }

    /// What to propose for a raw stream.
    pub(crate) fn raw(protocol: &ProtocolName) -> Self {
        Self([Speaks::Raw, Speaks::Nothing].map(|speaks| WireName::new(protocol, speaks)).into())
    }
}

/// Iterates over a shared list without copying it.
#[derive(Debug)]
pub struct NamesIter {
    names: Arc<[WireName]>,
    next: usize,
}

impl Iterator for NamesIter {
    type Item = WireName;

    fn next(&mut self) -> Option<WireName> {
        let name = self.names.get(self.next).cloned();
        self.next += 1;
        name
    }
}

impl UpgradeInfo for Names {
    type Info = WireName;
    type InfoIter = NamesIter;

    fn protocol_info(&self) -> NamesIter {
        NamesIter { names: self.0.clone(), next: 0 }
    }
}

impl InboundUpgrade<Stream> for Names {
    type Output = (Stream, WireName);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, name: WireName) -> Self::Future {
        ready(Ok((stream, name)))
    }
}

impl OutboundUpgrade<Stream> for Names {
    type Output = (Stream, WireName);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, name: WireName) -> Self::Future {
        ready(Ok((stream, name)))
    }
}
