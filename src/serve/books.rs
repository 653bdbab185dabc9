//! The wires between rooms that do not know each other: the ledger's books are the store, and the control plane's live
//! view of the records is the ledger.

use anykey_control::{BooksAway, LiveBooks};
use anykey_core::lease::{Ask, Lease, Loan, ReplicaId};
use anykey_core::record::AttemptRecord;
use anykey_core::{BudgetId, KeyId, Nanos, Window};
use anykey_ledger::{Books, BooksError, Ledger};
use anykey_store::Store;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::broadcast;

pub struct StoreBooks(pub Arc<Store>);

impl Books for StoreBooks {
    async fn apply(&self, batch: &[AttemptRecord], leases: &[Lease]) -> Result<(), BooksError> {
        self.0.apply_with(batch, leases).await.map_err(BooksError::new)
    }

    async fn spent(&self, id: BudgetId, window: Window) -> Result<Nanos, BooksError> {
        self.0.spent_within(id, window).await.map_err(BooksError::new)
    }

    fn is_shared(&self) -> bool {
        self.0.is_shared()
    }

    async fn begin(&self, replica: ReplicaId) -> Result<(), BooksError> {
        self.0.begin_leases(replica).await.map_err(BooksError::new)
    }

    async fn lease(&self, ask: &Ask) -> Result<Loan, BooksError> {
        self.0.lease(ask).await.map_err(BooksError::new)
    }

    async fn recalled(&self) -> Result<Vec<(BudgetId, i64)>, BooksError> {
        self.0.recalled().await.map_err(BooksError::new)
    }
}

pub struct LiveLedger(pub Ledger);

impl LiveBooks for LiveLedger {
    fn flush(&self) -> Pin<Box<dyn Future<Output = Result<(), BooksAway>> + Send + '_>> {
        Box::pin(async { self.0.flush().await.map_err(|_| BooksAway) })
    }

    fn subscribe(&self) -> broadcast::Receiver<Arc<AttemptRecord>> {
        self.0.subscribe()
    }

    fn held(&self, id: BudgetId, at: i64) -> Nanos {
        self.0.budget_in_memory(id, at).map_or(Nanos::ZERO, |budget| budget.state().held)
    }

    fn limit_changed(&self, key: KeyId, limit: Option<Nanos>) {
        match limit {
            Some(limit) => self.0.set_limit(key, limit),
            // A key without a limit is not asked for its budget; one that gets a limit again is loaded anew.
            None => {
                self.0.forget_budget(key);
            }
        }
    }
}
