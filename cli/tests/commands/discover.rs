//! Servers that nobody has named, on the local network: here on that of this machine alone.

use pointsub_tokio::{Discover, ProtocolName};
use serde_json::{Value, json};

use crate::support::Home;
use crate::typed::chat_as;

/// A protocol that no other test has, and nobody else who runs these tests on the same network.
fn protocol(of: &str) -> String {
    format!("/{of}/{}", std::process::id())
}

#[test]
fn the_closest_server_answers_where_none_is_named() {
    let (home, echo) = (Home::new(), &*protocol("echo"));
    let server = home.serve_nearby(&[echo, "--echo"]);
    assert_eq!(server.ready["lan"], true);
    assert_eq!(home.run(&["call", echo, "hi"]).well().out(), "hi");
    assert_eq!(home.feed(&["call", echo, "-"], b"hello").well().out(), "hello");
    assert_eq!(home.run(&["call", echo]).well().out(), "");
    let answer = &home.run(&["call", echo, "/hi", "--json"]).well().values()[0];
    assert_eq!((&answer["peer"], &answer["source"]), (&server.ready["peer"], &"lan".into()));
    assert_eq!((&answer["text"], &answer["protocol"]), (&"/hi".into(), &echo.into()));
    let verbose = home.run(&["call", echo, "hi", "-v"]).well();
    assert!(verbose.err().contains(&format!("{} was found in the local network", server.peer())));
    assert!(verbose.err().contains(&format!("{} answered", server.peer())));
}

#[test]
fn the_closest_typed_service_answers_too() {
    let (home, chat) = (Home::new(), &*protocol("chat"));
    let name = ProtocolName::new(chat).expect("a name");
    let (_runtime, node, _address) = chat_as(name, Discover::lan());
    let say = ["call", chat, "say", r#"{"text":"hi"}"#];
    assert_eq!(home.run(&say).well().out(), "{\"length\":2}\n");
    let (peer, source) = (node.peer_id().to_string(), "lan");
    let said = &home.run(&[&say[..], &["--json"]].concat()).well().values()[0];
    let result = json!({ "length": 2 });
    let wanted = json!({ "event": "result", "value": result, "peer": peer, "source": source });
    assert_eq!(*said, wanted);
    let count = ["call", chat, "count", r#"{"to":2}"#, "--json"];
    let counted = home.run(&count).well().values();
    assert_eq!(counted[..2], [1, 2].map(|n| json!({ "event": "message", "value": n })));
    assert_eq!((&counted[2]["peer"], &counted[2]["source"]), (&json!(peer), &json!(source)));
    let refused = ["call", chat, "say", r#"{"text":""}"#];
    home.run(&refused).says(1, "say something");
}

#[test]
fn servers_that_are_found_are_listed() {
    let (home, list) = (Home::new(), &*protocol("list"));
    let serve = [list, "--echo", "--ephemeral"];
    let servers = [home.serve_nearby(&serve), home.serve_nearby(&serve)];
    let found = home.run(&["discover", list, "--json"]).well().values();
    let found_peers: Vec<&Value> = found.iter().map(|value| &value["peer"]).collect();
    assert_eq!(found.len(), servers.len(), "{found:?}");
    for server in &servers {
        assert!(found_peers.contains(&&server.ready["peer"]), "{found:?}");
    }
    for value in &found {
        assert_eq!((&value["event"], &value["source"]), (&"found".into(), &"lan".into()));
        let address = value["address"].as_str().expect("an address");
        assert!(address.starts_with("/ip4/127.0.0.1/tcp/") && !address.contains("/p2p/"));
        assert!(value["rtt_ms"].is_number(), "{value}");
    }
    let text = home.run(&["discover", list]).well().out();
    assert_eq!(text.lines().count(), servers.len(), "{text}");
    for server in &servers {
        let line = text.lines().find(|line| line.starts_with(&server.peer()));
        assert!(line.is_some_and(|line| line.contains("/ip4/127.0.0.1/tcp/")), "{text}");
    }
}

#[test]
fn servers_that_are_not_announced_are_not_found() {
    let (home, quiet) = (Home::new(), &*protocol("quiet"));
    let _server = home.serve(&[quiet, "--echo"]);
    let discover = ["discover", quiet, "--for", "1s"];
    home.run(&discover).says(3, &format!("no server of {quiet} was found"));
    home.run(&[&discover[..], &["--watch"]].concat()).says(3, "no server of");
    let failed = &home.run(&[&discover[..], &["--json"]].concat()).with_code(3).values()[0];
    assert_eq!(failed["error"]["kind"], "not_reached");
    home.run(&["call", quiet, "hi"]).says(3, "pointsub serve");
    let call = ["call", quiet, "hi", "--timeout", "500ms"];
    home.run(&call).says(3, "asked: the local network");
}

#[cfg(unix)]
#[test]
fn servers_are_watched_as_they_come_and_go() {
    let (home, watched) = (Home::new(), &*protocol("watched"));
    let serve = [watched, "--echo", "--ephemeral"];
    let mut watch = home.follow(&["discover", watched, "--watch"]);
    let mut is = |event: &str, peer: &str| {
        let line = watch.next();
        assert_eq!((&line["event"], &line["peer"]), (&event.into(), &peer.into()), "{line}");
        assert!(line["address"].is_string() && line["time"].is_number(), "{line}");
    };
    let mut first = home.serve_nearby(&serve);
    is("found", &first.peer());
    let second = home.serve_nearby(&serve);
    is("found", &second.peer());
    second.interrupt();
    is("lost", &second.peer());
    first.child.kill().expect("it runs");
    is("lost", &first.peer());
    let third = home.serve_nearby(&serve);
    is("found", &third.peer());
    watch.interrupt();
    assert_eq!(watch.child.wait().expect("it ends").code(), Some(0));
}
