//! See `checks::translate_answer`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| anykey_fuzz::translate_answer(data));

#[cfg(not(fuzzing))]
fn main() {
    eprintln!("run me with cargo-fuzz: cargo +nightly fuzz run translate_answer");
}
