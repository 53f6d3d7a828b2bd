//! What holds of any ticket and any bytes.

use pointsub_cli::decode::{decode, undump};
use pointsub_cli::ticket::{MAX_ADDRESSES, MAX_BYTES, Ticket};
use pointsub_core::Format;
use pointsub_tokio::{Multiaddr, PeerId, Protocol};
use proptest::prelude::*;

fn address() -> impl Strategy<Value = Multiaddr> {
    let ip = any::<[u8; 4]>().prop_map(|ip| Multiaddr::from(std::net::Ipv4Addr::from(ip)));
    let name = "[a-z]{1,300}".prop_map(|name| Multiaddr::empty().with(Protocol::Dns(name.into())));
    (prop_oneof![ip, name], any::<u16>()).prop_map(|(host, port)| host.with(Protocol::Tcp(port)))
}

fn peer() -> impl Strategy<Value = PeerId> {
    any::<[u8; 32]>().prop_map(|digest| {
        let bytes = [&[0, 36, 8, 1, 18, 32], &digest[..]].concat();
        PeerId::from_bytes(&bytes).expect("the form of a Peer ID")
    })
}

proptest! {
    #[test]
    fn a_ticket_is_read_as_it_was_made(
        peer in peer(),
        addresses in proptest::collection::vec(address(), 0..30),
        upper in any::<bool>(),
    ) {
        let ticket = Ticket::new(peer, addresses);
        prop_assert!(ticket.addresses().len() <= MAX_ADDRESSES);
        let mut text = ticket.to_string();
        prop_assert!(text.len() <= 3 + (MAX_BYTES * 8).div_ceil(5));
        if upper {
            text.make_ascii_uppercase();
        }
        prop_assert_eq!(text.parse(), Ok(ticket));
    }

    #[test]
    fn a_change_in_a_ticket_is_noticed(
        peer in peer(),
        address in address(),
        place in any::<proptest::sample::Index>(),
        letter in "[a-z2-7]",
    ) {
        let text = Ticket::new(peer, [address]).to_string();
        let place = place.index(text.len());
        let mut changed = text.clone();
        changed.replace_range(place..=place, &letter);
        prop_assert!(changed == text || changed.parse::<Ticket>().is_err(), "{changed}");
        let cut = &text[..place];
        prop_assert!(cut.parse::<Ticket>().is_err());
    }

    #[test]
    fn any_text_is_a_ticket_or_none(text in "(psu)?\\PC{0,200}") {
        if let Ok(ticket) = text.parse::<Ticket>() {
            prop_assert_eq!(ticket.to_string().parse(), Ok(ticket));
        }
    }

    #[test]
    fn any_bytes_are_decoded_to_their_end_or_to_an_error(
        bytes in proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..300),
        format in prop_oneof![Just(None), Just(Some(Format::Plain)), Just(Some(Format::Native))],
    ) {
        let len = bytes.len();
        let decoded = decode(&bytes.into(), format);
        let header = decoded.format.header_len();
        let mut at = 0;
        for (offset, frame) in &decoded.frames {
            prop_assert_eq!(*offset, at);
            at += header + frame.head.len() + frame.body.len();
        }
        prop_assert_eq!(decoded.error.as_ref().map_or(len, |(offset, _)| *offset), at);
        let _shown = (decoded.lines(true), decoded.values());
    }

    #[test]
    fn any_text_is_a_dump_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _dump = undump(&bytes);
        let dump = data_encoding::HEXLOWER.encode(&bytes);
        prop_assert_eq!(undump(dump.as_bytes()), Some(bytes));
    }
}
