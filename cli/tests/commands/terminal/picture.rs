//! The picture of two terminals in the README: what the commands print, drawn.
//!
//! `UPDATE_PICTURE=1 cargo test -p pointsub-cli picture` draws it anew. What is different each time (Peer
//! IDs, ports, times) is replaced, and long words are cut.

use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

use crate::support::{HERE, Home, interrupt};

const LINE: usize = 19;
const WIDTH: usize = 820;
/// Longer lines are cut.
const COLUMNS: usize = 96;

#[test]
fn the_picture_shows_what_the_commands_print() {
    let (left, right) = story();
    let drawn = draw(&[("one machine", &left), ("another one", &right)]);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("story.svg");
    if std::env::var_os("UPDATE_PICTURE").is_some() {
        fs::write(&path, &drawn).expect("it can be written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == drawn, "the picture is out of date: UPDATE_PICTURE=1\n{drawn}");
}

/// What is seen in the two terminals.
fn story() -> (Vec<String>, Vec<String>) {
    let home = Home::new();
    let (mut left, mut right) = (Vec::new(), Vec::new());
    let mut echo = Shown::start(&home, &["serve", "/echo/1", "--echo"]);
    left.push("$ pointsub serve /echo/1 --echo".to_owned());
    left.extend(echo.head());
    let call = ["call", &echo.ticket, "/echo/1", "hello"];
    right.push(format!("$ pointsub call {} /echo/1 hello", echo.ticket));
    right.push(home.run(&call).well().out());
    left.push(echo.next());
    right.push(format!("$ pointsub ping {} -c 2", echo.ticket));
    let pings = home.run(&["ping", &echo.ticket, "-c", "2", "-i", "1ms"]).well().out();
    right.extend(pings.lines().map(str::to_owned));
    left.push("^C".to_owned());
    interrupt(&echo.child);
    echo.child.wait().expect("it ends");

    // Nobody else on this network has the same.
    let up = format!("/up/{}", std::process::id());
    let mut upper = Shown::start(&home, &["serve", &up, "--exec", "tr a-z A-Z"]);
    left.push("$ pointsub serve /up/1 --exec 'tr a-z A-Z'".to_owned());
    left.extend(upper.head().into_iter().map(|line| line.replace(&up, "/up/1")));
    // On one network, which that of this machine is.
    right.push("$ echo hello | pointsub call /up/1 -".to_owned());
    right.push(home.feed(&["call", &up, "-"], b"hello\n").well().out());
    left.push(upper.next());
    interrupt(&upper.child);
    upper.child.wait().expect("it ends");

    let replace = |lines: Vec<String>| {
        let lines = lines.iter().map(|line| same_each_time(line.trim_end(), &home));
        lines.collect()
    };
    (replace(left), replace(right))
}

/// A server and what it prints.
struct Shown {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    ticket: String,
    read: Vec<String>,
}

impl Shown {
    fn start(home: &Home, arguments: &[&str]) -> Self {
        let mut command = home.command(arguments);
        command.args(["--listen", HERE]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("it was built");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut shown = Self { child, lines, ticket: String::new(), read: Vec::new() };
        loop {
            let line = shown.next();
            if let Some(ticket) = line.strip_prefix("Ticket") {
                shown.ticket = ticket.trim().to_owned();
            }
            let is_last = line.starts_with("Call");
            shown.read.push(line);
            if is_last {
                return shown;
            }
        }
    }

    fn head(&mut self) -> Vec<String> {
        std::mem::take(&mut self.read)
    }

    fn next(&mut self) -> String {
        self.lines.next().expect("it goes on").expect("text")
    }
}

/// A line without what is different each time.
fn same_each_time(line: &str, home: &Home) -> String {
    let key = home.file("key").display().to_string();
    let line = line.replace(&key, "~/.config/pointsub/key");
    let mut words: Vec<String> = line.split(' ').map(same_word).collect();
    for at in 1..words.len() {
        let unit = words[at].trim_end_matches(',');
        if matches!(unit, "ms" | "µs" | "s") {
            let end = words[at].strip_prefix(unit).unwrap_or_default().to_owned();
            let before = words[at - 1].split_once('=').map(|(name, _)| format!("{name}="));
            words[at - 1] = format!("{}0.4", before.unwrap_or_default());
            words[at] = format!("ms{end}");
        }
    }
    words.join(" ")
}

fn same_word(word: &str) -> String {
    if word.starts_with("psu") && word.len() > 20 {
        return "psuaetaajaia…".to_owned();
    }
    if word.starts_with("12D3KooW") {
        return "12D3KooWPjce…".to_owned();
    }
    if word.starts_with('…') && word.chars().count() == 7 {
        return "…9HyQ6X".to_owned();
    }
    if word.len() == 8 && word.split(':').count() == 3 {
        return "15:02:11".to_owned();
    }
    match word.split_once("/tcp/") {
        Some((ip, rest)) => {
            let rest = rest.split_once('/').map_or(String::new(), |(_, rest)| format!("/{rest}"));
            let rest = if rest.contains("12D3KooW") { "/p2p/12D3KooWPjce…" } else { &*rest };
            format!("{ip}/tcp/4001{rest}")
        }
        None => word.to_owned(),
    }
}

/// Terminals, one below the other.
fn draw(terminals: &[(&str, &[String])]) -> String {
    let (mut body, mut top) = (String::new(), 0);
    for (title, lines) in terminals {
        let height = (lines.len() + 2) * LINE + 8;
        let middle = WIDTH / 2;
        let _ = writeln!(
            body,
            "<rect y=\"{top}\" width=\"{WIDTH}\" height=\"{height}\" rx=\"8\" fill=\"#1b1f24\"/>\n\
             <text x=\"{middle}\" y=\"{}\" fill=\"#8b949e\" text-anchor=\"middle\">{title}</text>",
            top + LINE,
        );
        for (at, line) in lines.iter().enumerate() {
            let (y, line) = (top + (at + 2) * LINE + 4, escape(line));
            let colour = if line.starts_with('$') { "#7ee787" } else { "#e6edf3" };
            let _ = writeln!(body, "<text x=\"14\" y=\"{y}\" fill=\"{colour}\">{line}</text>");
        }
        top += height + 12;
    }
    let height = top - 12;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"ui-monospace, Menlo, Consolas, monospace\" font-size=\"13\" \
         xml:space=\"preserve\">\n{body}</svg>\n"
    )
}

fn escape(line: &str) -> String {
    let cut: String = line.chars().take(COLUMNS).collect();
    cut.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
