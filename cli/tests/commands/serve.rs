use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::thread;

use crate::support::{Home, interrupt, text};

/// A named pipe: whoever opens it waits for the other end.
fn pipe(home: &Home, name: &str) -> String {
    let path = home.file(name);
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0)
        .expect("a pipe");
    text(&path).to_owned()
}

/// Waits until the last process that writes to a pipe has ended.
fn until_closed(mut pipe: File) {
    pipe.read_to_end(&mut Vec::new()).expect("it ends");
}

#[test]
fn a_command_answers_with_what_it_writes() {
    let home = Home::new();
    let server = home.serve(&["/up/1", "--exec", "tr a-z A-Z; echo $POINTSUB_PROTOCOL"]);
    let done = home.feed(&["call", &server.ticket(), "/up/1", "-"], b"hello\n");
    assert_eq!(done.well().out(), "HELLO\n/up/1\n");
    let unread = home.serve(&["/date/1", "--exec", "echo no"]);
    let large = vec![7; 1 << 20];
    assert_eq!(home.feed(&["call", &unread.ticket(), "/date/1", "-"], &large).well().out(), "no\n");
}

#[test]
fn a_command_that_fails_is_a_failure_with_its_status() {
    let home = Home::new();
    let server = home.serve(&["/no/1", "--exec", "echo secret >&2; exit 3"]);
    let done = home.run(&["call", &server.ticket(), "/no/1"]).says(1, "application error 3");
    assert!(!done.err().contains("secret"), "{}", done.err());
    let open = home.serve(&["/no/1", "--exec", "echo told >&2; exit 3", "--send-stderr"]);
    home.run(&["call", &open.ticket(), "/no/1"]).says(1, "application error 3: told");
    let killed = home.serve(&["/no/1", "--exec", "kill -9 $$"]);
    home.run(&["call", &killed.ticket(), "/no/1"]).says(1, "application error 137");
}

#[test]
fn what_a_command_has_started_ends_with_its_time() {
    let home = Home::new();
    let pipe = pipe(&home, "pipe");
    let command = format!("(exec 3>{pipe}; sleep 1000) & wait");
    let server = home.serve(&["/slow/1", "--exec", &command, "--time-limit", "1s"]);
    let reader = thread::spawn(move || until_closed(File::open(pipe).expect("a pipe")));
    home.run(&["call", &server.ticket(), "/slow/1"]).says(4, "deadline exceeded");
    reader.join().expect("all processes have ended");
}

#[test]
fn what_a_command_has_started_ends_when_the_caller_does_not_wait() {
    let home = Home::new();
    let pipe = pipe(&home, "pipe");
    let command = format!("exec 3>{pipe}; sleep 1000");
    let mut server = home.serve(&["/slow/1", "--exec", &command]);
    let mut call = home.command(&["call", &server.ticket(), "/slow/1"]);
    let mut call = call.stderr(Stdio::null()).spawn().expect("it was built");
    let opened = File::open(pipe).expect("the command has opened it");
    interrupt(&call);
    until_closed(opened);
    assert_eq!(call.wait().expect("it ends").code(), Some(130));
    assert_eq!(server.next()["outcome"], "cancelled");
}

#[test]
fn a_command_that_writes_too_much_is_ended() {
    let home = Home::new();
    let server = home.serve(&["/yes/1", "--exec", "yes", "--max-output", "1000"]);
    home.run(&["call", &server.ticket(), "/yes/1"]).says(1, "longer than 1000 bytes");
}

#[test]
fn no_more_commands_run_at_a_time_than_are_allowed() {
    let home = Home::new();
    // The second cannot make the folder while the first has it.
    let lock = home.file("lock");
    let command = format!("mkdir {0} || exit 9; ls / >/dev/null; rmdir {0}", text(&lock));
    let server = home.serve(&["/one/1", "--exec", &command, "--jobs", "1"]);
    let bench = ["bench", &server.ticket(), "/one/1", "-n", "30", "-c", "8", "--json"];
    assert_eq!(home.run(&bench).well().values()[0]["answered"], 30);
}

#[test]
fn files_of_a_folder_and_no_others_are_served() {
    let home = Home::new();
    home.write("site/a.txt", "a");
    home.write("site/sub/index.html", "index");
    home.write("site/.hidden", "hidden");
    home.write("secret", "secret");
    let site = home.file("site");
    symlink("a.txt", site.join("inside")).expect("a link");
    symlink(home.file("secret"), site.join("outside")).expect("a link");
    symlink(".hidden", site.join("shown")).expect("a link");
    symlink(home.file(""), site.join("up")).expect("a link");
    pipe(&home, "site/pipe");
    let server = home.serve(&["/files/1", "--static", text(&site)]);
    let ticket = server.ticket();
    let get = |name: &str| home.run(&["call", &ticket, "/files/1", name]);
    assert_eq!(get("a.txt").well().out(), "a");
    assert_eq!(get("/inside").well().out(), "a");
    assert_eq!(get("sub").well().out(), "index");
    assert_eq!(get("").well().out(), "a.txt\ninside\npipe\nsub/\n");
    for name in
        ["outside", "up/secret", "../secret", "/../secret", ".hidden", "shown", "none", "pipe"]
    {
        get(name).says(1, "not found");
    }
}

#[test]
fn an_http_server_answers() {
    let home = Home::new();
    let web = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = web.local_addr().expect("it has one").port().to_string();
    thread::spawn(move || {
        for stream in web.incoming() {
            let mut reader = BufReader::new(stream.expect("a connection"));
            let (mut first, mut line) = (String::new(), String::from("..."));
            reader.read_line(&mut first).expect("a request");
            let mut length = 0;
            while !line.trim().is_empty() {
                line.clear();
                reader.read_line(&mut line).expect("a header");
                if let Some(value) = line.strip_prefix("content-length: ") {
                    length = value.trim().parse().expect("a number");
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            let status = if first.contains("/none") { "404 Not Found" } else { "200 OK" };
            let answer = format!("{} {}", first.trim(), String::from_utf8_lossy(&body));
            let mut stream = reader.into_inner();
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", answer.len());
            stream.write_all(format!("{head}{answer}").as_bytes()).expect("it reads");
        }
    });
    let server = home.serve(&["/web/1", "--http", &port]);
    let ticket = server.ticket();
    let posted = home.run(&["call", &ticket, "/web/1", "hi"]).well();
    assert_eq!(posted.out(), "POST / HTTP/1.1 hi");
    let got = home.run(&["call", &ticket, "/web/1", "-m", "GET /users"]).well();
    assert_eq!(got.out(), "GET /users HTTP/1.1 ");
    home.run(&["call", &ticket, "/web/1", "-m", "GET /none"]).says(1, "application error 404");
    home.run(&["call", &ticket, "/web/1", "-m", "GET http://x/"]).says(1, "bad request");
}

#[test]
fn what_is_at_work_is_answered_before_a_server_ends() {
    let home = Home::new();
    let (begun, go_on) = (pipe(&home, "begun"), pipe(&home, "go-on"));
    let command = format!("echo >{begun}; cat {go_on}");
    let mut server = home.serve(&["/slow/1", "--exec", &command]);
    let mut call = home.command(&["call", &server.ticket(), "/slow/1"]);
    let call = call.stdout(Stdio::piped()).spawn().expect("it was built");
    until_closed(File::open(begun).expect("the command has begun"));
    server.interrupt();
    fs::write(go_on, "late").expect("the command reads it");
    assert_eq!(call.wait_with_output().expect("it ends").stdout, b"late");
    assert_eq!(server.next()["outcome"], "ok");
    assert_eq!(server.next(), serde_json::json!({ "event": "ended", "clean": true }));
    assert_eq!(server.child.wait().expect("it ends").code(), Some(0));
}
