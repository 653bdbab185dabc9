//! What calls work with: the shared gateway, and each thread's own connections, journal and view of the settings.

use crate::limit::Requests;
use crate::observe::{Observed, Observer};
use crate::route::Table;
use crate::strangers::Strangers;
use anykey_core::catalogue::Catalogue;
use anykey_core::controls::AddressRange;
use anykey_core::limit::Limiter;
use anykey_core::{Refusal, RequestId};
use anykey_ledger::{Ledger, Unavailable, Writer};
use anykey_net::client::{self, Client};
use anykey_store::{LiveKey, Store};
use arc_swap::ArcSwap;
use std::cell::RefCell;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;

/// What all threads share.
pub struct Gateway {
    pub store: Arc<Store>,
    pub ledger: Ledger,
    /// The price catalogue in force.
    pub catalogue: Arc<ArcSwap<Catalogue>>,
    pub tls: Arc<rustls::ClientConfig>,
    /// What calls have taken of the limits that they stand under.
    pub limiter: Arc<Limiter>,
    /// How many requests temporary keys have made.
    pub(crate) requests: Requests,
    pub options: Options,
    /// What all threads saw of calls.
    pub observed: Observed,
    /// Where the database is asked: threads that serve calls never wait for it themselves.
    pub runtime: Handle,
    life: AtomicU8,
}

/// What the settings say of the data plane.
pub struct Options {
    pub brand: String,
    /// Whether a record has to be on the disk before what it records goes on.
    pub strict: bool,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Box<[AddressRange]>,
    /// Whether a line of log is kept for each call.
    pub log_calls: bool,
}

/// How far a shutdown has come.
const SERVING: u8 = 0;
/// New calls are refused; running ones finish.
const STOPPING: u8 = 1;
/// Running answers are ended.
const CUTTING: u8 = 2;

impl Gateway {
    pub fn new(
        store: Arc<Store>,
        ledger: Ledger,
        catalogue: Arc<ArcSwap<Catalogue>>,
        tls: Arc<rustls::ClientConfig>,
        limiter: Arc<Limiter>,
        options: Options,
        runtime: Handle,
    ) -> Arc<Self> {
        Arc::new(Gateway {
            store,
            ledger,
            catalogue,
            tls,
            limiter,
            observed: Observed::new(options.log_calls),
            options,
            runtime,
            requests: Requests::default(),
            life: AtomicU8::new(SERVING),
        })
    }

    /// Whether a call that comes now would be served; the text says why not.
    pub async fn ready(&self) -> Result<(), &'static str> {
        if self.is_stopping() {
            return Err("stopping\n");
        }
        if self.ledger.admit().is_err() {
            return Err("the journal takes no calls\n");
        }
        let store = self.store.clone();
        match self.on_runtime(async move { store.ping().await }).await {
            Some(Ok(())) => Ok(()),
            _ => Err("the database does not answer\n"),
        }
    }

    /// Refuses new calls from now on.
    pub fn stop(&self) {
        self.life.fetch_max(STOPPING, Ordering::Relaxed);
    }

    /// Ends the answers that still run.
    pub fn cut(&self) {
        self.life.fetch_max(CUTTING, Ordering::Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.life.load(Ordering::Relaxed) >= STOPPING
    }

    pub(crate) fn is_cutting(&self) -> bool {
        self.life.load(Ordering::Relaxed) >= CUTTING
    }

    /// Runs what needs the database where the database is. `None` when the runtime is going down.
    pub(crate) async fn on_runtime<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        self.runtime.spawn(work).await.ok()
    }

    /// A key was seen where logs and histories keep it; its owner is told, the call does not wait for that.
    pub(crate) fn report_exposed(self: &Arc<Self>, key: &LiveKey) {
        let (store, id) = (self.store.clone(), key.info.id);
        self.runtime.spawn(async move {
            if let Err(error) = store.flag_exposed(id).await {
                tracing::warn!(%error, "a key could not be flagged as exposed");
            }
        });
    }
}

/// A routing table and what it was made of: the snapshot's generation and the catalogue.
struct Known {
    generation: u64,
    catalogue: Arc<Catalogue>,
    table: Arc<Table>,
}

/// One thread's part of the data plane.
pub struct Worker {
    pub gateway: Arc<Gateway>,
    pub(crate) client: Client,
    pub(crate) journal: Writer,
    pub(crate) observer: Observer,
    pub(crate) strangers: Strangers,
    /// The empty text that most records share.
    pub(crate) nothing: Arc<str>,
    table: RefCell<Option<Known>>,
    random: RefCell<RandomTails>,
}

impl Worker {
    pub fn new(gateway: Arc<Gateway>, journal: Writer) -> Self {
        Worker {
            client: Client::new(gateway.tls.clone(), client::Options::default()),
            observer: gateway.observed.observer(),
            strangers: Strangers::default(),
            gateway,
            journal,
            nothing: Arc::from(""),
            table: RefCell::new(None),
            random: RefCell::default(),
        }
    }

    /// Milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
    }

    pub(crate) fn new_id(&self) -> RequestId {
        RequestId::new(self.now_ms(), self.random.borrow_mut().next())
    }

    /// The routing table of the settings in force; made anew when they have changed.
    pub(crate) fn table(&self) -> Arc<Table> {
        let snapshot = self.gateway.store.snapshot();
        let catalogue = self.gateway.catalogue.load();
        if let Some(known) = &*self.table.borrow()
            && known.generation == snapshot.generation
            && Arc::ptr_eq(&known.catalogue, &catalogue)
        {
            return known.table.clone();
        }
        let table = Arc::new(Table::new(&snapshot, catalogue.clone()));
        let (generation, catalogue) = (snapshot.generation, catalogue.clone());
        *self.table.borrow_mut() = Some(Known { generation, catalogue, table: table.clone() });
        table
    }

    /// Drops connections that have been idle for too long, and counters that count nothing; called now and then.
    pub fn sweep(&self) {
        self.client.sweep();
        let limiter = &self.gateway.limiter;
        limiter.sweep(limiter.now());
    }

    /// The ledger's "no", for the caller.
    pub(crate) fn unavailable(error: Unavailable) -> Refusal {
        let message = match error {
            Unavailable::StorageFull => "The gateway's disk is full, so no record could be kept. Tell the operator.",
            Unavailable::LedgerUnavailable => {
                "The gateway's database is away and too many records wait for it. Try again soon."
            }
            Unavailable::Failed | Unavailable::Closed => "The gateway is being restarted. Send the request again.",
        };
        Refusal::new(error.code(), message).retry_after(5)
    }
}

/// Random bytes for request ids, fetched from the operating system a page at a time.
struct RandomTails {
    bytes: [u8; 4000],
    used: usize,
}

impl Default for RandomTails {
    fn default() -> Self {
        RandomTails { bytes: [0; 4000], used: 4000 }
    }
}

impl RandomTails {
    fn next(&mut self) -> [u8; 10] {
        if self.used + 10 > self.bytes.len() {
            // Without random bytes ids would still differ by time; the error shows up where secrets are made.
            let _ = getrandom::fill(&mut self.bytes);
            self.used = 0;
        }
        let mut tail = [0; 10];
        tail.copy_from_slice(&self.bytes[self.used..self.used + 10]);
        self.used += 10;
        tail
    }
}
