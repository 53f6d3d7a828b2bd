//! What a node keeps in files from one start to the next.

pub(super) mod addresses;
pub(super) mod key_file;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::random::random;

/// Writes a file that is either whole or not there: under another name first, which nobody else may read.
fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}", random()));
    let beside = path.with_file_name(name);
    let written = private_file(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    match written {
        Ok(()) => Ok(beside),
        Err(error) => {
            let _gone = fs::remove_file(&beside);
            Err(error)
        }
    }
}

/// Replaces a file by a new one, or creates it.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = write_beside(path, bytes)?;
    fs::rename(&beside, path).inspect_err(|_| drop(fs::remove_file(&beside)))
}

/// Creates a file, unless somebody else has meanwhile.
fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = write_beside(path, bytes)?;
    // A rename would replace what is there.
    let created = fs::hard_link(&beside, path);
    let _gone = fs::remove_file(&beside);
    created
}

/// A new file that only its owner may read.
fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A folder that is removed in the end.
    pub(in crate::node) struct Folder(PathBuf);

    impl Folder {
        pub(in crate::node) fn new() -> Self {
            let folder = std::env::temp_dir().join(format!("pointsub-{:016x}", random()));
            fs::create_dir(&folder).expect("a new folder");
            Self(folder)
        }

        pub(in crate::node) fn file(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        pub(in crate::node) fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).expect("it is there");
            let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
            entries.map(|entry| name(entry).into_string().expect("text")).collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _gone = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_file_is_whole_or_not_there() {
        let folder = Folder::new();
        let path = folder.file("a");
        replace(&path, b"one").expect("it is created");
        replace(&path, b"two").expect("it is replaced");
        let error = create(&path, b"three").expect_err("it is there");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).expect("it is there"), b"two");
        replace(&folder.file("none/b"), b"x").expect_err("there is no such folder");
        assert_eq!(folder.names(), ["a"], "nothing else is left");
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_reads_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::new();
        replace(&folder.file("a"), b"x").expect("it is created");
        create(&folder.file("b"), b"x").expect("it is created");
        for name in ["a", "b"] {
            let mode = fs::metadata(folder.file(name)).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}
