//! The codecs of services.

use std::collections::BTreeMap;

use bytes::Bytes;
use pointsub_service::{Codec, Limits};
use serde::{Deserialize, Serialize};

/// As much of serde's model as there is, and itself again.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Value {
    Unit,
    Units(Vec<()>),
    Number(Option<i64>),
    Wide(u128),
    Letter(char),
    Text(String),
    Bytes(Bytes),
    Pair(Box<Self>, Box<Self>),
    Many(Vec<Self>),
    Named { first: Option<Box<Self>>, by_name: BTreeMap<String, Self> },
    Endless(Endless),
}

/// Goes deeper without taking any input.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Endless(Option<Box<Self>>);

/// Decodes what strangers may send. What is let in is encoded and decoded again to the same.
fn decode(codec: Codec, data: &[u8]) {
    let limits = Limits::new().max_len(1 << 20);
    let Ok(value) = codec.decode::<Value>(data, limits) else { return };
    let encoded = codec.encode(&value).expect("it was decoded");
    let again = codec.decode::<Value>(&encoded, limits.max_len(usize::MAX));
    // A value may have as many elements of no bytes as it has bytes, and some more. The same in fewer bytes,
    // such as with its numbers in their shortest form, may then have too many.
    if again.is_err() && encoded.len() < data.len() {
        return;
    }
    assert_eq!(again.as_ref(), Ok(&value), "{encoded:?}");
}

/// CBOR.
pub fn service_cbor(data: &[u8]) {
    decode(Codec::Cbor, data);
}

/// postcard.
pub fn service_postcard(data: &[u8]) {
    decode(Codec::Postcard, data);
}

/// JSON.
pub fn service_json(data: &[u8]) {
    decode(Codec::Json, data);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes the inputs from which the fuzzer starts. `UPDATE_CORPUS=1 cargo test -p pointsub-tests codecs`.
    #[test]
    fn the_corpora_begin_with_values_of_every_kind() {
        let value = || {
            let leaves = vec![
                Value::Unit,
                Value::Units(vec![(), ()]),
                Value::Number(Some(-70_000)),
                Value::Number(None),
                Value::Wide(u128::MAX),
                Value::Letter('é'),
                Value::Text("text".to_owned()),
                Value::Bytes(Bytes::from_static(b"\x00\xff")),
                Value::Endless(Endless(None)),
            ];
            let pair = Value::Pair(Box::new(Value::Unit), Box::new(Value::Many(Vec::new())));
            let by_name = [("a".to_owned(), Value::Many(leaves)), (String::new(), pair)].into();
            Value::Named { first: Some(Box::new(Value::Unit)), by_name }
        };
        for (codec, name) in [
            (Codec::Cbor, "service_cbor"),
            (Codec::Postcard, "service_postcard"),
            (Codec::Json, "service_json"),
        ] {
            let encoded = codec.encode(&value()).expect("it can be encoded");
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
            let path = path.join("../fuzz/corpus").join(name).join("every-kind");
            if std::env::var_os("UPDATE_CORPUS").is_some() {
                std::fs::write(&path, &encoded).expect("it can be written");
            }
            assert_eq!(std::fs::read(&path).expect("it is there"), encoded, "{name}");
            assert_eq!(codec.decode::<Value>(&encoded, Limits::new()), Ok(value()));
        }
    }
}
