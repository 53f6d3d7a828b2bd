//! A compressed body is inflated.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::ops::ControlFlow;

use bytes::Bytes;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_IGNORE_ADLER32, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use thiserror::Error;

use super::{Payload, step_of};

/// [`Payload::into_bytes`] in steps, for a thread that has others to serve.
pub struct Inflate {
    payload: Bytes,
    /// `None` if the payload is the body.
    work: Option<Work>,
}

struct Work {
    decompressor: Box<DecompressorOxide>,
    announced: u32,
    /// So much of the payload is inflated.
    taken: usize,
    raw: Vec<u8>,
    /// So much of it is there.
    done: usize,
}

impl Inflate {
    /// Nothing is inflated yet. Allocates what [`Payload::into_bytes`] allocates.
    #[must_use]
    pub fn new(payload: Payload) -> Self {
        let work = |announced| Work {
            decompressor: Box::default(),
            announced,
            taken: 0,
            raw: alloc::vec![0; announced as usize],
            done: 0,
        };
        Self { payload: payload.bytes, work: payload.original.map(work) }
    }

    /// Inflates 8 KiB, or all of a body up to [`ONE_STEP`](super::ONE_STEP), which takes 25 to 200
    /// microseconds: `Break` when the body is there or turns out to be broken, else `Continue` with
    /// what is left to do.
    ///
    /// # Errors
    /// Within `Break`, those of [`Payload::into_bytes`].
    pub fn step(mut self) -> ControlFlow<Result<Bytes, InflateError>, Self> {
        let Some(work) = &mut self.work else { return ControlFlow::Break(Ok(self.payload)) };
        let end = work.raw.len().min(work.done + step_of(work.raw.len()));
        let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | TINFL_FLAG_IGNORE_ADLER32;
        let out = &mut work.raw[..end];
        let (status, taken, given) =
            decompress(&mut work.decompressor, &self.payload[work.taken..], out, work.done, flags);
        work.taken += taken;
        work.done += given;
        let announced = work.announced;
        ControlFlow::Break(match status {
            TINFLStatus::HasMoreOutput if end < work.raw.len() => {
                return ControlFlow::Continue(self);
            }
            TINFLStatus::Done if work.done == work.raw.len() => {
                Ok(Bytes::from(core::mem::take(&mut work.raw)))
            }
            TINFLStatus::Done => Err(InflateError::Length { announced, actual: work.done }),
            _ => Err(InflateError::Broken { announced }),
        })
    }
}

impl fmt::Debug for Inflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflate").field("len", &self.payload.len()).finish_non_exhaustive()
    }
}

/// A compressed body that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InflateError {
    /// More was announced than the size limit or the ratio cap allows.
    #[error("the body claims to inflate to {announced} bytes, at most {limit} are allowed")]
    Bomb {
        /// The announced length.
        announced: u32,
        /// The most that is allowed for a compressed body of this size.
        limit: usize,
    },
    /// It is longer than whoever asked for it wants.
    #[error("the body has {len} bytes, and at most {limit} are wanted")]
    TooLong {
        /// Its length when it is inflated.
        len: usize,
        /// The most that is wanted.
        limit: usize,
    },
    /// The bytes are no DEFLATE stream, or inflate to more than was announced.
    #[error("the body is no DEFLATE stream of {announced} bytes")]
    Broken {
        /// The announced length.
        announced: u32,
    },
    /// The bytes inflate to less than was announced.
    #[error("the body inflates to {actual} bytes instead of {announced}")]
    Length {
        /// The announced length.
        announced: u32,
        /// The length it has.
        actual: usize,
    },
}
