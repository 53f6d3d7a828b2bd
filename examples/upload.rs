//! A large file in parts, with progress, which goes on where it was after a cut.
//!
//! ```sh
//! cargo run --example upload -- serve DIRECTORY
//! cargo run --example upload -- send FILE ADDRESS
//! ```

use std::collections::HashSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pointsub_tokio::{
    BoxError, HandlerError, IncomingCall, Multiaddr, Node, PeerId, ProtocolName, RequestError,
};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, SeekFrom};

const UPLOAD: ProtocolName = ProtocolName::from_static("/upload/1.0.0");
/// Bytes in a message, and how many messages go out before the server has said that it has them.
const PART: u64 = 256 * 1024;
const AHEAD: u64 = 8;
const PAUSE: Duration = Duration::from_millis(200);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", directory] => serve(directory.into()).await,
        ["send", file, address] => send(Path::new(file), address.parse()?).await,
        _ => Err("usage: upload serve DIRECTORY\n       upload send FILE ADDRESS".into()),
    }
}

async fn serve(directory: PathBuf) -> Result<(), Box<dyn Error>> {
    let node = Node::builder().listen("/ip4/127.0.0.1/tcp/0".parse()?).build().await?;
    let busy = Arc::default();
    node.server()
        .register_call(&UPLOAD, move |call| receive(directory.clone(), Arc::clone(&busy), call))?;
    println!("send FILE {}", node.address().await.ok_or("it listens nowhere")?);
    tokio::signal::ctrl_c().await?;
    node.shutdown(Duration::from_secs(1)).await;
    Ok(())
}

/// Names of files that somebody sends.
type Busy = Arc<Mutex<HashSet<String>>>;

/// A file has one sender: the call before may not know yet that it was cut.
struct Place(Busy, String);

impl Place {
    fn take(busy: Busy, name: &str) -> Result<Self, HandlerError> {
        let first = busy.lock().expect("nobody panics with it").insert(name.to_owned());
        first.then(|| Self(busy, name.to_owned())).ok_or_else(|| HandlerError::busy(PAUSE))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.lock().expect("nobody panics with it").remove(&self.1);
    }
}

/// Says how much of the file is there, takes the rest, and says after each part how much that is.
async fn receive(directory: PathBuf, busy: Busy, call: IncomingCall) -> Result<String, BoxError> {
    let IncomingCall { argument, mut sender, mut receiver, .. } = call;
    let (size, name) = std::str::from_utf8(&argument)?.split_once(' ').ok_or("SIZE NAME")?;
    let size: u64 = size.parse()?;
    if Path::new(name).file_name() != Some(name.as_ref()) {
        return Err(HandlerError::invalid_request("a name of a file, without a path").into());
    }
    let _place = Place::take(busy, name)?;
    let (whole, part) = (directory.join(name), directory.join(format!("{name}.part")));
    let mut file = OpenOptions::new().append(true).create(true).open(&part).await?;
    let mut position = file.metadata().await?.len();
    sender.send(position.to_string()).await?;
    while let Some(bytes) = receiver.recv().await? {
        file.write_all(&bytes).await?;
        file.flush().await?;
        position += bytes.len() as u64;
        sender.send(position.to_string()).await?;
    }
    if position != size {
        return Err(HandlerError::invalid_request(format!("{position} bytes of {size}")).into());
    }
    fs::rename(part, whole).await?;
    Ok(format!("{name}: {size} bytes"))
}

async fn send(path: &Path, address: Multiaddr) -> Result<(), Box<dyn Error>> {
    let node = Node::builder().build().await?;
    let peer = node.connect(address).await?;
    loop {
        match send_rest(&node, peer, path).await {
            Ok(result) => {
                println!("{result}");
                node.shutdown(Duration::from_secs(1)).await;
                return Ok(());
            }
            Err(error) => {
                let passes = error.downcast_ref::<RequestError>();
                let passes = passes.is_some_and(|error| error.may_retry(true));
                if !passes {
                    return Err(error);
                }
                println!("cut: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Sends what the server does not have.
async fn send_rest(node: &Node, peer: PeerId, path: &Path) -> Result<String, Box<dyn Error>> {
    let mut file = File::open(path).await?;
    let size = file.metadata().await?.len();
    let name = path.file_name().ok_or("a file has a name")?.to_string_lossy();
    let open = node.client().open(peer, &UPLOAD, format!("{size} {name}"));
    let mut call = open.idempotent(true).await?;
    let mut there = None;
    let mut sent = 0;
    while let Some(position) = call.recv().await? {
        let position: u64 = std::str::from_utf8(&position)?.parse()?;
        if there.is_none() {
            println!("from byte {position} of {size}");
            file.seek(SeekFrom::Start(position)).await?;
            sent = position;
        } else if percent(position, size) / 10 > percent(there.unwrap_or(0), size) / 10 {
            println!("{} %", percent(position, size));
        }
        there = Some(position);
        while sent < size && sent - position < AHEAD * PART {
            let mut part = Vec::new();
            sent += (&mut file).take(PART).read_to_end(&mut part).await? as u64;
            call.send(part).await?;
        }
        if position >= size {
            call.finish_sending();
        }
    }
    Ok(call.finish().await?.text()?.to_owned())
}

fn percent(part: u64, size: u64) -> u64 {
    100 * part / size.max(1)
}
