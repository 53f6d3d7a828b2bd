//! The body of the fuzz target `lan_packet`, which takes any bytes and panics if a promise does not hold.

use super::packet::{Announcement, Packet, decode};

/// Any bytes as a packet: what is read of them is little, and is the same after it was written again.
pub fn lan_packet(data: &[u8]) {
    let Some(Packet::Announcement(all)) = decode(data) else { return };
    assert!(all.len() <= 16, "too many peers");
    for heard in all {
        assert!(heard.addresses.len() <= 16, "too many addresses");
        let services = heard.services.unwrap_or_default();
        assert!(services.len() <= 64, "too many protocols");
        let announcement = Announcement {
            name: "name",
            peer: heard.peer,
            addresses: heard.addresses.clone(),
            services: &services,
            ttl: heard.ttl,
        };
        let Some(packet) = announcement.to_packet() else { continue };
        // Some kinds of addresses are not read as they are written.
        let Some(Packet::Announcement(again)) = decode(&packet) else { continue };
        let [again] = &again[..] else { panic!("not one peer") };
        assert_eq!((again.peer, again.ttl), (heard.peer, heard.ttl));
        assert!(again.addresses.iter().all(|address| heard.addresses.contains(address)));
        if let Some(again) = &again.services {
            assert_eq!(*again, services);
        }
    }
}
