//! The server's parts with the messages between them delayed, overtaking each other between streams,
//! and streams cut while messages are under way.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use pointsub_core::connection::{
    CallId, ServerReport, ServerStream, ServerStreamEvent, ServerVerdict,
};
use pointsub_core::endpoint::{Admission, StreamKey};
use pointsub_core::wire::{Decoder, Kind};
use pointsub_core::{
    Format, ProtocolName, ServerConfig, Status, StatusCode, StreamError, StreamEvent, StreamOp,
    Timestamp,
};

use crate::server_schedules::Random;
use crate::support::{KIB, body, cancel, peer, request};

const BLOCK: usize = 100 * KIB;

/// From a stream to admission control.
enum Message {
    Open { peer: u8, protocol: usize },
    Report(ServerReport),
    Close(ServerReport),
}

/// A stream, and what is under way between it and admission control.
struct Stream {
    machine: ServerStream,
    key: Option<StreamKey>,
    messages: VecDeque<Message>,
    verdicts: VecDeque<ServerVerdict>,
    unread: Vec<u8>,
    written: Decoder,
    writing: bool,
    next_id: u64,
    /// Whole requests that were read, and those that were answered.
    asked: BTreeSet<u64>,
    answered: BTreeSet<u64>,
    /// The last request that is looked at.
    drained: Option<u64>,
    /// It has ended or is broken; its last report is made.
    over: bool,
    gone: bool,
}

struct World {
    rng: Random,
    config: ServerConfig,
    admission: Admission,
    budget: u64,
    now: Timestamp,
    streams: Vec<Stream>,
    at_work: Vec<(usize, CallId)>,
}

fn name(n: usize) -> ProtocolName {
    ProtocolName::new(["/a", "/b", "/c"][n]).expect("a name")
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Random::new(seed);
        let stream = BLOCK + rng.below(BLOCK);
        let memory = stream + rng.below(3 * BLOCK);
        let config = ServerConfig::default()
            .with_max_block_size(BLOCK)
            .with_max_concurrent_requests(1 + rng.below(12))
            .with_max_in_flight(1 + rng.below(6))
            .with_read_timeout(Duration::from_millis(50))
            .with_write_timeout(Duration::from_millis(50))
            .with_cleanup_interval(Duration::from_millis(100))
            .with_max_memory(memory)
            .with_max_memory_per_stream(stream);
        let mut admission = Admission::new(&config);
        (0..2).for_each(|n| admission.register(&name(n)).expect("the first of its name"));
        let now = Timestamp::from_nanos(1);
        let (budget, streams, at_work) = (memory as u64, Vec::new(), Vec::new());
        Self { rng, config, admission, budget, now, streams, at_work }
    }

    fn any(&mut self) -> Option<usize> {
        let live: Vec<usize> = (0..self.streams.len()).filter(|n| !self.streams[*n].over).collect();
        (!live.is_empty()).then(|| live[self.rng.below(live.len())])
    }

    fn step(&mut self) {
        match self.rng.below(20) {
            0 if self.streams.len() < 12 => self.accept(),
            1..5 => self.send(),
            5..9 => self.deliver(),
            9..13 => self.end_a_handler(),
            13 => {
                self.now = self.now + Duration::from_micros(self.rng.below(5_000) as u64);
                for n in 0..self.streams.len() {
                    if !self.streams[n].over {
                        self.streams[n].machine.handle_timeout(self.now);
                        self.run(n);
                    }
                }
            }
            14 if self.rng.below(3) == 0 => {
                let Some(n) = self.any() else { return };
                let lost = StreamEvent::Failed(StreamError::Lost("cut".into()));
                self.streams[n].gone = true;
                self.event(n, lost);
            }
            15 if self.rng.below(20) == 0 => {
                let Some(n) = self.any() else { return };
                self.streams[n].machine.drain(self.now);
                self.run(n);
            }
            _ => self.exchange(),
        }
        self.check();
    }

    fn accept(&mut self) {
        let format = Format::Native;
        let mut machine = ServerStream::new(format, &self.config, self.now);
        if self.rng.below(2) == 0 {
            machine = machine.with_allowance(16 * KIB);
        }
        let (from, protocol) = (self.rng.below(3) as u8, self.rng.below(20).min(2) % 3);
        self.streams.push(Stream {
            machine,
            key: None,
            messages: VecDeque::from([Message::Open { peer: from, protocol }]),
            verdicts: VecDeque::new(),
            unread: Vec::new(),
            written: Decoder::new(format, BLOCK),
            writing: false,
            next_id: 1,
            asked: BTreeSet::new(),
            answered: BTreeSet::new(),
            drained: None,
            over: false,
            gone: false,
        });
        self.run(self.streams.len() - 1);
    }

    fn send(&mut self) {
        let Some(n) = self.any() else { return };
        let large = self.rng.below(8) == 0;
        let len = self.rng.below(if large { BLOCK } else { 2_000 });
        let (kind, millis) = (self.rng.below(12), self.rng.below(30));
        let stream = &mut self.streams[n];
        let frame = match kind {
            0 if stream.next_id > 1 => cancel(stream.next_id - 1),
            1 => request(stream.next_id, body(len)).timeout(millis as u32),
            _ => request(stream.next_id, body(len)),
        };
        if kind > 0 || stream.next_id == 1 {
            stream.asked.insert(stream.next_id);
            stream.next_id += 1;
        }
        stream.unread.extend_from_slice(&frame.bytes());
    }

    fn deliver(&mut self) {
        let Some(n) = self.any() else { return };
        let stream = &mut self.streams[n];
        if stream.writing && self.rng.below(2) == 0 {
            stream.writing = false;
            return self.event(n, StreamEvent::Written);
        }
        if stream.unread.is_empty() || !stream.machine.wants_read() {
            return;
        }
        let part = 1 + self.rng.below(stream.unread.len());
        let take = if self.rng.below(2) == 0 { stream.unread.len() } else { part };
        if let Some(space) = stream.machine.space() {
            let take = take.min(space.len());
            space[..take].copy_from_slice(&stream.unread[..take]);
            stream.unread.drain(..take);
            return self.event(n, StreamEvent::Filled(take));
        }
        let bytes: Vec<u8> = stream.unread.drain(..take.min(64 * KIB)).collect();
        self.event(n, StreamEvent::Received(bytes.into()));
    }

    fn end_a_handler(&mut self) {
        if self.at_work.is_empty() {
            return;
        }
        let (n, call) = self.at_work.swap_remove(self.rng.below(self.at_work.len()));
        let large = self.rng.below(8) == 0;
        let len = self.rng.below(if large { BLOCK } else { 1_000 });
        let answer = match self.rng.below(5) {
            0 => Err(Status::new(StatusCode::Application(1), "as asked")),
            _ => Ok(body(len).into()),
        };
        self.streams[n].machine.respond(call, answer, self.now);
        self.run(n);
    }

    fn event(&mut self, n: usize, event: StreamEvent) {
        self.streams[n].machine.handle(event, self.now);
        self.run(n);
    }

    /// Takes what a stream wants done and told.
    fn run(&mut self, n: usize) {
        let stream = &mut self.streams[n];
        if stream.over {
            return;
        }
        while let Some(event) = stream.machine.poll_event(self.now) {
            match event {
                ServerStreamEvent::Request { call, .. } => {
                    // Some are answered in place, before anything is told.
                    if self.rng.below(3) == 0 {
                        let answer = Ok(Bytes::from_static(b"at once").into());
                        stream.machine.respond(call, answer, self.now);
                    } else {
                        self.at_work.push((n, call));
                    }
                }
                ServerStreamEvent::Abandon { call } => {
                    if self.rng.below(2) == 0 {
                        self.at_work.retain(|at_work| *at_work != (n, call));
                        stream.machine.abandoned(call, self.now);
                    }
                }
            }
        }
        while let Some(op) = stream.machine.poll_op() {
            match op {
                StreamOp::Write(bytes) => {
                    assert!(!std::mem::replace(&mut stream.writing, true), "two writes");
                    stream.read(bytes);
                }
                StreamOp::Finish | StreamOp::Reset => stream.gone = true,
            }
        }
        if let Some(report) = stream.machine.take_report() {
            stream.messages.push_back(Message::Report(report));
        }
        let given_up = stream.gone && self.rng.below(2) == 0;
        if stream.machine.is_ended() || given_up {
            let report = stream.machine.close(self.now);
            stream.messages.push_back(Message::Close(report));
            (stream.over, stream.gone) = (true, true);
            self.at_work.retain(|(at, _)| *at != n);
        }
    }

    /// One message or verdict of any stream arrives.
    fn exchange(&mut self) {
        if self.streams.is_empty() {
            return;
        }
        let n = self.rng.below(self.streams.len());
        let (now, stream) = (self.now, &mut self.streams[n]);
        if self.rng.below(2) == 0 {
            let verdict = stream.verdicts.pop_front();
            // One for a stream that is over is dropped.
            if let Some(verdict) = verdict.filter(|_| !stream.over) {
                stream.machine.handle_verdict(verdict, now);
                self.run(n);
            }
            return;
        }
        match stream.messages.pop_front() {
            Some(Message::Open { peer: from, protocol }) => {
                let (from, protocol) = (peer(from), name(protocol));
                let open = self.admission.open(from, &protocol, Format::Native, true, now);
                stream.key = Some(open.0);
                stream.verdicts.push_back(open.1);
            }
            Some(Message::Report(report)) => {
                let key = stream.key.expect("a report before the open");
                stream.verdicts.push_back(self.admission.handle(key, report, now));
            }
            Some(Message::Close(report)) => {
                let key = stream.key.expect("a report before the open");
                self.admission.close(key, report, now);
            }
            None => {}
        }
    }

    /// What holds at every instant.
    fn check(&self) {
        let stats = self.admission.stats();
        let ended = stats.ok + stats.failed + stats.abandoned;
        assert_eq!(stats.started, ended + stats.in_flight, "{stats:?}");
        let streams = self.admission.streams(self.now);
        let memory: usize = streams.iter().map(|stream| stream.memory).sum();
        let in_flight: usize = streams.iter().map(|stream| stream.in_flight).sum();
        assert_eq!((stats.memory, stats.in_flight), (memory as u64, in_flight as u64), "{stats:?}");
        let open = self.at_work.iter().filter(|(n, _)| !self.streams[*n].over).count() as u64;
        // Places are given back by a report, and taken by a verdict.
        assert!(open <= stats.in_flight, "{open} at work: {stats:?}");
        let slack = stats.streams * 80 * KIB as u64;
        assert!(stats.memory <= self.budget + slack, "{stats:?} of {}", self.budget);
    }

    /// Everything arrives, handlers end, and whoever asked was answered; then nothing is left.
    fn end(mut self) -> (u64, u64) {
        for _ in 0..6_000 {
            match self.rng.below(4) {
                0 => self.deliver(),
                1 => self.end_a_handler(),
                _ => self.exchange(),
            }
            self.check();
        }
        for (n, stream) in self.streams.iter().enumerate().filter(|(_, stream)| !stream.gone) {
            let looked_at = |id: &u64| stream.drained.is_none_or(|last| *id <= last);
            let asked: BTreeSet<u64> = stream.asked.iter().copied().filter(looked_at).collect();
            assert_eq!(stream.answered, asked, "stream {n}");
        }
        for n in 0..self.streams.len() {
            if !self.streams[n].over {
                self.event(n, StreamEvent::Failed(StreamError::Lost("the end".into())));
            }
        }
        for (n, call) in std::mem::take(&mut self.at_work) {
            self.streams[n].machine.abandoned(call, self.now);
            self.run(n);
        }
        for _ in 0..6_000 {
            self.exchange();
        }
        let stats = self.admission.stats();
        assert_eq!((stats.in_flight, stats.streams, stats.memory), (0, 0, 0), "{stats:?}");
        assert_eq!((stats.load, stats.stopping), (0, 0), "{stats:?}");
        (stats.ok, stats.busy)
    }
}

impl Stream {
    /// The peer reads what the server wrote.
    fn read(&mut self, bytes: Bytes) {
        self.written.push(bytes);
        while let Some(frame) = self.written.next_frame().expect("sound frames") {
            let id = frame.header.id;
            match frame.header.kind {
                Some(Kind::Response) => {
                    assert!(self.asked.contains(&id), "an answer to no request");
                    assert!(self.answered.insert(id), "a second answer");
                }
                Some(Kind::Drain) => self.drained = Some(id),
                _ => {}
            }
        }
    }
}

/// S9, S18, S19, S21: whatever is delayed, and wherever a stream is cut: requests are answered once,
/// no place and no byte is lost, and no handler works without a place.
#[test]
fn late_messages_and_cut_streams_leave_nothing_behind() {
    let mut sum = (0, 0);
    for seed in 0..200 {
        println!("seed {seed}");
        let mut world = World::new(seed);
        for _ in 0..500 {
            world.step();
        }
        let (ok, busy) = world.end();
        sum = (sum.0 + ok, sum.1 + busy);
    }
    assert!(sum.0 > 300 && sum.1 > 120, "too little happens: {sum:?}");
}
