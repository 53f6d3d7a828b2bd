//! What a life of the network machine is made of, drawn from a seed.

use std::time::Duration;

use pointsub_core::Timestamp;

use crate::sim::Rng;

/// How long applications want something and things go wrong.
const SPAN: u32 = 40_000_000;

/// Somewhere that can be dialled.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) answer: Answer,
    pub(super) relayed: bool,
    pub(super) rtt: Duration,
    /// The longest that it was.
    pub(super) longest_rtt: Duration,
    /// Bytes a second that a connection carries, if they are few.
    pub(super) rate: Option<u32>,
    /// When the last message to it is answered.
    pub(super) last_arrival: Timestamp,
    /// No byte moves, in neither direction.
    pub(super) frozen: bool,
}

impl Place {
    pub(super) fn new(answer: Answer, relayed: bool, rtt: Duration) -> Self {
        let (longest_rtt, last_arrival) = (rtt, Timestamp::ZERO);
        Self { answer, relayed, rtt, longest_rtt, rate: None, last_arrival, frozen: false }
    }
}

/// What happens to whoever dials a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Peer(usize),
    Refused,
    Never,
    NoTransport,
    Itself,
}

/// What the application does, or what befalls it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Op {
    Connect {
        peer: usize,
        at: Option<usize>,
    },
    ConnectAnybody {
        at: usize,
    },
    Open {
        peer: usize,
    },
    Abandon {
        which: u64,
    },
    Name {
        peer: usize,
        at: usize,
        application: bool,
    },
    Watch {
        peer: usize,
    },
    /// The peer dials this node.
    Inbound {
        peer: usize,
        at: usize,
    },
    /// The peer lists addresses on one of its connections.
    Identify {
        peer: usize,
        from: usize,
        many: usize,
    },
    Freeze {
        at: usize,
    },
    Thaw {
        at: usize,
    },
    FreezePeer {
        peer: usize,
        frozen: bool,
    },
    Slow {
        at: usize,
        rtt: Duration,
    },
    /// Connections there, or everywhere, carry so many bytes a second, or any number.
    Throttle {
        at: Option<usize>,
        rate: Option<u32>,
    },
    /// The delay grows by this each second.
    Fade {
        at: usize,
        by: Duration,
    },
    /// Messages take up to so many microseconds longer, each another time.
    Jitter {
        most: u32,
    },
    /// This node stands still for a moment, and does not notice.
    Stall {
        by: Duration,
        timers_first: bool,
    },
    /// All relays start anew.
    RestartRelays {
        loud: bool,
    },
    /// The connections of a peer break, loudly or without a word.
    Cut {
        peer: usize,
        loud: bool,
    },
    /// The peer is started anew, at another place. Its connections are gone.
    Restart {
        peer: usize,
        at: usize,
        loud: bool,
    },
    Change {
        at: usize,
        answer: Answer,
    },
    /// The application wants a place at a peer, as at a relay.
    WantRelay {
        peer: usize,
    },
    ForgetRelay {
        peer: usize,
    },
    /// The peer gives nobody a place, or does again.
    Refuse {
        peer: usize,
        refuses: bool,
    },
    Crowd {
        peer: usize,
    },
    /// This node sleeps. Its clock may have stood still meanwhile.
    Sleep {
        seconds: u64,
        clock_stands: bool,
    },
    /// This node is in another network: nothing that it has goes on.
    Roam,
    /// Connections on which nothing has moved for a while lead nowhere any more.
    Forget,
    /// Facts are told with times that run backwards, or no longer.
    Skew {
        on: bool,
    },
    /// The application wants to reach many peers that are not there.
    Flood {
        peers: usize,
    },
}

impl Op {
    /// Whether it may lose a message, or have one wait.
    pub(super) fn is_trouble(self) -> bool {
        matches!(
            self,
            Self::Freeze { .. }
                | Self::Thaw { .. }
                | Self::FreezePeer { .. }
                | Self::Cut { .. }
                | Self::Restart { .. }
                | Self::Sleep { .. }
                | Self::Roam
                | Self::Forget
                | Self::Skew { .. }
                | Self::Stall { .. }
                | Self::Jitter { .. }
                | Self::Throttle { .. }
                | Self::RestartRelays { .. }
        )
    }
}

/// A life.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) peers: usize,
    /// The last one leads nowhere.
    pub(super) places: Vec<Place>,
    /// Where the driver itself knows each peer to be.
    pub(super) elsewhere: Vec<Option<usize>>,
    /// Where each peer is when all has healed.
    pub(super) homes: Vec<usize>,
    pub(super) ops: Vec<(Duration, Op)>,
    pub(super) heal: Duration,
}

impl Plan {
    pub(super) fn of_seed(seed: u64) -> Self {
        let mut rng = Rng::of(seed, &[0x6e65_7477]);
        let peers = 1 + rng.below(3) as usize;
        let each = 2 + rng.below(8) as usize;
        let mut places: Vec<Place> =
            (0..peers * each).map(|at| place(&mut rng, at / each)).collect();
        let homes: Vec<usize> = (0..peers).map(|peer| peer * each).collect();
        for home in &homes {
            places[*home] = Place::new(places[*home].answer, false, rng.micros(300_000));
        }
        let mut elsewhere = Vec::new();
        for peer in 0..peers {
            elsewhere.push(rng.chance(15).then(|| peer * each + rng.below(each as u64) as usize));
        }
        let mut ops = Vec::new();
        for peer in 0..peers {
            for at in peer * each..(peer + 1) * each {
                if rng.chance(50) {
                    let application = rng.chance(60);
                    ops.push((rng.micros(1_000_000), Op::Name { peer, at, application }));
                }
            }
        }
        // Which kinds of things happen at all is decided first.
        let kinds = rng.next_u64() | 1;
        for _ in 0..5 + rng.below(70) {
            let when = rng.micros(SPAN);
            ops.extend(op(&mut rng, kinds, peers, places.len()).map(|op| (when, op)));
        }
        places.push(Place::new(Answer::Never, false, Duration::from_millis(50)));
        let heal = Duration::from_micros(u64::from(SPAN)) + rng.micros(2_000_000);
        Self { peers, places, elsewhere, homes, ops, heal }
    }
}

fn place(rng: &mut Rng, peer: usize) -> Place {
    let answer = match rng.below(10) {
        0..5 => Answer::Peer(peer),
        5 | 6 => Answer::Refused,
        7 => Answer::Never,
        8 => Answer::Peer(rng.below(3) as usize),
        _ if rng.chance(50) => Answer::NoTransport,
        _ => Answer::Itself,
    };
    let rtt = if rng.chance(10) { rng.micros(2_000_000) } else { rng.micros(200_000) };
    Place::new(answer, rng.chance(20), rtt)
}

/// One thing that happens, if its kind does.
fn op(rng: &mut Rng, kinds: u64, peers: usize, places: usize) -> Option<Op> {
    let (peer, at) = (rng.below(peers as u64) as usize, rng.below(places as u64) as usize);
    let kind = rng.below(33);
    if kind > 6 && kinds >> kind & 1 == 0 {
        return None;
    }
    Some(match kind {
        0 | 1 => Op::Connect { peer, at: rng.chance(60).then_some(at) },
        2 => Op::ConnectAnybody { at },
        3..=6 => Op::Open { peer },
        7 => Op::Abandon { which: rng.next_u64() },
        8 => Op::Name { peer, at, application: rng.chance(50) },
        9 => Op::Watch { peer },
        10 => Op::Inbound { peer, at },
        11 => Op::Identify { peer, from: at, many: rng.below(6) as usize },
        12 => Op::Freeze { at },
        13 => Op::Thaw { at },
        14 => Op::FreezePeer { peer, frozen: rng.chance(60) },
        15 => Op::Slow { at, rtt: rng.micros(2_500_000) },
        16 => Op::Cut { peer, loud: rng.chance(50) },
        17 => Op::Restart { peer, at, loud: rng.chance(40) },
        18 => Op::Change { at, answer: place(rng, peer).answer },
        19 => Op::Crowd { peer },
        20 => Op::Sleep { seconds: rng.below(3601), clock_stands: rng.chance(50) },
        21 => Op::Roam,
        22 => Op::Forget,
        23 => Op::Skew { on: rng.chance(50) },
        24 => Op::Flood { peers: rng.below(200) as usize },
        25 => Op::WantRelay { peer },
        26 if rng.chance(30) => Op::ForgetRelay { peer },
        26 => Op::WantRelay { peer },
        27 => Op::Refuse { peer, refuses: rng.chance(60) },
        28 => {
            let rate = rng.chance(80).then(|| 8192 << rng.below(5));
            Op::Throttle { at: rng.chance(30).then_some(at), rate }
        }
        29 => Op::Fade { at, by: rng.micros(800_000) },
        30 => Op::Jitter { most: if rng.chance(30) { 0 } else { 1_500_000 >> rng.below(6) } },
        31 => Op::Stall { by: rng.micros(2_900_000), timers_first: rng.chance(50) },
        _ => Op::RestartRelays { loud: rng.chance(50) },
    })
}
