//! A node's key in a file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libp2p_identity::Keypair;
use thiserror::Error;

use super::super::key::{KeyError, read_keypair};
use super::create;

/// No key is longer: one of RSA with 8192 bits takes some 5 KiB.
const LONGEST: u64 = 16 * 1024;

/// Why a key is not to be had from a file.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file can neither be read nor created.
    #[error("cannot read or create the key file {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// What is in the file is no key. It is left as it is: a new key would be a new peer id.
    #[error("{path} has no key: {source}", path = path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeyError,
    },
    /// Others may read the file, and be this node with it.
    #[error(
        "others may read the key file {path}: its mode is {mode:03o}, and has to be 600 (chmod 600)",
        path = path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// What its permissions are.
        mode: u32,
    },
}

/// The key in a file, which is created with a fresh one if it is not there. Two processes that do so at
/// the same moment get the same key.
pub(in crate::node) fn read_or_create(path: &Path) -> Result<Keypair, KeyFileError> {
    let io = |source: io::Error| {
        let (path, source) = (path.to_owned(), Arc::new(source));
        KeyFileError::Io { path, source }
    };
    match read(path) {
        Err(Failed::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
        Err(Failed::Io(error)) => return Err(io(error)),
        Err(Failed::Other(error)) => return Err(error),
        Ok(keypair) => return Ok(keypair),
    }
    let keypair = Keypair::generate_ed25519();
    let bytes = keypair.to_protobuf_encoding().map_err(|error| io(io::Error::other(error)))?;
    match create(path, &bytes) {
        Ok(()) => Ok(keypair),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read(path).map_err(|error| match error {
                Failed::Io(error) => io(error),
                Failed::Other(error) => error,
            })
        }
        Err(error) => Err(io(error)),
    }
}

enum Failed {
    Io(io::Error),
    Other(KeyFileError),
}

fn read(path: &Path) -> Result<Keypair, Failed> {
    let mut file = File::open(path).map_err(Failed::Io)?;
    check_mode(path, &file)?;
    let mut bytes = Vec::new();
    file.by_ref().take(LONGEST).read_to_end(&mut bytes).map_err(Failed::Io)?;
    read_keypair(&bytes)
        .map_err(|source| Failed::Other(KeyFileError::Key { path: path.to_owned(), source }))
}

#[cfg(unix)]
fn check_mode(path: &Path, file: &File) -> Result<(), Failed> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata().map_err(Failed::Io)?.permissions().mode() & 0o777;
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(Failed::Other(KeyFileError::Exposed { path: path.to_owned(), mode })),
    }
}

#[cfg(not(unix))]
fn check_mode(_: &Path, _: &File) -> Result<(), Failed> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::tests::Folder;
    use super::*;

    #[test]
    fn a_key_is_made_once() {
        let folder = Folder::new();
        let path = folder.file("key");
        let first = read_or_create(&path).expect("a new key");
        let second = read_or_create(&path).expect("the same key");
        assert_eq!(first.public(), second.public());
        assert_eq!(folder.names(), ["key"]);
    }

    #[test]
    fn many_that_start_at_once_have_one_key() {
        let folder = Folder::new();
        let path = folder.file("key");
        let keys: Vec<_> = std::thread::scope(|scope| {
            let start = || scope.spawn(|| read_or_create(&path).expect("a key").public());
            let threads: Vec<_> = (0..8).map(|_| start()).collect();
            threads.into_iter().map(|thread| thread.join().expect("it ends")).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
    }

    #[test]
    fn what_is_no_key_is_left_as_it_is() {
        let folder = Folder::new();
        let path = folder.file("key");
        super::super::replace(&path, b"not a key").expect("it is written");
        let error = read_or_create(&path).expect_err("it is no key");
        assert!(matches!(error, KeyFileError::Key { .. }), "{error}");
        assert_eq!(fs::read(&path).expect("it is there"), b"not a key");
        super::super::replace(&path, &[0; 2 * LONGEST as usize]).expect("it is written");
        read_or_create(&path).expect_err("it is far too long");
        let error = read_or_create(&folder.file("none/key")).expect_err("no such folder");
        assert!(matches!(error, KeyFileError::Io { .. }), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::new();
        let path = folder.file("key");
        read_or_create(&path).expect("a new key");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("it is ours");
        let error = read_or_create(&path).expect_err("the group reads it");
        assert!(matches!(error, KeyFileError::Exposed { mode: 0o640, .. }), "{error}");
        assert!(error.to_string().contains("chmod 600"));
    }
}
