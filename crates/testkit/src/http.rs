//! An HTTP/1.1 client that hides nothing: it sends the bytes that it is given, and says of an answer whether its framing
//! was brought to its end.

use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::wait::DEADLINE;

/// A request to be written out.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
}

impl Request {
    pub fn new(method: &str, target: impl Into<String>) -> Self {
        Request { method: method.into(), target: target.into(), headers: Vec::new(), body: None }
    }

    pub fn get(target: impl Into<String>) -> Self {
        Request::new("GET", target)
    }

    pub fn post(target: impl Into<String>) -> Self {
        Request::new("POST", target)
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    #[must_use]
    pub fn bearer(self, secret: &str) -> Self {
        self.header("authorization", format!("Bearer {secret}"))
    }

    /// A JSON body of exactly these bytes.
    #[must_use]
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Request { body: Some(body.into()), ..self }.header("content-type", "application/json")
    }

    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.body(body.to_string())
    }

    /// The request as it goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = format!("{} {} HTTP/1.1\r\nhost: gateway.test\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.headers {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if let Some(body) = &self.body {
            out.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(self.body.as_deref().unwrap_or_default());
        out
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether the framing was brought to its end; an answer without a length or chunks never is.
    pub whole: bool,
    /// Statuses of interim answers (1xx) before it.
    pub interim: Vec<u16>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The id by which its records are found.
    pub fn id(&self) -> &str {
        self.header("x-request-id").unwrap_or_else(|| panic!("no x-request-id in {self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    /// Everything that the caller saw, for greps.
    pub fn seen(&self) -> String {
        format!("{:?}\n{}", self.headers, self.text())
    }
}

/// The connection ended before an answer began.
#[derive(Debug)]
pub struct NoReply(pub io::Error);

/// What of an answer's content is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Length(u64),
    Chunks,
    UntilClose,
    Nothing,
}

/// A connection on which bytes are sent as they are given.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buf: Vec<u8>,
    rest: Rest,
}

impl Connection {
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        Self::within(address, DEADLINE)
    }

    /// One that gives up soon, for what nothing depends on.
    pub(crate) fn briefly(address: SocketAddr) -> io::Result<Self> {
        Self::within(address, Duration::from_secs(2))
    }

    fn within(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Connection { stream, buf: Vec::new(), rest: Rest::Nothing })
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends as much as the other side takes before it closes; what is refused on the way is no error.
    pub fn send_some(&mut self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        for piece in bytes.chunks(16 * 1024) {
            if self.stream.write_all(piece).is_err() {
                break;
            }
            sent += piece.len();
        }
        sent
    }

    pub fn request(&mut self, request: &Request) -> Result<Reply, NoReply> {
        self.send(&request.bytes()).map_err(NoReply)?;
        self.reply()
    }

    /// Reads one answer whole, or as far as it comes.
    pub fn reply(&mut self) -> Result<Reply, NoReply> {
        let mut reply = self.begin()?;
        self.finish(&mut reply);
        Ok(reply)
    }

    /// Reads the head of an answer; its content is then read by [`Connection::piece`] or [`Connection::finish`].
    pub fn begin(&mut self) -> Result<Reply, NoReply> {
        let mut interim = Vec::new();
        loop {
            let (status, headers) = self.head().map_err(NoReply)?;
            if (100..200).contains(&status) && status != 101 {
                interim.push(status);
                continue;
            }
            let reply = Reply { status, headers, body: Vec::new(), whole: false, interim };
            self.rest = rest_of(&reply);
            return Ok(reply);
        }
    }

    /// Reads an interim answer (1xx) and gives its status.
    pub fn interim(&mut self) -> Result<u16, NoReply> {
        let (status, _) = self.head().map_err(NoReply)?;
        assert!((100..200).contains(&status), "{status} is not an interim answer");
        Ok(status)
    }

    /// The next piece of the content: a chunk, or what has arrived. `None` at the end, an error where it broke off.
    pub fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.rest {
            Rest::Nothing => Ok(None),
            Rest::Length(left) => {
                self.fill(1)?;
                let take = usize::try_from(left).unwrap().min(self.buf.len());
                self.rest = if take as u64 == left { Rest::Nothing } else { Rest::Length(left - take as u64) };
                Ok(Some(self.buf.drain(..take).collect()))
            }
            Rest::Chunks => self.chunk(),
            Rest::UntilClose => match self.fill(1) {
                Ok(()) => Ok(Some(std::mem::take(&mut self.buf))),
                Err(error) => Err(error),
            },
        }
    }

    /// Reads the content to its end, or as far as it comes.
    pub fn finish(&mut self, reply: &mut Reply) {
        loop {
            match self.piece() {
                Ok(Some(piece)) => reply.body.extend_from_slice(&piece),
                Ok(None) => {
                    reply.whole = true;
                    return;
                }
                Err(_) => return,
            }
        }
    }

    /// Everything that comes until the other side closes.
    pub fn read_to_close(&mut self) -> Vec<u8> {
        while self.fill(self.buf.len() + 1).is_ok() {}
        std::mem::take(&mut self.buf)
    }

    /// Waits for the other side to close; false when it sends something first or leaves the connection open.
    pub fn is_closed(&mut self) -> bool {
        match self.fill(1) {
            Ok(()) => false,
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
        }
    }

    pub fn hang_up(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn fill(&mut self, least: usize) -> io::Result<()> {
        let mut piece = [0; 16 * 1024];
        while self.buf.len() < least {
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.buf.extend_from_slice(&piece[..n]),
                // A test that was stopped and goes on.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes what comes before the next `end`, which is taken too.
    fn take_until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.buf.windows(end.len()).position(|window| window == end) {
                let mut taken: Vec<u8> = self.buf.drain(..at + end.len()).collect();
                taken.truncate(at);
                return Ok(taken);
            }
            self.fill(self.buf.len() + 1)?;
        }
    }

    fn head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let head = String::from_utf8(self.take_until(b"\r\n\r\n")?).expect("the head of an answer is text");
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not a status line: {first:?}"));
        let field = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("not a field: {line:?}"));
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        Ok((status, lines.map(field).collect()))
    }

    fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = String::from_utf8(self.take_until(b"\r\n")?).expect("a chunk's size is text");
        let size = usize::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("not a chunk's size: {line:?}"));
        if size == 0 {
            assert_eq!(self.take_until(b"\r\n")?, b"", "an answer has no trailers");
            self.rest = Rest::Nothing;
            return Ok(None);
        }
        self.fill(size + 2)?;
        let chunk = self.buf.drain(..size).collect();
        assert_eq!(self.take_until(b"\r\n")?, b"", "a chunk ends where its size says");
        Ok(Some(chunk))
    }
}

fn rest_of(reply: &Reply) -> Rest {
    let chunked = reply.header("transfer-encoding").is_some_and(|coding| coding == "chunked");
    match reply.header("content-length") {
        Some(_) if chunked => panic!("an answer has both a length and chunks: {reply:?}"),
        Some(length) => match length.parse().expect("a length is a number") {
            0 => Rest::Nothing,
            length => Rest::Length(length),
        },
        None if chunked => Rest::Chunks,
        None if matches!(reply.status, 204 | 304) => Rest::Nothing,
        None => Rest::UntilClose,
    }
}
