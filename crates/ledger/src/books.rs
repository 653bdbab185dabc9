//! The books: where records end up, seen from the ledger. The store implements it over the database.

use anykey_core::record::AttemptRecord;
use anykey_core::{BudgetId, Nanos, Window};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Why the books could not be written or read. The ledger retries; it never gives a record up.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the books: {0}")]
pub struct BooksError(Arc<dyn std::error::Error + Send + Sync>);

impl BooksError {
    pub fn new(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        BooksError(Arc::from(why.into()))
    }
}

/// Durable storage of records and of what was spent.
pub trait Books: Send + Sync + 'static {
    /// Stores a batch in one transaction.
    ///
    /// Idempotent by `(request, attempt)`, within a batch and across batches: a record that is there already changes
    /// nothing, and sums move only by the records that were really inserted. One exception: a stored record whose
    /// outcome is `Unresolved` is replaced, once, by one whose outcome is known, and sums move by the difference. The
    /// ledger repeats a batch until it gets `Ok`, also when an earlier try was committed and its answer lost.
    fn apply(&self, batch: &[AttemptRecord]) -> impl Future<Output = Result<(), BooksError>> + Send;

    /// The sum of the costs of all stored records that somebody pays for and that began in a window; a record without a
    /// cost adds nothing.
    fn spent(&self, id: BudgetId, window: Window) -> impl Future<Output = Result<Nanos, BooksError>> + Send;
}

impl<B: Books> Books for Arc<B> {
    fn apply(&self, batch: &[AttemptRecord]) -> impl Future<Output = Result<(), BooksError>> + Send {
        (**self).apply(batch)
    }

    fn spent(&self, id: BudgetId, window: Window) -> impl Future<Output = Result<Nanos, BooksError>> + Send {
        (**self).spent(id, window)
    }
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, BooksError>> + Send + 'a>>;

/// [`Books`] behind a pointer, so that the ledger's own types need no parameter. One allocation per batch.
pub(crate) trait AnyBooks: Send + Sync {
    fn apply<'a>(&'a self, batch: &'a [AttemptRecord]) -> Answer<'a, ()>;
    fn spent(&self, id: BudgetId, window: Window) -> Answer<'_, Nanos>;
}

impl<B: Books> AnyBooks for B {
    fn apply<'a>(&'a self, batch: &'a [AttemptRecord]) -> Answer<'a, ()> {
        Box::pin(Books::apply(self, batch))
    }

    fn spent(&self, id: BudgetId, window: Window) -> Answer<'_, Nanos> {
        Box::pin(Books::spent(self, id, window))
    }
}
