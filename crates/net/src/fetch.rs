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
        self.ask(to, head(to, "GET", path, lines), Bytes::new(), Read::Whole(limit), timeout).await
    }

    /// The same with a body, whose type is one of the `lines`.
    pub async fn post(
        &self,
        to: &Destination,
        path: &str,
        lines: &[u8],
        body: Bytes,
        limit: usize,
        timeout: Duration,
    ) -> Result<Fetched, FetchError> {
        self.ask(to, head_of_post(to, path, lines, &body), body, Read::Whole(limit), timeout).await
    }

    /// A post of which only the status matters: the body of the answer is not waited for.
    pub async fn push(
        &self,
        to: &Destination,
        path: &str,
        lines: &[u8],
        body: Bytes,
        timeout: Duration,
    ) -> Result<u16, FetchError> {
        let answer = self.ask(to, head_of_post(to, path, lines, &body), body, Read::Status, timeout).await?;
        Ok(answer.status)
    }

    /// The client belongs to one thread, so each call gets one of those that may block.
    async fn ask(
        &self,
        to: &Destination,
        head: Vec<u8>,
        body: Bytes,
        read: Read,
        timeout: Duration,
    ) -> Result<Fetched, FetchError> {
        let (tls, to) = (self.tls.clone(), Arc::new(to.clone()));
        let call = move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|_| FetchError::Runtime)?;
            runtime.block_on(async {
                let whole = fetch(tls, to, head, body, read);
                tokio::time::timeout(timeout, whole).await.map_err(|_| FetchError::Timeout)?
            })
        };
        tokio::task::spawn_blocking(call).await.map_err(|_| FetchError::Runtime)?
    }
}

/// How much of an answer is wanted.
#[derive(Clone, Copy)]
enum Read {
    /// All of it, up to so many bytes of its body.
    Whole(usize),
    Status,
}

fn head_of_post(to: &Destination, path: &str, lines: &[u8], body: &Bytes) -> Vec<u8> {
    let length = format!("content-length: {}\r\n", body.len());
    head(to, "POST", path, &[lines, length.as_bytes()].concat())
}

fn head(to: &Destination, method: &str, path: &str, lines: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {}{path} HTTP/1.1\r\nhost: {}\r\n", to.prefix, to.authority()).into_bytes();
    head.extend_from_slice(
        b"user-agent: anykey\r\naccept: application/json, */*;q=0.1\r\naccept-encoding: identity\r\n",
    );
    head.extend_from_slice(b"connection: close\r\n");
    head.extend_from_slice(lines);
    head.extend_from_slice(b"\r\n");
    head
}

async fn fetch(
    tls: Arc<rustls::ClientConfig>,
    to: Arc<Destination>,
    mut head: Vec<u8>,
    body: Bytes,
    read: Read,
) -> Result<Fetched, FetchError> {
    let client = Client::new(tls, Options::default());
    let mut response = client.send(&to, &mut head, &body).await?;
    let mut body = BytesMut::new();
    if let Read::Whole(limit) = read {
        while let Some(piece) = std::future::poll_fn(|cx| response.body.poll_data(cx)).await {
            let piece = piece.map_err(|_| FetchError::Truncated)?;
            if body.len() + piece.len() > limit {
                return Err(FetchError::TooLarge(limit));
            }
            body.extend_from_slice(&piece);
        }
    }
    Ok(Fetched { status: response.status, body: body.freeze() })
}
