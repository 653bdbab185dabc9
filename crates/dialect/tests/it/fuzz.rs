//! Replays the fuzz corpus, and mutations of it, through the checks of the fuzz targets. Needs no nightly toolchain.

#[path = "../../../../fuzz/src/checks.rs"]
pub mod checks;

use std::fs;
use std::path::Path;

/// Mutations per seed. Few, since this runs in every test run; `ANYKEY_FUZZ_ROUNDS` asks for more.
const ROUNDS: u64 = 300;

/// Pieces that matter to the parsers, to be put anywhere.
const DICTIONARY: [&[u8]; 34] = [
    b"\"model\":",
    b"\"mod\\u0065l\":",
    b"\"Model\":\"x\",",
    b"\"stream\":true,",
    b"\"stream_options\":",
    b"null",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"\"",
    b"\\",
    b"\\ud800",
    b"\\udc00",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"data: ",
    b"[DONE]",
    b"event: error\n",
    b"\"usage\":{",
    b"\"error\":{",
    b"\"finishReason\":\"STOP\"",
    b"1e999",
    b"-1",
    b"9223372036854775808",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\"n\":2,",
    b"\"max_tokens\":5,",
    b":",
    b"\0",
    b"\"choices\":[]",
];

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % n.max(1)
    }
}

fn mutate(seed: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut data = seed.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(data.len() + 1);
        match random.below(6) {
            0 if at < data.len() => data[at] ^= 1 << random.below(8),
            1 => data.truncate(at),
            2 => drop(data.splice(at..at, DICTIONARY[random.below(DICTIONARY.len())].iter().copied())),
            3 => drop(data.drain(at..(at + random.below(12)).min(data.len()))),
            4 => {
                let piece = data[at..(at + random.below(40)).min(data.len())].to_vec();
                let to = random.below(data.len() + 1);
                data.splice(to..to, piece);
            }
            _ => {
                let from = random.below(other.len() + 1);
                data.splice(at.., other[from..].iter().copied());
            }
        }
    }
    data
}

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let seeds: Vec<_> = files.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(!seeds.is_empty(), "the corpus of {target} is empty");
    let rounds = std::env::var("ANYKEY_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ rounds);
    for (path, seed) in files.iter().zip(&seeds) {
        run(check, seed, path);
        // Long seeds take long: all get about as much time.
        for _ in 0..rounds * 1024 / seed.len().max(1024) as u64 {
            let other = &seeds[random.below(seeds.len())];
            run(check, &mutate(seed, other, &mut random), path);
        }
    }
}

fn run(check: fn(&[u8]), data: &[u8], path: &Path) {
    if let Err(panic) = std::panic::catch_unwind(|| check(data)) {
        eprintln!("from seed {}, input: {:?}", path.display(), String::from_utf8_lossy(data));
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn head_scan() {
    replay("head_scan", checks::head_scan);
}

#[test]
fn splice() {
    replay("splice", checks::splice);
}

#[test]
fn stream_meter() {
    replay("stream_meter", checks::stream_meter);
}

#[test]
fn read_answer() {
    replay("read_answer", checks::read_answer);
}

#[test]
fn translate_request() {
    replay("translate_request", checks::translate_request);
}

#[test]
fn translate_answer() {
    replay("translate_answer", checks::translate_answer);
}

#[test]
fn translate_stream() {
    replay("translate_stream", checks::translate_stream);
}

#[test]
fn upstream_error() {
    replay("upstream_error", checks::upstream_error);
}
