//! The examples in which programs that know nothing of this library run over its streams.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// An example. `cargo test -p pointsub-examples` builds them; with `--test` it does not.
fn example(name: &str) -> Command {
    let mut path: PathBuf = std::env::current_exe().expect("this test has a path");
    // Out of `deps`.
    path.pop();
    path.pop();
    Command::new(path.join("examples").join(name))
}

/// What an example prints; it must end well.
fn output_of(name: &str) -> String {
    let output = example(name).output().expect("it was built");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// O1: HTTP servers and clients.
#[test]
fn an_axum_application_answers_a_hyper_client() {
    let text = output_of("http");
    assert!(text.contains("GET / says: hello, 12D3Koo"), "{text}");
    assert!(text.contains("says: 1048576"), "{text}");
}

/// O1: gRPC, with a method that streams.
#[test]
fn a_tonic_service_streams_to_its_client() {
    let text = output_of("grpc");
    let seen: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("watching: ")).collect();
    assert_eq!(seen, ["SERVING", "NOT_SERVING", "SERVING"], "{text}");
}

/// A room that pushes what is said in it, and who comes and goes.
#[test]
fn a_chat_room_tells_its_members_who_is_there() {
    let text = output_of("chat");
    let seen: Vec<&str> = text.lines().map(str::trim_start).collect();
    let wanted = [
        "alice | * here are: alice",
        "alice | * alice has come",
        "bob | * here are: alice, bob",
        "bob | * bob has come",
        "alice | * bob has come",
        "alice | alice: hello, bob",
        "bob | alice: hello, bob",
        "bob | bob: hello, alice",
        "alice | bob: hello, alice",
        "alice | * bob has gone",
        "alice | = goodbye, alice",
    ];
    assert_eq!(seen, wanted, "{text}");
}

/// A service that is a trait: values, refusals, and messages in each direction.
#[test]
fn a_typed_store_is_asked_watched_and_loaded() {
    let text = output_of("store");
    let seen: Vec<&str> = text.lines().collect();
    let wanted = [
        "set: version 1",
        "get: b\"blue\", version 1",
        "watched: color/sky is b\"blue\"",
        "refused: version 1 is there, and not 7",
        "loaded: 3",
    ];
    assert_eq!(seen, wanted, "{text}");
}

/// Jobs that are submitted once, and followed across a cut.
#[test]
fn a_job_is_followed_to_its_end() {
    let text = output_of("jobs");
    let seen: Vec<&str> = text.lines().collect();
    let wanted = [
        "short is new: true",
        "long is new: true",
        "last is new: true",
        "long is new: false",
        "long: Waiting",
        "long: Step { done: 1, of: 5 }",
        "long: Step { done: 2, of: 5 }",
        "long: Step { done: 3, of: 5 }",
        "long: Step { done: 4, of: 5 }",
        "long: Step { done: 5, of: 5 }",
        "long: Finished { sum: 15 }",
        "the sum is 15",
        "refused: there is no job \"none\"",
    ];
    assert_eq!(seen, wanted, "{text}");
}

/// A node that says how it is doing, in a format that Prometheus reads.
#[test]
fn a_node_is_scraped() {
    let (_node, line) = Running::start("metrics", &[]);
    let address = line.trim_start_matches("metrics at http://").trim_end_matches("/metrics");
    let mut socket = TcpStream::connect(address).expect("it listens");
    socket.write_all(b"GET /metrics HTTP/1.1\r\nhost: here\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    let called = "rpc_server_call_duration_seconds_count{rpc_system_name=\"pointsub\",\
                  rpc_method=\"echo/1.0.0\",rpc_status_code=\"ok\"} 1";
    assert!(answer.contains(called), "{answer}");
    assert!(answer.ends_with("# EOF\n"), "{answer}");
}

/// A file that grows is followed, line by line.
#[test]
fn a_file_is_followed_by_peer_id() {
    let path = std::env::temp_dir().join(format!("pointsub-tail-{}.log", std::process::id()));
    std::fs::write(&path, "one\ntwo\n").expect("it can be written");
    let (_server, command) = Running::start("tail", &["serve", path.to_str().expect("a path")]);
    let arguments: Vec<&str> = command.split_whitespace().collect();
    let mut follower = example("tail");
    let follower = follower.args(arguments).stdout(Stdio::piped());
    let mut follower = Running(follower.spawn().expect("built"));
    let mut lines = BufReader::new(follower.0.stdout.take().expect("it is piped")).lines();
    let mut next = || lines.next().expect("it goes on").expect("text");
    assert_eq!([next(), next()], ["one", "two"]);
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).expect("it is there");
    writeln!(file, "three").expect("it can be written");
    assert_eq!(next(), "three");
    let _gone = std::fs::remove_file(&path);
}

/// What goes out as a stream comes back as one.
#[test]
fn a_stream_is_echoed_while_it_is_sent() {
    let text = output_of("echo_stream");
    let mut wanted: Vec<String> = (1..=5).map(|number| format!("echo: message {number}")).collect();
    let rest = ["result: 5 messages", "ping: ping", "pong: pong", "result: 2 messages"];
    wanted.extend(rest.map(str::to_owned));
    assert_eq!(text.lines().collect::<Vec<_>>(), wanted, "{text}");
}

/// Passes connections on to a server on loopback. The first ends after so many bytes of its client's.
fn cutting(server: u16, after: u64) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for (number, client) in listener.incoming().enumerate() {
            let client = client.expect("a connection");
            let server = TcpStream::connect(("127.0.0.1", server)).expect("it listens");
            let copy = |from: &TcpStream, to: &TcpStream, most: u64| {
                let (from, to) = (from.try_clone(), to.try_clone());
                let (from, mut to) = (from.expect("a handle"), to.expect("a handle"));
                std::thread::spawn(move || {
                    let _broken = std::io::copy(&mut (&from).take(most), &mut to);
                    let ends = [&from, &to].map(|end| end.shutdown(std::net::Shutdown::Both));
                    drop(ends);
                });
            };
            copy(&client, &server, if number == 0 { after } else { u64::MAX });
            copy(&server, &client, u64::MAX);
        }
    });
    port
}

/// A file that is sent in parts is whole although the connection was cut. `UPLOAD_MIB` is its size.
#[test]
fn an_upload_goes_on_where_it_was_cut() {
    let mib = std::env::var("UPLOAD_MIB").map_or(8, |mib| mib.parse().expect("a number"));
    let size: usize = mib * 1024 * 1024;
    let place = std::env::temp_dir().join(format!("pointsub-upload-{}", std::process::id()));
    std::fs::create_dir_all(place.join("there")).expect("it can be made");
    let (file, there) = (place.join("file"), place.join("there"));
    let bytes = noise(size);
    std::fs::write(&file, &bytes).expect("it can be written");
    let (_server, command) = Running::start("upload", &["serve", there.to_str().expect("a path")]);
    let address = command.strip_prefix("send FILE ").expect("an address");
    let port = address.split('/').nth(4).expect("a port");
    let cut = cutting(port.parse().expect("a port"), size as u64 * 3 / 8).to_string();
    let through = address.replacen(port, &cut, 1);
    let output =
        example("upload").args(["send", file.to_str().expect("a path"), &through]).output();
    let output = output.expect("it was built");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let begins: Vec<u64> = text
        .lines()
        .filter_map(|line| line.strip_prefix("from byte ")?.split(' ').next()?.parse().ok())
        .collect();
    assert!(matches!(begins[..], [0, second, ..] if second > size as u64 / 8), "{text}");
    assert!(text.contains("cut: ") && text.lines().any(|line| line.ends_with(" %")), "{text}");
    assert!(text.contains(&format!("file: {size} bytes")), "{text}");
    let found = std::fs::read(there.join("file")).expect("it is there");
    assert!(found == bytes, "it came changed");
    let _gone = std::fs::remove_dir_all(&place);
}

/// A process that is ended with the test.
struct Running(Child);

impl Running {
    /// Starts an example, and returns the first line that it prints as well.
    fn start(name: &str, arguments: &[&str]) -> (Self, String) {
        let mut command = example(name);
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().expect("built");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let line = output.lines().next().expect("it says something").expect("text");
        (Self(child), line)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// A service that two processes make appear elsewhere: that of the service, that of its clients,
/// and the address for them.
fn forwarded(service: &str) -> ((Running, Running), String) {
    let (expose, command) = Running::start("forward", &["expose", service]);
    let arguments: Vec<&str> = command.split_whitespace().skip(1).collect();
    let (forward, listening) = Running::start("forward", &arguments);
    let address = listening.strip_prefix("listening on ").expect("an address");
    ((expose, forward), address.to_owned())
}

/// Bytes without a pattern.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The plainest web server there is: every request gets the same file.
fn serve(listener: &TcpListener, file: &[u8]) -> std::io::Result<()> {
    for connection in listener.incoming() {
        let mut connection = connection?;
        let mut request = BufReader::new(connection.try_clone()?);
        let mut line = String::new();
        while request.read_line(&mut line)? > 2 {
            line.clear();
        }
        write!(connection, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n", file.len())?;
        connection.write_all(b"connection: close\r\n\r\n")?;
        connection.write_all(file)?;
    }
    Ok(())
}

/// The file, by curl where there is one.
fn fetch(address: &str) -> Vec<u8> {
    let url = format!("http://{address}/file");
    match Command::new("curl").args(["--silent", "--show-error", "--noproxy", "*", &url]).output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        }
        Err(_) => {
            let mut connection = TcpStream::connect(address).expect("it listens");
            connection.write_all(b"GET /file HTTP/1.1\r\nhost: peer\r\n\r\n").expect("it listens");
            let mut response = Vec::new();
            connection.read_to_end(&mut response).expect("an answer");
            let end = response.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
            response.split_off(end + 4)
        }
    }
}

/// O1: a TCP forwarder, and over it a web server and curl. `FORWARD_MIB` is the size of the file.
#[test]
fn curl_reaches_a_web_server_through_two_peers() {
    let mib = std::env::var("FORWARD_MIB").map_or(4, |mib| mib.parse().expect("a number"));
    let file = noise(mib * 1024 * 1024);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let web = listener.local_addr().expect("it is bound").to_string();
    let copy = file.clone();
    std::thread::spawn(move || serve(&listener, &copy));

    let (_both, address) = forwarded(&web);
    for _ in 0..2 {
        assert!(fetch(&address) == file, "the file came changed");
    }
}

/// O1: more TCP connections at a time than a peer may have streams.
#[test]
fn three_hundred_connections_pass_at_once() {
    let service = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (_both, address) = forwarded(&service.local_addr().expect("it is bound").to_string());
    let mut clients: Vec<TcpStream> = (0..300_u32)
        .map(|id| {
            let mut client = TcpStream::connect(&address).expect("it listens");
            client.set_read_timeout(Some(Duration::from_secs(30))).expect("a time");
            client.write_all(&id.to_be_bytes()).expect("it is open");
            client
        })
        .collect();
    // All of them are there before the first one is answered.
    service.set_nonblocking(true).expect("a socket can be non-blocking");
    let (mut servers, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(30));
    while servers.len() < clients.len() {
        match service.accept() {
            Ok((server, _)) => servers.push(server),
            Err(_) => std::thread::yield_now(),
        }
        assert!(Instant::now() < deadline, "{} of {}", servers.len(), clients.len());
    }
    for mut server in servers {
        let mut id = [0; 4];
        server.set_nonblocking(false).expect("a socket can block");
        server.read_exact(&mut id).expect("its client has written");
        server.write_all(&id).expect("it is open");
    }
    for (id, client) in (0..300_u32).zip(&mut clients) {
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).expect("an answer");
        assert_eq!(answer, id.to_be_bytes());
    }
}

/// O1: what is refused is reset, so that it cannot be taken for an empty answer.
#[test]
fn a_service_that_is_away_resets_its_clients() {
    let (both, address) = forwarded("127.0.0.1:1");
    // The other side is gone as well, so that there is nobody to refuse it in good order.
    drop(both.0);
    let mut client = TcpStream::connect(&address).expect("it listens");
    client.set_read_timeout(Some(Duration::from_secs(30))).expect("a time");
    let error = client.read(&mut [0]).expect_err("there is nobody");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}
