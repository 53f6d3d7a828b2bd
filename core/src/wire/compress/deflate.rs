//! Which bodies are compressed, and how.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::ops::ControlFlow;

use bytes::Bytes;
use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress_to_output, create_comp_flags_from_zip_params,
};

use super::{Body, MAX_RATIO, MIN_SIZE, step_of};

/// DEFLATE level 1: most of the gain at a fraction of the time.
const LEVEL: u8 = 1;
/// Bodies from this size on are judged by a sample before the whole is compressed.
const SAMPLED_FROM: usize = 16 * 1024;
const SAMPLE: usize = 4 * 1024;
/// So much of it tells random bytes from others by how often each comes.
const COUNTED: usize = 1024;

/// [`Body::compressed`] in steps, for a thread that has others to serve.
pub struct Deflate {
    raw: Bytes,
    /// `None` before the first step.
    work: Option<Work>,
}

struct Work {
    compressor: Box<CompressorOxide>,
    /// So much of the raw body is compressed.
    done: usize,
    deflated: Vec<u8>,
}

impl Deflate {
    /// Nothing is done yet.
    #[must_use]
    pub const fn new(raw: Bytes) -> Self {
        Self { raw, work: None }
    }

    /// Compresses 8 KiB, or all of a body up to [`ONE_STEP`](super::ONE_STEP), which takes 25 to 200
    /// microseconds: `Break` with the body when it is done or turns out not to be worth it, else
    /// `Continue` with what is left to do.
    pub fn step(mut self) -> ControlFlow<Body, Self> {
        let Some(mut work) = self.work.take().or_else(|| Work::begin(&self.raw)) else {
            return ControlFlow::Break(Body::uncompressed(self.raw));
        };
        let deflated = match work.go_on(&self.raw) {
            TDEFLStatus::Okay => {
                self.work = Some(work);
                return ControlFlow::Continue(self);
            }
            TDEFLStatus::Done => work.worth_it(self.raw.len()),
            // Not known to happen.
            TDEFLStatus::BadParam | TDEFLStatus::PutBufFailed => None,
        };
        let body = Body::uncompressed(self.raw);
        ControlFlow::Break(match deflated {
            Some(deflated) => body.with(|more| more.deflated = Some(deflated)),
            None => body,
        })
    }
}

impl fmt::Debug for Deflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = self.work.as_ref().map_or(0, |work| work.done);
        f.debug_struct("Deflate").field("len", &self.raw.len()).field("done", &done).finish()
    }
}

impl Work {
    /// `None` if it is in vain.
    fn begin(raw: &[u8]) -> Option<Self> {
        if is_futile(raw) {
            return None;
        }
        let sampled = raw.len() >= SAMPLED_FROM;
        if sampled && !pays(compress_to_vec(sample(raw), LEVEL).len(), SAMPLE) {
            return None;
        }
        let flags = create_comp_flags_from_zip_params(LEVEL.into(), 0, 0);
        let compressor = Box::new(CompressorOxide::new(flags));
        Some(Self { compressor, done: 0, deflated: Vec::new() })
    }

    fn go_on(&mut self, raw: &[u8]) -> TDEFLStatus {
        let rest = &raw[self.done..];
        let step = rest.len().min(step_of(raw.len()));
        let flush = if step == rest.len() { TDEFLFlush::Finish } else { TDEFLFlush::None };
        let deflated = &mut self.deflated;
        let (status, taken) =
            compress_to_output(&mut self.compressor, &rest[..step], flush, |bytes| {
                deflated.extend_from_slice(bytes);
                true
            });
        self.done += taken;
        status
    }

    /// A body that hardly shrinks is sent as it is, and so is one that shrinks beyond the ratio:
    /// the other side would refuse it.
    fn worth_it(self, raw: usize) -> Option<Bytes> {
        let deflated = self.deflated;
        let fits = pays(deflated.len(), raw) && raw / MAX_RATIO < deflated.len();
        fits.then(|| Bytes::from(deflated))
    }
}

const fn pays(deflated: usize, raw: usize) -> bool {
    deflated <= raw - raw / 8
}

/// Whether to compress a body is certainly in vain: it is smaller than [`MIN_SIZE`], or a sample from
/// its middle looks random. Takes a few microseconds at most.
#[must_use]
pub fn is_futile(raw: &[u8]) -> bool {
    raw.len() < MIN_SIZE || looks_random(sample(raw))
}

fn sample(raw: &[u8]) -> &[u8] {
    let middle = raw.len() / 2;
    &raw[middle..raw.len().min(middle + SAMPLE)]
}

/// Whether all bytes are about equally frequent and the beginning does not come again: what is
/// encrypted, compressed or random. A fraction of what deflating it would cost, whose state alone
/// is several times the sample.
fn looks_random(sample: &[u8]) -> bool {
    let counted = &sample[..sample.len().min(COUNTED)];
    let mut counts = [0_u32; 256];
    for byte in counted {
        counts[usize::from(*byte)] += 1;
    }
    // The chance that two bytes are equal, which is 1/256 among random ones, 1/64 in base64, and
    // more than 1/20 in text.
    let equal: u64 = counts.iter().map(|count| u64::from(*count) * u64::from(*count)).sum();
    let len = counted.len() as u64;
    let flat = equal <= len + len * len / 128;
    flat && !comes_again(sample)
}

/// Whether the first four bytes come again. Every byte is looked at in any case, which lets the
/// compiler compare many of them at once: a fourth of the time of a search that ends early.
fn comes_again(sample: &[u8]) -> bool {
    let Some(&[a, b, c, d]) = sample.first_chunk() else { return false };
    let fours = sample[1..].iter().zip(&sample[2..]).zip(&sample[3..]).zip(&sample[4..]);
    let same = fours.map(|(((w, x), y), z)| (*w == a) & (*x == b) & (*y == c) & (*z == d));
    same.fold(false, |found, same| found | same)
}
