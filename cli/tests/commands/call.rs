use std::fs;

use crate::support::{Home, text};

#[test]
fn a_body_is_a_text_a_file_or_the_standard_input() {
    let home = Home::new();
    let mut server = home.serve(&["/echo/1", "--echo"]);
    let ticket = server.ticket();
    assert_eq!(home.run(&["call", &ticket, "/echo/1", "hi"]).well().out(), "hi");
    assert_eq!(home.run(&["call", &ticket, "/echo/1"]).well().out(), "");
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let file = home.write("body", &bytes);
    let argument = format!("@{}", text(&file));
    assert_eq!(home.run(&["call", &ticket, "/echo/1", &argument]).well().bytes(), bytes);
    assert_eq!(home.feed(&["call", &ticket, "/echo/1", "-"], &bytes).well().bytes(), bytes);
    let out = home.file("out");
    home.run(&["call", &ticket, "/echo/1", &argument, "-o", text(&out)]).well();
    assert_eq!(fs::read(&out).expect("it was written"), bytes);
    let line = server.next();
    assert_eq!(line["event"], "request");
    assert_eq!((&line["request_bytes"], &line["outcome"]), (&2.into(), &"ok".into()));
}

#[test]
fn json_says_who_answered() {
    let home = Home::new();
    let server = home.serve(&["/echo/1", "--echo"]);
    let ticket = server.ticket().to_ascii_uppercase();
    let done = home.run(&["call", &ticket, "/echo/1", "hi", "--json"]).well();
    let answer = &done.values()[0];
    assert_eq!(answer["peer"], server.ready["peer"]);
    assert!(answer["source"].is_null(), "it was named: {answer}");
    assert_eq!((&answer["text"], &answer["bytes"]), (&"hi".into(), &2.into()));
    assert!(answer["ms"].is_number() && answer["retries"] == 0, "{answer}");
    let verbose = home.run(&["call", &ticket, "/echo/1", "hi", "-v"]).well();
    assert_eq!(verbose.out(), "hi");
    assert!(verbose.err().contains(&format!("{} answered: 2 B → 2 B", server.peer())));
}

#[test]
fn a_peer_is_named_by_its_id_and_address_or_by_a_name_of_ones_own() {
    let home = Home::new();
    let server = home.serve(&["/echo/1", "--echo"]);
    let address = server.ready["addresses"][0].as_str().expect("an address").to_owned();
    assert_eq!(home.run(&["call", &address, "/echo/1", "hi"]).well().out(), "hi");
    let call = ["call", &server.peer(), "--address", &address, "/echo/1", "hi"];
    assert_eq!(home.run(&call).well().out(), "hi");
    home.write("config.toml", format!("[peers]\nhome = {:?}\n", server.ticket()));
    assert_eq!(home.run(&["call", "home", "/echo/1", "hi"]).well().out(), "hi");
    home.run(&["call", "hme", "/echo/1"]).says(2, "peers in the configuration: home");
    home.run(&["call", &server.peer(), "/echo/1"]).says(2, "--address");
}

#[test]
fn failures_have_codes_and_say_what_to_do() {
    let home = Home::new();
    let mut server = home.serve(&["/echo/1", "--echo"]);
    let ticket = server.ticket();
    home.run(&["call", &ticket, "/other/1"]).says(1, "pointsub id");
    home.run(&["call", "psuaeta", "/echo/1"]).says(2, "copy all of it again");
    home.run(&["call", &ticket]).says(2, "required behind the target");
    home.run(&["call"]).says(2, "a protocol is required");
    home.run(&["call", "/ip4/127.0.0.1/tcp/1", "/echo/1"]).says(2, "add /p2p/");
    home.run(&["call", &ticket, "/echo/1", "a", "b", "c"]).with_code(2);
    home.run(&["call", &ticket, "/echo/1", "@/no/such/file"]).says(6, "/no/such/file");
    let json = home.run(&["call", &ticket, "/other/1", "--json"]).with_code(1).values();
    assert_eq!((&json[0]["exit"], &json[0]["error"]["kind"]), (&1.into(), &"refused".into()));
    server.child.kill().expect("it runs");
    server.child.wait().expect("it ends");
    home.run(&["call", &ticket, "/echo/1"]).says(3, "pointsub doctor");
}

#[test]
fn only_those_who_are_allowed_are_let_in() {
    let home = Home::new();
    let key = home.file("friend");
    home.run(&["key", "new", text(&key)]).well();
    let friend = home.run(&["key", "show", text(&key)]).well().out();
    let server = home.serve(&["/echo/1", "--echo", "--allow", friend.trim()]);
    let ticket = server.ticket();
    let call = ["call", &ticket, "/echo/1", "hi", "--key", text(&key)];
    assert_eq!(home.run(&call).well().out(), "hi");
    home.run(&["call", &ticket, "/echo/1", "hi", "--timeout", "5s"]).with_code(3);
}
