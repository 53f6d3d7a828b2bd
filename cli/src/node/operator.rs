//! Who may see all of what goes on at a server, and how such servers of this machine are found by their user.

use std::fs;
use std::io;
use std::path::PathBuf;

use pointsub_tokio::{Multiaddr, Node, PeerId};
use serde::{Deserialize, Serialize};

use super::is_local;
use crate::command::key::peer_of;
use crate::config::Config;
use crate::error::Failure;
use crate::target::Target;

/// The folder with a file for each server that is running, in that of the configuration.
const FOLDER: &str = "running";
/// How much of a command line is kept.
const COMMAND: usize = 200;
/// How many files are looked at.
const FILES: usize = 256;
/// Longer files were not written by this program.
const MAX_FILE: u64 = 64 * 1024;

/// A server that its user has started on this machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) pid: u32,
    /// What it was started with.
    pub(crate) command: String,
    peer: String,
    addresses: Vec<Multiaddr>,
}

/// The file of a server, which is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct RunningFile(PathBuf);

impl Drop for RunningFile {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.0);
    }
}

/// The Peer ID of the user as an operator. `None` if there is no place for the key.
pub(super) async fn own(config: &Config) -> Option<PeerId> {
    peer_of(config.operator_key().ok()?).await.ok()
}

/// Writes down that a server is running, so that its user finds it.
pub(super) async fn write(config: &Config, node: &Node) -> Result<RunningFile, Failure> {
    let folder = config.subfolder(FOLDER)?;
    let mut addresses = node.addresses().await;
    // Those of this machine alone are the nearest.
    addresses.sort_by_key(|address| !is_local(address));
    let words: Vec<String> = std::env::args().skip(1).collect();
    let running = Running {
        pid: std::process::id(),
        command: words.join(" ").chars().take(COMMAND).collect(),
        peer: node.peer_id().to_string(),
        addresses,
    };
    let path = folder.join(format!("{}.json", running.pid));
    let text = serde_json::to_vec(&running).map_err(Failure::local)?;
    fs::write(&path, text).map_err(|error| Failure::file(&path, &error))?;
    Ok(RunningFile(path))
}

/// The servers of this user that are running on this machine, the one first that was started first. Files of
/// those that were killed are removed.
pub(crate) fn running(config: &Config) -> Result<Vec<Running>, Failure> {
    let folder = config.subfolder(FOLDER)?;
    let files = fs::read_dir(&folder).map_err(|error| Failure::file(&folder, &error))?;
    let mut found = Vec::new();
    for file in files.flatten().take(FILES) {
        let path = file.path();
        match read(&path) {
            Ok(running) if is_running(running.pid) => found.push(running),
            Ok(_) => _ = fs::remove_file(&path),
            // It may be one that is being written.
            Err(_) => {}
        }
    }
    found.sort_by_key(|running| running.pid);
    Ok(found)
}

fn read(path: &std::path::Path) -> io::Result<Running> {
    if fs::metadata(path)?.len() > MAX_FILE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

impl Running {
    /// The server as the target of a command.
    pub(crate) fn target(&self) -> Result<Target, Failure> {
        let peer = self.peer.parse().map_err(Failure::local)?;
        match self.addresses.is_empty() {
            false => Ok(Target { peer, addresses: self.addresses.clone() }),
            true => Err(Failure::local("the server listens nowhere").next("--listen says where")),
        }
    }
}

#[cfg(unix)]
fn is_running(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    let tested = pid.map(rustix::process::test_kill_process);
    // Whose process it is was asked for when the file was written.
    matches!(tested, Some(Ok(()) | Err(rustix::io::Errno::PERM)))
}

#[cfg(not(unix))]
fn is_running(_: u32) -> bool {
    true
}
