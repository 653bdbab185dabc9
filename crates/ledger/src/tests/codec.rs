//! The bytes: every record comes back as it went in, and no damaged byte is taken for one.

use super::{any_record, record, unresolved};
use crate::codec::*;
use crate::segment::{Damage, End, HEADER_LEN, Header, SegmentName, read_header, scan};
use anykey_core::Nanos;
use proptest::prelude::*;

const STAMP: Stamp = Stamp { epoch: 7, seq: 1 << 40 };
const NAME: SegmentName = SegmentName { epoch: 3, writer: 1, number: 9 };

fn frame_of(bytes: &[u8]) -> Frame<'_> {
    match read_frame(bytes) {
        Read::Frame(frame) => frame,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn a_settle_round_trips(record in any_record()) {
        let mut bytes = Vec::new();
        encode_settle(&mut bytes, STAMP, &record);
        let frame = frame_of(&bytes);
        prop_assert_eq!((frame.kind, frame.stamp, frame.len), (Kind::Settle, STAMP, bytes.len()));
        prop_assert_eq!(attempt_id(frame.body), Some((record.request, record.attempt)));
        prop_assert_eq!(decode_settle(frame.body), Some(record));
    }

    #[test]
    fn an_intent_becomes_an_unresolved_record(mut record in any_record()) {
        record.price_id |= 1;
        let mut bytes = Vec::new();
        encode_intent(&mut bytes, STAMP, &record);
        let frame = frame_of(&bytes);
        prop_assert_eq!(frame.kind, Kind::Intent);
        prop_assert_eq!(decode_intent(frame.body), Some(unresolved(&record)));
    }

    #[test]
    fn any_flipped_bit_is_noticed(record in any_record(), at: prop::sample::Index, bit in 0..8u8) {
        let mut bytes = Vec::new();
        encode_settle(&mut bytes, STAMP, &record);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(matches!(read_frame(&bytes), Read::Bad));
    }

    #[test]
    fn any_truncation_is_noticed(record in any_record(), len: prop::sample::Index, zeros in 0..600usize) {
        let mut bytes = Vec::new();
        encode_settle(&mut bytes, STAMP, &record);
        let lost = bytes.split_off(len.index(bytes.len() - 1) + 1);
        // Preallocated space reads as zeros where the rest was not written; ending in zeros itself, it lost nothing.
        prop_assume!(lost.iter().any(|b| *b != 0));
        bytes.resize(bytes.len() + zeros, 0);
        prop_assert!(matches!(read_frame(&bytes), Read::Bad));
    }

    #[test]
    fn noise_is_never_a_record(bytes: Vec<u8>) {
        prop_assert!(!matches!(read_frame(&bytes), Read::Frame(_)));
        let _ = (decode_settle(&bytes), decode_intent(&bytes));
    }

    #[test]
    fn a_segment_is_read_to_the_first_bad_byte(
        records in prop::collection::vec(any_record(), 1..8), at: prop::sample::Index, bit in 0..8u8,
    ) {
        let (mut bytes, ends) = segment_of(&records);
        let at = HEADER_LEN + at.index(ends[records.len() - 1] - HEADER_LEN);
        bytes[at] ^= 1 << bit;
        let intact = ends.iter().filter(|end| **end <= at).count();
        let mut read = Vec::new();
        let end = scan(NAME, &bytes, |f| decode_settle(f.body).map(|r| read.push(r)).is_some()).unwrap();
        prop_assert_eq!(&read[..], &records[..intact]);
        prop_assert_eq!(end, End::Torn(if intact == 0 { HEADER_LEN } else { ends[intact - 1] }));
    }
}

/// A segment with these settles and blank space behind; also where each entry ends.
fn segment_of(records: &[anykey_core::record::AttemptRecord]) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = NAME.header(false).to_vec();
    let mut frame = Vec::new();
    let ends = records.iter().zip(0..).map(|(record, index)| {
        encode_settle(&mut frame, NAME.stamp(index), record);
        bytes.extend_from_slice(&frame);
        bytes.len()
    });
    let ends = ends.collect();
    bytes.resize(bytes.len() + 1_000, 0);
    (bytes, ends)
}

#[test]
fn a_usual_call_is_small() {
    let (mut intent, mut settle) = (Vec::new(), Vec::new());
    encode_intent(&mut intent, STAMP, &record(1));
    encode_settle(&mut settle, STAMP, &record(1));
    assert!(settle.len() < 250, "{}", settle.len());
    assert!(intent.len() < 125, "{}", intent.len());
}

#[test]
fn the_longest_texts_are_cut_between_characters_and_fit_a_frame() {
    let long: std::sync::Arc<str> = "é".repeat(1_000).into();
    let odd: std::sync::Arc<str> = format!("x{long}").into();
    let mut record = record(1);
    record.provider = long.clone();
    record.model_asked = odd.clone();
    record.model_sent = long.clone();
    record.model_served = odd;
    record.upstream_id = long;
    record.client = Some([0xff; 16].into());
    let mut bytes = Vec::new();
    encode_settle(&mut bytes, Stamp { epoch: u32::MAX, seq: u64::MAX }, &record);
    assert!(bytes.len() <= MAX_FRAME);
    let read = decode_settle(frame_of(&bytes).body).unwrap();
    assert_eq!(&*read.model_sent, "é".repeat(MAX_TEXT / 2));
    assert_eq!(&*read.model_asked, format!("x{}", "é".repeat(MAX_TEXT / 2 - 1)));
}

#[test]
fn an_intent_without_a_price_stays_unpriced() {
    let mut record = record(1);
    (record.price_id, record.hold) = (0, Nanos::ZERO);
    let mut bytes = Vec::new();
    encode_intent(&mut bytes, STAMP, &record);
    assert_eq!(decode_intent(frame_of(&bytes).body).unwrap().cost, None);
}

#[test]
fn an_entry_in_the_wrong_place_is_not_taken() {
    let (bytes, ends) = segment_of(&[record(1), record(2)]);
    let moved = [&bytes[..HEADER_LEN], &bytes[ends[0]..]].concat();
    assert_eq!(scan(NAME, &moved, |_| true), Ok(End::Torn(HEADER_LEN)));
    let other = SegmentName { number: 10, ..NAME };
    assert_eq!(scan(other, &bytes, |_| true), Ok(End::Torn(HEADER_LEN)));
}

#[test]
fn an_entry_that_cannot_be_understood_is_not_skipped() {
    let (bytes, _) = segment_of(&[record(1)]);
    assert_eq!(scan(NAME, &bytes, |_| false), Err(Damage::Content(HEADER_LEN)));
}

#[test]
fn headers_are_checked() {
    let header = NAME.header(false);
    assert_eq!(read_header(NAME, &header), Ok(Header::Good { synced: false }));
    assert_eq!(read_header(NAME, &NAME.header(true)), Ok(Header::Good { synced: true }));
    assert_eq!(read_header(SegmentName { epoch: 4, ..NAME }, &header), Err(Damage::Header));
    assert_eq!(read_header(NAME, &[0; 500]), Ok(Header::Blank));
    assert_eq!(read_header(NAME, &[]), Ok(Header::Blank));
    let mut newer = header;
    newer[8] += 1;
    assert_eq!(read_header(NAME, &newer), Err(Damage::Version(VERSION + 1)));
    for at in (0..HEADER_LEN).filter(|at| !(8..10).contains(at)) {
        let mut bad = header;
        bad[at] ^= 1;
        assert_eq!(read_header(NAME, &bad), Err(Damage::Header), "byte {at}");
    }
}

#[test]
fn names_round_trip_and_foreign_names_are_not_taken() {
    assert_eq!(SegmentName::parse(&NAME.to_string()), Some(NAME));
    for text in ["3-1-9.log", "0000000003-0001.log", "a-b-c.log", "0000000003-0001-0000000009-1.log", "x.log"] {
        assert_eq!(SegmentName::parse(text), None, "{text}");
    }
}
