//! `tail -f` by Peer ID: follows a file on another machine, and goes on where it was after a cut.
//!
//! ```sh
//! cargo run --example tail -- serve some.log
//! cargo run --example tail -- follow ADDRESS
//! ```

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use pointsub_tokio::{BoxError, IncomingCall, Multiaddr, Node, ProtocolName, ResumePolicy};

const TAIL: ProtocolName = ProtocolName::from_static("/tail/1.0.0");
/// How often the file is looked at, and a server that is away is asked.
const PAUSE: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", file] => serve(file.into()).await,
        ["follow", address] => follow(address.parse()?).await,
        _ => Err("usage: tail serve FILE\n       tail follow ADDRESS".into()),
    }
}

async fn serve(path: PathBuf) -> Result<(), Box<dyn Error>> {
    let node = Node::builder().listen("/ip4/127.0.0.1/tcp/0".parse()?).build().await?;
    node.server().register_call(&TAIL, move |call| send_lines(path.clone(), call))?;
    println!("follow {}", node.address().await.ok_or("it listens nowhere")?);
    tokio::signal::ctrl_c().await?;
    node.shutdown(Duration::from_secs(1)).await;
    Ok(())
}

/// Sends the lines of the file as they come. The cursor of each is where the next one begins.
async fn send_lines(path: PathBuf, call: IncomingCall) -> Result<(), BoxError> {
    let mut sender = call.sender;
    let mut position: u64 = match &call.resume {
        Some(cursor) => std::str::from_utf8(cursor)?.parse()?,
        None => 0,
    };
    loop {
        let (path, from) = (path.clone(), position);
        let lines = tokio::task::spawn_blocking(move || lines_from(path, from)).await??;
        for line in lines {
            position += line.len() as u64 + 1;
            // Waits for a reader that is slow.
            sender.send_with_cursor(line, position.to_string()).await?;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The lines of a file that are whole, from a position on.
fn lines_from(path: PathBuf, position: u64) -> io::Result<Vec<String>> {
    let mut file = BufReader::new(File::open(path)?);
    file.seek(SeekFrom::Start(position))?;
    let mut lines = Vec::new();
    let mut line = String::new();
    while lines.len() < 1000 && file.read_line(&mut line)? > 0 && line.ends_with('\n') {
        line.pop();
        lines.push(std::mem::take(&mut line));
    }
    Ok(lines)
}

async fn follow(address: Multiaddr) -> Result<(), Box<dyn Error>> {
    let node = Node::builder().build().await?;
    let peer = node.connect(address).await?;
    // For as long as the server is away.
    let policy = ResumePolicy::default().with_max_tries(u32::MAX).with_patience(Duration::MAX);
    let open = node.client().open(peer, &TAIL, "").resumable(policy.with_interval(PAUSE));
    let mut lines = open.await?;
    while let Some(line) = lines.recv().await? {
        println!("{}", String::from_utf8_lossy(&line));
    }
    Ok(())
}
