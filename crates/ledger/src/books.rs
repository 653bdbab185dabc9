//! The books: where records end up, seen from the ledger. The store implements it over the database.

use anykey_core::lease::{Ask, Lease, Loan, ReplicaId};
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
    ///
    /// In the same transaction each of `leases` becomes what is said there: smaller by what was stored of it and by what is
    /// given back.
    fn apply(&self, batch: &[AttemptRecord], leases: &[Lease]) -> impl Future<Output = Result<(), BooksError>> + Send;

    /// The sum of the costs of all stored records that somebody pays for and that began in a window; a record without a
    /// cost adds nothing.
    fn spent(&self, id: BudgetId, window: Window) -> impl Future<Output = Result<Nanos, BooksError>> + Send;

    /// Whether other processes spend from the same budgets. Then what this one spends is leased; otherwise nothing below is
    /// ever called.
    fn is_shared(&self) -> bool {
        false
    }

    /// Says who asks from now on. All records of its earlier runs are stored, so what they had leased is free again; and
    /// whoever else still calls itself so gets no further lease.
    fn begin(&self, replica: ReplicaId) -> impl Future<Output = Result<(), BooksError>> + Send {
        let _ = replica;
        std::future::ready(Ok(()))
    }

    /// The one place where it is decided who may spend: grants what is asked of a budget, or part of it, where all that is
    /// spent and leased is at most the limit then, and otherwise nothing. May be repeated after its answer was lost.
    fn lease(&self, ask: &Ask) -> impl Future<Output = Result<Loan, BooksError>> + Send {
        let _ = ask;
        std::future::ready(Err(BooksError::new("these books are one process's own")))
    }

    /// The budgets that others wait for, of those that this process has leased something of; by id and start of the window.
    fn recalled(&self) -> impl Future<Output = Result<Vec<(BudgetId, i64)>, BooksError>> + Send {
        std::future::ready(Ok(Vec::new()))
    }
}

impl<B: Books> Books for Arc<B> {
    fn apply(&self, batch: &[AttemptRecord], leases: &[Lease]) -> impl Future<Output = Result<(), BooksError>> + Send {
        (**self).apply(batch, leases)
    }

    fn spent(&self, id: BudgetId, window: Window) -> impl Future<Output = Result<Nanos, BooksError>> + Send {
        (**self).spent(id, window)
    }

    fn is_shared(&self) -> bool {
        (**self).is_shared()
    }

    fn begin(&self, replica: ReplicaId) -> impl Future<Output = Result<(), BooksError>> + Send {
        (**self).begin(replica)
    }

    fn lease(&self, ask: &Ask) -> impl Future<Output = Result<Loan, BooksError>> + Send {
        (**self).lease(ask)
    }

    fn recalled(&self) -> impl Future<Output = Result<Vec<(BudgetId, i64)>, BooksError>> + Send {
        (**self).recalled()
    }
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, BooksError>> + Send + 'a>>;

/// [`Books`] behind a pointer, so that the ledger's own types need no parameter. One allocation per batch.
pub(crate) trait AnyBooks: Send + Sync {
    fn apply<'a>(&'a self, batch: &'a [AttemptRecord], leases: &'a [Lease]) -> Answer<'a, ()>;
    fn spent(&self, id: BudgetId, window: Window) -> Answer<'_, Nanos>;
    fn is_shared(&self) -> bool;
    fn begin(&self, replica: ReplicaId) -> Answer<'_, ()>;
    fn lease<'a>(&'a self, ask: &'a Ask) -> Answer<'a, Loan>;
    fn recalled(&self) -> Answer<'_, Vec<(BudgetId, i64)>>;
}

impl<B: Books> AnyBooks for B {
    fn apply<'a>(&'a self, batch: &'a [AttemptRecord], leases: &'a [Lease]) -> Answer<'a, ()> {
        Box::pin(Books::apply(self, batch, leases))
    }

    fn spent(&self, id: BudgetId, window: Window) -> Answer<'_, Nanos> {
        Box::pin(Books::spent(self, id, window))
    }

    fn is_shared(&self) -> bool {
        Books::is_shared(self)
    }

    fn begin(&self, replica: ReplicaId) -> Answer<'_, ()> {
        Box::pin(Books::begin(self, replica))
    }

    fn lease<'a>(&'a self, ask: &'a Ask) -> Answer<'a, Loan> {
        Box::pin(Books::lease(self, ask))
    }

    fn recalled(&self) -> Answer<'_, Vec<(BudgetId, i64)>> {
        Box::pin(Books::recalled(self))
    }
}
