//! What is different where somebody looks: a terminal of the system's, as a terminal window has one.

mod picture;
mod places;
mod top;

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Child;

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::support::{HERE, Home, interrupt};

/// Runs a command in a terminal.
struct Terminal {
    child: Child,
    screen: File,
}

impl Terminal {
    fn run(home: &Home, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).expect("it is ours");
        unlockpt(&master).expect("it is ours");
        let size = Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).expect("it is ours");
        let name = ptsname(&master, Vec::new()).expect("a name");
        let path = name.to_str().expect("UTF-8");
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(OFlags::NOCTTY.bits() as i32);
        let slave = options.open(path).expect("the other end");
        let mut command = home.command(arguments);
        command.env("TERM", "xterm").envs(environment.iter().copied());
        command.stdin(slave.try_clone().expect("a copy"));
        command.stdout(slave.try_clone().expect("a copy")).stderr(slave);
        let child = command.spawn().expect("it was built");
        Self { child, screen: File::from(master) }
    }

    /// Presses keys.
    fn press(&mut self, keys: &str) {
        self.screen.write_all(keys.as_bytes()).expect("it is open");
    }

    /// All that is shown up to the end.
    fn shown(mut self) -> String {
        let mut shown = self.until(|_| false);
        self.child.wait().expect("it ends");
        shown.retain(|letter| letter != '\r');
        shown
    }

    /// What is shown until that is enough, or until the end.
    fn until(&mut self, enough: impl Fn(&str) -> bool) -> String {
        let (mut shown, mut buffer) = (Vec::new(), [0; 4096]);
        // The end is an error: nobody has the other end any more.
        while let Ok(read @ 1..) = self.screen.read(&mut buffer) {
            shown.extend_from_slice(&buffer[..read]);
            if enough(&String::from_utf8_lossy(&shown)) {
                break;
            }
        }
        String::from_utf8_lossy(&shown).into_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

const ESCAPE: char = '\u{1b}';

#[test]
fn colours_are_for_terminals_and_those_who_want_them() {
    let home = Home::new();
    home.run(&["key", "new"]).well();
    let coloured = Terminal::run(&home, &["doctor"], &[]).shown();
    assert!(coloured.contains("\u{1b}[32mgood\u{1b}[0m"), "{coloured:?}");
    for plain in [
        Terminal::run(&home, &["doctor"], &[("NO_COLOR", "1")]).shown(),
        Terminal::run(&home, &["doctor"], &[("TERM", "dumb")]).shown(),
        home.run(&["doctor"]).out(),
    ] {
        assert!(plain.contains("good") && !plain.contains(ESCAPE), "{plain:?}");
    }
    let failed = Terminal::run(&home, &["call", "x", "/echo/1"], &[]).shown();
    assert!(failed.contains("\u{1b}[1m\u{1b}[31merror:\u{1b}[0m"), "{failed:?}");
}

#[test]
fn progress_is_shown_in_terminals_alone() {
    let home = Home::new();
    let server = home.serve(&["/echo/1", "--echo"]);
    let bench = ["bench", &server.ticket(), "/echo/1", "-n", "2000"];
    let shown = Terminal::run(&home, &bench, &[]).shown();
    assert!(shown.contains("/2,000") || shown.contains("/2000"), "{shown:?}");
    assert!(shown.contains("requests/s"), "{shown:?}");
    assert!(!home.run(&bench).well().err().contains("2000"));
}

#[test]
fn an_answer_leaves_the_prompt_on_a_line_of_its_own() {
    let home = Home::new();
    let server = home.serve(&["/echo/1", "--echo"]);
    let call = ["call", &server.ticket(), "/echo/1", "hi"];
    assert!(Terminal::run(&home, &call, &[]).shown().ends_with("hi\n"));
    let file = home.write("bytes", [0xff, 0xfe]);
    let argument = format!("@{}", file.display());
    let call = ["call", &server.ticket(), "/echo/1", &argument];
    assert!(Terminal::run(&home, &call, &[]).shown().contains("write it to a file"));
}

#[test]
fn ping_goes_on_until_it_is_interrupted() {
    let home = Home::new();
    let server = home.serve(&["/echo/1", "--echo"]);
    let mut ping = Terminal::run(&home, &["ping", &server.ticket(), "-i", "1ms"], &[]);
    let shown = ping.until(|shown| shown.contains("seq=3"));
    assert!(shown.contains("\u{1b}[32mdirect\u{1b}[0m"), "{shown:?}");
    interrupt(&ping.child);
    let end = ping.until(|_| false);
    assert!(end.contains("0 % lost") && end.contains("rtt min"), "{end:?}");
    assert_eq!(ping.child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn a_server_shows_how_to_call_it_and_each_request() {
    let home = Home::new();
    let serve = ["serve", "/echo/1", "--echo", "--no-lan", "--listen", HERE];
    let mut server = Terminal::run(&home, &serve, &[("NO_COLOR", "1")]);
    let shown = server.until(|shown| shown.contains("/echo/1 hi"));
    let call = shown.lines().find_map(|line| line.strip_prefix("Call")).expect("how to call it");
    let words: Vec<&str> = call.split_whitespace().collect();
    assert_eq!(words[0], "pointsub");
    assert_eq!(home.run(&words[1..]).well().out(), "hi");
    let line = server.until(|shown| shown.contains("2 B → 2 B"));
    assert!(line.contains("…"), "{line:?}");
    // A terminal passes Ctrl-C on as a signal.
    interrupt(&server.child);
    assert!(server.until(|_| false).contains("ending"));
    assert_eq!(server.child.wait().expect("it ends").code(), Some(0));
    let _closed = server.screen.flush();
}
