//! The wire: a strict HTTP/1.1 server and a pooled HTTP/1.1 client for thread-per-core runtimes, and the guard that
//! decides which destinations may be called. Knows nothing of models, keys or money.
//!
//! The server is our own because it sits on the path of every call, and because the gateway must see a request's
//! framing as it was written: what another parser would tolerate (two lengths, a length beside chunks) is refused here.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod certificate;
mod chunked;
pub mod client;
mod deadline;
mod fetch;
pub mod guard;
mod h2;
mod head;
mod headers;
pub mod server;
mod tls;
mod turn;

pub use certificate::{Certificate, CertificateError};
pub use chunked::{ChunkError, Chunked};
pub use fetch::{Fetch, FetchError, Fetched};
pub use head::{Fault, Framing, Limits, RequestHead};
pub use headers::RawHeaders;
pub use tls::{TlsError, client_config, system_roots};

pub use bytes::Bytes;
pub use rustls::ServerConfig;
