//! Messages of protobuf travel in every codec, and what is none is refused.

use pointsub_service::{Codec, CodecError, Limits, Prost};
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, prost::Message)]
struct Old {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct New {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint64, repeated, tag = "2")]
    numbers: Vec<u64>,
}

/// Beside what serde has.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    by: String,
    what: Prost<New>,
}

const CODECS: [Codec; 3] = [Codec::Cbor, Codec::Postcard, Codec::Json];

#[test]
fn messages_come_back_from_every_codec() {
    let what = Prost(New { name: "tea".to_owned(), numbers: vec![1, u64::MAX] });
    let order = Order { by: "alice".to_owned(), what };
    for codec in CODECS {
        let encoded = codec.encode(&order).expect("it can be encoded");
        assert_eq!(codec.decode::<Order>(&encoded, Limits::new()).as_ref(), Ok(&order));
    }
}

#[test]
fn peers_of_different_age_understand_each_other() {
    for codec in CODECS {
        let new = Prost(New { name: "tea".to_owned(), numbers: vec![7] });
        let old = Prost(Old { name: "tea".to_owned() });
        let encoded = codec.encode(&new).expect("it can be encoded");
        assert_eq!(codec.decode::<Prost<Old>>(&encoded, Limits::new()).as_ref(), Ok(&old));
        let encoded = codec.encode(&old).expect("it can be encoded");
        let seen = codec.decode::<Prost<New>>(&encoded, Limits::new()).expect("it is understood");
        assert_eq!(seen.0, New { name: "tea".to_owned(), numbers: Vec::new() });
    }
}

#[test]
fn bytes_that_are_no_message_are_refused() {
    // A field of 100 bytes of which none has come.
    let broken = pointsub_service::Bytes::from_static(&[0x0a, 100]);
    for codec in CODECS {
        let encoded = codec.encode(&broken).expect("it can be encoded");
        let error =
            codec.decode::<Prost<Old>>(&encoded, Limits::new()).expect_err("it is no message");
        assert!(matches!(error, CodecError::Decode { .. }), "{error}");
    }
}
