//! The inputs of the fuzz target.

use std::fs;
use std::path::Path;

use super::*;
use crate::transport::security::noise::fuzz::noise_payload;
use crate::transport::security::noise::payload::verify;

#[test]
fn the_corpus_of_the_fuzz_target_is_good_and_has_a_payload_in_each_dialect() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/noise_payload");
    let mut spoken = Vec::new();
    for entry in fs::read_dir(&dir).expect("a corpus") {
        let path = entry.expect("a file").path();
        println!("{}", path.display());
        let data = fs::read(&path).expect("readable");
        noise_payload(&data);
        if let Some(([_, key @ ..], payload)) = data.split_first_chunk::<{ 1 + LEN }>() {
            spoken.extend(verify(payload, key, &BOTH).map(|(_, dialect)| dialect));
        }
    }
    assert!(BOTH.iter().all(|dialect| spoken.contains(dialect)), "{spoken:?}");
}
