//! Servers that nobody has named, at registries, in lists of the DNS and in private networks, without the local
//! network.

use std::net::{SocketAddr, UdpSocket};
use std::thread;

use serde_json::{Value, json};

use crate::support::{HERE, Home, Running};

const REGISTRY: [&str; 4] = ["registry", "--ephemeral", "--listen", HERE];

/// What both have to say that a server was found.
fn is_found(home: &Home, server: &Running, places: &[&str], source: &str) {
    let call = [&["call", "/echo/1", "hi", "--json"], places].concat();
    let answer = &home.run(&call).well().values()[0];
    assert_eq!((&answer["peer"], &answer["source"]), (&server.ready["peer"], &json!(source)));
    let discover = [&["discover", "/echo/1", "--json"], places].concat();
    let found = &home.run(&discover).well().values()[0];
    assert_eq!((&found["peer"], &found["source"]), (&server.ready["peer"], &json!(source)));
}

#[test]
fn a_server_is_found_through_a_registry() {
    let home = Home::new();
    let registry = home.start(&REGISTRY);
    let at = registry.ticket();
    let server = home.serve(&["/echo/1", "--echo", "--registry", &at]);
    assert_eq!(server.ready["registries"], json!([registry.peer()]));
    assert_eq!(server.ready["lan"], false);
    is_found(&home, &server, &["--no-lan", "--registry", &at], "registry");
    // An address is as good as a ticket.
    let address = registry.ready["addresses"][0].as_str().expect("an address");
    is_found(&home, &server, &["--no-lan", "--registry", address], "registry");
}

#[test]
fn a_server_is_found_in_a_private_network() {
    let home = Home::new();
    let secret = ["--kad-secret", "what only members know"];
    let relay = home.start(&[&["relay", "--ephemeral", "--listen", HERE][..], &secret].concat());
    let at = relay.ticket();
    let server = home.serve(&[&["/echo/1", "--echo", "--kad", &at][..], &secret].concat());
    assert_eq!(server.ready["network"], json!([relay.peer()]));
    is_found(&home, &server, &["--no-lan", "--kad", &at, secret[0], secret[1]], "dht");
    let others = ["call", "/echo/1", "hi", "--no-lan", "--kad", &at, "--kad-secret", "another"];
    home.run(&[&others[..], &["--timeout", "1s"]].concat()).says(3, "--kad-secret");
    home.run(&others[..6]).says(2, "--kad-secret");
}

#[test]
fn a_profile_names_the_places() {
    let home = Home::new();
    let registry = home.start(&REGISTRY);
    let config = format!(
        "[profile.default]\nlan = false\nregistry = [\"hub\"]\n[peers]\nhub = {:?}\n",
        registry.ticket()
    );
    home.write("config.toml", config);
    let server = home.serve_nearby(&["/echo/1", "--echo"]);
    assert_eq!(server.ready["registries"], json!([registry.peer()]));
    assert_eq!(server.ready["lan"], false);
    is_found(&home, &server, &[], "registry");
}

#[test]
fn a_registry_lists_whom_it_is_told_to_list() {
    let home = Home::new();
    let key = home.file("listed.key");
    let key = key.to_str().expect("UTF-8");
    home.run(&["key", "new", key]).well();
    let listed = home.run(&["key", "show", key]).well().out();
    let registry = home.start(&[&REGISTRY[..], &["--list", listed.trim()]].concat());
    let places = ["--no-lan", "--registry", &registry.ticket()];
    let _other = home.serve(&["/echo/1", "--echo", "--registry", &registry.ticket()]);
    let server = home.serve(&["/echo/1", "--echo", "--key", key, "--registry", &registry.ticket()]);
    is_found(&home, &server, &places, "registry");
    let found = [&["discover", "/echo/1", "--json"], &places[..]].concat();
    assert_eq!(home.run(&found).well().values().len(), 1);
}

/// A peer that serves both has those find a server who cannot reach it.
#[test]
fn a_relay_serves_a_registry_too() {
    let home = Home::new();
    let relay = home.start(&["relay", "--registry", "--ephemeral", "--listen", HERE]);
    let at = relay.ready["addresses"][0].as_str().expect("an address");
    let server = home.serve(&["/echo/1", "--echo", "--relay", at, "--registry", at]);
    is_found(&home, &server, &["--no-lan", "--registry", at], "registry");
}

#[test]
fn a_server_is_found_in_a_list_of_the_dns() {
    let home = Home::new();
    let server = home.serve(&["/echo/1", "--echo", "--dns", "list.example"]);
    let records = server.ready["records"].as_array().expect("a list");
    let of = |record: &Value| {
        assert_eq!(record["name"], "_dnsaddr.list.example.");
        record["text"].as_str().expect("a text").to_owned()
    };
    let asked = name_server(records.iter().map(of).collect()).to_string();
    let places = ["--no-lan", "--dns", "list.example", "--dns-server", &asked];
    is_found(&home, &server, &[&places[..], &["--dns-trusted"]].concat(), "dns");
    let call = [&["call", "/echo/1", "hi", "--timeout", "1s"], &places[..]].concat();
    home.run(&call).says(3, "--dns-trusted");
    home.run(&["call", "/echo/1", "hi", "--dns", "no name"]).says(2, "--dns example.org");
}

/// The time of a call may be over before that in which a server may be found.
#[test]
fn no_server_is_no_matter_of_time() {
    let home = Home::new();
    let registry = home.start(&REGISTRY);
    let places = ["--no-lan", "--timeout", "300ms", "--registry", &registry.ticket()];
    for words in [&["call", "/none/1", "hi"][..], &["call", "/none/1", "say", "{}"]] {
        let call = [words, &places[..]].concat();
        home.run(&call).says(3, "no server of this protocol was found, asked: the registry");
        let failed = &home.run(&[&call[..], &["--json"]].concat()).with_code(3).values()[0];
        assert_eq!(failed["error"]["detail"], json!({ "asked": ["registry"] }));
        assert_eq!(failed["error"]["kind"], "not_reached");
    }
}

#[test]
fn places_that_are_none_are_said() {
    let home = Home::new();
    home.run(&["call", "/echo/1", "hi", "--no-lan"]).says(2, "--registry");
    home.run(&["discover", "/echo/1", "--no-lan"]).says(2, "--registry");
    home.run(&["discover", "/echo/1", "--registry", "hub"]).says(2, "pointsub registry");
    let server = home.serve(&["/echo/1", "--echo"]);
    let named = ["call", &server.ticket(), "/echo/1", "hi", "--registry", &server.ticket()];
    home.run(&named).says(2, "leave out");
    // Both have the key of the user.
    let serve = ["serve", "/echo/1", "--echo", "--no-lan", "--listen", HERE];
    home.run(&[&serve[..], &["--registry", &server.ticket()]].concat()).says(2, "--ephemeral");
}

/// A name server that has these texts for every name, until the process ends.
fn name_server(texts: Vec<String>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let at = socket.local_addr().expect("it has one");
    thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let answer = answer(&buffer[..length], &texts);
            socket.send_to(&answer, from).expect("it waits");
        }
    });
    at
}

/// The answer to a query: RFC 1035, section 4.
fn answer(query: &[u8], texts: &[String]) -> Vec<u8> {
    const HEAD: usize = 12;
    let labels = query[HEAD..].iter().position(|byte| *byte == 0).expect("a name ends");
    let question = &query[HEAD..HEAD + labels + 5];
    let mut answer = query[..2].to_vec();
    // Recursion was wanted and is there; one question, and an answer for each text.
    answer.extend([0x81, 0x80, 0, 1, 0, texts.len() as u8, 0, 0, 0, 0]);
    answer.extend(question);
    for text in texts {
        // The name of the question, TXT, IN, for 300 s.
        answer.extend([0xc0, HEAD as u8, 0, 16, 0, 1, 0, 0, 1, 44]);
        answer.extend((text.len() as u16 + 1).to_be_bytes());
        answer.push(text.len() as u8);
        answer.extend(text.as_bytes());
    }
    answer
}
