//! Bodies to send: of three kinds, each with a number of its own.

use std::str::FromStr;

use bytes::{Bytes, BytesMut};

use crate::contender::Failure;

/// What a body is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Bytes without any pattern, which do not compress.
    Random,
    /// English-like words.
    Text,
    /// Records as programs exchange them.
    Json,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Text, Self::Json, Self::Random];

    /// Its name in the results, and between processes.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Text => "text",
            Self::Json => "json",
        }
    }

    fn fill(self, size: usize, seed: u64) -> Vec<u8> {
        let mut random = Random::new(seed);
        let mut bytes = Vec::with_capacity(size + 256);
        while bytes.len() < size {
            match self {
                Self::Random => bytes.extend_from_slice(&random.next().to_le_bytes()),
                Self::Text => {
                    bytes.extend_from_slice(random.pick(&WORDS).as_bytes());
                    bytes.push(if random.next().is_multiple_of(12) { b'\n' } else { b' ' });
                }
                Self::Json => {
                    let (id, score) = (random.next() % 1_000_000, random.next() % 1000);
                    let (first, second) = (random.pick(&WORDS), random.pick(&WORDS));
                    let record = format!(
                        "{{\"id\":{id},\"name\":\"{first}-{second}\",\"score\":{score}.5,\
                         \"active\":{}}},",
                        score.is_multiple_of(2)
                    );
                    bytes.extend_from_slice(record.as_bytes());
                }
            }
        }
        bytes.truncate(size);
        bytes
    }
}

impl FromStr for Kind {
    type Err = Failure;

    fn from_str(name: &str) -> Result<Self, Failure> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| format!("no bodies are called {name:?}").into())
    }
}

const WORDS: [&str; 48] = [
    "the",
    "of",
    "and",
    "a",
    "to",
    "in",
    "is",
    "you",
    "that",
    "it",
    "he",
    "was",
    "for",
    "on",
    "are",
    "as",
    "with",
    "his",
    "they",
    "at",
    "be",
    "this",
    "have",
    "from",
    "or",
    "one",
    "had",
    "by",
    "word",
    "but",
    "not",
    "what",
    "all",
    "were",
    "we",
    "when",
    "your",
    "can",
    "said",
    "there",
    "request",
    "answer",
    "stream",
    "connection",
    "between",
    "message",
    "through",
    "without",
];

/// Xorshift: the same numbers at each run.
struct Random(u64);

impl Random {
    const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[(self.next() >> 32) as usize % words.len()]
    }
}

/// The bodies of one caller: the same bytes again and again, but for a number at the beginning.
#[derive(Debug)]
pub(crate) struct Bodies {
    bytes: Bytes,
    number: u64,
}

impl Bodies {
    /// The bytes that a number takes; the least that a body has.
    pub(crate) const NUMBER: usize = 8;

    /// Bodies of `size` bytes, at least [`NUMBER`](Self::NUMBER). Callers with different numbers
    /// have different bodies.
    pub(crate) fn new(kind: Kind, size: usize, caller: usize) -> Self {
        let caller = caller as u64 + 1;
        Self { bytes: kind.fill(size.max(Self::NUMBER), caller).into(), number: caller << 32 }
    }

    /// The next body. Its memory is that of the one before, if nobody else has that any longer.
    pub(crate) fn next(&mut self) -> Bytes {
        self.number += 1;
        let last = std::mem::take(&mut self.bytes);
        let mut next = last.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        next[..Self::NUMBER].copy_from_slice(&self.number.to_le_bytes());
        self.bytes = next.freeze();
        self.bytes.clone()
    }
}
