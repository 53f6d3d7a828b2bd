//! What of hostile bytes each codec takes, and what it gives back of its own.

use std::collections::BTreeMap;

use pointsub_service::{Bytes, Codec, CodecError, Limits};
use serde::{Deserialize, Serialize};

const ALL: [Codec; 3] = [Codec::Cbor, Codec::Postcard, Codec::Json];

#[derive(Debug, PartialEq, Clone, Serialize, Deserialize)]
enum Tree {
    Leaf(u8),
    Node(Vec<Self>),
}

#[derive(Debug, PartialEq, Clone, Serialize, Deserialize)]
struct All {
    unit: (),
    number: i64,
    large: u64,
    float: f64,
    letter: char,
    text: String,
    bytes: Bytes,
    option: Option<Box<Self>>,
    map: BTreeMap<String, Vec<u32>>,
    tree: Tree,
    pair: (bool, i8),
}

fn nested(depth: usize) -> Tree {
    (1..depth).fold(Tree::Leaf(7), |tree, _| Tree::Node(vec![tree]))
}

fn all() -> All {
    let plain = All {
        unit: (),
        number: i64::MIN,
        large: u64::MAX,
        float: 0.1,
        letter: 'é',
        text: "text".to_owned(),
        bytes: Bytes::from_static(&[0, 255]),
        option: None,
        map: [("a".to_owned(), vec![1, 70_000]), (String::new(), vec![])].into(),
        tree: nested(3),
        pair: (true, -1),
    };
    All { option: Some(Box::new(plain.clone())), ..plain }
}

fn round_trip<T: Serialize + for<'a> Deserialize<'a>>(
    codec: Codec,
    value: &T,
    limits: Limits,
) -> Result<T, CodecError> {
    codec.decode(&codec.encode(value).expect("it can be encoded"), limits)
}

#[test]
fn each_codec_gives_back_what_it_was_given() {
    for codec in ALL {
        assert_eq!(round_trip(codec, &all(), Limits::new()), Ok(all()), "{codec}");
        assert_eq!(Codec::from_name(codec.name()), Some(codec));
    }
}

#[test]
fn a_value_that_is_nested_too_deeply_is_refused() {
    let limits = Limits::new().max_depth(20);
    for codec in ALL {
        // Each level is a variant and a sequence; the last one a variant alone.
        assert!(round_trip(codec, &nested(10), limits).is_ok(), "{codec}");
        let refused = round_trip(codec, &nested(11), limits);
        assert_eq!(refused, Err(CodecError::TooDeep { limit: 20 }), "{codec}");
    }
}

/// A megabyte of nothing but openings, which takes the stack of whoever follows it.
#[test]
fn endless_nesting_ends_at_the_limit() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Unknown {
        known: Option<u8>,
    }
    let mut deepest = Limits::new().max_len(2 << 20).max_depth(u16::MAX);
    for _ in 0..2 {
        let cbor = [&b"\xa1\x64Node"[..], &[0x81]].concat().repeat(1 << 17);
        let json = br#"{"Node":["#.repeat(1 << 17);
        assert!(Codec::Cbor.decode::<Tree>(&cbor, deepest).is_err());
        assert!(Codec::Postcard.decode::<Tree>(&[1].repeat(1 << 20), deepest).is_err());
        assert!(Codec::Json.decode::<Tree>(&json, deepest).is_err());
        // Under a name that nobody knows.
        let cbor = [&b"\xa1\x61x"[..], &[0x81].repeat(1 << 20)].concat();
        assert!(Codec::Cbor.decode::<Unknown>(&cbor, deepest).is_err());
        let json = [&br#"{"x":"#[..], &b"[".repeat(1 << 20)].concat();
        assert!(Codec::Json.decode::<Unknown>(&json, deepest).is_err());
        deepest = Limits::new().max_len(2 << 20);
    }
}

/// A type that goes deeper without taking any input.
#[test]
fn a_type_without_an_end_ends_at_the_limit() {
    #[derive(Debug, Deserialize)]
    struct Endless(#[expect(dead_code, reason = "it is never made")] Option<Box<Self>>);

    let too_deep = CodecError::TooDeep { limit: 64 };
    let json = Codec::Json.decode::<Endless>(b"5", Limits::new());
    assert_eq!(json.expect_err("it has no end"), too_deep);
    let cbor = Codec::Cbor.decode::<Endless>(&[5], Limits::new());
    assert_eq!(cbor.expect_err("it has no end"), too_deep);
}

#[test]
fn announced_elements_take_neither_memory_nor_time() {
    let cbor = [0x9b, 0x7f, 255, 255, 255, 255, 255, 255, 255];
    let postcard = [255, 255, 255, 255, 255, 255, 255, 255, 127];
    assert!(Codec::Cbor.decode::<Vec<[u64; 32]>>(&cbor, Limits::new()).is_err());
    assert!(Codec::Postcard.decode::<Vec<[u64; 32]>>(&postcard, Limits::new()).is_err());
    assert!(Codec::Postcard.decode::<Bytes>(&postcard, Limits::new()).is_err());
    // Elements of no bytes at all would go on for centuries.
    assert!(Codec::Postcard.decode::<Vec<()>>(&postcard, Limits::new()).is_err());
    assert!(round_trip(Codec::Postcard, &vec![(); 1000], Limits::new()).is_ok());
}

/// Notes for how many elements it was told to make room.
#[derive(Debug)]
struct Room;

impl<'de> Deserialize<'de> for Room {
    fn deserialize<D: serde::Deserializer<'de>>(decoder: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> serde::de::Visitor<'de> for Visit {
            type Value = Room;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a sequence")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, seq: A) -> Result<Room, A::Error> {
                Err(serde::de::Error::custom(format!("room for {:?}", seq.size_hint())))
            }
        }
        decoder.deserialize_seq(Visit)
    }
}

#[test]
fn no_room_is_made_for_what_has_not_come() {
    let announced = [[0x9a, 0, 1, 0, 0].as_slice(), &[0; 1 << 16]].concat();
    for (bytes, room) in [(&announced[..], "room for Some(4096)"), (&announced[..5], "Some(1029)")]
    {
        let error = Codec::Cbor.decode::<Room>(bytes, Limits::new()).expect_err("it says so");
        assert!(error.to_string().contains(room), "{error}");
    }
}

#[test]
fn more_bytes_than_are_taken_are_refused_before_they_are_looked_at() {
    for codec in ALL {
        let limits = Limits::new().max_len(7);
        let refused = codec.decode::<u8>(&[0; 8], limits);
        assert_eq!(refused, Err(CodecError::TooLong { len: 8, limit: 7 }), "{codec}");
    }
}

#[test]
fn what_comes_behind_a_value_is_refused() {
    for codec in ALL {
        let mut encoded = codec.encode(&5u8).expect("it can be encoded").to_vec();
        encoded.push(b'}');
        assert!(codec.decode::<u8>(&encoded, Limits::new()).is_err(), "{codec}");
    }
}

#[test]
fn what_cannot_be_encoded_says_so() {
    let by_pair: BTreeMap<(u8, u8), u8> = [((1, 2), 3)].into();
    let error = Codec::Json.encode(&by_pair).expect_err("keys are text");
    assert!(matches!(error, CodecError::Encode { codec: Codec::Json, .. }), "{error}");
    assert!(Codec::Cbor.encode(&by_pair).is_ok());
}
