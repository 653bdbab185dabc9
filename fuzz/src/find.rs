//! The property of the finder that must hold for any bytes; `crates/core/src/find/tests.rs` has the same on stable.

use anykey_core::find::{Finder, Stream};
use anykey_core::token;

/// Every key reads, stands where it is said to stand, and is found the same however the bytes are cut. The first byte
/// chooses the size of the pieces.
pub fn find_keys(data: &[u8]) {
    let Some((size, bytes)) = data.split_first() else { return };
    for finder in [Finder::any_brand(), Finder::brands(["ak"])] {
        let whole: Vec<(u64, &str)> = finder.find(bytes).into_iter().map(|f| (f.at as u64, f.token)).collect();
        for (at, text) in &whole {
            assert_eq!(&bytes[*at as usize..][..text.len()], text.as_bytes());
            let brand = text.split('-').next().unwrap_or_default();
            assert!(token::read(text, brand).is_some());
        }
        let mut cut = Vec::new();
        let mut stream = Stream::new(&finder);
        for piece in bytes.chunks(usize::from(*size).max(1)) {
            stream.feed(piece, &mut |hit| {
                let before = &bytes[..hit.offset as usize];
                let lines = before.iter().filter(|b| **b == b'\n').count() as u64;
                let line_began = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at as u64 + 1);
                assert_eq!((hit.line, hit.column), (lines + 1, hit.offset - line_began + 1));
                cut.push((hit.offset, hit.token.to_owned()));
            });
        }
        cut.sort();
        assert_eq!(cut, whole.iter().map(|(at, text)| (*at, (*text).to_owned())).collect::<Vec<_>>());
    }
}
