//! TLS towards callers: the certificate that the listener shows, read from two PEM files and exchanged while it serves.

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("{} cannot be read: {error}", path.display())]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("{} is not well-formed PEM: {error}", path.display())]
    NotPem { path: PathBuf, error: pem::Error },
    #[error("{} holds no certificate (-----BEGIN CERTIFICATE-----)", path.display())]
    NoCertificate { path: PathBuf },
    #[error("{} holds no private key; PKCS #8, PKCS #1 and SEC 1 are read, without a passphrase", path.display())]
    NoKey { path: PathBuf },
    #[error("{} and {} do not go together: {error}", chain.display(), key.display())]
    Unfit { chain: PathBuf, key: PathBuf, error: rustls::Error },
}

/// A certificate with its private key. Clones show the same one; [`Certificate::reload`] changes it for all of them.
#[derive(Clone, Debug)]
pub struct Certificate(Arc<Files>);

#[derive(Debug)]
struct Files {
    chain: PathBuf,
    key: PathBuf,
    current: ArcSwap<CertifiedKey>,
}

impl Certificate {
    /// Reads the chain, the server's own certificate first, and the private key that belongs to it.
    pub fn open(chain: PathBuf, key: PathBuf) -> Result<Self, CertificateError> {
        let current = ArcSwap::from_pointee(read(&chain, &key)?);
        Ok(Certificate(Arc::new(Files { chain, key, current })))
    }

    /// Reads the files again. Connections that begin from now on see what they hold; where they cannot be used, the
    /// certificate that was shown before stays.
    pub fn reload(&self) -> Result<(), CertificateError> {
        let Files { chain, key, current } = &*self.0;
        current.store(Arc::new(read(chain, key)?));
        Ok(())
    }

    /// The server's own certificate, in DER.
    pub fn own(&self) -> Vec<u8> {
        self.0.current.load().cert.first().map(|own| own.to_vec()).unwrap_or_default()
    }

    /// How a listener that shows this certificate speaks: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.0.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // A caller who comes back proves so with a ticket that only they keep, so nothing is held here for them.
        config.ticketer = ring::Ticketer::new()?;
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Files {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn read(chain_file: &Path, key_file: &Path) -> Result<CertifiedKey, CertificateError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(chain_file)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(chain_file, error))?;
    if chain.is_empty() {
        return Err(CertificateError::NoCertificate { path: chain_file.to_owned() });
    }
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| match error {
        pem::Error::NoItemsFound => CertificateError::NoKey { path: key_file.to_owned() },
        error => wrong(key_file, error),
    })?;
    let provider: CryptoProvider = ring::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map_err(|error| CertificateError::Unfit {
        chain: chain_file.to_owned(),
        key: key_file.to_owned(),
        error,
    })
}

fn wrong(path: &Path, error: pem::Error) -> CertificateError {
    let path = path.to_owned();
    match error {
        pem::Error::Io(error) => CertificateError::Unreadable { path, error },
        error => CertificateError::NotPem { path, error },
    }
}
