//! The names that are negotiated on a new stream, and what they stand for.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::{Arc, LazyLock};

use libp2p_core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p_swarm::Stream;
use pointsub_core::endpoint::Offer;
use pointsub_core::{Format, ProtocolName};

/// A name that nobody listens for. libp2p takes the last name of a proposal for agreed on. With this
/// one behind another one, a stream is not there before the peer has answered.
const NOBODY: &str = "/pointsub/none";
/// A name that every node of this library lists. It says what the node's other names mean.
pub(crate) const MARK: &str = "/pointsub/1";
/// libp2p's ping, which every peer answers at once.
const PING: &str = "/ipfs/ping/1.0.0";

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
    /// A few bytes that come back.
    Ping,
    /// The peer refuses what was asked for.
    Nothing,
    /// Nothing. Whoever lists the name runs this library.
    Mark,
}

impl WireName {
    pub(crate) fn new(protocol: &ProtocolName, speaks: Speaks) -> Self {
        let name = match speaks {
            Speaks::Messages(Format::Native) => protocol.native_name().into(),
            Speaks::Messages(Format::Plain) | Speaks::Raw => protocol.as_str().into(),
            Speaks::Ping => PING.into(),
            Speaks::Nothing => NOBODY.into(),
            Speaks::Mark => MARK.into(),
        };
        Self { name, protocol: protocol.clone(), speaks }
    }

    /// A name that belongs to no protocol of an application.
    fn fixed(speaks: Speaks) -> Self {
        static NONE: LazyLock<ProtocolName> =
            LazyLock::new(|| ProtocolName::new("/-").expect("it begins with a slash"));
        Self::new(&NONE, speaks)
    }

    /// The name by which others know that this node runs this library.
    pub(crate) fn mark() -> Self {
        Self::fixed(Speaks::Mark)
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
        // What the peer speaks is remembered, so the peer has to have said so. libp2p takes the last
        // name for agreed on, which is right only for one that the peer has spoken before.
        let confirmed = (offer == Offer::Both).then_some(Speaks::Nothing);
        let speaks = formats.iter().map(|format| Speaks::Messages(*format)).chain(confirmed);
        Self(speaks.map(|speaks| WireName::new(protocol, speaks)).collect())
    }

    /// What to propose for a probe.
    pub(crate) fn probe() -> Self {
        static NAMES: LazyLock<Names> =
            LazyLock::new(|| Names([WireName::fixed(Speaks::Ping)].into()));
        NAMES.clone()
    }

    /// What to propose for a raw stream.
    pub(crate) fn raw(protocol: &ProtocolName) -> Self {
        Self([Speaks::Raw, Speaks::Nothing].map(|speaks| WireName::new(protocol, speaks)).into())
    }
}

/// Iterates over a shared list of names without copying it.
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use futures::executor::block_on;
    use futures::io::Cursor;
    use futures::{AsyncRead, AsyncWrite};
    use multistream_select::{Version, dialer_select_proto};

    use super::*;

    /// A peer that says these lines, whatever it hears, and then ends.
    #[derive(Debug)]
    struct Says(Cursor<Vec<u8>>);

    impl AsyncRead for Says {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Says {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// What is agreed on at once with a peer that answers this to what is offered.
    fn agreed(offer: Offer, answers: &[&str]) -> Option<Speaks> {
        let protocol = ProtocolName::new("/echo/1").expect("a name");
        let lines = ["/multistream/1.0.0"].iter().chain(answers);
        let said = lines.flat_map(|line| {
            let len = u8::try_from(line.len() + 1).expect("a short line");
            [&[len], line.as_bytes(), b"\n"].concat()
        });
        let peer = Says(Cursor::new(said.collect()));
        let names = Names::offered(&protocol, offer).protocol_info();
        let (name, _) = block_on(dialer_select_proto(peer, names, Version::V1Lazy)).ok()?;
        Some(name.speaks)
    }

    #[test]
    fn a_peer_has_said_what_it_speaks_before_that_is_believed() {
        let protocol = ProtocolName::new("/echo/1").expect("a name");
        let native = protocol.native_name();
        let [messages, plain] = [Format::Native, Format::Plain].map(Speaks::Messages);
        assert_eq!(agreed(Offer::Both, &[native.as_ref()]), Some(messages));
        assert_eq!(agreed(Offer::Both, &["na", protocol.as_str()]), Some(plain));
        assert_eq!(agreed(Offer::Both, &["na"]), None, "it may not speak plain either");
        assert_eq!(agreed(Offer::Both, &["na", "na"]), Some(Speaks::Nothing));
        assert_eq!(agreed(Offer::Only(Format::Plain), &[]), Some(plain), "as it did before");
    }
}
