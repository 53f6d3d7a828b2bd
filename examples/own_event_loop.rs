//! The core driven by hand: two threads, plain blocking sockets, no async runtime, no libp2p.
//!
//! What a driver has to do is all here: carry bytes and time in, carry out what comes out.
//!
//! ```sh
//! cargo run --example own_event_loop
//! ```

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pointsub_core::{
    Client, ClientEvent, ClientInput, ClientOutput, Format, PeerId, ProtocolName, Server,
    ServerEvent, ServerInput, ServerOutput, StreamError, StreamEvent, StreamOp, Timestamp,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Turns the clock into the core's time: nanoseconds since this program's start.
fn now(start: Instant) -> Timestamp {
    Timestamp::ZERO + start.elapsed()
}

/// Waits for bytes until `due`; `None` if there are none by then.
fn read(socket: &mut TcpStream, start: Instant, due: Option<Timestamp>) -> Option<StreamEvent> {
    let wait = due.map(|due| due.since(now(start)).max(Duration::from_millis(1)));
    socket.set_read_timeout(wait).ok()?;
    let mut buffer = [0; 16 * 1024];
    match socket.read(&mut buffer) {
        Ok(0) => Some(StreamEvent::Finished),
        Ok(n) => Some(StreamEvent::Received(Bytes::copy_from_slice(&buffer[..n]))),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
        Err(error) => Some(failed(&error)),
    }
}

/// Does what a machine wants done on its stream; returns what to tell it, if anything.
fn carry_out(socket: &mut TcpStream, op: StreamOp) -> Option<StreamEvent> {
    match op {
        StreamOp::Write(bytes) => Some(match socket.write_all(&bytes) {
            Ok(()) => StreamEvent::Written,
            Err(error) => failed(&error),
        }),
        StreamOp::Finish | StreamOp::Reset => {
            // An error means that it is closed already.
            let _closed = socket.shutdown(std::net::Shutdown::Both);
            None
        }
    }
}

fn failed(error: &std::io::Error) -> StreamEvent {
    StreamEvent::Failed(StreamError::Lost(error.to_string().into()))
}

fn serve(listener: &TcpListener, protocol: &ProtocolName, client: PeerId) -> Result<(), Failure> {
    let start = Instant::now();
    let mut server = Server::new(Default::default())?;
    server.register(protocol)?;
    let (mut socket, _) = listener.accept()?;
    let stream = server.accept(client, protocol, Format::Native, now(start));
    loop {
        match server.poll_output() {
            ServerOutput::Stream(_, op) => {
                let ends = !matches!(op, StreamOp::Write(_));
                if let Some(event) = carry_out(&mut socket, op) {
                    server.handle_input(ServerInput::Stream(stream, event), now(start));
                }
                if ends {
                    println!("server: the stream ended, {:?}", server.stats());
                    return Ok(());
                }
            }
            ServerOutput::Event(ServerEvent::Request { request, payload, .. }) => {
                let body = payload.into_bytes()?.to_ascii_uppercase();
                server.respond(request, Ok(Bytes::from(body)), now(start));
            }
            ServerOutput::Event(_) | ServerOutput::HangUp(_) => {}
            ServerOutput::Wait(due) => {
                let event = read(&mut socket, start, due);
                let input = event.map_or(ServerInput::Timeout, |e| ServerInput::Stream(stream, e));
                server.handle_input(input, now(start));
            }
        }
    }
}

fn main() -> Result<(), Failure> {
    let start = Instant::now();
    let protocol = ProtocolName::new("/shout/1.0.0")?;
    // Peer ids come from keys; the core only compares them.
    let (alice, bob) = (PeerId::from_bytes(b"alice")?, PeerId::from_bytes(b"bob")?);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let name = protocol.clone();
    let serving = std::thread::spawn(move || serve(&listener, &name, alice));

    let mut client = Client::new(Default::default(), Some(alice), 0)?;
    for text in ["one loop,", "three requests,", "one stream."] {
        client.send(&bob, protocol.as_str(), Bytes::from(text), None, now(start))?;
    }
    client.drain(now(start));
    let mut socket: Option<TcpStream> = None;
    let mut stream = None;
    loop {
        match client.poll_output() {
            ClientOutput::Open { stream: id, .. } => {
                // A real driver would look the peer up, and negotiate the format.
                socket = Some(TcpStream::connect(address)?);
                stream = Some(id);
                client.handle_input(ClientInput::Opened(id, Format::Native), now(start));
            }
            ClientOutput::Stream(id, op) => {
                let event = socket.as_mut().and_then(|socket| carry_out(socket, op));
                if let Some(event) = event {
                    client.handle_input(ClientInput::Stream(id, event), now(start));
                }
            }
            ClientOutput::Event(ClientEvent::Response { payload, .. }) => {
                println!("client: {}", String::from_utf8_lossy(&payload.into_bytes()?));
            }
            ClientOutput::Event(ClientEvent::Drained) => break,
            ClientOutput::Event(event) => println!("client: {event:?}"),
            // Nobody dials raw streams here.
            ClientOutput::Abandon(_) | ClientOutput::AbandonDial(_) => {}
            ClientOutput::Dial { .. } | ClientOutput::HangUp(_) => {}
            ClientOutput::Wait(due) => {
                let event = socket.as_mut().and_then(|socket| read(socket, start, due));
                let input = match (stream, event) {
                    (Some(stream), Some(event)) => ClientInput::Stream(stream, event),
                    _ => ClientInput::Timeout,
                };
                client.handle_input(input, now(start));
            }
        }
    }
    println!("client: {:?}", client.stats());
    serving.join().map_err(|_| "the server panicked")?
}
