//! Handshakes with known keys, byte by byte. They were computed by a program of a few lines that
//! shares nothing with this one but the specification.

use futures::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// What two nodes say to each other. The secret keys are 32 times the same byte:
///
/// | | identity (Ed25519's seed) | static | ephemeral |
/// |---|---|---|---|
/// | dials | `01` | `11` | `21` |
/// | listens | `02` | `12` | `22` |
pub(super) struct Vector {
    pub(super) dialect: Dialect,
    /// The payload of each.
    pub(super) dialler: &'static str,
    pub(super) listener: &'static str,
    /// The handshake, with lengths.
    pub(super) messages: [&'static str; 3],
}

/// The static keys that belong to the secret ones.
const DIALLER: &str = "7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13";
const LISTENER: &str = "052a50773ac8d91773f2dc9662e12f0defe915e415b8a1c8e20a5a3d6ab2b843";

/// The first message of each behind the handshake, `hello` and `world`. They are the same in both
/// dialects, since no payload enters into the ciphers.
const HELLO: &str = "00156fb01eae16a96b9243b416088f89f7d16f524e2920";
const WORLD: &str = "0015232b94d8d6d8d6b7cb021cd311d2af263064252dbf";

pub(super) const VECTORS: [Vector; 2] = [
    Vector {
        dialect: Dialect::Libp2p,
        dialler: "0a24080112208a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c1240d70f\
             1912caf307a7b2eddcf6754d5a8e7fb08c88e8377575a7ba528d77eb09b8547dc2c58ee595c9abe63e94\
             c84d02834bb01afff5b9551362a025fe5becc002",
        listener: "0a24080112208139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b39412403c9a\
             4a1b109b0108a52e2f81927b359388e5954c030bbf524d740c07f0e0c7998780cc24a05cc02210722b7c\
             3a8a24a02c722f3b619e247a17ecc49f580cc10a",
        messages: [
            "00207d34a4815fa6b982535e60af3bd9b49556816080f1641ff81d2b7c8ae8268a44",
            "00c80faa684ed28867b97f4a6a2dee5df8ce974e76b7018e3f22a1c4cf2678570f205727c65b835e6482\
             a6e9b09beda9f57b4a8668d46edba4c6cd507dacf188c1ce48a01087372c1b4e60f838b8b5d43575ebb2\
             65de4b7718505d452e9c48aa75497f9f2d1e4a5188782d997e61a66ce390851006da58b92155c6256a7a\
             945e9c5d86397c9a325ad2d4a0e25bdcded015159d30a0bd53806cabcad954e7adc0f3e098606c8d975b\
             e4c7a916d980475e28cd3c52c4caf6603942a26e433db519730f800b155071c1ca65",
            "00a8ad8ccedd82f63d66ba15b16f78a13d2078708846447de330fc7686e51d25398c4cb0baa3056a90f5\
             60339cd69bb5803e6637f592bbd0885b23fbe123578676f9a15aa4036829308790fbf811bbb98d5e734b\
             3a9f6992f35f9f692154d33257508de5c30ebf6d44b4a28489b4fc4306013dbfbbc7686907b7f499d244\
             b4098d9fb42870f17edbb6d413447e0d43dfde00deac5a079b3aefde1da77394d7967607e2325b29aad6\
             2b3c",
        ],
    },
    Vector {
        dialect: Dialect::Dep2p,
        dialler: "0a24080112208a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c1240d87c\
             c0820044058db982edb3f255177c841e919209154f353887cefa37218c267b6b0f7bf19552f64df4eeb1\
             4af7145311b9b79837b2fccce8f63dd27cd45a05",
        listener: "0a24080112208139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b39412409836\
             7b5ae2c6184f205e47d8e1b3d571252fb62970356f39a654f36d9f3a9a90631ff519a6324681423b2bbf\
             3f1bd6f19db62ab36678700cc986af027184720a",
        messages: [
            "00207d34a4815fa6b982535e60af3bd9b49556816080f1641ff81d2b7c8ae8268a44",
            "00c80faa684ed28867b97f4a6a2dee5df8ce974e76b7018e3f22a1c4cf2678570f205727c65b835e6482\
             a6e9b09beda9f57b4a8668d46edba4c6cd507dacf188c1ce48a01087372c1b4e60f838b8b5d43575ebb2\
             65de4b7718505d452e9c48aa75497f9f2d1e4a5188782d997e61a66ce390851006da58b9215562895b3b\
             6603851a034914c3419232360d2878b9adeec57e76105fd73c5a31a22e466ddaabae7543ca296c4e92ca\
             169618d2dc0840b87cbbe238af57dfe88a42a64655132fb79256cf0a4b32450f5ce9",
            "00a8ad8ccedd82f63d66ba15b16f78a13d2078708846447de330fc7686e51d25398caca7be93b9effd04\
             07e9a8a8e6185f576637f592bbd0885b23fbe123578676f9a15aa4036829308790fbf811bbb98d5e734b\
             3a9f6992f35f901af8c41985557a868af24b38750946592a94ae1d613c41a28227b028a38229db8f1ffa\
             cb794aa0523aa0d4fc61a004494dd36a81d477df54fa422bbc0275d9a0a0c1bc59400033737cc8d93606\
             c6e1",
        ],
    },
];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn unhex(text: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(digits).collect()
}

fn known_keys(identity_seed: u8, static_seed: u8) -> Keys {
    let keys = Keys::with_static_key(&identity(identity_seed), static_key(static_seed));
    keys.expect("it can sign")
}

/// The peer's part: what it hears has to be `expected`, then it says `answer`.
async fn turn(io: &mut End, expected: &str, answer: &str) {
    let mut heard = vec![0; expected.len() / 2];
    io.read_exact(&mut heard).await.expect("something is said");
    assert_eq!(hex(&heard), expected);
    io.write_all(&unhex(answer)).await.expect("somebody listens");
}

/// What is said behind the handshake.
async fn talk(stream: &mut Secured, say: &[u8], hear: &[u8]) {
    stream.write_all(say).await.expect("somebody listens");
    stream.flush().await.expect("somebody listens");
    let mut heard = vec![0; hear.len()];
    stream.read_exact(&mut heard).await.expect("something is said");
    assert_eq!(heard, hear);
}

#[test]
fn the_payloads_are_these() {
    let (dialler, listener) = (known_keys(1, 0x11), known_keys(2, 0x12));
    for vector in VECTORS {
        assert_eq!(hex(dialler.payload(vector.dialect)), vector.dialler);
        assert_eq!(hex(listener.payload(vector.dialect)), vector.listener);
    }
    assert_eq!(hex(static_key(0x11).public()), DIALLER);
    assert_eq!(hex(static_key(0x12).public()), LISTENER);
}

#[test]
fn who_dials_says_these_bytes() {
    for Vector { dialect, messages: [first, second, third], .. } in VECTORS {
        let dial = async |io| {
            let (keys, ephemeral) = (known_keys(1, 0x11), [0x21; LEN]);
            let builder = keys.builder().expect("a key");
            let builder = builder.fixed_ephemeral_key_for_testing_only(&ephemeral);
            let session = builder.build_initiator().expect("a key");
            let dialled = connect_as(session, BufferedReader::new(io), &keys, &BOTH).await;
            let (listener, spoken, mut stream) = dialled.expect("secured");
            assert_eq!((listener, spoken), (peer(2), dialect));
            talk(&mut stream, b"hello", b"world").await;
        };
        let listen = async |mut io: End| {
            turn(&mut io, first, second).await;
            turn(&mut io, third, "").await;
            turn(&mut io, HELLO, WORLD).await;
            io
        };
        meet(dial, listen);
    }
}

#[test]
fn who_listens_says_these_bytes() {
    for Vector { dialect, messages: [first, second, third], .. } in VECTORS {
        let listen = async |io| {
            let (keys, ephemeral) = (known_keys(2, 0x12), [0x22; LEN]);
            let builder = keys.builder().expect("a key");
            let builder = builder.fixed_ephemeral_key_for_testing_only(&ephemeral);
            let session = builder.build_responder().expect("a key");
            let accepted = accept_as(session, BufferedReader::new(io), &keys, dialect).await;
            let (dialler, mut stream) = accepted.expect("secured");
            assert_eq!(dialler, peer(1));
            talk(&mut stream, b"world", b"hello").await;
        };
        let dial = async |mut io: End| {
            turn(&mut io, "", first).await;
            turn(&mut io, second, third).await;
            turn(&mut io, "", HELLO).await;
            turn(&mut io, WORLD, "").await;
            io
        };
        meet(dial, listen);
    }
}
