//! Names where nothing resolves them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p_core::multiaddr::Protocol;
use libp2p_core::transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p_core::{Multiaddr, Transport};

/// A transport that dials addresses, and says of names why they lead nowhere.
pub(crate) struct WithoutNames<O> {
    transport: Boxed<O>,
    why: Arc<str>,
}

impl<O> WithoutNames<O> {
    /// There is no resolver, since this happened when the system was asked for one.
    pub(crate) fn new(transport: Boxed<O>, why: io::Error) -> Self {
        Self { transport, why: why.to_string().into() }
    }
}

impl<O: Send + 'static> Transport for WithoutNames<O> {
    type Output = O;
    type Error = io::Error;
    type ListenerUpgrade = <Boxed<O> as Transport>::ListenerUpgrade;
    type Dial = <Boxed<O> as Transport>::Dial;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        self.transport.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.transport.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        if address.iter().any(|part| is_name(&part)) {
            let why = format!("names cannot be resolved, the system has no resolver: {}", self.why);
            return Err(TransportError::Other(io::Error::new(io::ErrorKind::Unsupported, why)));
        }
        self.transport.dial(address, options)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        Pin::new(&mut self.transport).poll(cx)
    }
}

fn is_name(part: &Protocol<'_>) -> bool {
    use Protocol::{Dns, Dns4, Dns6, Dnsaddr};
    matches!(part, Dns(_) | Dns4(_) | Dns6(_) | Dnsaddr(_))
}

#[cfg(test)]
mod tests {
    use libp2p_core::Endpoint;
    use libp2p_core::transport::{MemoryTransport, PortUse};

    use super::*;

    fn dialled(address: &str) -> Result<(), TransportError<io::Error>> {
        let none = io::Error::new(io::ErrorKind::NotFound, "no resolv.conf");
        let mut transport = WithoutNames::new(MemoryTransport::default().boxed(), none);
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        transport.dial(address.parse().expect("an address"), options).map(drop)
    }

    #[test]
    fn a_name_says_that_there_is_no_resolver_and_why() {
        for name in ["/dns4/example.org/tcp/1", "/dns/a.b/tcp/1", "/dnsaddr/example.org"] {
            let Err(TransportError::Other(error)) = dialled(name) else { panic!("{name}") };
            let text = error.to_string();
            assert!(text.contains("no resolver") && text.contains("no resolv.conf"), "{text}");
        }
    }

    #[test]
    fn an_address_is_left_to_the_transport() {
        let Err(error) = dialled("/ip4/192.0.2.1/tcp/1") else { panic!("it is memory") };
        assert!(matches!(error, TransportError::MultiaddrNotSupported(_)), "{error:?}");
    }
}
