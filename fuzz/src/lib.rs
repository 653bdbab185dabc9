//! What the fuzz targets check.
#![forbid(unsafe_code)]

mod checks;

pub use checks::*;
