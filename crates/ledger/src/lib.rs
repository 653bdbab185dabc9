//! The money of anykey: a journal that every attempt is written to before the caller sees its end, the flush of its
//! records to the books (the database), and the budgets that calls hold money from. All I/O goes through
//! [`fs::FileSystem`] and [`Books`], so that a simulation can drive it.
#![deny(unsafe_code)]

mod books;
mod budget;
mod budgets;
mod codec;
mod flush;
pub mod fs;
mod fund;
mod journal;
mod lease;
mod ledger;
mod options;
mod recovery;
mod segment;
mod writer;

pub use books::{Books, BooksError};
pub use budget::{BudgetCell, BudgetState, Hold, Unsent};
pub use fund::Funded;
pub use ledger::{CloseError, Ledger};
pub use options::{Durability, Failure, Options, Unavailable};
pub use recovery::{OpenError, Recovered};
pub use segment::Damage;
pub use writer::{Intent, Settled, Writer};

#[cfg(test)]
mod tests;
