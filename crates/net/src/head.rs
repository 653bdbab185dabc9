//! The head of a request, read strictly: request line, fields and framing, or the fault that ends the connection.

use crate::headers::RawHeaders;
use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;
use std::mem::MaybeUninit;
use std::sync::LazyLock;

/// Bounds on what a stranger may send before anybody knows who they are.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub head_bytes: usize,
    pub target_bytes: usize,
    pub headers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { head_bytes: 64 * 1024, target_bytes: 16 * 1024, headers: MAX_HEADERS }
    }
}

/// Slots that the parser has; [`Limits::headers`] cannot be more.
const MAX_HEADERS: usize = 128;

/// How a request's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(u64),
    Chunked,
}

/// What is wrong with a request before its meaning is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not HTTP, or not as the grammar has it.
    Malformed(&'static str),
    /// The end of the body could be read in two ways.
    AmbiguousFraming(&'static str),
    UriTooLong,
    HeadersTooLarge,
    BodyTooLarge,
    /// The head or the body did not come in time.
    Timeout,
}

/// A request without its body.
#[derive(Clone, Debug)]
pub struct RequestHead {
    pub method: http::Method,
    /// The raw path, without the query; never decoded.
    path: Bytes,
    query: Option<Bytes>,
    pub headers: RawHeaders,
    pub framing: Framing,
    pub keep_alive: bool,
    pub expects_continue: bool,
    /// HTTP/1.0 cannot be sent chunks.
    pub http_10: bool,
}

impl RequestHead {
    pub fn path(&self) -> &str {
        std::str::from_utf8(&self.path).unwrap_or_default()
    }

    pub fn query(&self) -> Option<&str> {
        self.query.as_ref().map(|q| std::str::from_utf8(q).unwrap_or_default())
    }

    /// For requests that came over another protocol version and are already framed.
    pub(crate) fn from_parts(method: http::Method, uri: &http::Uri, headers: RawHeaders, framing: Framing) -> Self {
        RequestHead {
            method,
            path: Bytes::copy_from_slice(uri.path().as_bytes()),
            query: uri.query().map(|q| Bytes::copy_from_slice(q.as_bytes())),
            headers,
            framing,
            keep_alive: true,
            expects_continue: false,
            http_10: false,
        }
    }
}

/// Takes a whole head out of `buf`; `Ok(None)` says that more input is needed.
pub(crate) fn read(buf: &mut BytesMut, limits: &Limits) -> Result<Option<RequestHead>, Fault> {
    // Empty lines before a request line are allowed (RFC 9112, 2.2), but not without end.
    while buf.starts_with(b"\r\n") {
        let _ = buf.split_to(2);
    }
    let Some(len) = head_end(buf) else {
        return incomplete(buf, limits);
    };
    if len > limits.head_bytes {
        return Err(too_large(buf, limits));
    }
    let text = buf.split_to(len).freeze();
    parse(text, limits).map(Some)
}

/// Where a head that begins `buf` ends, with its empty line.
pub(crate) fn head_end(buf: &[u8]) -> Option<usize> {
    static EMPTY_LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));
    EMPTY_LINE.find(buf).map(|at| at + 4)
}

fn incomplete(buf: &[u8], limits: &Limits) -> Result<Option<RequestHead>, Fault> {
    if buf.len() > limits.head_bytes {
        return Err(too_large(buf, limits));
    }
    // A bare LF can never become a head that we take, so there is no point in waiting for its end.
    match memchr::memchr_iter(b'\n', buf).find(|at| *at == 0 || buf[at - 1] != b'\r') {
        Some(_) => Err(Fault::Malformed("a line ends in a bare LF")),
        None => Ok(None),
    }
}

fn too_large(buf: &[u8], limits: &Limits) -> Fault {
    let line = memchr::memchr(b'\n', buf).unwrap_or(buf.len());
    if line > limits.target_bytes { Fault::UriTooLong } else { Fault::HeadersTooLarge }
}

fn parse(text: Bytes, limits: &Limits) -> Result<RequestHead, Fault> {
    if memchr::memchr_iter(b'\n', &text).any(|at| at == 0 || text[at - 1] != b'\r') {
        return Err(Fault::Malformed("a line ends in a bare LF"));
    }
    let mut slots = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(&text, &mut slots) {
        Ok(httparse::Status::Complete(n)) if n == text.len() => {}
        Ok(_) => return Err(Fault::Malformed("the head does not end where it should")),
        Err(httparse::Error::TooManyHeaders) => return Err(Fault::HeadersTooLarge),
        Err(_) => return Err(Fault::Malformed("the request line or a header field is not well formed")),
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(Fault::Malformed("the request line is not whole"));
    };
    if target.len() > limits.target_bytes {
        return Err(Fault::UriTooLong);
    }
    if request.headers.len() > limits.headers {
        return Err(Fault::HeadersTooLarge);
    }
    let method = http::Method::from_bytes(method.as_bytes()).map_err(|_| Fault::Malformed("unknown method"))?;
    let facts = Facts::read(request.headers, &text, minor)?;
    let (path, query) = split_target(&text, &method, target, &facts)?;
    Ok(RequestHead {
        method,
        path,
        query,
        framing: facts.framing()?,
        keep_alive: facts.keep_alive,
        expects_continue: facts.expects_continue,
        http_10: minor == 0,
        headers: RawHeaders::from_parsed(text.clone(), request.headers),
    })
}

/// What the fields say of the message itself.
struct Facts<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
    keep_alive: bool,
    expects_continue: bool,
}

impl<'a> Facts<'a> {
    fn read(fields: &[httparse::Header<'a>], text: &[u8], minor: u8) -> Result<Self, Fault> {
        let mut facts =
            Facts { host: None, length: None, chunked: false, keep_alive: minor == 1, expects_continue: false };
        for field in fields {
            if !field.value.is_ascii() {
                return Err(Fault::Malformed("a header value holds a byte outside ASCII"));
            }
            match field.name.len() {
                4 if field.name.eq_ignore_ascii_case("host") => {
                    let doubled = facts.host.replace(field.value).is_some();
                    if doubled {
                        return Err(Fault::Malformed("there are two Host fields"));
                    }
                }
                6 if field.name.eq_ignore_ascii_case("expect") => {
                    if !field.value.eq_ignore_ascii_case(b"100-continue") {
                        return Err(Fault::Malformed("an expectation that is not 100-continue"));
                    }
                    facts.expects_continue = minor == 1;
                }
                10 if field.name.eq_ignore_ascii_case("connection") => {
                    for token in field.value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
                        if token.eq_ignore_ascii_case(b"close") {
                            facts.keep_alive = false;
                        } else if token.eq_ignore_ascii_case(b"keep-alive") && minor == 0 {
                            facts.keep_alive = true;
                        }
                    }
                }
                14 if field.name.eq_ignore_ascii_case("content-length") => {
                    let length = length(field.value)
                        .filter(|_| ends_at_line_end(text, field.value))
                        .ok_or(Fault::AmbiguousFraming("Content-Length is not a plain number"))?;
                    if facts.length.replace(length).is_some() {
                        return Err(Fault::AmbiguousFraming("there are two Content-Length fields"));
                    }
                }
                17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                    let plain = field.value.eq_ignore_ascii_case(b"chunked") && ends_at_line_end(text, field.value);
                    if facts.chunked || !plain || minor == 0 {
                        return Err(Fault::AmbiguousFraming("only the transfer coding chunked is understood, once"));
                    }
                    facts.chunked = true;
                }
                _ => {}
            }
        }
        if facts.host.is_none() && minor == 1 {
            return Err(Fault::Malformed("the Host field is missing"));
        }
        if facts.host.is_some_and(|h| !is_authority(h)) {
            return Err(Fault::Malformed("the Host field is not well formed"));
        }
        Ok(facts)
    }

    fn framing(&self) -> Result<Framing, Fault> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err(Fault::AmbiguousFraming("both Content-Length and Transfer-Encoding are given")),
            (None, true) => Ok(Framing::Chunked),
            (Some(0) | None, false) => Ok(Framing::None),
            (Some(n), false) => Ok(Framing::Length(n)),
        }
    }
}

/// The parser trims blanks around a value; where lengths are concerned a blank is a reason to refuse.
fn ends_at_line_end(text: &[u8], value: &[u8]) -> bool {
    let end = (value.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize) + value.len();
    text.get(end) == Some(&b'\r')
}

fn length(value: &[u8]) -> Option<u64> {
    if !(1..=18).contains(&value.len()) || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// `host`, `host:port` or `[v6]:port`; no user, no path, no surprise.
fn is_authority(host: &[u8]) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-._~:[]%".contains(b);
    (1..=255).contains(&host.len()) && host.iter().all(plain)
}

/// Splits path and query. An absolute target must name the same host as the Host field does; any other is a path, but for
/// the two methods that have a form of their own (RFC 9112, 3.2).
fn split_target(
    text: &Bytes,
    method: &http::Method,
    target: &str,
    facts: &Facts<'_>,
) -> Result<(Bytes, Option<Bytes>), Fault> {
    let origin = match target.strip_prefix("http://").or_else(|| target.strip_prefix("https://")) {
        Some(rest) => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            if !facts.host.is_some_and(|h| h.eq_ignore_ascii_case(&rest.as_bytes()[..end])) {
                return Err(Fault::Malformed("the target names another host than the Host field"));
            }
            &rest[end..]
        }
        None if target.starts_with('/') || method == http::Method::CONNECT => target,
        None if target == "*" && method == http::Method::OPTIONS => target,
        None => return Err(Fault::Malformed("the target is not a path")),
    };
    let (path, query) = match origin.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (origin, None),
    };
    if target.contains('#') {
        return Err(Fault::Malformed("the target holds a fragment"));
    }
    let slice = |part: &str| if part.is_empty() { Bytes::new() } else { text.slice_ref(part.as_bytes()) };
    Ok((slice(path), query.map(slice)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(text: &str) -> Result<Option<RequestHead>, Fault> {
        read(&mut BytesMut::from(text), &Limits::default())
    }

    fn with(fields: &str) -> Result<RequestHead, Fault> {
        head(&format!("POST /v1/messages?beta=true HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).map(|h| h.expect("whole"))
    }

    #[test]
    fn a_plain_request_is_read() {
        let head = with("Content-Length: 12\r\nX-Api-Key: k\r\n").unwrap();
        assert_eq!((head.path(), head.query()), ("/v1/messages", Some("beta=true")));
        assert_eq!(head.framing, Framing::Length(12));
        assert_eq!(head.headers.get("x-api-key"), Some(&b"k"[..]));
        assert!(head.keep_alive && !head.expects_continue);
    }

    #[test]
    fn lengths_that_could_be_read_in_two_ways_are_refused() {
        for fields in [
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
            "Content-Length: 4\r\nContent-Length: 4\r\n",
            "Content-Length: 4\r\nContent-Length: 5\r\n",
            "Content-Length: 4, 5\r\n",
            "Content-Length: +4\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 0x4\r\n",
            "Content-Length: 111111111111111111111\r\n",
            "Content-Length: 4 \r\n",
            "Content-Length: \r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked, gzip\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: chunked \r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        ] {
            assert!(matches!(with(fields), Err(Fault::AmbiguousFraming(_))), "{fields:?}");
        }
        let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(matches!(head(old), Err(Fault::AmbiguousFraming(_))));
    }

    #[test]
    fn malformed_fields_are_refused() {
        for fields in [
            "A : b\r\n",
            " A: b\r\n",
            "A: b\r\n c\r\n",
            "A: b\0\r\n",
            "A: b\u{80}\r\n",
            ": b\r\n",
            "A: b\n",
            "A\r\n",
            "Host: b\r\n",
            "Expect: 200-ok\r\n",
        ] {
            assert!(matches!(with(fields), Err(Fault::Malformed(_))), "{fields:?}");
        }
        for host in ["evil/?", "evil/#", "a@b", "", "a b"] {
            assert!(
                matches!(head(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")), Err(Fault::Malformed(_))),
                "{host}"
            );
        }
        assert!(matches!(head("GET / HTTP/1.1\r\n\r\n"), Err(Fault::Malformed(_))));
        for target in ["http://b/", "v1/messages", "*", "a:443", "?x"] {
            let text = format!("POST {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            assert!(matches!(head(&text), Err(Fault::Malformed(_))), "{target}");
        }
        assert!(
            head("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").is_ok()
                && head("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n").is_ok()
        );
        assert_eq!(head("GET http://a/x?y HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().unwrap().path(), "/x");
    }

    #[test]
    fn what_is_too_large_is_named() {
        let long = "a".repeat(70_000);
        assert_eq!(head(&format!("GET /{long} HTTP/1.1\r\n")).err(), Some(Fault::UriTooLong));
        assert_eq!(
            head(&format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", &long[..20_000])).err(),
            Some(Fault::UriTooLong)
        );
        assert_eq!(with(&format!("A: {long}\r\n")).err(), Some(Fault::HeadersTooLarge));
        assert_eq!(with(&"A: b\r\n".repeat(300)).err(), Some(Fault::HeadersTooLarge));
    }

    proptest! {
        #[test]
        fn noise_never_panics(noise: Vec<u8>) {
            let _ = read(&mut BytesMut::from(&noise[..]), &Limits::default());
        }

        #[test]
        fn near_heads_never_panic(target in "[ -~]{0,40}", fields in "([A-Za-z-]{1,17}:[ -~]{0,20}\r\n){0,5}") {
            let _ = head(&format!("POST {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        }
    }
}
