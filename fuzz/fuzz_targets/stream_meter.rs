//! See `checks::stream_meter`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| anykey_fuzz::stream_meter(data));

#[cfg(not(fuzzing))]
fn main() {
    eprintln!("run me with cargo-fuzz: cargo +nightly fuzz run stream_meter");
}
