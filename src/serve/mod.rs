//! `anykey serve`: opens what the gateway stands on, serves until it is told to stop, and leaves nothing behind.

mod banner;
mod books;
mod call_log;
mod first_run;
mod front;
mod log;
mod metrics;
mod runfile;
mod threads;

use crate::commands::ServeArgs;
use crate::config::{self, ConfigError, MetricsAt, Settings};
use anykey_control::Deps;
use anykey_core::catalogue::Catalogue;
use anykey_core::limit::Limiter;
use anykey_gateway::Gateway;
use anykey_ledger::{Durability, Ledger};
use anykey_net::{Certificate, CertificateError};
use anykey_notices::Courier;
use anykey_sim::{Sim, SimOptions};
use anykey_store::{Store, StoreError};
use arc_swap::ArcSwap;
use books::StoreBooks;
use call_log::CallLog;
use front::AdminAdmission;
use metrics::Metrics;
use runfile::Running;
use secrecy::{ExposeSecret, SecretString};
use std::io::IsTerminal;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

/// How long running answers may take after SIGTERM before they are ended, and how long ending them may take.
const DRAIN: Duration = Duration::from_secs(20);
const CUT: Duration = Duration::from_secs(5);

/// Why the server did not start or had to stop. The exit codes are those of sysexits.h.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot listen on {address}: {error}")]
    Listen { address: SocketAddr, error: std::io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Ledger(#[from] anykey_ledger::OpenError),
    #[error("{what}: {error}")]
    Io { what: &'static str, error: std::io::Error },
    #[error(transparent)]
    Mail(#[from] anykey_notices::MailError),
    #[error("TLS could not be set up: {0}")]
    Tls(#[from] anykey_net::TlsError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("the journal can no longer be written: {0}")]
    Journal(anykey_ledger::Failure),
}

impl ServeError {
    fn exit_code(&self) -> u8 {
        match self {
            ServeError::Config(_) | ServeError::Certificate(_) | ServeError::Mail(_) => 78,
            ServeError::Store(error) => u8::try_from(error.exit_code()).unwrap_or(1),
            ServeError::Ledger(_) => 65,
            ServeError::Journal(_) => 74,
            ServeError::Listen { .. } | ServeError::Io { .. } | ServeError::Tls(_) => 1,
        }
    }
}

pub async fn run(args: ServeArgs) -> ExitCode {
    log::start();
    match serve(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

async fn serve(args: ServeArgs) -> Result<(), ServeError> {
    let settings = config::load(&args)?;
    let listener = listen(settings.listen)?;
    let address =
        listener.local_addr().map_err(|error| ServeError::Io { what: "the listener has no address", error })?;
    let metrics_listener = listen_for_metrics(&settings.metrics, address)?;
    let metrics_address = metrics_listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let (stop, stopping) = watch::channel(false);
    let house = House::open(settings, stopping.clone()).await?;
    let local_url = runfile::url(address, house.certificate.is_some());
    let url = house.settings.public_url.clone().unwrap_or_else(|| local_url.clone());
    let credential = first_run::admin_key(&house.store, &house.settings).await?;
    let call_log = house.log_calls()?;
    let threads = threads::start(&house, listener, metrics_listener, &stopping)?;
    let running = Running {
        metrics_url: house.metrics_url(metrics_address, &local_url),
        url: local_url,
        certificate: house.certificate.clone(),
        brand: house.settings.brand.clone(),
    };
    // Whoever reads that it serves may stop it at once.
    let mut signals = Signals::take()?;
    running
        .write(&house.settings.data_dir)
        .map_err(|error| ServeError::Io { what: "server.json could not be written", error })?;
    let on_terminal = std::io::stdout().is_terminal();
    let starter = if on_terminal { first_run::starter_key(&house.store).await? } else { None };
    banner::print(&banner::Facts {
        url: &url,
        metrics_url: running.metrics_url.as_deref(),
        address,
        data_dir: &house.settings.data_dir,
        database: house.store.database(),
        practice: house.practice.is_some(),
        providers: house.settings.declared.providers.len(),
        new_admin_key: credential.is_new,
        starter: starter.as_ref(),
        has_owner: house.store.has_owner().await?,
        on_terminal,
    });
    if on_terminal {
        banner::follow(&house.ledger, &house.store);
    }
    let ended = house.until_stopped(&running, &mut signals).await;
    house.close(stop, threads, call_log).await;
    runfile::remove(&house.settings.data_dir);
    ended
}

fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let bind = || {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
        // So that a restart does not wait for old connections to time out. Two servers still cannot share the port.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(4096)?;
        Ok(socket.into())
    };
    bind().map_err(|error| ServeError::Listen { address, error })
}

/// The listener of the figures. Where nobody asked for one by address, a port that is taken is no reason not to serve.
fn listen_for_metrics(at: &MetricsAt, main: SocketAddr) -> Result<Option<TcpListener>, ServeError> {
    match at {
        MetricsAt::Address(address) => listen(*address).map(Some),
        MetricsAt::Off | MetricsAt::Main => Ok(None),
        MetricsAt::BesideMain => {
            let port = if main.port() == config::DEFAULT_PORT { config::METRICS_PORT } else { 0 };
            match listen(SocketAddr::from(([127, 0, 0, 1], port))) {
                Ok(listener) => Ok(Some(listener)),
                Err(error) => {
                    tracing::warn!(%error, "there is no /metrics; metrics_listen names another address, or \"off\"");
                    Ok(None)
                }
            }
        }
    }
}

/// What is asked of the process from outside.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn take() -> Result<Signals, ServeError> {
        let cannot = |error| ServeError::Io { what: "signals cannot be received", error };
        Ok(Signals {
            terminate: signal(SignalKind::terminate()).map_err(cannot)?,
            interrupt: signal(SignalKind::interrupt()).map_err(cannot)?,
            hangup: signal(SignalKind::hangup()).map_err(cannot)?,
        })
    }
}

/// Everything that is open while the server runs.
struct House {
    settings: Settings,
    store: Arc<Store>,
    ledger: Ledger,
    gateway: Arc<Gateway>,
    control: axum::Router,
    admission: AdminAdmission,
    metrics: Metrics,
    certificate: Option<Certificate>,
    practice: Option<(SocketAddr, SecretString, anykey_sim::Running)>,
    /// Brings notices to their receivers.
    messenger: Mutex<Option<JoinHandle<()>>>,
}

impl House {
    /// Opens the store, replays the journal, and makes every part ready. Nothing is served before this is done.
    async fn open(mut settings: Settings, stop: watch::Receiver<bool>) -> Result<House, ServeError> {
        let mut options = anykey_store::Options::new(&settings.data_dir, settings.database.clone());
        options.brand.clone_from(&settings.brand);
        options.pepper_file = std::env::var_os("ANYKEY_PEPPER_FILE").map(Into::into);
        options.kek_file = std::env::var_os("ANYKEY_KEK_FILE").map(Into::into);
        let certificate = match settings.tls.take() {
            Some(files) => Some(Certificate::open(files.certificate, files.key)?),
            None => None,
        };
        let store = Store::open(options).await?;
        first_run::keep_brand(&store).await?;
        let durability = if settings.strict_journal { Durability::Strict } else { Durability::Fast };
        let ledger_options = anykey_ledger::Options { durability, ..anykey_ledger::Options::default() };
        let ledger = Ledger::open(settings.data_dir.join("journal"), ledger_options, StoreBooks(store.clone())).await?;
        let recovered = ledger.recovered();
        if recovered.records > 0 {
            tracing::info!(records = recovered.records, unresolved = recovered.unresolved, "the journal was replayed");
        }
        let catalogue = Arc::new(ArcSwap::new(load_catalogue(&store).await?));
        let tls = anykey_net::client_config([])?;
        let practice = if settings.practice { Some(practice().await?) } else { None };
        let house_practice = practice.as_ref().map(|(address, key, _)| (*address, key.clone()));
        declare(&store, settings.declared.clone(), house_practice.as_ref()).await?;
        let limiter = Arc::new(Limiter::default());
        let gateway = Gateway::new(
            store.clone(),
            ledger.clone(),
            catalogue.clone(),
            tls.clone(),
            limiter.clone(),
            anykey_gateway::Options {
                brand: settings.brand.clone(),
                strict: settings.strict_journal,
                trusted_proxies: settings.trusted_proxies.clone(),
                log_calls: call_log::is_wanted(),
            },
            tokio::runtime::Handle::current(),
        );
        let exposure = std::mem::take(&mut settings.exposure);
        let notices = std::mem::take(&mut settings.notices);
        let courier = Courier::new(store.clone(), anykey_net::Fetch::new(tls.clone()), notices)?;
        // What was granted until a moment that has passed is over before the first call.
        store.end_approvals().await?;
        let issuers = std::mem::take(&mut settings.issuers);
        let reports = exposure.github_keys.is_some() || exposure.secret.is_some();
        let control = anykey_control::router(Deps {
            store: store.clone(),
            books: Arc::new(books::LiveLedger(ledger.clone())),
            limiter,
            catalogue,
            fetch: anykey_net::Fetch::new(tls),
            version: env!("CARGO_PKG_VERSION"),
            public_url: settings.public_url.clone(),
            practice_url: practice.as_ref().map(|(address, ..)| format!("http://{address}")),
            stop: stop.clone(),
            exposure,
            courier: courier.clone(),
            issuers,
        });
        let sessions = anykey_control::Sessions::new(store.clone(), settings.public_url.as_deref());
        let admission = AdminAdmission { reports, sessions };
        let metrics = Metrics::new(gateway.clone(), ledger.clone());
        let messenger = Mutex::new(Some(tokio::spawn(courier.run(stop))));
        Ok(House { settings, store, ledger, gateway, control, admission, metrics, certificate, practice, messenger })
    }

    /// Where the figures are, as this machine reaches them.
    fn metrics_url(&self, own: Option<SocketAddr>, main: &str) -> Option<String> {
        let base = match own {
            Some(address) => runfile::url(address, false),
            None if self.settings.metrics == MetricsAt::Main => main.to_owned(),
            None => return None,
        };
        Some(format!("{base}{}", metrics::PATH))
    }

    fn log_calls(&self) -> Result<Option<CallLog>, ServeError> {
        if !self.gateway.options.log_calls {
            return Ok(None);
        }
        let log = CallLog::start(self.gateway.clone());
        log.map(Some).map_err(|error| ServeError::Io { what: "a thread could not be started", error })
    }

    /// Runs until a signal, or until the journal fails. SIGHUP reads the settings file again.
    async fn until_stopped(&self, running: &Running, signals: &mut Signals) -> Result<(), ServeError> {
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => return Ok(()),
                _ = signals.interrupt.recv() => return Ok(()),
                _ = signals.hangup.recv() => self.reload(running).await,
                failure = self.ledger.failed() => return Err(ServeError::Journal(failure)),
            }
        }
    }

    /// Takes over what the settings file declares now, and the certificate's files. One with errors changes nothing.
    async fn reload(&self, running: &Running) {
        if let Some(certificate) = &self.certificate {
            match certificate.reload() {
                Ok(()) => match running.write(&self.settings.data_dir) {
                    Ok(()) => tracing::info!("the certificate was read again"),
                    Err(error) => {
                        tracing::error!(%error, "server.json could not be written; commands here do not know the new certificate")
                    }
                },
                Err(error) => tracing::error!(%error, "the certificate was refused; the old one stays"),
            }
        }
        let Some(path) = &self.settings.file else {
            return tracing::warn!("there is no settings file to read again");
        };
        let declared = match config::reload(path) {
            Ok(declared) => declared,
            Err(error) => return tracing::error!(%error, "the settings file was refused; the old settings stay"),
        };
        let practice = self.practice.as_ref().map(|(address, key, _)| (*address, key.clone()));
        match declare(&self.store, declared, practice.as_ref()).await {
            Ok(()) => tracing::info!("the settings file was read again"),
            Err(error) => tracing::error!(%error, "the settings file was refused; the old settings stay"),
        }
    }

    /// Refuses new calls, lets running ones finish, ends those that take too long, and stores every record.
    async fn close(
        &self,
        stop: watch::Sender<bool>,
        threads: Vec<std::thread::JoinHandle<()>>,
        call_log: Option<CallLog>,
    ) {
        self.gateway.stop();
        let _ = stop.send(true);
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                let _ = thread.join();
            }
        });
        tokio::pin!(joined);
        if tokio::time::timeout(DRAIN, &mut joined).await.is_err() {
            self.gateway.cut();
            let _ = tokio::time::timeout(CUT, &mut joined).await;
        }
        if let Some(messenger) = self.messenger.lock().await.take() {
            let _ = messenger.await;
        }
        if let Err(error) = self.ledger.close(CUT).await {
            tracing::warn!(%error, "some records stay in the journal; the next start stores them");
        }
        self.store.close().await;
        if let Some(call_log) = call_log {
            call_log.stop(CUT);
        }
    }
}

/// The price list that was loaded last, or the one that is built in.
async fn load_catalogue(store: &Store) -> Result<Arc<Catalogue>, ServeError> {
    let Some(row) = store.catalogue().await? else { return Ok(Catalogue::bundled()) };
    match Catalogue::parse(&row.bytes) {
        Ok(catalogue) => Ok(Arc::new(catalogue)),
        Err(error) => {
            tracing::error!(%error, source = row.source, "the loaded price list cannot be read; the built-in one is used");
            Ok(Catalogue::bundled())
        }
    }
}

/// The practice provider on a port of its own, behind a credential that nobody else knows.
async fn practice() -> Result<(SocketAddr, SecretString, anykey_sim::Running), ServeError> {
    let key = anykey_core::Token::mint("sim", anykey_core::KeyKind::Temp).map_err(|_| StoreError::NoRandom)?;
    let options = SimOptions { require_key: Some(key.expose().to_owned()), faults: false, strict: true };
    let running = Sim::bind(SocketAddr::from(([127, 0, 0, 1], 0)), options)
        .await
        .map_err(|error| ServeError::Io { what: "the practice provider could not be started", error })?;
    Ok((running.addr, SecretString::from(key.expose().to_owned()), running))
}

async fn declare(
    store: &Store,
    mut declared: anykey_store::Declared,
    practice: Option<&(SocketAddr, SecretString)>,
) -> Result<(), StoreError> {
    if let Some((address, key)) = practice {
        declared.providers.push(config::practice_provider(*address, key.expose_secret().into()));
    }
    store.set_declared(declared).await
}
