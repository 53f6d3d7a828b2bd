//! `pointsub top`: on a screen, and for scripts.

use serde_json::Value;

use super::Terminal;
use crate::support::{Home, Running, interrupt, text};

const ONCE: [&str; 5] = ["top", "--once", "--json", "-i", "100ms"];

/// How it was at one time.
fn once(home: &Home, arguments: &[&str]) -> Value {
    home.run(&[&ONCE[..], arguments].concat()).well().values().swap_remove(0)
}

fn echo_of(sample: &Value) -> Option<&Value> {
    let protocols = sample["protocols"].as_array().expect("a list");
    protocols.iter().find(|protocol| protocol["protocol"] == "/echo/1")
}

fn serve(home: &Home) -> Running {
    home.serve(&["/echo/1", "--echo"])
}

#[test]
fn a_user_sees_all_of_the_own_server() {
    let home = Home::new();
    let server = serve(&home);
    home.run(&["call", &server.ticket(), "/echo/1", "hi"]).well();
    let sample = once(&home, &[]);
    assert_eq!((&sample["event"], &sample["peer"]), (&"sample".into(), &server.ready["peer"]));
    assert!(sample["limit"].as_u64() > Some(0) && sample["memory_limit"].as_u64() > Some(0));
    assert!(sample["ok"].as_u64() > Some(0) && sample["uptime_ms"].is_number(), "{sample}");
    assert!(echo_of(&sample).is_some(), "{sample}");
    // That is whoever asks.
    let peers = sample["peers"].as_array().expect("a list");
    assert_eq!(sample["connected"], peers.len());
    assert!(peers.iter().any(|peer| peer["path"] == "direct"), "{sample}");
    let shown = home.run(&["top", "--once", "-i", "100ms"]).well().out();
    for wanted in ["At work", "Memory", "/echo/1", "direct", "/ip4/127.0.0.1/tcp/"] {
        assert!(shown.contains(wanted), "{shown}");
    }
}

#[test]
fn rates_are_seen_while_requests_come() {
    let home = Home::new();
    let server = serve(&home);
    let mut top = home.follow(&["top", &server.ticket(), "-i", "100ms"]);
    let sample = loop {
        home.run(&["call", &server.ticket(), "/echo/1", "hi"]).well();
        let sample = top.next();
        let rate = echo_of(&sample)
            .map_or(0.0, |echo| echo["requests_per_second"].as_f64().expect("a number"));
        if rate > 0.0 {
            break sample;
        }
    };
    assert!(sample["requests_per_second"].as_f64() > Some(0.0), "{sample}");
    assert!(echo_of(&sample).expect("it is there")["handler_ms"].is_number(), "{sample}");
    top.interrupt();
    assert_eq!(top.child.wait().expect("it ends").code(), Some(0));
}

/// Others see the load, if anything, and operators everything.
#[test]
fn others_see_what_they_may() {
    let [home, other] = [Home::new(), Home::new()];
    let server = serve(&home);
    let sample = once(&other, &[&server.ticket()]);
    assert!(sample["limit"].as_u64() > Some(0), "{sample}");
    assert_eq!((&sample["peers"], &sample["connected"]), (&Value::Array(vec![]), &Value::Null));
    let silent = home.serve(&["/echo/1", "--echo", "--no-info", "--ephemeral"]);
    other.run(&["top", &silent.ticket(), "--once"]).says(1, "--operator");
    // The key that `top` has made.
    let operator = other.run(&["key", "show", text(&other.file("operator"))]).well().out();
    let shown = ["/echo/1", "--echo", "--ephemeral", "--operator", operator.trim()];
    assert_eq!(once(&other, &[&home.serve(&shown).ticket()])["connected"], 1);
    // Whoever may look may come.
    let friend = server.peer();
    let friend = [&shown[..], &["--allow", &friend]].concat();
    assert_eq!(once(&other, &[&home.serve(&friend).ticket()])["connected"], 1);
}

#[test]
fn a_server_is_found_by_its_user_unless_there_are_several() {
    let home = Home::new();
    home.run(&ONCE).with_code(3);
    home.run(&["top", "--once"]).says(3, "pointsub serve");
    let first = serve(&home);
    let second = home.start(&["registry", "--ephemeral", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    let choice = home.run(&["top", "--once"]).says(2, "choose one").err();
    let pid = second.child.id().to_string();
    assert!(choice.contains(&format!("--pid {pid} (registry")), "{choice}");
    assert_eq!(once(&home, &["--pid", &pid])["peer"], second.peer());
    // One that was killed is not there any more, and neither is one that has ended.
    drop(second);
    assert_eq!(once(&home, &[])["peer"], first.peer());
    first.interrupt();
    let mut first = first;
    assert_eq!(first.child.wait().expect("it ends").code(), Some(0));
    assert_eq!(std::fs::read_dir(home.file("running")).expect("a folder").count(), 0);
    home.run(&["top", "--once", "-i", "1ms"]).says(2, "100ms at least");
}

#[test]
fn a_screen_shows_a_node_until_a_key_ends_it() {
    let home = Home::new();
    let server = serve(&home);
    let mut top = Terminal::run(&home, &["top", "-i", "100ms"], &[]);
    let shown = top.until(|shown| shown.contains("q quit") && shown.contains("/pointsub-top/1"));
    // The other screen of the terminal, and no cursor.
    assert!(shown.contains("\u{1b}[?1049h") && shown.contains("\u{1b}[?25l"), "{shown:?}");
    assert!(shown.contains(&server.peer()) && shown.contains("requests/s"), "{shown:?}");
    assert!(shown.contains("direct"), "{shown:?}");
    top.press("s");
    top.until(|shown| shown.contains("requests"));
    top.press("p");
    top.until(|shown| shown.contains("paused"));
    top.press("q");
    let end = top.until(|_| false);
    assert!(end.contains("\u{1b}[?1049l") && end.contains("\u{1b}[?25h"), "{end:?}");
    assert_eq!(top.child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn a_screen_says_when_its_node_is_gone_and_is_given_back() {
    let home = Home::new();
    let server = serve(&home);
    let mut top = Terminal::run(&home, &["top", "-i", "100ms"], &[]);
    top.until(|shown| shown.contains("q quit"));
    drop(server);
    top.until(|shown| shown.contains("not heard"));
    interrupt(&top.child);
    let end = top.until(|_| false);
    assert!(end.contains("\u{1b}[?1049l"), "{end:?}");
    assert_eq!(top.child.wait().expect("it ends").code(), Some(0));
}

/// Without cursor movements there are lines.
#[test]
fn a_terminal_without_a_cursor_has_lines() {
    let home = Home::new();
    let _server = serve(&home);
    let mut top = Terminal::run(&home, &["top", "-i", "100ms"], &[("TERM", "dumb")]);
    let shown = top.until(|shown| shown.lines().count() > 3);
    assert!(shown.contains("req/s") && !shown.contains('\u{1b}'), "{shown:?}");
    interrupt(&top.child);
    assert_eq!(top.child.wait().expect("it ends").code(), Some(0));
}
