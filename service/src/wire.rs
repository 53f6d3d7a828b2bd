//! The codec and the limits of one call.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{Codec, CodecError, Limits};

/// How the values of one call are encoded, and what is taken of the peer's.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct Wire {
    pub(crate) codec: Codec,
    pub(crate) limits: Limits,
}

impl Wire {
    pub(crate) fn encode<T: Serialize + ?Sized>(self, value: &T) -> Result<Bytes, CodecError> {
        self.codec.encode(value)
    }

    pub(crate) fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, CodecError> {
        self.codec.decode(bytes, self.limits)
    }
}
