//! See `checks::upstream_error`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| anykey_fuzz::upstream_error(data));

#[cfg(not(fuzzing))]
fn main() {
    eprintln!("run me with cargo-fuzz: cargo +nightly fuzz run upstream_error");
}
