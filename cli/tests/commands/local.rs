use std::fs;

use crate::support::{Home, text};

#[test]
fn a_key_is_made_once() {
    let home = Home::new();
    home.run(&["key", "show"]).says(6, "pointsub key new");
    let made = home.run(&["key", "new", "--json"]).well().values();
    let shown = home.run(&["key", "show"]).well().out();
    assert_eq!(made[0]["peer"], shown.trim());
    home.run(&["key", "new"]).says(6, "is there already");
    assert_eq!(home.run(&["key", "show"]).well().out(), shown);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(home.file("key")).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn a_server_keeps_its_key() {
    let home = Home::new();
    let first = home.serve(&["/echo/1", "--echo"]).peer();
    assert_eq!(home.serve(&["/echo/1", "--echo"]).peer(), first);
    let other = home.serve(&["/echo/1", "--echo", "--ephemeral"]);
    assert_ne!(other.peer(), first);
    assert!(other.ready["key"].is_null());
}

#[test]
fn a_profile_has_what_one_does_not_want_to_type() {
    let home = Home::new();
    let key = home.file("work.key");
    home.run(&["key", "new", text(&key)]).well();
    let config = format!(
        "[profile.work]\nkey = {:?}\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\nlan = false\n",
        text(&key)
    );
    home.write("config.toml", config);
    let shown = home.run(&["key", "show", "--profile", "work"]).well().out();
    assert_eq!(shown, home.run(&["key", "show", text(&key)]).well().out());
    let server = home.start(&["serve", "/echo/1", "--echo", "--profile", "work"]);
    assert_eq!((server.peer().as_str(), &server.ready["lan"]), (shown.trim(), &false.into()));
    home.run(&["key", "show", "--profile", "wrok"]).says(2, ": work");
}

#[test]
fn a_ticket_shows_what_is_in_it() {
    let home = Home::new();
    let peer = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X";
    let address = "/ip4/203.0.113.9/tcp/4001";
    let made = &home.run(&["ticket", peer, "--address", address, "--json"]).well().values()[0];
    let ticket = made["ticket"].as_str().expect("a ticket");
    let shown = home.run(&["ticket", ticket]).well().out();
    assert!(shown.contains(peer) && shown.contains(address) && shown.contains(ticket), "{shown}");
    let code = home.run(&["ticket", ticket, "--qr"]).well().out();
    assert!(code.contains('█') && code.lines().count() > 15, "{code}");
}

#[test]
fn frames_are_shown() {
    let home = Home::new();
    let dump = "00000018 02 00 0007 0000000000100000 01 0004 000003e8 68656c6c6f";
    let wanted = "00000000  REQUEST id=1048576, 5 B\n          TIMEOUT 1000\n          \"hello\"\n";
    assert_eq!(home.feed(&["decode"], dump.as_bytes()).well().out(), wanted);
    let file = home.write("frames", b"\0\0\0\x05hello");
    let shown = home.run(&["decode", text(&file)]).well().out();
    assert_eq!(shown, "00000000  message of 5 B\n          \"hello\"\n");
    let json = home.feed(&["decode", "--json"], dump.as_bytes()).well().values();
    assert_eq!((&json[0]["kind"], &json[0]["body"]), (&"REQUEST".into(), &"68656c6c6f".into()));
    assert_eq!(json[0]["fields"][0]["value"], 1000);
    home.feed(&["decode", "--format", "native"], b"00000005ffff").says(7, "at byte 0");
    home.feed(&["decode", "--raw"], b"00000005").says(7, "ended inside a frame");
}

#[test]
fn shells_and_readers_have_what_they_need() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(home.run(&["completions", shell]).well().out().contains("pointsub"), "{shell}");
    }
    let folder = home.file("man");
    home.run(&["man", text(&folder)]).well();
    let page = fs::read_to_string(folder.join("pointsub-serve.1")).expect("a page");
    assert!(page.contains("POINTSUB_PEER"), "{page}");
}
