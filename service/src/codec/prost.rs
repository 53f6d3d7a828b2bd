//! Messages of protobuf inside values.

use bytes::Bytes;
use prost::Message;
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

/// A message of protobuf as an argument, a result, a message or a field of a service. With feature `prost`.
///
/// Services have serde's types, and messages that prost makes of `.proto` files are not. In this they are
/// encoded as protobuf, and travel as bytes in whatever [`Codec`](crate::Codec) the client has chosen.
/// Evolution is that of protobuf. prost nests 100 levels at most, and [`Limits`](crate::Limits) hold for
/// the bytes.
///
/// ```
/// use pointsub_service::{Cx, Failure, Prost, service};
///
/// #[derive(Clone, PartialEq, prost::Message)]
/// pub struct Point {
///     #[prost(sint32, tag = "1")]
///     x: i32,
///     #[prost(sint32, tag = "2")]
///     y: i32,
/// }
///
/// #[service("/map/1")]
/// trait Map {
///     async fn mirror(&self, cx: &Cx, at: Prost<Point>) -> Result<Prost<Point>, Failure>;
/// }
///
/// struct Flat;
///
/// impl Map for Flat {
///     async fn mirror(&self, _cx: &Cx, Prost(at): Prost<Point>) -> Result<Prost<Point>, Failure> {
///         Ok(Prost(Point { x: -at.x, ..at }))
///     }
/// }
///
/// # futures::executor::block_on(async {
/// let map = MapClient::local(Flat);
/// let Prost(mirrored) = map.mirror(Prost(Point { x: 3, y: 1 })).await.unwrap();
/// assert_eq!(mirrored, Point { x: -3, y: 1 });
/// # });
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prost<M>(pub M);

impl<M> From<M> for Prost<M> {
    fn from(message: M) -> Self {
        Self(message)
    }
}

impl<M: Message> Serialize for Prost<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0.encode_to_vec())
    }
}

impl<'de, M: Message + Default> Deserialize<'de> for Prost<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let encoded = Bytes::deserialize(deserializer)?;
        M::decode(encoded).map(Self).map_err(Error::custom)
    }
}
