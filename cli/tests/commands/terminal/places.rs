//! Registries and lists of the DNS, as somebody sees them who sits there.

use super::Terminal;
use crate::support::{HERE, Home, interrupt};

#[test]
fn a_registry_says_how_to_use_it_and_a_server_that_it_is_there() {
    let home = Home::new();
    let plain = [("NO_COLOR", "1")];
    let registry = ["registry", "--ephemeral", "--listen", HERE];
    let mut registry = Terminal::run(&home, &registry, &plain);
    let shown = registry.until(|shown| shown.contains("--registry psu") && shown.ends_with('\n'));
    let ticket = shown.split_whitespace().last().expect("a ticket").to_owned();
    let serve = ["serve", "/echo/1", "--echo", "--no-lan", "--listen", HERE];
    let places = ["--registry", &ticket, "--dns", "list.example"];
    let mut server = Terminal::run(&home, &[&serve[..], &places].concat(), &plain);
    let shown = server.until(|shown| shown.contains("/echo/1 hi\r\n"));
    assert!(shown.contains("_dnsaddr.list.example. TXT \"dnsaddr=/ip4/127.0.0.1/tcp/"), "{shown}");
    let of = |label: &str| shown.lines().find_map(|line| line.strip_prefix(label));
    let words: Vec<&str> = of("Registry").expect("how to call it").split_whitespace().collect();
    assert_eq!(words[..5], ["pointsub", "call", "/echo/1", "hi", "--registry"]);
    let call = [&words[1..], &["--no-lan"]].concat();
    assert!(Terminal::run(&home, &call, &[]).shown().ends_with("hi\n"));
    let discover = ["discover", "/echo/1", "--no-lan", "--registry", &ticket];
    let found = Terminal::run(&home, &discover, &plain).shown();
    assert!(found.contains("looking in: the registry"), "{found:?}");
    assert!(found.contains("12D3KooW") && found.contains("  registry  "), "{found:?}");
    for mut ended in [server, registry] {
        interrupt(&ended.child);
        assert!(ended.until(|_| false).contains("ending"));
        assert_eq!(ended.child.wait().expect("it ends").code(), Some(0));
    }
}

#[test]
fn a_server_says_which_registry_is_none() {
    let home = Home::new();
    let other = home.serve(&["/echo/1", "--echo"]);
    let serve = ["serve", "/echo/1", "--echo", "--no-lan", "--ephemeral", "--listen", HERE];
    let gone = format!("/ip4/127.0.0.1/tcp/1/p2p/{}", other.peer());
    for (registry, said) in [(&other.ticket(), "serves no registry"), (&gone, "cannot be used now")]
    {
        let mut server =
            Terminal::run(&home, &[&serve[..], &["--registry", registry]].concat(), &[]);
        server.until(|shown| shown.contains(said));
        interrupt(&server.child);
        server.until(|_| false);
        assert_eq!(server.child.wait().expect("it ends").code(), Some(0));
    }
}
