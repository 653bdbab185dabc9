//! Pictures: charged one by one, by size and quality, or by the tokens that they are made of.

use super::Measured;
use crate::intake::Call;
use crate::route::Plan;
use anykey_core::price::Extent;
use anykey_core::{Unit, Usage};
use anykey_dialect::head::Items;

/// What roles and separators may add to a prompt.
const OVERHEAD: u64 = 64;
/// The most that a picture counts as input, whatever its size and however faithfully it is kept.
const PICTURE_IN: u64 = 8_192;
/// For each unfinished picture on the way.
const UNFINISHED: u64 = 100;
/// Text that a model may write beside a picture.
const BESIDE: u64 = 512;
/// The sides of the largest picture where none are asked for: OpenAI's first models, and any other.
const LARGEST_OF_THE_FIRST: (u64, u64) = (1536, 1024);
const LARGEST: (u64, u64) = (3840, 2160);
const LONGEST_SIDE: u64 = 16_384;

pub(super) fn drawn(items: &Items, call: &Call, plan: &Plan) -> Measured {
    let n = call.head.n;
    let bytes = if items.boundary.is_some() { items.text } else { items.text.max(1) };
    let one = tokens(items, &plan.model) + UNFINISHED * items.partial;
    let input = bytes + OVERHEAD + PICTURE_IN * items.pictures;
    let images = Usage::default().with(Unit::Image, n);
    Measured {
        most: Extent { input, output: n.saturating_mul(one + BESIDE), items: images },
        likely: images
            .with(Unit::Request, 1)
            .with(Unit::Input, bytes.div_ceil(4))
            .with(Unit::ImageIn, PICTURE_IN / 8 * items.pictures)
            .with(Unit::ImageOut, n.saturating_mul(one)),
        ..Measured::default()
    }
}

/// The tokens of a picture, by the patches that it is made of: of 16 pixels a side in high quality, 32 in medium and 64
/// in low. This is OpenAI's own table (1024x1024 high: 4,160) written as what it follows from.
fn tokens(items: &Items, model: &str) -> u64 {
    let (width, height) = items.size.as_deref().and_then(sides).unwrap_or_else(|| {
        let first = model.starts_with("gpt-image-1") || model.starts_with("chatgpt-image");
        if first { LARGEST_OF_THE_FIRST } else { LARGEST }
    });
    let side = match items.quality.as_deref() {
        Some("low") => 64,
        Some("medium") => 32,
        _ => 16,
    };
    width.div_ceil(side) * (height.div_ceil(side) + 1)
}

fn sides(size: &str) -> Option<(u64, u64)> {
    let (width, height) = size.split_once('x')?;
    let side = |text: &str| text.parse::<u64>().ok().filter(|n| (1..=LONGEST_SIDE).contains(n));
    Some((side(width)?, side(height)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_those_of_openais_table() {
        for (size, quality, expected) in [
            ("1024x1024", "low", 272),
            ("1024x1536", "low", 400),
            ("1536x1024", "low", 408),
            ("1024x1024", "medium", 1056),
            ("1024x1536", "medium", 1568),
            ("1536x1024", "medium", 1584),
            ("1024x1024", "high", 4160),
            ("1024x1536", "high", 6208),
            ("1536x1024", "high", 6240),
            ("auto", "auto", 6240),
        ] {
            let items = Items { size: Some(size.to_owned()), quality: Some(quality.to_owned()), ..Items::default() };
            assert_eq!(tokens(&items, "gpt-image-1.5"), expected, "{size} {quality}");
        }
        assert_eq!(tokens(&Items::default(), "some-other"), 240 * 136);
        let absurd = Items { size: Some("99999999x1".to_owned()), ..Items::default() };
        assert_eq!(tokens(&absurd, "some-other"), 240 * 136);
    }
}
