//! Sizes and cells as people write them: `512`, `64K`, `1M`; `512x64`.

use std::fmt;
use std::str::FromStr;

use crate::body::Bodies;
use crate::contender::Failure;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) usize);

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= MIB && bytes % MIB == 0 => write!(f, "{}M", bytes / MIB),
            bytes if bytes >= KIB && bytes % KIB == 0 => write!(f, "{}K", bytes / KIB),
            bytes => write!(f, "{bytes}"),
        }
    }
}

impl FromStr for Size {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let (number, unit) = match text.trim_end_matches("iB") {
            text if text.ends_with('K') => (&text[..text.len() - 1], KIB),
            text if text.ends_with('M') => (&text[..text.len() - 1], MIB),
            text => (text, 1),
        };
        let number: usize = number.parse().map_err(|_| format!("{text:?} is no size"))?;
        let size = number.saturating_mul(unit);
        if size < Bodies::NUMBER {
            return Err(format!("a body has at least {} bytes", Bodies::NUMBER).into());
        }
        Ok(Self(size))
    }
}

/// How large bodies are, and how many callers send one after the other at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cell {
    /// Bytes of a request, and of its answer.
    pub(crate) size: Size,
    /// Callers.
    pub(crate) callers: usize,
}

impl Cell {
    /// Bodies of `size` bytes from so many callers.
    pub(crate) const fn new(size: usize, callers: usize) -> Self {
        Self { size: Size(size), callers }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.size, self.callers)
    }
}

impl FromStr for Cell {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let malformed = || format!("{text:?} is no cell; one is 512x64");
        let (size, callers) = text.split_once('x').ok_or_else(malformed)?;
        let callers = callers.parse().ok().filter(|callers| *callers > 0);
        Ok(Self { size: size.parse()?, callers: callers.ok_or_else(malformed)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_written_as_they_are_read() {
        for text in ["32x1", "512x1024", "64Kx8", "1Mx64", "32Mx1", "1000x3"] {
            let cell: Cell = text.parse().expect("a cell");
            assert_eq!(cell.to_string(), text);
        }
        assert_eq!("64KiBx1".parse::<Cell>().expect("a cell"), Cell::new(64 * KIB, 1));
        for text in ["", "512", "x8", "512x0", "7x1", "1Gx1", "512x64x2"] {
            assert!(text.parse::<Cell>().is_err(), "{text:?} is no cell");
        }
    }
}
