//! One HTTP exchange: connect, TLS where the address asks for it, send, and the answer's head. A command makes a handful
//! of calls, so there is no pool.

use crate::cli::pin::Pinned;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// Nothing was sent.
    Connect(io::Error),
    /// The request may have been acted on.
    BrokenOff(hyper::Error),
    TooSlow,
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoAnswer::Connect(error) => write!(f, "{error}"),
            NoAnswer::BrokenOff(error) => write!(f, "the connection broke off: {error}"),
            NoAnswer::TooSlow => f.write_str("no answer in time"),
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Sends a request whose URI is absolute and waits at most `limit` for the head of the answer. `pin` is the fingerprint of
/// the certificate that the server shows, where it is known.
pub async fn exchange(
    mut request: Request<Full<Bytes>>,
    limit: Duration,
    pin: Option<&str>,
) -> Result<Response<Incoming>, NoAnswer> {
    let uri = request.uri().clone();
    let stream = match timeout(CONNECT_LIMIT, connect(&uri, pin)).await {
        Ok(stream) => stream.map_err(NoAnswer::Connect)?,
        Err(_) => return Err(NoAnswer::Connect(io::ErrorKind::TimedOut.into())),
    };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(NoAnswer::BrokenOff)?;
    // Its errors also reach whoever waits for the answer or reads its body.
    tokio::spawn(async move { connection.await.ok() });

    if let Some(host) = uri.authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok()) {
        request.headers_mut().insert(header::HOST, host);
    }
    *request.uri_mut() = uri.path_and_query().map_or_else(|| Uri::from_static("/"), |p| Uri::from(p.clone()));
    match timeout(limit, sender.send_request(request)).await {
        Ok(answer) => answer.map_err(NoAnswer::BrokenOff),
        Err(_) => Err(NoAnswer::TooSlow),
    }
}

async fn connect(uri: &Uri, pin: Option<&str>) -> io::Result<Box<dyn Stream>> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    if !secure {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(host.to_string()).map_err(io::Error::other)?;
    let tls = tokio_rustls::TlsConnector::from(tls_config(pin)?).connect(name, stream).await?;
    Ok(Box::new(tls))
}

/// Trusts the certificate that is known; else what this machine trusts, so that a company's own authority works; where it trusts nothing, the public ones.
fn tls_config(pin: Option<&str>) -> io::Result<Arc<rustls::ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    if let Some(pin) = pin {
        let pinned = Pinned::new(pin.to_owned(), provider);
        return Ok(Arc::new(
            config.dangerous().with_custom_certificate_verifier(Arc::new(pinned)).with_no_client_auth(),
        ));
    }
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
