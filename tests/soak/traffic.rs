//! What a node asks of the others, and what becomes of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pointsub_swarm::{Bytes, Cause, Client, PeerId, RequestError};
use pointsub_tests::sim::Rng;
use pointsub_tokio::Node;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::node::{COUNT, ECHO, LONGEST, Others, RAW, Setup};
use crate::{NODES, STABLE};

/// A raw stream has come back after this.
const RAW_LIMIT: Duration = Duration::from_secs(20);

/// Requests by what became of them, since that was told last.
pub(crate) type Counts = BTreeMap<String, u64>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Send,
    Closest,
    Call,
    Raw,
}

/// Says what has become of requests since the last time.
pub(crate) fn tell(counts: &Mutex<Counts>) {
    let counts = std::mem::take(&mut *counts.lock().expect("nobody panics"));
    counts.iter().for_each(|(kind, count)| println!("count {kind} {count}"));
}

/// Asks for ever, at a steady rate, whatever becomes of the requests before.
pub(crate) async fn make(
    setup: Setup,
    node: Node,
    others: Arc<Mutex<Others>>,
    counts: Arc<Mutex<Counts>>,
) {
    let mut rng = Rng::of(setup.key, &[setup.number as u64]);
    let most = 2_000_000 * NODES as u32 / setup.rate.max(1);
    loop {
        tokio::time::sleep(rng.micros(most)).await;
        let kind = match rng.below(100) {
            0..4 => Kind::Raw,
            4..8 => Kind::Call,
            8..38 => Kind::Closest,
            _ => Kind::Send,
        };
        let known = others.lock().expect("nobody panics").now;
        let known = known.iter().enumerate().filter_map(|(number, peer)| Some((number, (*peer)?)));
        let known: Vec<(usize, PeerId)> = known.collect();
        if known.is_empty() {
            continue;
        }
        let (number, peer) = known[rng.below(known.len() as u64) as usize];
        let both_stay = setup.number < STABLE && number < STABLE && kind != Kind::Closest;
        let (client, counts) = (node.client().clone(), counts.clone());
        let body = body(&mut rng);
        tokio::spawn(async move {
            let done = one(&client, kind, peer, body).await;
            let what = done.err().unwrap_or_else(|| "ok".to_owned());
            let who = if both_stay { "stable" } else { "others" };
            let name = format!("{who} {kind:?} {what}");
            *counts.lock().expect("nobody panics").entry(name).or_default() += 1;
        });
    }
}

/// 100 bytes to 64 KiB that do not get smaller by compression.
fn body(rng: &mut Rng) -> Bytes {
    let len = (100 << rng.below(11)).min(LONGEST);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&rng.next_u64().to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

/// Asks once. What fails is told by its kind.
async fn one(client: &Client, kind: Kind, peer: PeerId, body: Bytes) -> Result<(), String> {
    let is_right = match kind {
        Kind::Send => client.send(peer, &ECHO, body.clone()).await.map_err(of)? == body,
        Kind::Closest => {
            client.send_closest(&ECHO, body.clone()).await.map_err(|e| of(e.error))? == body
        }
        Kind::Call => call(client, peer, body.len() / 100).await.map_err(of)?,
        Kind::Raw => raw(client, peer, &body).await?,
    };
    if is_right { Ok(()) } else { Err("WRONG".to_owned()) }
}

async fn call(client: &Client, peer: PeerId, count: usize) -> Result<bool, RequestError> {
    let mut call = client.open(peer, &COUNT, count.to_string()).await?;
    let mut came = 0_u32;
    while let Some(message) = call.recv().await? {
        if message[..] != came.to_be_bytes() {
            return Ok(false);
        }
        came += 1;
    }
    Ok(call.finish().await? == count.to_string() && came as usize == count)
}

async fn raw(client: &Client, peer: PeerId, body: &[u8]) -> Result<bool, String> {
    let io = |error: std::io::Error| format!("{:?}", error.kind());
    let mut stream = client.dial(peer, &RAW).await.map_err(of)?;
    let deadline = Some(Instant::now() + RAW_LIMIT);
    stream.set_read_deadline(deadline);
    stream.set_write_deadline(deadline);
    stream.write_all(body).await.map_err(io)?;
    stream.shutdown().await.map_err(io)?;
    let mut back = Vec::new();
    stream.read_to_end(&mut back).await.map_err(io)?;
    Ok(back == body)
}

/// The kind of a failure: how far it came, and why.
fn of(error: RequestError) -> String {
    let why = match &error.cause {
        Cause::Remote(status) => format!("Remote({:?})", status.code),
        Cause::Refused(refusal) => format!("Refused({})", first_word(refusal)),
        cause => first_word(cause),
    };
    format!("{:?}/{why}", error.phase)
}

fn first_word(of: &impl std::fmt::Debug) -> String {
    format!("{of:?}").chars().take_while(|one| one.is_alphanumeric()).collect()
}
