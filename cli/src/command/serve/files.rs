//! Files of a folder, and nothing else.
//!
//! A name is a relative path of plain names: no `..`, none that begins with a dot, no separators of other
//! systems. Symbolic links are followed and what they lead to is served only if that lies in the folder
//! too. Whoever can write to the folder can therefore publish what is in it, and nothing else. Only
//! ordinary files are opened, so that nobody waits for a pipe.

use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use pointsub_tokio::{HandlerError, Request};

use super::too_long;
use crate::error::Failure;

/// The file that stands for its folder.
const INDEX: &str = "index.html";

/// A folder.
#[derive(Debug)]
pub(super) struct Files {
    /// Without symbolic links.
    root: PathBuf,
    max_len: usize,
}

impl Files {
    pub(super) fn new(folder: &Path, max_len: usize) -> Result<Self, Failure> {
        let root = folder.canonicalize().map_err(|error| Failure::file(folder, &error))?;
        if !root.is_dir() {
            return Err(Failure::local(format_args!("{} is no folder", folder.display())));
        }
        Ok(Self { root, max_len })
    }

    /// The file that the request names; of a folder its index, or the names in it, one a line.
    pub(super) async fn answer(&self, request: Request) -> Result<Vec<u8>, HandlerError> {
        let name = std::str::from_utf8(&request.body)
            .map_err(|_| HandlerError::invalid_request("a name of a file is UTF-8"))?;
        let path = relative(name).ok_or_else(|| not_found(name))?;
        let (root, max_len, name) = (self.root.clone(), self.max_len, name.to_owned());
        let read = tokio::task::spawn_blocking(move || read(&root, &path, max_len));
        match read.await.map_err(HandlerError::internal)? {
            Ok(Some(file)) => Ok(file),
            Ok(None) => Err(too_long(max_len)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(not_found(&name)),
            Err(error) => Err(error.into()),
        }
    }
}

fn not_found(name: &str) -> HandlerError {
    let name: String = name.chars().take(200).collect();
    HandlerError::not_found(format!("there is no {name:?}"))
}

/// The path that a name stands for, below the folder; `None` if it may lead elsewhere.
fn relative(name: &str) -> Option<PathBuf> {
    let name = name.trim_end_matches(['\r', '\n']).trim_start_matches('/');
    if name.contains(['\0', '\\']) {
        return None;
    }
    let mut path = PathBuf::new();
    for part in Path::new(name).components() {
        match part {
            Component::Normal(part) if !is_hidden(part) => path.push(part),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(path)
}

fn is_hidden(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().first() == Some(&b'.')
}

/// A path without symbolic links, if it lies below the root.
fn inside(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let path = path.canonicalize()?;
    let below = path.strip_prefix(root).map_err(|_| io::ErrorKind::NotFound)?;
    // A link with a harmless name must not lead to a hidden file either.
    match below.components().any(|part| is_hidden(part.as_os_str())) {
        true => Err(io::ErrorKind::NotFound.into()),
        false => Ok(path),
    }
}

/// What is there; `None` if it is too long.
fn read(root: &Path, path: &Path, max_len: usize) -> io::Result<Option<Vec<u8>>> {
    let path = inside(root, &root.join(path))?;
    let (path, is_dir) = match path.is_dir() {
        true => match inside(root, &path.join(INDEX)) {
            Ok(index) => (index, false),
            Err(_) => (path, true),
        },
        false => (path, false),
    };
    if is_dir {
        return names(root, &path).map(|names| Some(names).filter(|names| names.len() <= max_len));
    }
    if !path.metadata()?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(max_len as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|bytes| bytes.len() <= max_len))
}

/// The names in a folder that can be asked for, in order. Those of folders end in `/`.
fn names(root: &Path, folder: &Path) -> io::Result<Vec<u8>> {
    let mut names = Vec::new();
    for entry in folder.read_dir()? {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        let Ok(path) = inside(root, &path) else { continue };
        names.push(if path.is_dir() { format!("{name}/\n") } else { format!("{name}\n") });
    }
    names.sort_unstable();
    Ok(names.concat().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_else() {
        let path = |name| relative(name).map(|path| path.to_string_lossy().into_owned());
        assert_eq!(path("a.txt").as_deref(), Some("a.txt"));
        assert_eq!(path("/a/./b.txt\n").as_deref(), Some("a/b.txt"));
        assert_eq!(path("").as_deref(), Some(""));
        for name in ["..", "../a", "a/../../b", "/../a", ".git/config", "a/.env", "a\0", "..\\a"] {
            assert_eq!(path(name), None, "{name:?}");
        }
    }
}
