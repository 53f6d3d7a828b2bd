//! Which bodies are compressed.

use bytes::Bytes;
use pointsub_core::Body;
use pointsub_core::compress::is_futile;

fn noise(len: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let step = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (state >> 56) as u8
    };
    (0..len).map(step).collect()
}

fn is_compressed(bytes: Vec<u8>) -> bool {
    let bytes = Bytes::from(bytes);
    Body::compressed(bytes.clone()) != Body::uncompressed(bytes)
}

/// C6, W7: whatever shrinks is compressed, whichever way it does.
#[test]
fn what_shrinks_is_compressed() {
    let base64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for len in [1024, 4000, 60_000] {
        let random = noise(len);
        let text = b"it was the best of times, it was the worst of times, ".iter().copied();
        let text: Vec<u8> = text.cycle().take(len).collect();
        assert!(!is_futile(&text) && is_compressed(text), "text of {len}");
        let digits = random.iter().map(|byte| b'0' + byte % 10).collect();
        assert!(is_compressed(digits), "digits, {len}");
        let encoded = random.iter().map(|byte| base64[usize::from(byte % 64)]).collect();
        assert!(is_compressed(encoded), "base64, {len}");
        // All bytes equally often, and nothing random about it.
        assert!(is_compressed((0..len).map(|i| i as u8).collect()), "a ramp of {len}");
    }
}

/// C6: whatever does not is sent as it is, and small bodies are not looked at.
#[test]
fn what_does_not_shrink_is_sent_as_it_is() {
    for len in [1024, 4000, 60_000] {
        assert!(is_futile(&noise(len)) && !is_compressed(noise(len)), "{len}");
    }
    assert!(is_futile(&[7; 1023]) && !is_compressed(vec![7; 1023]));
}
