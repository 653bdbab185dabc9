//! See `checks::translate_request`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| anykey_fuzz::translate_request(data));

#[cfg(not(fuzzing))]
fn main() {
    eprintln!("run me with cargo-fuzz: cargo +nightly fuzz run translate_request");
}
