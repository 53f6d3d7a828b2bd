//! The one generator: bytes of any origin to a scenario.

use arbitrary::{Result, Unstructured};

use super::plan::{ClientPlan, FEW, Kind, LIMIT, LinkPlan, PeerPlan, Policy, ServerPlan, Strategy};
use super::{Fault, Op, Refusal, Scenario, Way};
use crate::sim::Rng;

/// Bytes that are enough for the longest scenario.
const BYTES: usize = 4096;
/// Microseconds in which applications want something.
const SPAN: u32 = 3_000_000;
/// Requests that come at once, at most.
const CROWD: u32 = 200;
const OPS: usize = 13;
const FAULTS: usize = 10;

impl Scenario {
    /// The scenario of a seed.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let bytes: Vec<u8> = (0..BYTES / 8).flat_map(|_| rng.next_u64().to_le_bytes()).collect();
        let mut bytes = Unstructured::new(&bytes);
        let scenario = Self::generate(&mut bytes).expect("numbers can always be drawn");
        debug_assert!(!bytes.is_empty(), "seed {seed} needs more bytes");
        scenario
    }

    /// Draws a scenario. Few bytes give a short one.
    ///
    /// Swarm testing: which kinds of things happen at all is decided first, so that some lives
    /// are full of one kind.
    ///
    /// # Errors
    /// As `arbitrary` has it; none in fact.
    pub fn generate(u: &mut Unstructured<'_>) -> Result<Self> {
        let seed = u.arbitrary()?;
        let batched = u.ratio(1, 4)?;
        // Whether many requests are sent at once, to streams and handlers that take them.
        let crowds = u.ratio(1, 8)?;
        let mut client = client(u)?;
        let kinds = kinds(u)?;
        let mut peers = Vec::new();
        for _ in 0..u.int_in_range(1..=4)? {
            peers.push(peer(u, kinds)?);
        }
        if crowds {
            (client.max_in_flight, client.max_pending) = (CROWD, 2 * CROWD);
            for peer in &mut peers {
                peer.server.max_in_flight = CROWD;
                peer.work = 0;
            }
        }
        let heal = u.int_in_range(0..=2 * SPAN)?;
        let ops = ops(u, crowds)?;
        let faults = if u.ratio(3, 4)? { faults(u, heal)? } else { Vec::new() };
        let calm = u.ratio(1, 8)?;
        let mut scenario = Self { seed, batched, client, peers, ops, faults, heal };
        if calm {
            scenario.calm_down();
        }
        Ok(scenario)
    }

    /// Makes it one in which nothing goes wrong: then more can be asked of what comes of it.
    fn calm_down(&mut self) {
        self.faults.clear();
        self.client.read_timeout += 2_000;
        self.client.write_timeout += 2_000;
        self.client.connect_timeout += 200;
        for peer in &mut self.peers {
            if !peer.kind.is_honest() {
                peer.kind = Kind::Native;
            }
            peer.slow = 0;
            peer.link.window = peer.link.window.max(LIMIT);
            (peer.server.max_block, peer.server.memory_per_peer) = (LIMIT, 100_000_000);
            peer.server.read_timeout += 2_000;
            peer.server.write_timeout += 2_000;
        }
        self.ops.retain(|(_, op)| !matches!(op, Op::Stop { .. } | Op::Unregister { .. }));
        self.ops.retain(|(_, op)| !matches!(op, Op::Retire { .. } | Op::Intrude { .. }));
        self.ops.retain(|(_, op)| !matches!(op, Op::Drain | Op::Close));
        for (_, op) in &mut self.ops {
            if let Op::Send { count, .. } = op {
                *count = (*count).min(FEW);
            }
        }
        debug_assert!(self.is_calm());
    }
}

/// One of them, in which those that are switched off do not occur. If all are off, the first.
fn switched(u: &mut Unstructured<'_>, on: u16, of: usize) -> Result<usize> {
    let on: Vec<usize> = (0..of).filter(|n| on >> n & 1 == 1).collect();
    Ok(if on.is_empty() { 0 } else { *u.choose(&on)? })
}

/// Mostly one of the ordinary, sometimes far below.
fn some(u: &mut Unstructured<'_>, low: u32, high: u32) -> Result<u32> {
    if u.ratio(1, 6)? {
        u.int_in_range(low..=low + (high - low) / 16)
    } else {
        u.int_in_range(low..=high)
    }
}

fn client(u: &mut Unstructured<'_>) -> Result<ClientPlan> {
    Ok(ClientPlan {
        read_timeout: some(u, 100, 2200)?,
        write_timeout: some(u, 100, 2200)?,
        connect_timeout: some(u, 50, 1050)?,
        idle_timeout: some(u, 50, 5000)?,
        max_idle: u.int_in_range(0..=12)?,
        max_idle_per_peer: u.int_in_range(0..=8)?,
        max_in_flight: some(u, 1, 40)?,
        max_streams_per_peer: some(u, 1, 12)?,
        max_total: some(u, 1, 30)?,
        max_bulk: u.int_in_range(1..=4)?,
        max_pending: some(u, 1, 300)?,
        max_retries: u.int_in_range(0..=4)?,
        retry_interval: some(u, 1, 1000)?,
        strategy: *u.choose(&[Strategy::Xor, Strategy::Peak, Strategy::Score])?,
    })
}

/// Which kinds of peers there are in this life.
fn kinds(u: &mut Unstructured<'_>) -> Result<&'static [Kind]> {
    use Kind::{Byzantine, Native, Plain, PlainByzantine, SingleShot};
    let kinds: [&'static [Kind]; 7] = [
        &[Native],
        &[Native, Native, Plain],
        &[Plain],
        &[Native, Plain, SingleShot],
        &[SingleShot],
        &[Native, Byzantine],
        &[Native, Plain, SingleShot, Byzantine, PlainByzantine],
    ];
    Ok(*u.choose(&kinds)?)
}

fn peer(u: &mut Unstructured<'_>, kinds: &[Kind]) -> Result<PeerPlan> {
    Ok(PeerPlan {
        kind: *u.choose(kinds)?,
        server: ServerPlan {
            max_concurrent: some(u, 1, 60)?,
            min_concurrent: u.int_in_range(1..=60)?,
            headroom: if u.arbitrary()? { u.int_in_range(0..=30)? } else { 0 },
            limit_window: some(u, 1, 1500)?,
            max_in_flight: some(u, 1, 40)?,
            read_timeout: some(u, 100, 2200)?,
            write_timeout: some(u, 100, 2200)?,
            cleanup_interval: some(u, 50, 5100)?,
            max_block: if u.ratio(1, 8)? { u.int_in_range(1..=LIMIT)? } else { LIMIT },
            memory_per_peer: if u.ratio(1, 3)? {
                LIMIT
            } else {
                u.int_in_range(LIMIT..=2_000_000)?
            },
            memory_beside: if u.ratio(1, 2)? { 0 } else { u.int_in_range(0..=400_000)? },
            buffer: u.int_in_range(0..=5000)?,
            policy: *u.choose(&[Policy::LoadFactor, Policy::Aimd, Policy::Gradient])?,
        },
        link: LinkPlan {
            latency: some(u, 0, 20_000)?,
            jitter: some(u, 0, 20_000)?,
            piece: if u.arbitrary()? { u.int_in_range(1..=200)? } else { 0 },
            window: if u.ratio(1, 4)? { u.int_in_range(1..=20_000)? } else { 256 * 1024 },
        },
        work: if u.ratio(1, 8)? { 0 } else { some(u, 0, 150_000)? },
        slow: if u.ratio(1, 3)? { u.int_in_range(1..=40)? } else { 0 },
        failing: if u.ratio(1, 3)? { u.int_in_range(1..=40)? } else { 0 },
    })
}

fn ops(u: &mut Unstructured<'_>, crowds: bool) -> Result<Vec<(u32, Op)>> {
    // Requests are always there.
    let on = u.arbitrary::<u16>()? | 1;
    let busy = u.int_in_range(0..=100)?;
    let span = *u.choose(&[SPAN, SPAN, SPAN / 10])?;
    // Of how many bodies one is large.
    let small = *u.choose(&[60, 20, 20, 5])?;
    // Whether callers have deadlines and give up at all.
    let (hasty, fickle) = (u.arbitrary()?, u.arbitrary()?);
    let mut ops = Vec::new();
    if u.arbitrary()? {
        // Nodes from the beginning, or there would seldom be any.
        for peer in 0..4 {
            for protocol in 0..2 {
                ops.push((0, Op::AddNode { peer, protocol }));
            }
        }
    }
    for _ in 0..u.int_in_range(1..=70)? {
        if u.is_empty() {
            break;
        }
        let at = u.int_in_range(0..=span)?;
        let which = if u.int_in_range(0..=100)? < busy {
            u.int_in_range(0..=1)?
        } else {
            switched(u, on, OPS)?
        };
        let mut op = op(u, which, small, hasty, fickle)?;
        if crowds
            && let Op::Send { count, len, .. } = &mut op
            && u.ratio(1, 3)?
        {
            *count = u.int_in_range(50..=CROWD as u8)?;
            *len = (*len).min(200);
        }
        ops.push((at, op));
    }
    ops.sort_by_key(|(at, _)| *at);
    Ok(ops)
}

fn op(u: &mut Unstructured<'_>, which: usize, small: u8, hasty: bool, fickle: bool) -> Result<Op> {
    let peer = u.int_in_range(0..=3)?;
    let protocol = u.int_in_range(0..=1)?;
    Ok(match which {
        0 => Op::Send {
            peer,
            protocol,
            count: if u.ratio(1, 4)? { u.int_in_range(1..=FEW)? } else { 1 },
            len: len(u, small)?,
            // It takes long.
            compress: u.ratio(1, 4)?,
            idempotent: u.arbitrary()?,
            deadline_ms: maybe(u, hasty, 2000)?,
            cancel_ms: maybe(u, fickle, 300)?,
        },
        1 => Op::Closest {
            protocol,
            len: len(u, small)?,
            idempotent: u.arbitrary()?,
            exclude: if u.ratio(1, 5)? { Some(peer) } else { None },
            hedge_ms: if u.ratio(1, 3)? { Some(u.int_in_range(0..=60)?) } else { None },
            deadline_ms: maybe(u, hasty, 2000)?,
            cancel_ms: maybe(u, fickle, 300)?,
        },
        2 => Op::AddNode { peer, protocol },
        3 => Op::RemoveNode { peer, protocol },
        4 => Op::ClearNodes { protocol },
        5 => Op::Online { peer, online: u.arbitrary()? },
        6 => Op::Dial {
            peer,
            protocol,
            deadline_ms: if u.ratio(1, 5)? { Some(u.int_in_range(0..=100)?) } else { None },
            life_ms: u.int_in_range(0..=800)?,
        },
        7 => Op::Stop { peer, grace_ms: u.int_in_range(0..=1000)? },
        8 => Op::Unregister { peer, protocol, for_ms: u.int_in_range(1..=1000)? },
        9 => Op::Retire { peer },
        10 => Op::Intrude {
            peer,
            native: u.ratio(3, 4)?,
            frames: u.int_in_range(0..=20)?,
            script: u.arbitrary()?,
        },
        // Much of what could happen does not happen after these.
        11 if u.ratio(1, 6)? => Op::Drain,
        12 if u.ratio(1, 6)? => Op::Close,
        _ => Op::AddNode { peer, protocol },
    })
}

fn maybe(u: &mut Unstructured<'_>, ever: bool, most: u16) -> Result<Option<u16>> {
    Ok(if ever && u.ratio(1, 3)? { Some(u.int_in_range(0..=most)?) } else { None })
}

fn len(u: &mut Unstructured<'_>, small: u8) -> Result<u32> {
    Ok(match u.int_in_range(1..=small)? {
        1 => u.int_in_range(65_530..=LIMIT + 10)?,
        2 => u.int_in_range(0..=20_000)?,
        _ => u.int_in_range(0..=200)?,
    })
}

fn faults(u: &mut Unstructured<'_>, heal: u32) -> Result<Vec<(u32, Fault)>> {
    let on = u.arbitrary::<u16>()?;
    let mut faults = Vec::new();
    for _ in 0..u.int_in_range(0..=20)? {
        if u.is_empty() {
            break;
        }
        let at = u.int_in_range(0..=heal.min(SPAN))?;
        let which = switched(u, on, FAULTS)?;
        faults.push((at, fault(u, which)?));
    }
    faults.sort_by_key(|(at, _)| *at);
    Ok(faults)
}

fn fault(u: &mut Unstructured<'_>, which: usize) -> Result<Fault> {
    let peer = u.int_in_range(0..=3)?;
    let nth = u.int_in_range(0..=7)?;
    let way = *u.choose(&[Way::ToServer, Way::ToClient, Way::BothWays])?;
    let for_ms = if u.ratio(1, 4)? { 60_000 } else { u.int_in_range(1..=2000)? };
    Ok(match which {
        0 => Fault::Stall { peer, nth, way, for_ms },
        1 => Fault::Partition { peer, way, for_ms },
        2 => Fault::Reset {
            peer,
            nth,
            after: if u.arbitrary()? { 0 } else { u.int_in_range(1..=3000)? },
        },
        3 => Fault::HalfClose { peer, nth, way },
        4 => Fault::Crash {
            peer,
            down_ms: u.int_in_range(0..=1000)?,
            silent: u.ratio(1, 3)?,
            changed: u.ratio(1, 4)?,
        },
        5 => {
            let how = [Refusal::Unreachable, Refusal::Unsupported, Refusal::Lost, Refusal::Silence];
            Fault::Refuse { peer, how: *u.choose(&how)?, for_ms }
        }
        6 => Fault::SlowOpens { peer, by_ms: u.int_in_range(1..=2000)?, for_ms },
        7 => Fault::SlowHandlers { peer, by_ms: u.int_in_range(1..=2000)?, for_ms },
        8 => {
            let peer = if u.arbitrary()? { Some(peer) } else { None };
            Fault::ClockStall { peer, for_ms }
        }
        _ => Fault::Cut { peer },
    })
}
