//! One-off calls for the rooms that are not on the path of a call: testing a provider, loading a price list. The same
//! client and the same guard, on a thread of their own, so that they can be awaited from any runtime.

use crate::client::{Client, Options, SendError};
use crate::guard::Destination;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use std::time::Duration;

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub status: u16,
    pub body: Bytes,
}

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Send(#[from] SendError),
    #[error("the answer broke off")]
    Truncated,
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    #[error("no answer in time")]
    Timeout,
    #[error("the call could not be made")]
    Runtime,
}

/// Makes one-off calls.
#[derive(Clone)]
pub struct Fetch {
    tls: Arc<rustls::ClientConfig>,
}

impl Fetch {
    pub fn new(tls: Arc<rustls::ClientConfig>) -> Self {
        Fetch { tls }
    }

    /// `path` is what stands after the destination's prefix; `lines` are whole header lines, each with its CRLF.
    pub async fn get(
        &self,
        to: &Destination,
        path: &str,
        lines: &[u8],
        limit: usize,
        timeout: Duration,
    ) -> Result<Fetched, FetchError> {
        let mut head = format!("GET {}{path} HTTP/1.1\r\nhost: {}\r\n", to.prefix, to.authority()).into_bytes();
        head.extend_from_slice(b"user-agent: anykey\r\naccept: application/json\r\naccept-encoding: identity\r\n");
        head.extend_from_slice(b"connection: close\r\n");
        head.extend_from_slice(lines);
        head.extend_from_slice(b"\r\n");
        let (tls, to) = (self.tls.clone(), Arc::new(to.clone()));
        on_a_thread(move || async move {
            tokio::time::timeout(timeout, fetch(tls, to, head, limit)).await.map_err(|_| FetchError::Timeout)?
        })
        .await
    }

    /// Sends a body and returns the status that was answered; what else is answered says nothing and is not waited for.
    /// `path` stands after the destination's prefix, `lines` are whole header lines.
    pub async fn post(
        &self,
        to: &Destination,
        path: &str,
        lines: &str,
        body: Bytes,
        timeout: Duration,
    ) -> Result<u16, FetchError> {
        let mut head = format!(
            "POST {}{path} HTTP/1.1\r\nhost: {}\r\nuser-agent: anykey\r\naccept: */*\r\nconnection: close\r\n\
             content-length: {}\r\n{lines}\r\n",
            to.prefix,
            to.authority(),
            body.len()
        )
        .into_bytes();
        let (tls, to) = (self.tls.clone(), Arc::new(to.clone()));
        on_a_thread(move || async move {
            let client = Client::new(tls, Options::default());
            let sent = tokio::time::timeout(timeout, client.send(&to, &mut head, &body));
            Ok(sent.await.map_err(|_| FetchError::Timeout)??.status)
        })
        .await
    }
}

/// The client belongs to one thread, so each call gets one of those that may block.
async fn on_a_thread<T, F>(call: impl FnOnce() -> F + Send + 'static) -> Result<T, FetchError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, FetchError>>,
{
    let call = move || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|_| FetchError::Runtime)?;
        runtime.block_on(call())
    };
    tokio::task::spawn_blocking(call).await.map_err(|_| FetchError::Runtime)?
}

async fn fetch(
    tls: Arc<rustls::ClientConfig>,
    to: Arc<Destination>,
    mut head: Vec<u8>,
    limit: usize,
) -> Result<Fetched, FetchError> {
    let client = Client::new(tls, Options::default());
    let mut response = client.send(&to, &mut head, &Bytes::new()).await?;
    let mut body = BytesMut::new();
    while let Some(piece) = std::future::poll_fn(|cx| response.body.poll_data(cx)).await {
        let piece = piece.map_err(|_| FetchError::Truncated)?;
        if body.len() + piece.len() > limit {
            return Err(FetchError::TooLarge(limit));
        }
        body.extend_from_slice(&piece);
    }
    Ok(Fetched { status: response.status, body: body.freeze() })
}
