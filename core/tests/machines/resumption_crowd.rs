//! The subscriptions of a server that ends, as they arrive at the others: 10 000 of them, of 100 clients.
//! `-- --nocapture` prints how many come in each tenth of a second.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pointsub_core::endpoint::{Dispatcher, ResumePolicy, Resumption};
use pointsub_core::{
    Cause, ClientConfig, Delivery, Phase, RequestError, Status, StatusCode, Timestamp,
};

const CALLS: usize = 10_000;
const OF_A_CLIENT: usize = 100;
/// When the server ends, in milliseconds. The calls were open for a minute then.
const DIES: u64 = 60_000;
/// From a client to a server and back.
const ROUND_TRIP: Duration = Duration::from_millis(20);
const TENTH: Duration = Duration::from_millis(100);

fn at(millis: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_millis(millis)
}

fn lost() -> RequestError {
    RequestError::new(Cause::Lost(Arc::from("killed")), Phase::Answer, Delivery::Processed)
}

fn busy() -> RequestError {
    let status = Status::new(StatusCode::Busy, "");
    RequestError::new(Cause::Remote(status), Phase::Answer, Delivery::NotProcessed)
}

/// What becomes of a call that is opened again.
enum Opened {
    Refused,
    /// It was accepted, and stays open.
    Stays,
    /// It was accepted, got a message with a cursor, and is lost again.
    Dies,
}

struct Crowd {
    calls: Vec<Resumption>,
    clients: Vec<Dispatcher>,
    /// Who tries next, and when.
    due: BinaryHeap<Reverse<(Timestamp, usize)>>,
    /// How many arrive in each tenth of a second from the loss on.
    arrivals: Vec<usize>,
    open: usize,
    gave_up: usize,
}

impl Crowd {
    fn new() -> Self {
        let opened = |seed| {
            let mut call = Resumption::new(ResumePolicy::default(), None, None, seed).elsewhere();
            call.opened(at(0));
            call.took(Some(&Bytes::from_static(b"cursor")));
            call
        };
        let client = |seed| Dispatcher::new(ClientConfig::default(), None, seed);
        let mut crowd = Self {
            calls: (0..CALLS as u64).map(opened).collect(),
            clients: (0..(CALLS / OF_A_CLIENT) as u64).map(client).collect(),
            due: BinaryHeap::new(),
            arrivals: Vec::new(),
            open: 0,
            gave_up: 0,
        };
        for call in 0..CALLS {
            crowd.lose(call, &lost(), at(DIES));
        }
        crowd
    }

    fn lose(&mut self, call: usize, error: &RequestError, now: Timestamp) {
        let due = self.calls[call].lost(error, now);
        self.wait(call, due);
    }

    fn wait(&mut self, call: usize, due: Option<Timestamp>) {
        match due {
            Some(due) => self.due.push(Reverse((due, call))),
            None => self.gave_up += 1,
        }
    }

    /// Lets calls be opened again until then.
    fn run(&mut self, end: Timestamp, mut open: impl FnMut(Timestamp) -> Opened) {
        while let Some(Reverse((now, call))) = self.due.pop().filter(|Reverse((at, _))| *at < end) {
            let client = &mut self.clients[call / OF_A_CLIENT];
            if self.calls[call].is_charged() && !client.take_retry(now) {
                let due = self.calls[call].postpone(now);
                self.wait(call, due);
                continue;
            }
            let tenth = (now.since(at(DIES)).as_nanos() / TENTH.as_nanos()) as usize;
            self.arrivals.resize(self.arrivals.len().max(tenth + 1), 0);
            self.arrivals[tenth] += 1;
            match open(now) {
                Opened::Refused => self.lose(call, &busy(), now + ROUND_TRIP),
                Opened::Stays => self.open += 1,
                Opened::Dies => {
                    self.calls[call].opened(now + ROUND_TRIP);
                    self.calls[call].took(Some(&Bytes::from_static(b"next")));
                    self.lose(call, &lost(), now + ROUND_TRIP);
                }
            }
        }
    }

    fn peak(&self) -> usize {
        self.arrivals.iter().copied().max().unwrap_or_default()
    }
}

#[test]
fn they_come_one_by_one_and_are_soon_there() {
    let mut crowd = Crowd::new();
    crowd.run(at(DIES + 60_000), |_| Opened::Stays);
    println!("others have room: {:?}", crowd.arrivals);
    assert_eq!((crowd.open, crowd.gave_up), (CALLS, 0));
    assert!(crowd.arrivals.len() <= 11, "after {} tenths of a second", crowd.arrivals.len());
    assert!(crowd.peak() < CALLS / 8, "{} in a tenth of a second", crowd.peak());
}

#[test]
fn none_gives_up_where_the_others_take_a_few_at_a_time() {
    let mut crowd = Crowd::new();
    // A sixth of what comes at first.
    let (mut tenth, mut taken) = (at(DIES), 0);
    crowd.run(at(DIES + 300_000), |now| {
        if now.since(tenth) >= TENTH {
            (tenth, taken) = (now, 0);
        }
        taken += 1;
        if taken <= 150 { Opened::Stays } else { Opened::Refused }
    });
    let (all, tenths) = (crowd.arrivals.iter().sum::<usize>(), crowd.arrivals.len());
    println!("150 are taken at a time: {all} in {tenths}: {:?}", crowd.arrivals);
    assert_eq!((crowd.open, crowd.gave_up), (CALLS, 0));
    assert!(crowd.peak() < CALLS / 8, "{} in a tenth of a second", crowd.peak());
    assert!(all < 5 * CALLS, "{all} tries");
}

#[test]
fn all_come_back_after_an_outage_of_all_servers() {
    let mut crowd = Crowd::new();
    crowd.run(at(DIES + 300_000), |now| match now < at(DIES + 20_000) {
        true => Opened::Refused,
        false => Opened::Stays,
    });
    let (all, tenths) = (crowd.arrivals.iter().sum::<usize>(), crowd.arrivals.len());
    println!("all are away for 20 s: {all} in {tenths}: {:?}", crowd.arrivals);
    assert_eq!((crowd.open, crowd.gave_up), (CALLS, 0));
    assert!(crowd.peak() < CALLS / 8, "{} in a tenth of a second", crowd.peak());
}

/// A server that dies under what comes to it, after a message for each: progress alone does not pay.
#[test]
fn servers_that_die_again_and_again_are_not_kept_from_coming_up() {
    let mut crowd = Crowd::new();
    crowd.run(at(DIES + 120_000), |_| Opened::Dies);
    let seconds: Vec<usize> = crowd.arrivals.chunks(10).map(|ten| ten.iter().sum()).collect();
    println!("they die under it, by the second: {seconds:?}");
    assert_eq!(crowd.gave_up, 0);
    // One for each call in ten seconds, and the reserves of the clients.
    let late: usize = seconds[60..].iter().sum();
    assert!(late < 62 * CALLS / 10, "{late} in a minute");
    let most = crowd.arrivals[600..].iter().max().expect("they go on");
    assert!(*most < CALLS / 50, "{most} in a tenth of a second");
}
