//! How values become bytes, and what is taken of bytes that strangers have sent.

mod guard;
mod limits;
#[cfg(feature = "prost")]
mod prost;

use std::cell::Cell;
use std::{fmt, mem};

use bytes::{Bytes, BytesMut};
use pointsub_swarm::Metadata;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

#[cfg(feature = "prost")]
pub use self::prost::Prost;
use guard::{Allowance, Guard};
pub use limits::Limits;

/// What is longer has memory of its own.
const SHORT: usize = 1024;
/// So much memory is shared by short values that are encoded one after the other. None of them lives for long:
/// it is copied into the frames of its stream.
const CHUNK: usize = 4096;

/// What a thread encodes short values with.
#[derive(Default)]
struct Scratch {
    /// The value that is being encoded.
    encoded: Vec<u8>,
    /// What is left of the memory of those before.
    chunk: BytesMut,
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// The key under which a request says how it is encoded. Without it, that is CBOR.
pub(crate) const KEY: &str = "codec";

/// How the values of a request, of its answer and of the messages beside them are encoded. The client
/// chooses, and a server understands all of them.
///
/// ```
/// use pointsub_service::{Codec, Limits};
///
/// let encoded = Codec::Cbor.encode(&("alice", 7))?;
/// let decoded: (String, u32) = Codec::Cbor.decode(&encoded, Limits::default())?;
/// assert_eq!(decoded, ("alice".to_owned(), 7));
/// # Ok::<(), pointsub_service::CodecError>(())
/// ```
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// CBOR (RFC 8949) with the names of fields. Peers of different age understand each other: fields that
    /// one does not know are left out, and those that are missing may have a default. Numbers have the kind
    /// of the Rust type: an integer is not taken for a float.
    #[default]
    Cbor,
    /// postcard, without names: about half the bytes. Both ends need the very same types, in every field and
    /// variant. For fleets that are updated as one.
    Postcard,
    /// JSON, for people and for other languages.
    Json,
}

/// Why a value could not be encoded or decoded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The type cannot be encoded like this, for example a map without text as its keys in JSON.
    #[error("a value cannot be encoded as {codec}: {reason}")]
    Encode {
        /// As what.
        codec: Codec,
        /// Why not.
        reason: String,
    },
    /// The bytes are not what is expected. Both ends may have different types under one name.
    #[error("not the {codec} that is expected: {reason}")]
    Decode {
        /// As what they were read.
        codec: Codec,
        /// What is wrong with them.
        reason: String,
    },
    /// There are more bytes than are taken: [`Limits::max_len`].
    #[error("{len} bytes, the limit is {limit}: send less at a time, or raise `Limits::max_len`")]
    TooLong {
        /// How many there are.
        len: usize,
        /// How many are taken.
        limit: usize,
    },
    /// A value is nested more deeply than is taken: [`Limits::max_depth`].
    #[error("nested more than {limit} deep: send flatter values, or raise `Limits::max_depth`")]
    TooDeep {
        /// How deeply it may be nested.
        limit: u16,
    },
}

impl Codec {
    /// Its name in metadata.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cbor => "cbor",
            Self::Postcard => "postcard",
            Self::Json => "json",
        }
    }

    /// The codec of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Cbor, Self::Postcard, Self::Json].into_iter().find(|codec| codec.name() == name)
    }

    /// What a request says; `None` if this version does not know it.
    pub(crate) fn of(metadata: &Metadata) -> Option<Self> {
        match metadata.get(KEY) {
            None => Some(Self::Cbor),
            Some(name) => Self::from_name(std::str::from_utf8(name).ok()?),
        }
    }

    /// Encodes a value.
    ///
    /// # Errors
    /// [`CodecError::Encode`] if the type cannot be encoded like this.
    pub fn encode<T: Serialize + ?Sized>(self, value: &T) -> Result<Bytes, CodecError> {
        // A value that encodes others meanwhile finds none.
        let mut scratch = SCRATCH.take().unwrap_or_default();
        let encoded = self.append(mem::take(&mut scratch.encoded), value)?;
        if encoded.len() > SHORT {
            SCRATCH.set(Some(scratch));
            return Ok(Bytes::from(encoded));
        }
        if scratch.chunk.capacity() < encoded.len() {
            // That of a chunk that nobody holds any more, if it is so.
            scratch.chunk.reserve(CHUNK);
        }
        scratch.chunk.extend_from_slice(&encoded);
        let bytes = scratch.chunk.split().freeze();
        scratch.encoded = encoded;
        scratch.encoded.clear();
        SCRATCH.set(Some(scratch));
        Ok(bytes)
    }

    /// Encodes a value behind what is there.
    fn append<T: Serialize + ?Sized>(
        self,
        mut to: Vec<u8>,
        value: &T,
    ) -> Result<Vec<u8>, CodecError> {
        let encoded = match self {
            Self::Cbor => cbor4ii::serde::to_vec(to, &value).map_err(text),
            Self::Postcard => postcard::to_extend(value, to).map_err(text),
            Self::Json => serde_json::to_writer(&mut to, value).map(|()| to).map_err(text),
        };
        encoded.map_err(|reason| CodecError::Encode { codec: self, reason })
    }

    /// Decodes a value that a stranger may have sent: within the limits, and with all of the bytes.
    ///
    /// # Errors
    /// [`CodecError`], which says what is wrong.
    pub fn decode<T: DeserializeOwned>(
        self,
        bytes: &[u8],
        limits: Limits,
    ) -> Result<T, CodecError> {
        let (len, limit) = (bytes.len(), limits.len());
        if len > limit {
            return Err(CodecError::TooLong { len, limit });
        }
        let allowance = Allowance::new(limits.depth(), len);
        let decoded = match self {
            Self::Cbor => decode_cbor(bytes, &allowance),
            Self::Postcard => decode_postcard(bytes, &allowance),
            Self::Json => decode_json(bytes, &allowance),
        };
        decoded.map_err(|reason| match allowance.too_deep() {
            true => CodecError::TooDeep { limit: limits.depth() },
            false => CodecError::Decode { codec: self, reason },
        })
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cbor => "CBOR",
            Self::Postcard => "postcard",
            Self::Json => "JSON",
        })
    }
}

fn text(error: impl fmt::Display) -> String {
    error.to_string()
}

const REST: &str = "there is more behind the value";

fn decode_cbor<T: DeserializeOwned>(bytes: &[u8], allowance: &Allowance) -> Result<T, String> {
    use cbor4ii::core::dec::Read;

    let reader = cbor4ii::core::utils::SliceReader::new(bytes);
    let mut decoder = cbor4ii::serde::Deserializer::new(reader);
    let value = T::deserialize(Guard::new(&mut decoder, allowance)).map_err(text)?;
    let mut reader = decoder.into_inner();
    let rest = reader.fill(1).map_err(text)?;
    if rest.as_ref().is_empty() { Ok(value) } else { Err(REST.to_owned()) }
}

fn decode_postcard<T: DeserializeOwned>(bytes: &[u8], allowance: &Allowance) -> Result<T, String> {
    let mut decoder = postcard::Deserializer::from_bytes(bytes);
    let value = T::deserialize(Guard::new(&mut decoder, allowance)).map_err(text)?;
    let rest = decoder.finalize().map_err(text)?;
    if rest.is_empty() { Ok(value) } else { Err(REST.to_owned()) }
}

fn decode_json<T: DeserializeOwned>(bytes: &[u8], allowance: &Allowance) -> Result<T, String> {
    let mut decoder = serde_json::Deserializer::from_slice(bytes);
    let value = T::deserialize(Guard::new(&mut decoder, allowance)).map_err(text)?;
    decoder.end().map_err(text)?;
    Ok(value)
}
