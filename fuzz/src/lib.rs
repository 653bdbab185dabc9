//! What the fuzz targets check.
#![forbid(unsafe_code)]

mod checks;
mod find;

pub use checks::*;
pub use find::find_keys;
