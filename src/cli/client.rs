//! The client of the admin API: one method per thing a command does with it, and every refusal turned into a `Failure`.

use crate::cli::server::Server;
use crate::cli::wire::{self, NoAnswer};
use crate::cli::{Failure, problem};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::time::{Duration, Instant};

pub const ADMIN_BASE: &str = "/admin/v1";
/// Adding a provider calls it, and a slow provider takes its time.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
const LARGEST_PAGE: usize = 200;
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One segment of a path, whatever it contains.
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// A call that is about to be made.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    /// `path` is below `/admin/v1`.
    pub fn new(method: Method, path: impl AsRef<str>) -> Self {
        Self::at(method, format!("{ADMIN_BASE}{}", path.as_ref()))
    }

    /// `path` is below the server's base URL.
    pub fn at(method: Method, path: String) -> Self {
        Self { method, path, query: Vec::new(), headers: HeaderMap::new(), body: Bytes::new() }
    }

    pub fn get(path: impl AsRef<str>) -> Self {
        Self::new(Method::GET, path)
    }

    pub fn post(path: impl AsRef<str>) -> Self {
        Self::new(Method::POST, path)
    }

    pub fn patch(path: impl AsRef<str>) -> Self {
        Self::new(Method::PATCH, path)
    }

    pub fn delete(path: impl AsRef<str>) -> Self {
        Self::new(Method::DELETE, path)
    }

    #[must_use]
    pub fn query(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.push((name.to_string(), value.into()));
        self
    }

    #[must_use]
    pub fn maybe(self, name: &str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// A body that is JSON already.
    #[must_use]
    pub fn body(mut self, json: impl Into<Bytes>) -> Self {
        self.body = json.into();
        self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self
    }

    pub fn json(self, body: &impl Serialize) -> Result<Self, Failure> {
        let json = serde_json::to_vec(body).map_err(|error| Failure::failed(error.to_string()))?;
        Ok(self.body(json))
    }

    /// The update is refused where somebody else changed the object since we read it.
    #[must_use]
    pub fn if_version(self, version: Option<&serde_json::Value>) -> Self {
        match version {
            Some(serde_json::Value::String(v)) => self.header("if-match", &format!("\"{v}\"")),
            Some(serde_json::Value::Number(v)) => self.header("if-match", &format!("\"{v}\"")),
            _ => self,
        }
    }

    /// Marks the call as one that the server does at most once, so that a lost answer can be asked for again.
    pub fn once(self) -> Result<Self, Failure> {
        let mut random = [0u8; 16];
        getrandom::fill(&mut random).map_err(|error| Failure::failed(error.to_string()))?;
        let key: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(self.header("idempotency-key", &key))
    }

    fn repeatable(&self) -> bool {
        self.method == Method::GET || self.headers.contains_key("idempotency-key")
    }

    fn path_and_query(&self) -> String {
        let pairs: Vec<String> =
            self.query.iter().map(|(name, value)| format!("{}={}", segment(name), segment(value))).collect();
        if pairs.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, pairs.join("&")) }
    }
}

/// A whole answer, with its bytes as they came.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Answer {
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        read(&self.bytes)
    }

    /// The body without white space around it.
    pub fn text(&self) -> Result<&str, Failure> {
        std::str::from_utf8(&self.bytes).map(str::trim).map_err(|_| not_ours("its answer is not text"))
    }
}

pub fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(json).map_err(|error| not_ours(&format!("its answer could not be read: {error}")))
}

fn not_ours(why: &str) -> Failure {
    Failure::failed(format!("the server does not speak this version of the admin API: {why}"))
        .hint("anykey status, and compare with anykey version")
}

/// The members of a list, with their bytes as they came.
#[derive(Debug)]
pub struct Listing {
    pub items: Vec<Box<RawValue>>,
    /// Whether the list goes on after the last item.
    pub more: bool,
}

impl Listing {
    pub fn read<T: DeserializeOwned>(&self) -> Result<Vec<T>, Failure> {
        self.items.iter().map(|item| read(item.get().as_bytes())).collect()
    }
}

#[derive(serde::Deserialize)]
struct Page {
    data: Vec<Box<RawValue>>,
    #[serde(default)]
    next: Option<String>,
}

pub struct Client {
    server: Server,
    credential: SecretString,
    debug: bool,
}

impl Client {
    pub fn new(server: Server, credential: SecretString, debug: bool) -> Self {
        Self { server, credential, debug }
    }

    /// The base URL of the server, without a slash at its end.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The same server, asked as somebody else.
    pub fn as_caller(&self, credential: SecretString) -> Client {
        Client { server: self.server.clone(), credential, debug: self.debug }
    }

    /// Makes the call and reads the whole answer. Anything but 2xx is a `Failure`.
    pub async fn send(&self, call: Call) -> Result<Answer, Failure> {
        match self.attempt(&call).await {
            Err(NoAnswer::BrokenOff(_)) if call.repeatable() => self.attempt(&call).await,
            outcome => outcome,
        }
        .map_err(|error| self.unreachable(&error))?
        .checked()
    }

    async fn attempt(&self, call: &Call) -> Result<Answer, NoAnswer> {
        let (head, body) = self.exchange(call).await?.into_parts();
        let bytes = match tokio::time::timeout(ANSWER_LIMIT, body.collect()).await {
            Ok(body) => body.map_err(NoAnswer::BrokenOff)?.to_bytes(),
            Err(_) => return Err(NoAnswer::TooSlow),
        };
        Ok(Answer { status: head.status, headers: head.headers, bytes })
    }

    /// Makes the call and leaves a good answer's body to be read as it comes.
    pub async fn open(&self, call: Call) -> Result<Response<Incoming>, Failure> {
        let response = self.exchange(&call).await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        Err(problem::failure(head.status, &head.headers, &bytes))
    }

    async fn exchange(&self, call: &Call) -> Result<Response<Incoming>, NoAnswer> {
        let started = Instant::now();
        let outcome = match self.request(call) {
            Ok(request) => wire::exchange(request, ANSWER_LIMIT, self.server.pin.as_deref()).await,
            Err(error) => Err(NoAnswer::Connect(std::io::Error::other(error))),
        };
        if self.debug {
            let end = match &outcome {
                Ok(answer) => answer.status().to_string(),
                Err(error) => error.to_string(),
            };
            // The path alone: queries and bodies may name secrets.
            eprintln!("debug: {} {} -> {end} ({} ms)", call.method, call.path, started.elapsed().as_millis());
        }
        outcome
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(format!("{}{}", self.server.url(), call.path_and_query()))
            .body(Full::new(call.body.clone()))?;
        let headers = request.headers_mut();
        headers.extend(call.headers.clone());
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", self.credential.expose_secret()))?;
        bearer.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, bearer);
        headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("anykey-cli/", env!("CARGO_PKG_VERSION"))));
        Ok(request)
    }

    fn unreachable(&self, error: &NoAnswer) -> Failure {
        let failure = Failure::unreachable(format!("no anykey answers at {}: {error}", self.url()));
        match self.server.pid {
            Some(pid) => failure.detail(format!("It was process {pid} that listened there last.")).hint("anykey serve"),
            None => failure.hint("check the address, and that the server runs there"),
        }
    }

    /// Reads pages until `limit` members are there or the list ends. `None` reads them all.
    pub async fn list(&self, call: Call, limit: Option<usize>) -> Result<Listing, Failure> {
        let mut items = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let wanted = limit.map_or(LARGEST_PAGE, |limit| (limit - items.len()).min(LARGEST_PAGE));
            let call = call.clone().query("limit", wanted.to_string()).maybe("after", after.clone());
            let page: Page = self.send(call).await?.read()?;
            // A page may look at many rows and find none. One that goes on where it began would be asked for ever.
            let stuck = page.data.is_empty() && page.next == after;
            items.extend(page.data);
            let full = limit.is_some_and(|limit| items.len() >= limit);
            match page.next {
                Some(cursor) if !full && !stuck => after = Some(cursor),
                next => return Ok(Listing { items, more: next.is_some() && !stuck }),
            }
        }
    }
}

impl Answer {
    fn checked(self) -> Result<Answer, Failure> {
        if self.status.is_success() { Ok(self) } else { Err(problem::failure(self.status, &self.headers, &self.bytes)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_are_encoded() {
        let call = Call::get(format!("/keys/{}", segment("a/b c?"))).query("q", "x&y=é").maybe("none", None::<String>);
        assert_eq!(call.path_and_query(), "/admin/v1/keys/a%2Fb%20c%3F?q=x%26y%3D%C3%A9");
    }

    #[test]
    fn only_what_can_be_asked_twice_is_asked_twice() {
        assert!(Call::get("/keys").repeatable());
        assert!(!Call::post("/keys").repeatable());
        assert!(Call::post("/keys").once().unwrap().repeatable());
        assert!(!Call::delete("/keys/x").repeatable());
    }
}
