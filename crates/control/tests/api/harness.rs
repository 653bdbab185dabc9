//! A control plane on a store of its own, and a way to call it. Every refusal that passes here is checked for its form.

use anykey_control::{BooksAway, Deps, LiveBooks, PeerAddr};
use anykey_core::catalogue::Catalogue;
use anykey_core::controls::Client;
use anykey_core::limit::Limiter;
use anykey_core::record::AttemptRecord;
use anykey_core::{BudgetId, KeyId, KeyKind, Nanos, Token};
use anykey_net::Fetch;
use anykey_store::{Clock, Database, KeyRow, NewKey, Options, Store};
use anykey_testkit::{ScratchFolder, remains};
use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt;
use serde_json::Value;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::{broadcast, watch};
use tower::ServiceExt;

/// Books that note what they are asked.
pub struct FakeBooks {
    pub flushes: AtomicUsize,
    pub away: AtomicBool,
    pub records: broadcast::Sender<Arc<AttemptRecord>>,
    pub limits: Mutex<Vec<(KeyId, Option<Nanos>)>>,
}

impl LiveBooks for FakeBooks {
    fn flush(&self) -> Pin<Box<dyn Future<Output = Result<(), BooksAway>> + Send + '_>> {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        let away = self.away.load(Ordering::Relaxed);
        Box::pin(async move { if away { Err(BooksAway) } else { Ok(()) } })
    }

    fn subscribe(&self) -> broadcast::Receiver<Arc<AttemptRecord>> {
        self.records.subscribe()
    }

    fn held(&self, _: BudgetId, _: i64) -> Nanos {
        Nanos(250_000_000)
    }

    fn limit_changed(&self, key: KeyId, limit: Option<Nanos>) {
        self.limits.lock().unwrap().push((key, limit));
    }
}

pub struct Api {
    pub router: Router,
    pub store: Arc<Store>,
    pub books: Arc<FakeBooks>,
    pub limiter: Arc<Limiter>,
    pub catalogue: Arc<ArcSwap<Catalogue>>,
    pub stop: watch::Sender<bool>,
    pub admin: Token,
    pub admin_key: KeyRow,
    folder: ScratchFolder,
}

async fn open(folder: &ScratchFolder, clock: Clock, database: Database) -> Arc<Store> {
    let options = Options::new(folder.path().join("data"), database);
    Store::open(Options { clock, ..options }).await.unwrap()
}

/// How browsers reach one with issuers.
pub const PUBLIC_URL: &str = "https://gw.example.com";
/// A schema of its own on the server that `ANYKEY_TEST_POSTGRES` names.
pub struct Postgres {
    server: String,
    schema: String,
}

impl Postgres {
    /// `None` where no server was named; the test then says so and passes.
    pub async fn start() -> Option<Postgres> {
        let Ok(server) = std::env::var("ANYKEY_TEST_POSTGRES") else {
            eprintln!("skipped: ANYKEY_TEST_POSTGRES is not set");
            return None;
        };
        let schema = format!("control_{}", std::process::id());
        let postgres = Postgres { server, schema };
        postgres.run(&format!("CREATE SCHEMA {}", postgres.schema)).await;
        Some(postgres)
    }

    pub async fn api(&self) -> Api {
        let sign = if self.server.contains('?') { '&' } else { '?' };
        let url = format!("{}{sign}options[search_path]={}", self.server, self.schema);
        let exposure = anykey_control::Exposure::default();
        Api::on(Clock::System, exposure, notices(), Vec::new(), Database::parse(&url).unwrap()).await
    }

    pub async fn clean(self) {
        self.run(&format!("DROP SCHEMA {} CASCADE", self.schema)).await;
    }

    async fn run(&self, sql: &str) {
        let pool = sqlx::PgPool::connect(&self.server).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&pool).await.unwrap();
        pool.close().await;
    }
}

pub const PEER: &str = "203.0.113.9";

impl Api {
    /// One whose store's clock stands still, so that what has to wait never waited long enough.
    pub async fn standing_still() -> Api {
        let now = Clock::System.now_ms();
        Api::on(
            Clock::Driven(Arc::new(move || now)),
            anykey_control::Exposure::default(),
            notices(),
            Vec::new(),
            Database::Sqlite(None),
        )
        .await
    }

    /// One whose people come in by these issuers. The test moves its clock, in milliseconds.
    pub async fn with_issuers(issuers: Vec<anykey_control::IssuerSettings>) -> (Api, Arc<AtomicI64>) {
        let now = Arc::new(AtomicI64::new(Clock::System.now_ms()));
        let clock = Arc::clone(&now);
        let clock = Clock::Driven(Arc::new(move || clock.load(Ordering::SeqCst)));
        (Api::on(clock, anykey_control::Exposure::default(), notices(), issuers, Database::Sqlite(None)).await, now)
    }

    pub async fn start() -> Api {
        Api::taking(anykey_control::Exposure::default()).await
    }

    /// One that takes reports of exposed keys.
    pub async fn taking(exposure: anykey_control::Exposure) -> Api {
        Api::on(Clock::System, exposure, notices(), Vec::new(), Database::Sqlite(None)).await
    }

    /// One whose notices go where these settings say.
    pub async fn notifying(notices: anykey_notices::Options) -> Api {
        Api::on(Clock::System, anykey_control::Exposure::default(), notices, Vec::new(), Database::Sqlite(None)).await
    }

    async fn on(
        clock: Clock,
        exposure: anykey_control::Exposure,
        notices: anykey_notices::Options,
        issuers: Vec<anykey_control::IssuerSettings>,
        database: Database,
    ) -> Api {
        let folder = ScratchFolder::make();
        let store = open(&folder, clock, database).await;
        let books = Arc::new(FakeBooks {
            flushes: AtomicUsize::new(0),
            away: AtomicBool::new(false),
            records: broadcast::channel(4).0,
            limits: Mutex::default(),
        });
        let catalogue = Arc::new(ArcSwap::new(Catalogue::bundled()));
        let (stop, stopped) = watch::channel(false);
        let limiter = Arc::new(Limiter::default());
        let router = anykey_control::router(Deps {
            store: store.clone(),
            books: books.clone(),
            limiter: limiter.clone(),
            catalogue: catalogue.clone(),
            fetch: Fetch::new(anykey_net::client_config([]).unwrap()),
            version: "9.9.9",
            public_url: (!issuers.is_empty()).then(|| PUBLIC_URL.to_owned()),
            practice_url: Some("http://127.0.0.1:1".into()),
            stop: stopped,
            exposure,
            courier: anykey_notices::Courier::new(
                store.clone(),
                Fetch::new(anykey_net::client_config([]).unwrap()),
                notices,
            )
            .unwrap(),
            issuers,
        });
        let (admin_key, admin) = store.create_key(NewKey::new(KeyKind::Admin, "boss")).await.unwrap();
        Api { router, store, books, limiter, catalogue, stop, admin, admin_key, folder }
    }

    /// The store as the next process finds it, and the folder that it lies in for as long as it is held.
    pub async fn reopened(self) -> (Arc<Store>, ScratchFolder) {
        self.store.close().await;
        let Api { folder, store, router, .. } = self;
        // The lock goes with the last of those who hold the store.
        drop((store, router));
        (open(&folder, Clock::System, Database::Sqlite(None)).await, folder)
    }

    /// A request with the admin key.
    pub fn ask(&self, method: Method, path: &str) -> Call {
        self.stranger(method, path).header("authorization", &format!("Bearer {}", self.admin.expose()))
    }

    /// A request without a credential.
    pub fn stranger(&self, method: Method, path: &str) -> Call {
        let request = Request::builder().method(method).uri(format!("/admin/v1{path}")).body(Body::empty()).unwrap();
        Call { router: self.router.clone(), request }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path).send().await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::POST, path).json(body).send().await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::PATCH, path).json(body).send().await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.ask(Method::DELETE, path).send().await
    }

    /// Whether a secret can be used now.
    pub async fn works(&self, secret: &str) -> bool {
        let digest = self.store.pepper().digest(secret.as_bytes());
        let plain = anykey_core::token::plain_sha256(secret.as_bytes());
        let now = i64::MAX / 4;
        let found = match self.store.known(&digest, now) {
            anykey_store::Lookup::Ask => self.store.look_up(digest, Some(plain)).await.unwrap(),
            found => found,
        };
        matches!(found, anykey_store::Lookup::Live(key) if key.dead_at(0).is_none())
    }
}

pub struct Call {
    router: Router,
    request: Request<Body>,
}

impl Call {
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.request.headers_mut().append(name, value.parse().unwrap());
        self
    }

    pub fn json(self, body: Value) -> Self {
        self.body(body.to_string()).header("content-type", "application/json")
    }

    pub fn body(mut self, body: impl Into<Body>) -> Self {
        *self.request.body_mut() = body.into();
        self
    }

    pub async fn open(mut self) -> Response {
        self.request.extensions_mut().insert(PeerAddr(Client { address: PEER.parse().unwrap(), known: true }));
        self.router.oneshot(self.request).await.unwrap()
    }

    pub async fn send(self) -> Answer {
        let method = self.request.method().clone();
        let (parts, body) = self.open().await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        remains::heard(method.as_str(), None, parts.status.as_u16(), &bytes);
        let cookies = parts.headers.get_all("set-cookie").iter().filter_map(|line| line.to_str().ok());
        cookies.for_each(remains::cookie);
        let answer = Answer { status: parts.status, headers: parts.headers, bytes: bytes.to_vec() };
        answer.check_form();
        answer
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    /// The body, where the status is the expected one.
    #[track_caller]
    pub fn is(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self.json()
    }

    /// The problem, where the status and the code are the expected ones.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> Value {
        let problem = self.is(status);
        assert_eq!(problem["code"], code, "{problem}");
        problem
    }

    /// The fields at fault, sorted.
    #[track_caller]
    pub fn faults(&self) -> Vec<String> {
        let problem = self.refused(400, "invalid_parameter");
        let mut fields: Vec<String> =
            problem["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap().to_owned()).collect();
        fields.sort();
        fields
    }

    /// What holds for every answer.
    fn check_form(&self) {
        assert_eq!(self.header("cache-control"), "no-store");
        assert_eq!(self.header("x-content-type-options"), "nosniff");
        let id = self.header("x-request-id");
        assert!(anykey_core::RequestId::parse(id).is_some(), "{id}");
        if self.status.is_client_error() || self.status.is_server_error() {
            assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text());
            let problem = self.json();
            assert_eq!(problem["status"], self.status.as_u16());
            assert_eq!(problem["request_id"], id);
            assert_eq!(problem["type"], format!("/docs/errors/{}", problem["code"].as_str().unwrap()));
            for field in ["title", "detail"] {
                assert!(!problem[field].as_str().unwrap().is_empty());
            }
            assert_eq!(self.status == StatusCode::UNAUTHORIZED, self.headers.contains_key("www-authenticate"));
        }
    }
}

fn notices() -> anykey_notices::Options {
    anykey_notices::Options::default()
}
