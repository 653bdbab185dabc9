//! Speech, by characters or the tokens that it is made of; and what is heard, by seconds or tokens.

use super::Measured;
use crate::intake::Call;
use anykey_core::price::Extent;
use anykey_core::{Unit, Usage};
use anykey_dialect::audio::Length;
use anykey_dialect::head::Items;

const OVERHEAD: u64 = 64;
/// Tokens of sound that one byte of text becomes at most: a fifth of a second.
const SPOKEN_A_BYTE: u64 = 4;
const PAUSES: u64 = 256;
/// Tokens of a second of sound, going in and as text coming out, at most and usually.
const HEARD_A_SECOND: u64 = 20;
const USUALLY_HEARD: u64 = 10;
const USUALLY_WRITTEN: u64 = 4;
/// Tokens of a second of speech.
const SPOKEN_A_SECOND: u64 = 21;

pub(super) fn speech(items: &Items, call: &Call) -> Measured {
    let characters = Usage::default().with(Unit::Character, items.characters);
    let output = items.text.saturating_mul(SPOKEN_A_BYTE).saturating_add(PAUSES);
    Measured {
        most: Extent { input: call.body.len() as u64 + OVERHEAD, output, items: characters },
        sure: characters,
        likely: Usage::default()
            .with(Unit::Request, 1)
            .with(Unit::Input, items.text.div_ceil(4))
            // Fifteen characters a second.
            .with(Unit::AudioOut, items.characters.saturating_mul(SPOKEN_A_SECOND).div_ceil(15)),
        bytes_a_token: bytes_a_second(items.format.as_deref()) / SPOKEN_A_SECOND,
        ..Measured::default()
    }
}

/// What a second of speech takes in each format, as it is usually made.
fn bytes_a_second(format: Option<&str>) -> u64 {
    match format {
        Some("opus") => 4_000,
        Some("aac") => 8_000,
        Some("flac") => 35_000,
        Some("wav" | "pcm") => 48_000,
        _ => 16_000,
    }
}

pub(super) fn heard(items: &Items) -> Measured {
    let Length { likely, most } = items.sound.unwrap_or(Length { likely: 1, most: 1 });
    let second = |n| Usage::default().with(Unit::Second, n);
    let tokens = most.saturating_mul(HEARD_A_SECOND);
    Measured {
        most: Extent {
            input: tokens.saturating_add(items.text + OVERHEAD),
            output: tokens.saturating_add(PAUSES),
            items: second(most),
        },
        sure: second(likely),
        likely: Usage::default()
            .with(Unit::Request, 1)
            .with(Unit::Input, items.text.div_ceil(4))
            .with(Unit::AudioIn, likely.saturating_mul(USUALLY_HEARD))
            .with(Unit::Output, likely.saturating_mul(USUALLY_WRITTEN)),
        plain: matches!(items.format.as_deref(), Some("text" | "srt" | "vtt")),
        ..Measured::default()
    }
}
