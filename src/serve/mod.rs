//! `anykey serve`: opens what the gateway stands on, serves until it is told to stop, and leaves nothing behind.

mod banner;
mod books;
mod first_run;
mod front;
mod log;
mod runfile;

use crate::commands::ServeArgs;
use crate::config::{self, ConfigError, Settings};
use anykey_control::Deps;
use anykey_core::catalogue::Catalogue;
use anykey_core::limit::Limiter;
use anykey_gateway::{Gateway, Worker};
use anykey_ledger::{Durability, Ledger};
use anykey_notices::Courier;
use anykey_sim::{Sim, SimOptions};
use anykey_store::{Store, StoreError};
use arc_swap::ArcSwap;
use books::StoreBooks;
use front::{AdminAdmission, Front};
use secrecy::{ExposeSecret, SecretString};
use std::io::IsTerminal;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::rc::Rc;
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
    #[error("the journal can no longer be written: {0}")]
    Journal(anykey_ledger::Failure),
}

impl ServeError {
    fn exit_code(&self) -> u8 {
        match self {
            ServeError::Config(_) | ServeError::Mail(_) => 78,
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
    let (stop, stopping) = watch::channel(false);
    let house = House::open(settings, stopping.clone()).await?;
    let url = house.settings.public_url.clone().unwrap_or_else(|| runfile::local_url(address));
    let credential = first_run::admin_key(&house.store, &house.settings).await?;
    let threads = house.start(listener, &stopping)?;
    runfile::write(&house.settings.data_dir, &runfile::local_url(address), &house.settings.brand)
        .map_err(|error| ServeError::Io { what: "server.json could not be written", error })?;
    let on_terminal = std::io::stdout().is_terminal();
    let starter = if on_terminal { first_run::starter_key(&house.store).await? } else { None };
    banner::print(&banner::Facts {
        url: &url,
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
    let ended = house.until_stopped().await;
    house.close(stop, threads).await;
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

/// Everything that is open while the server runs.
struct House {
    settings: Settings,
    store: Arc<Store>,
    ledger: Ledger,
    gateway: Arc<Gateway>,
    control: axum::Router,
    admission: AdminAdmission,
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
        let messenger = tokio::spawn(courier.run(stop));
        Ok(House {
            settings,
            store,
            ledger,
            gateway,
            control,
            admission,
            practice,
            messenger: Mutex::new(Some(messenger)),
        })
    }

    /// One thread per core, each with its own runtime, connections and journal: calls never cross threads.
    fn start(
        &self,
        listener: TcpListener,
        stopping: &watch::Receiver<bool>,
    ) -> Result<Vec<std::thread::JoinHandle<()>>, ServeError> {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        (0..count)
            .map(|n| {
                let io = |what| move |error| ServeError::Io { what, error };
                let listener = listener.try_clone().map_err(io("the listener could not be shared"))?;
                let journal = self.ledger.writer()?;
                let gateway = self.gateway.clone();
                let control = self.control.clone();
                let admission = self.admission.clone();
                let stopping = stopping.clone();
                std::thread::Builder::new()
                    .name(format!("calls-{n}"))
                    .spawn(move || calls(listener, gateway, journal, (control, admission), stopping))
                    .map_err(io("a thread could not be started"))
            })
            .collect()
    }

    /// Runs until a signal, or until the journal fails. SIGHUP reads the settings file again.
    async fn until_stopped(&self) -> Result<(), ServeError> {
        let signals = || -> std::io::Result<[Signal; 3]> {
            Ok([signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?])
        };
        let [mut terminate, mut interrupt, mut hangup] =
            signals().map_err(|error| ServeError::Io { what: "signals cannot be received", error })?;
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                _ = hangup.recv() => self.reload().await,
                failure = self.ledger.failed() => return Err(ServeError::Journal(failure)),
            }
        }
    }

    /// Takes over what the settings file declares now. A file with errors changes nothing.
    async fn reload(&self) {
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
    async fn close(&self, stop: watch::Sender<bool>, threads: Vec<std::thread::JoinHandle<()>>) {
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

/// One thread of the data plane, from its first connection to its last.
fn calls(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    journal: anykey_ledger::Writer,
    (control, admission): (axum::Router, AdminAdmission),
    stopping: watch::Receiver<bool>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "a thread could not be started"),
    };
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let runtime = gateway.runtime.clone();
        let worker = Rc::new(Worker::new(gateway, journal));
        let sweeping = worker.clone();
        tokio::task::spawn_local(async move {
            let mut tick = tokio::time::interval(Duration::from_secs(15));
            loop {
                tick.tick().await;
                sweeping.sweep();
            }
        });
        let front = Rc::new(Front::new(worker, control, runtime, admission));
        let options = anykey_net::server::Options::default();
        if let Err(error) = anykey_net::server::serve(listener, front, options, stopping, DRAIN + CUT).await {
            tracing::error!(%error, "a thread stopped serving");
        }
    });
}
