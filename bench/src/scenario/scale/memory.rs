//! What a connection and an idle stream hold in memory, and how much of that is libp2p's own: what
//! is left when the same is measured with streams of bare libp2p.

use std::thread;
use std::time::Duration;

use super::{Extent, REST, at_rest, small};
use crate::contender::{Contender, Failure, ROOM};
use crate::process::{Client, Server};
use crate::sample::Spread;

/// A few, so that what is there once does not count, and many.
const CONNECTIONS: [usize; 2] = [16, 116];
/// The same of streams.
const STREAMS: [usize; 2] = [40, ROOM];
/// How long callers send until it is looked how many streams there are, and how often.
const OPENING: Duration = Duration::from_millis(200);
const TRIES: usize = 20;

/// What one of something holds, in KiB.
#[derive(Debug)]
pub(crate) struct Held {
    /// What.
    pub(crate) what: &'static str,
    /// In the process of the server.
    pub(crate) server: Compared,
    /// In that of the client.
    pub(crate) client: Compared,
}

/// This library beside bare libp2p.
#[derive(Debug)]
pub(crate) struct Compared {
    /// This library's, all of libp2p included.
    pub(crate) ours: Spread,
    /// That of streams of bare libp2p with stock settings.
    pub(crate) theirs: Spread,
    /// How much more the one is than the other, round by round.
    pub(crate) above: Spread,
}

/// KiB of one connection or stream at the server and at the client.
type Ends = [f64; 2];

/// Measures both.
pub(super) fn measure(extent: Extent) -> Result<Vec<Held>, Failure> {
    use Contender::{Composed, PointSub, RawStream, RoomyPlain, RoomyRawStream};
    Ok(vec![
        Held::measure("connection of a node", [PointSub, RawStream], extent, connection)?,
        Held::measure("connection, behaviour alone", [Composed, RawStream], extent, connection)?,
        Held::measure("idle stream", [RoomyPlain, RoomyRawStream], extent, stream)?,
    ])
}

impl Held {
    fn measure(
        what: &'static str,
        contenders: [Contender; 2],
        extent: Extent,
        one: fn(Contender) -> Result<Ends, Failure>,
    ) -> Result<Self, Failure> {
        let mut found = Vec::new();
        for _ in 0..extent.starts {
            found.push([one(contenders[0])?, one(contenders[1])?]);
        }
        let compared = |end: usize| {
            let spread = |figure: &dyn Fn(&[Ends; 2]) -> f64| {
                Spread::of(found.iter().map(figure)).expect("they are started at least once")
            };
            Compared {
                ours: spread(&|[ours, _]| ours[end]),
                theirs: spread(&|[_, theirs]| theirs[end]),
                above: spread(&|[ours, theirs]| ours[end] - theirs[end]),
            }
        };
        Ok(Self { what, server: compared(0), client: compared(1) })
    }
}

/// A server that many connect to, and a client that connects to many.
fn connection(contender: Contender) -> Result<Ends, Failure> {
    let [few, many] = CONNECTIONS;
    let mut server = Server::start(contender, 1)?;
    let _some = connected(contender, few, &mut server, 1)?;
    let before = at_rest(|| server.usage())?;
    let _others = connected(contender, many - few, &mut server, 1)?;
    let at_server = at_rest(|| server.usage())? - before;
    let mut servers = Server::start(contender, many)?;
    let mut to = |some| {
        let mut client = connected(contender, 1, &mut servers, some)?;
        at_rest(|| client.usage())
    };
    let at_client = -to(few)? + to(many)?;
    Ok([at_server, at_client].map(|kib| kib / (many - few) as f64))
}

/// So many nodes connected to some of the servers, with one request on each connection.
fn connected(
    contender: Contender,
    nodes: usize,
    server: &mut Server,
    servers: usize,
) -> Result<Client, Failure> {
    let mut client = Client::start(contender, nodes, &server.addresses()[..servers])?;
    // One after the other: bare libp2p drops streams that come faster than they are taken.
    client.load(server, Duration::ZERO, &[small(1)])?;
    Ok(client)
}

/// A connection with a few idle streams, and with many.
fn stream(contender: Contender) -> Result<Ends, Failure> {
    let mut server = Server::start(contender, 1)?;
    let mut client = Client::start(contender, 1, server.addresses())?;
    let mut with = |streams| {
        open(&mut client, &mut server, streams)?;
        Ok::<_, Failure>([at_rest(|| server.usage())?, at_rest(|| client.usage())?])
    };
    let [few, many] = STREAMS;
    let [before, after] = [with(few)?, with(many)?];
    Ok([0, 1].map(|end| (after[end] - before[end]) / (many - few) as f64))
}

/// Has a client open so many streams.
pub(super) fn open(
    client: &mut Client,
    server: &mut Server,
    streams: usize,
) -> Result<(), Failure> {
    // By the time that it rests, it knows that the server keeps streams.
    client.load(server, Duration::ZERO, &[small(1)])?;
    thread::sleep(REST);
    let mut open = 0;
    for _ in 0..TRIES {
        // Nobody shares a stream, so that in the end everybody has one.
        client.load(server, OPENING, &[small(streams)])?;
        open = client.streams()?;
        if open == streams {
            return Ok(());
        }
    }
    Err(format!("{open} streams are open instead of {streams}").into())
}
