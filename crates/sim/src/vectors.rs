//! Deterministic embeddings: the same text has the same unit vector, always and everywhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::text::split_mix;

/// The largest vector on offer, that of the largest real models.
pub(crate) const MAX_DIMENSIONS: u64 = 4096;

pub(crate) fn embed(text: &[u8], dimensions: usize) -> Vec<f32> {
    let digest = Sha256::digest(text);
    let mut state = digest.iter().take(8).fold(0u64, |all, byte| all << 8 | u64::from(*byte));
    let raw: Vec<f64> =
        (0..dimensions).map(|_| (split_mix(&mut state) >> 11) as f64 / (1u64 << 52) as f64 - 1.0).collect();
    let length = raw.iter().map(|part| part * part).sum::<f64>().sqrt();
    raw.iter().map(|part| (part / length) as f32).collect()
}

/// The form that OpenAI's SDKs ask for: little-endian f32 in base64.
pub(crate) fn to_base64(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|part| part.to_le_bytes()).collect();
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_unit_length_and_repeatable() {
        let one = embed(b"hello", 1536);
        let length: f32 = one.iter().map(|part| part * part).sum();
        assert!((length - 1.0).abs() < 1e-4);
        assert_eq!(one, embed(b"hello", 1536));
        assert_ne!(one, embed(b"hello ", 1536));
    }
}
