//! The control plane: the admin API under `/admin/v1`, by which keys, providers, prices and reports are managed. It
//! shares the store with the data plane and never sees it.
#![forbid(unsafe_code)]

mod access;
mod caller;
mod csv_text;
mod envelope;
mod idempotency;
mod identify;
mod input;
mod page;
mod power;
mod precondition;
mod problem;
mod routes;
mod routing;
mod sign_in;
mod tenancy;
mod wire;

pub use routes::openapi;
pub use sign_in::Sessions;
pub use sign_in::oidc::{
    ClaimIs, Gives, IssuerSettings, RoleRule, SecondFactorOf, SignUp, check_issuer, check_public_url,
};

use anykey_core::catalogue::Catalogue;
use anykey_core::controls::Client;
use anykey_core::limit::Limiter;
use anykey_core::record::AttemptRecord;
use anykey_core::{BudgetId, KeyId, Nanos};
use anykey_net::guard::Destination;
use anykey_net::{Bytes, Fetch};
use anykey_notices::Courier;
use anykey_store::Store;
use arc_swap::ArcSwap;
use secrecy::SecretString;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, broadcast, watch};

/// How long a report waits for the last records to be stored.
const SETTLE_PATIENCE: Duration = Duration::from_secs(5);

/// What the admin API needs of the ledger. The binary implements it.
pub trait LiveBooks: Send + Sync + 'static {
    /// Ends when everything that a caller has seen end is stored. An error says that the books cannot be written now.
    fn flush(&self) -> Pin<Box<dyn Future<Output = Result<(), BooksAway>> + Send + '_>>;
    /// Attempts as they finish.
    fn subscribe(&self) -> broadcast::Receiver<Arc<AttemptRecord>>;
    /// What is set aside for calls that run, of a budget at a moment.
    fn held(&self, id: BudgetId, at: i64) -> Nanos;
    /// A key's spend limit was changed; it is in force when this returns. `None` is no limit.
    fn limit_changed(&self, key: KeyId, limit: Option<Nanos>);
}

/// The books cannot be written now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BooksAway;

/// What the control plane works on.
pub struct Deps {
    pub store: Arc<Store>,
    pub books: Arc<dyn LiveBooks>,
    /// What calls have taken of the limits that they stand under; shared with the data plane.
    pub limiter: Arc<Limiter>,
    /// The price catalogue in force. An update is checked, stored and then put here.
    pub catalogue: Arc<ArcSwap<Catalogue>>,
    /// For testing providers and loading price lists.
    pub fetch: Fetch,
    pub version: &'static str,
    /// How callers reach this server, where it is not as it listens. With https, sessions need TLS.
    pub public_url: Option<String>,
    /// The base URL of the practice provider, where there is one.
    pub practice_url: Option<String>,
    /// Turns true when the process stops; streams end then.
    pub stop: watch::Receiver<bool>,
    pub exposure: Exposure,
    /// Who brings notices to their receivers.
    pub courier: Arc<Courier>,
    /// By whom people sign in beside their passwords. They need a `public_url`.
    pub issuers: Vec<IssuerSettings>,
}

/// From whom reports of exposed keys are taken, and what becomes of the keys.
#[derive(Debug, Default)]
pub struct Exposure {
    /// Where GitHub publishes the keys that it signs its reports with; none: its reports are not taken.
    pub github_keys: Option<Destination>,
    /// What other scanners sign theirs with; none: they are not taken.
    pub secret: Option<SecretString>,
    pub and: ExposedAnd,
}

/// What becomes of a key that was found exposed, beside the mark on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExposedAnd {
    /// The secret is public: nobody may use it any more.
    #[default]
    Disable,
    /// Nothing: somebody looks at it.
    Flag,
}

/// The largest body of a path whose callers have no key because they sign what they send; `None` for every other path.
pub fn signed_report_limit(path: &str) -> Option<u64> {
    path.starts_with("/admin/v1/secret-scanning/").then_some(routes::exposure::REPORT_LIMIT)
}

/// The largest body of a request by which somebody comes in, who has no credential yet.
pub fn sign_in_limit(path: &str) -> Option<u64> {
    routes::auth::is_door(path).then_some(routes::auth::MAX_BODY as u64)
}

/// Where a request came from, behind declared proxies too; an extension that the server adds to requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub Client);

/// The state that all handlers share.
#[derive(Clone)]
struct App(Arc<Shared>);

struct Shared {
    deps: Deps,
    started: Instant,
    /// What each route asks of its caller.
    access: access::Access,
    /// How browsers reach it.
    web: sign_in::Web,
    passwords: sign_in::password::Passwords,
    issuers: sign_in::oidc::Issuers,
    /// The OpenAPI document, written when it is first asked for.
    document: OnceLock<Bytes>,
    /// One price list is loaded at a time, so that the one in force is the one stored last.
    pricing: Mutex<()>,
    /// The keys that GitHub signs reports with.
    published: routes::exposure::Published,
}

impl std::ops::Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Shared {
    fn store(&self) -> &Store {
        &self.deps.store
    }

    /// Everything that a caller saw end is stored when this returns. The ledger waits for a database that is away; a
    /// caller of this API does not.
    async fn settle(&self) -> Result<(), problem::Problem> {
        match tokio::time::timeout(SETTLE_PATIENCE, self.deps.books.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(BooksAway)) | Err(_) => Err(problem::Problem::new(
                anykey_core::Code::LedgerUnavailable,
                "The books cannot be brought up to date now. Try again in a moment.",
            )),
        }
    }
}

/// Everything under `/admin/v1`.
pub fn router(deps: Deps) -> axum::Router {
    routes::router(deps)
}
