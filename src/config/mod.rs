//! The settings of the server: flags over environment over `anykey.toml` over defaults. A file is read whole: all its
//! errors are told at once with their lines, and a file with any is refused.

mod file;
mod issuers;
mod notices;
mod secret;

pub use file::{FileErrors, FileSettings, read};

use crate::commands::ServeArgs;
use anykey_core::controls::AddressRange;
use anykey_store::{Declared, NewProvider};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Everything that `serve` needs to know.
#[derive(Debug)]
pub struct Settings {
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    pub database: anykey_store::Database,
    pub brand: String,
    pub public_url: Option<String>,
    /// Whether the practice provider answers `sim/*`.
    pub practice: bool,
    /// Whether every record waits for the disk before a call is sent and before its last byte is released.
    pub strict_journal: bool,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Box<[AddressRange]>,
    pub metrics: MetricsAt,
    /// What the listener shows, where it speaks TLS.
    pub tls: Option<TlsFiles>,
    pub declared: Declared,
    /// From whom reports of exposed keys are taken.
    pub exposure: anykey_control::Exposure,
    /// How notices travel.
    pub notices: anykey_notices::Options,
    /// By whom people sign in beside their passwords.
    pub issuers: Vec<anykey_control::IssuerSettings>,
    /// The file that was read, to read it again on SIGHUP.
    pub file: Option<PathBuf>,
}

/// Where `/metrics` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsAt {
    Off,
    /// On a port of its own that only this machine reaches: [`METRICS_PORT`] where calls have [`DEFAULT_PORT`], else a
    /// free one.
    BesideMain,
    Address(SocketAddr),
    /// Where calls come in too.
    Main,
}

/// Two files in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate and those between it and an authority.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{} cannot be read: {error}", path.display())]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error(transparent)]
    File(#[from] FileErrors),
    #[error("{name}: {why}")]
    Value { name: &'static str, why: String },
}

pub const DEFAULT_PORT: u16 = 7117;
pub const METRICS_PORT: u16 = 7118;
const DEFAULT_LISTEN: &str = "127.0.0.1:7117";
const DEFAULT_DATA_DIR: &str = "anykey-data";
/// Read without being named, where it stands in the working folder.
const DEFAULT_FILE: &str = "anykey.toml";

/// Puts flags, environment (which the flags' parser has read) and file together.
pub fn load(args: &ServeArgs) -> Result<Settings, ConfigError> {
    let path = match &args.config {
        Some(path) => Some(path.clone()),
        None => Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists()),
    };
    let file = path.as_deref().map(read_file).transpose()?.unwrap_or_default();
    let text = |flag: &Option<String>, file: Option<String>, default: &str| {
        flag.clone().or(file).unwrap_or_else(|| default.to_owned())
    };
    let listen = text(&args.listen, file.listen, DEFAULT_LISTEN);
    let database = text(&args.database, file.database, "sqlite:");
    let brand = text(&args.brand, file.brand, anykey_core::token::DEFAULT_BRAND);
    if !anykey_core::token::is_brand(&brand) {
        let why = "is one to sixteen lower-case letters or digits, such as ak".to_owned();
        return Err(ConfigError::Value { name: "brand", why });
    }
    let trusted_proxies = match &args.trusted_proxies {
        Some(list) => trusted(list)?,
        None => file.trusted_proxies.into(),
    };
    let public_url = args.public_url.clone().or(file.public_url);
    if !file.issuers.is_empty() {
        anykey_control::check_public_url(public_url.as_deref().unwrap_or_default())
            .map_err(|why| ConfigError::Value { name: "public_url", why })?;
    }
    let listen = address("listen", &listen)?;
    Ok(Settings {
        listen,
        metrics: metrics(args.metrics_listen.as_deref().or(file.metrics_listen.as_deref()), listen)?,
        tls: tls(args.tls_cert.clone().or(file.tls_cert), args.tls_key.clone().or(file.tls_key))?,
        data_dir: args.data_dir.clone().or(file.data_dir).unwrap_or_else(|| DEFAULT_DATA_DIR.into()),
        database: anykey_store::Database::parse(&database)
            .map_err(|error| ConfigError::Value { name: "database", why: error.to_string() })?,
        brand,
        public_url,
        practice: file.practice.unwrap_or(true),
        strict_journal: file.strict_journal.unwrap_or(false),
        trusted_proxies,
        declared: Declared { providers: file.providers, aliases: file.aliases },
        exposure: file.exposure,
        notices: file.notices,
        issuers: file.issuers,
        file: path,
    })
}

fn address(name: &'static str, text: &str) -> Result<SocketAddr, ConfigError> {
    let why = || format!("{text:?} is not an address with a port, such as {DEFAULT_LISTEN}");
    text.parse().map_err(|_| ConfigError::Value { name, why: why() })
}

fn metrics(at: Option<&str>, main: SocketAddr) -> Result<MetricsAt, ConfigError> {
    match at {
        None => Ok(MetricsAt::BesideMain),
        Some("off") => Ok(MetricsAt::Off),
        Some(text) => match address("metrics_listen", text)? {
            own if own == main && own.port() != 0 => Ok(MetricsAt::Main),
            own => Ok(MetricsAt::Address(own)),
        },
    }
}

fn tls(certificate: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<TlsFiles>, ConfigError> {
    let wrong = |name, why: &str| Err(ConfigError::Value { name, why: why.to_owned() });
    match (certificate, key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate, key })),
        (Some(_), None) => wrong("tls_key", "is missing: a certificate is of no use without its private key"),
        (None, Some(_)) => wrong("tls_cert", "is missing: a private key is of no use without its certificate"),
    }
}

/// The list of the flag or the variable: ranges with commas between them.
fn trusted(list: &str) -> Result<Box<[AddressRange]>, ConfigError> {
    let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let ranges = entries.map(AddressRange::parse).collect::<Result<_, _>>();
    ranges.map_err(|error| ConfigError::Value { name: "trusted_proxies", why: error.to_string() })
}

/// What the file declares now, for a server that runs: providers and models are taken over, the rest needs a restart.
pub fn reload(path: &Path) -> Result<Declared, ConfigError> {
    let file = read_file(path)?;
    Ok(Declared { providers: file.providers, aliases: file.aliases })
}

fn read_file(path: &Path) -> Result<FileSettings, ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
    Ok(read(path, &text, &|name| std::env::var(name).ok())?)
}

/// The practice provider as a provider like any other.
pub fn practice_provider(address: SocketAddr, key: secrecy::SecretString) -> NewProvider {
    NewProvider {
        name: anykey_core::model::PRACTICE.to_owned(),
        kind: anykey_core::model::PRACTICE.to_owned(),
        base_url: Some(format!("http://{address}")),
        credential: Some(key),
        allow_private: true,
        disabled: false,
    }
}
