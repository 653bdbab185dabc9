//! TLS towards providers: one explicit crypto provider, the public roots and the machine's own.

pub use rustls::Error as TlsError;
use std::sync::Arc;

/// The roots that this machine trusts.
pub fn system_roots() -> Vec<rustls::pki_types::CertificateDer<'static>> {
    rustls_native_certs::load_native_certs().certs
}

/// A client configuration that trusts the bundled roots, the system's, and those in `extra` (PEM of an operator's CA).
/// HTTP/1.1 is asked for: long streams would queue silently behind one another on a shared HTTP/2 connection.
pub fn client_config(
    extra: impl IntoIterator<Item = rustls::pki_types::CertificateDer<'static>>,
) -> Result<Arc<rustls::ClientConfig>, TlsError> {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    roots.add_parsable_certificates(system_roots());
    roots.add_parsable_certificates(extra);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
