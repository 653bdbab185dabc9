//! See `find::find_keys`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| anykey_fuzz::find_keys(data));

#[cfg(not(fuzzing))]
fn main() {
    eprintln!("run me with cargo-fuzz: cargo +nightly fuzz run find_keys");
}
