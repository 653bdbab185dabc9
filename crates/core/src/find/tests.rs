//! What the finder promises: every key once, at its place, however it is cut and whatever stands beside it.

use super::*;
use crate::Token;
use proptest::prelude::*;

fn key(brand: &str, kind: KeyKind) -> String {
    Token::mint(brand, kind).unwrap().expose().to_owned()
}

type Place = (u64, u64, u64, String);

fn stream(finder: &Finder, pieces: &[&[u8]]) -> Vec<Place> {
    let mut places = Vec::new();
    let mut stream = Stream::new(finder);
    for piece in pieces {
        stream.feed(piece, &mut |hit| places.push((hit.offset, hit.line, hit.column, hit.token.to_owned())));
    }
    places.sort();
    places
}

#[test]
fn keys_are_found_beside_anything() {
    let finder = Finder::brands(["ak"]);
    let key = key("ak", KeyKind::Live);
    for (before, after) in [
        ("", ""),
        ("KEY=", "\n"),
        ("\\n", "\\n"),
        ("x", "0"),
        ("https://h/?key=", "&a=b"),
        ("ak-live-", "-ak-"),
        ("ak-", ""),
        ("é", "é"),
        ("\0", "\0"),
        ("task-", "a-live-"),
    ] {
        let text = format!("{before}{key}{after}");
        let found = finder.find(text.as_bytes());
        assert_eq!(found.len(), 1, "{before:?} {after:?}");
        assert_eq!((found[0].at, found[0].token), (before.len(), key.as_str()));
    }
}

#[test]
fn what_no_installation_made_is_not_found() {
    let finder = Finder::brands(["ak"]);
    let key = key("ak", KeyKind::Live);
    let mut mistyped = key.clone().into_bytes();
    mistyped[20] = if mistyped[20] == b'a' { b'b' } else { b'a' };
    assert!(finder.find(&mistyped).is_empty());
    assert!(finder.find(&key.as_bytes()[..key.len() - 1]).is_empty());
    assert!(finder.find(key.replace("-live-", "-dead-").as_bytes()).is_empty());
    assert!(finder.find(key.replace("ak-", "sk-").as_bytes()).is_empty());
    assert!(finder.find(b"ak-live-").is_empty());
    assert!(finder.find(b"").is_empty());
}

#[test]
fn every_kind_and_every_brand_is_found() {
    let named = Finder::brands(["ak", "acme7"]);
    let any = Finder::any_brand();
    for brand in ["ak", "acme7", "a", "abcdefghijklmno9"] {
        for kind in KeyKind::ALL {
            let text = format!("token: {}\n", key(brand, kind));
            let found = any.find(text.as_bytes());
            assert_eq!(found.len(), 1, "{brand} {kind:?}");
            assert_eq!((found[0].brand, found[0].form.kind), (brand, kind));
            assert_eq!(named.find(text.as_bytes()).len(), usize::from(["ak", "acme7"].contains(&brand)));
        }
    }
}

/// The checksum covers the brand, so a longer brand's key is not also one of the shorter.
#[test]
fn a_brand_that_ends_in_another_is_its_own() {
    let text = key("sak", KeyKind::Test);
    assert!(Finder::brands(["ak"]).find(text.as_bytes()).is_empty());
    assert_eq!(Finder::brands(["ak", "sak"]).find(text.as_bytes()).len(), 1);
    assert_eq!(Finder::any_brand().find(text.as_bytes()).len(), 1);
}

#[test]
fn places_are_those_that_an_editor_shows() {
    let (a, b) = (key("ak", KeyKind::Live), key("ak", KeyKind::Temp));
    let text = format!("{a}\nx = 1\n\n  y: {b} {a}\n");
    let places = stream(&Finder::brands(["ak"]), &[text.as_bytes()]);
    let shown: Vec<(u64, u64)> = places.iter().map(|p| (p.1, p.2)).collect();
    assert_eq!(shown, [(1, 1), (4, 6), (4, 7 + b.len() as u64)]);
}

/// Text in which keys are likely, whole or in parts, one after the other without a break.
fn dense() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop::sample::select(KeyKind::ALL.to_vec());
    let part = prop_oneof![
        3 => (kinds, prop::sample::select(vec!["ak", "sak", "k9"])).prop_map(|(kind, brand)| key(brand, kind)),
        2 => prop::sample::select(vec!["ak-", "-live-", "ak-live-", "sak-temp-", "\n", "a", "-", "0Z", "é", "\n\n"])
            .prop_map(str::to_owned),
        1 => "[a-z0-9A-Z\n-]{0,60}",
    ];
    let cut = (part, any::<prop::sample::Index>(), any::<bool>()).prop_map(|(part, at, cut)| {
        let mut bytes = part.into_bytes();
        if cut && !bytes.is_empty() {
            bytes.truncate(at.index(bytes.len()));
        }
        bytes
    });
    prop::collection::vec(cut, 0..12).prop_map(|parts| parts.concat())
}

/// The slow and plain way: every place, every length.
fn by_hand(bytes: &[u8], brands: Option<&[&str]>) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for at in 0..bytes.len() {
        for end in at + 1..=bytes.len().min(at + MAX_LEN) {
            let Ok(text) = std::str::from_utf8(&bytes[at..end]) else { continue };
            let Some((brand, _)) = text.split_once('-') else { continue };
            let wanted = brands.is_none_or(|brands| brands.contains(&brand));
            if wanted && token::is_brand(brand) && token::read(text, brand).is_some() {
                found.push((at, text.to_owned()));
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn as_many_as_by_hand(bytes in dense()) {
        let places = |finder: Finder| -> Vec<(usize, String)> {
            finder.find(&bytes).into_iter().map(|f| (f.at, f.token.to_owned())).collect()
        };
        prop_assert_eq!(places(Finder::any_brand()), by_hand(&bytes, None));
        prop_assert_eq!(places(Finder::brands(["ak", "k9"])), by_hand(&bytes, Some(&["ak", "k9"])));
    }

    #[test]
    fn pieces_do_not_matter(bytes in dense(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        for finder in [Finder::any_brand(), Finder::brands(["ak"])] {
            let whole = stream(&finder, &[&bytes]);
            prop_assert_eq!(&stream(&finder, &pieces), &whole);
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(&stream(&finder, &single), &whole);
        }
    }

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        stream(&Finder::any_brand(), &[&bytes[..bytes.len() / 2], &bytes[bytes.len() / 2..]]);
    }
}

#[test]
fn texts_that_hold_a_key_are_told_and_masked() {
    let (ours, theirs) = (Token::mint("ak", KeyKind::Live).unwrap(), Token::mint("sk", KeyKind::Admin).unwrap());
    let (a, b) = (ours.expose(), theirs.expose());
    let mask = |token: &Token, brand: &str| {
        let form = token.form(brand).unwrap();
        crate::token::masked(brand, form.kind, form.public_id)
    };
    for (text, kept) in [
        (a.to_owned(), mask(&ours, "ak")),
        (format!("é{a}{b}\u{1f511}"), format!("é{}{}\u{1f511}", mask(&ours, "ak"), mask(&theirs, "sk"))),
        (format!("see {b}, {b}."), format!("see {0}, {0}.", mask(&theirs, "sk"))),
    ] {
        assert!(holds_key(&text));
        assert_eq!(without_keys(&text), kept);
        assert!(!holds_key(&without_keys(&text)));
    }
    let cut = &a[..a.len() - 1];
    for text in ["", "a note", "ak-live-AbCd1234…", cut, &format!("{cut}-{}", "x".repeat(80))] {
        assert!(!holds_key(text), "{text}");
        assert!(matches!(without_keys(text), std::borrow::Cow::Borrowed(same) if same == text));
    }
}
