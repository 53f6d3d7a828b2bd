//! The doctor in broken set-ups: it names each cause, and what helps.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::thread;

use serde_json::Value;

use crate::support::{HERE, Home, text};

/// What the doctor says of something.
fn check(home: &Home, code: i32, arguments: &[&str], name: &str) -> Value {
    let arguments = [&["doctor"], arguments, &["--json", "--timeout", "6s"]].concat();
    let values = home.run(&arguments).with_code(code).values();
    let found = values.iter().rfind(|value| value["check"] == name);
    found.unwrap_or_else(|| panic!("no {name}: {values:?}")).clone()
}

#[track_caller]
fn is(check: &Value, state: &str, found: &str, next: &str) {
    assert_eq!(check["state"], state, "{check}");
    assert!(check["found"].as_str().is_some_and(|text| text.contains(found)), "{check}");
    assert!(
        next.is_empty() || check["next"].as_str().is_some_and(|text| text.contains(next)),
        "{check}"
    );
}

#[test]
fn a_machine_that_is_well_is_told_so() {
    let home = Home::new();
    is(&check(&home, 0, &[], "key"), "unknown", "is not there yet", "pointsub key new");
    let server = home.serve(&["/echo/1", "--echo"]);
    is(&check(&home, 0, &[], "key"), "good", &server.peer(), "");
    is(&check(&home, 0, &[&server.ticket()], "peer"), "good", "answers at", "");
    is(&check(&home, 0, &[], "clock"), "unknown", "", "--clock");
    let shown = home.run(&["doctor"]).well().out();
    assert!(shown.starts_with("good config"), "{shown}");
}

#[cfg(unix)]
#[test]
fn a_key_that_others_may_read() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let key = home.file("key");
    home.run(&["key", "new"]).well();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("it is ours");
    is(
        &check(&home, 6, &[], "key"),
        "bad",
        "others may read",
        &format!("chmod 600 {}", text(&key)),
    );
    home.run(&["serve", "/echo/1", "--echo"]).says(6, "pointsub doctor");
}

#[cfg(unix)]
#[test]
fn a_file_that_is_no_key() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let key = home.write("key", "not a key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
    is(&check(&home, 6, &[], "key"), "bad", "has no key", "from a copy");
}

#[test]
fn a_peer_that_has_another_key_now() {
    let home = Home::new();
    let server = home.serve(&["/echo/1", "--echo"]);
    let at = server.ready["addresses"][0].as_str().expect("an address");
    let at = at.split("/p2p/").next().expect("the address");
    let other = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X";
    let found = check(&home, 3, &[other, "--address", at], "peer");
    is(&found, "bad", &format!("{} answers", server.peer()), "its new ticket");
}

#[test]
fn a_port_that_another_program_has() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("it has one").port();
    let address = format!("/ip4/127.0.0.1/tcp/{port}");
    let found = check(&home, 6, &["--listen", &address], "port");
    is(&found, "bad", "in use", "another program listens there");
    home.run(&["serve", "/echo/1", "--echo", "--listen", &address]).says(6, "choose a port");
    let free = check(&home, 0, &["--listen", HERE], "port");
    is(&free, "good", "can be listened on", "");
    let elsewhere = check(&home, 6, &["--listen", "/ip4/192.0.2.1/tcp/0"], "port");
    is(&elsewhere, "bad", "", "no interface");
}

#[test]
fn a_port_at_which_nothing_listens() {
    let home = Home::new();
    let mut server = home.serve(&["/echo/1", "--echo"]);
    server.child.kill().expect("it runs");
    server.child.wait().expect("it ends");
    is(&check(&home, 3, &[&server.ticket()], "peer"), "bad", "nothing listens", "start it there");
}

#[test]
fn something_that_listens_and_is_no_peer() {
    let home = Home::new();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("it has one").port();
    let peer = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X";
    let at = format!("/ip4/127.0.0.1/tcp/{port}/p2p/{peer}");
    is(&check(&home, 3, &[&at], "peer"), "bad", "something listens", "a libp2p peer");
}

#[test]
fn udp_that_does_not_get_through() {
    let home = Home::new();
    let server = home.serve(&["/echo/1", "--echo"]);
    let deaf = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = deaf.local_addr().expect("it has one").port();
    let address = format!("/ip4/127.0.0.1/udp/{port}/quic-v1");
    let found = check(&home, 3, &[&server.ticket(), "--address", &address], "udp");
    is(&found, "bad", "TCP gets through", "a firewall drops UDP");
}

#[test]
fn a_relay_that_is_down_or_is_none() {
    let home = Home::new();
    let relay = home.start(&["relay", "--ephemeral", "--listen", HERE]);
    let at = relay.ready["addresses"][0].as_str().expect("an address").to_owned();
    is(&check(&home, 0, &["--relay", &at], "relay"), "good", "relays", "");
    drop(relay);
    is(&check(&home, 3, &["--relay", &at], "relay"), "bad", &at, "start the relay");
    let server = home.serve(&["/echo/1", "--echo"]);
    let at = server.ready["addresses"][0].as_str().expect("an address");
    is(&check(&home, 3, &["--relay", at], "relay"), "bad", "does not relay", "pointsub relay");
}

#[test]
fn a_clock_that_is_an_hour_off() {
    let home = Home::new();
    let web = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = web.local_addr().expect("it has one").to_string();
    thread::spawn(move || {
        for stream in web.incoming() {
            let mut stream = stream.expect("a connection");
            let _asked = stream.read(&mut [0; 1024]);
            let hour = std::time::Duration::from_secs(3600);
            let date = httpdate::fmt_http_date(std::time::SystemTime::now() + hour);
            let answer = format!("HTTP/1.1 200 OK\r\ndate: {date}\r\ncontent-length: 0\r\n\r\n");
            let _read = stream.write_all(answer.as_bytes());
        }
    });
    is(&check(&home, 6, &["--clock", &at], "clock"), "bad", "behind that of", "set-ntp");
}

#[test]
fn a_configuration_with_a_mistake() {
    let home = Home::new();
    home.write("config.toml", "[profile.default]\nlisen = []\n");
    is(&check(&home, 6, &[], "config"), "bad", "lisen", "README");
    home.run(&["key", "show"]).says(2, "lisen");
}
