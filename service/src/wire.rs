//! The codec and the limits of one call.

use bytes::Bytes;
use pointsub_swarm::{Message, RequestError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{Codec, CodecError, Limits};
use crate::detail::call_error;
use crate::error::{CallError, ServiceError};

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

    /// The value of a message that a call has received, with its cursor.
    pub(crate) fn received<T: DeserializeOwned, E: ServiceError>(
        self,
        received: Result<Option<Message>, RequestError>,
    ) -> Result<Option<(T, Option<Bytes>)>, CallError<E>> {
        let message = received.map_err(|error| call_error(error, self.limits))?;
        let Some(Message { body, cursor, .. }) = message else { return Ok(None) };
        Ok(Some((self.decode(&body)?, cursor)))
    }

    /// The value of a message that the stream of a call has given.
    pub(crate) fn item<T: DeserializeOwned, E: ServiceError>(
        self,
        message: Result<Bytes, RequestError>,
    ) -> Result<T, CallError<E>> {
        let message = message.map_err(|error| call_error(error, self.limits))?;
        Ok(self.decode(&message)?)
    }
}
