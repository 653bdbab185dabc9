//! An upstream that answers every request with the very bytes it was given: streams that trickle, break and lie.

use crate::wait::DEADLINE;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

/// What to answer: bytes in as many writes as there are pieces.
#[derive(Clone, Debug, Default)]
pub struct Canned {
    pieces: Vec<Vec<u8>>,
    /// Close the connection behind the last byte.
    close: bool,
}

impl Canned {
    /// Exactly these bytes, head and all; the connection stays open.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Canned { pieces: vec![bytes.into()], close: false }
    }

    /// An answer with a length.
    pub fn whole(status: u16, fields: &[(&str, &str)], body: &[u8]) -> Self {
        Canned::raw([&head(status, fields, &format!("content-length: {}", body.len())), body].concat())
    }

    pub fn json(body: &str) -> Self {
        Canned::whole(200, &[("content-type", "application/json")], body.as_bytes())
    }

    /// A stream with each piece as a chunk and a write of its own, brought to its end.
    pub fn stream<'p>(content_type: &str, pieces: impl IntoIterator<Item = &'p [u8]>) -> Self {
        let mut canned = Canned::cut_stream(content_type, pieces);
        canned.pieces.push(b"0\r\n\r\n".to_vec());
        canned.close = false;
        canned
    }

    /// The same without its end: the connection closes behind the last piece.
    pub fn cut_stream<'p>(content_type: &str, pieces: impl IntoIterator<Item = &'p [u8]>) -> Self {
        let mut out = vec![head(200, &[("content-type", content_type)], "transfer-encoding: chunked")];
        let chunk = |piece: &[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
        out.extend(pieces.into_iter().filter(|piece| !piece.is_empty()).map(chunk));
        Canned { pieces: out, close: true }
    }

    /// The same without its end and without a close: nothing more comes.
    pub fn stalled_stream<'p>(content_type: &str, pieces: impl IntoIterator<Item = &'p [u8]>) -> Self {
        Canned { close: false, ..Canned::cut_stream(content_type, pieces) }
    }

    #[must_use]
    pub fn then_close(self) -> Self {
        Canned { close: true, ..self }
    }
}

fn head(status: u16, fields: &[(&str, &str)], framing: &str) -> Vec<u8> {
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 {status} Canned\r\n{fields}{framing}\r\n\r\n").into_bytes()
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub head: String,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// Holds answers back until it is opened.
#[derive(Debug, Default)]
pub struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let open = self.open.lock().unwrap();
        let (_open, waited) = self.opened.wait_timeout_while(open, DEADLINE, |open| !*open).unwrap();
        assert!(!waited.timed_out(), "nobody opened the gate");
    }
}

#[derive(Debug, Default)]
struct State {
    answer: Mutex<Canned>,
    gate: Mutex<Option<Arc<Gate>>>,
    seen: Mutex<Vec<Seen>>,
    /// Connections that the other side has closed.
    hung_up: AtomicUsize,
    stopped: AtomicBool,
}

/// The upstream; it stops when this is dropped.
#[derive(Debug)]
pub struct CannedUpstream {
    pub address: SocketAddr,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

impl CannedUpstream {
    pub fn start() -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = state.clone();
        let accepting = Some(std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let state = shared.clone();
                // Ends when the other side closes.
                std::thread::spawn(move || serve(stream, &state));
            }
        }));
        CannedUpstream { address, state, accepting }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on, this is the answer.
    pub fn answer(&self, answer: Canned) {
        *self.state.answer.lock().unwrap() = answer;
    }

    /// From now on, answers wait for this gate.
    pub fn gate(&self) -> Arc<Gate> {
        let gate = Arc::new(Gate::default());
        *self.state.gate.lock().unwrap() = Some(gate.clone());
        gate
    }

    /// Everything that came so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// How many connections the other side has closed.
    pub fn hung_up(&self) -> usize {
        self.state.hung_up.load(Ordering::SeqCst)
    }

    /// Takes what came so far.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.seen.lock().unwrap())
    }
}

impl Drop for CannedUpstream {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        if let Some(gate) = &*self.state.gate.lock().unwrap_or_else(std::sync::PoisonError::into_inner) {
            gate.open();
        }
        // Wakes the listener, which then sees that it shall stop.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn serve(mut stream: TcpStream, state: &State) {
    let _ = stream.set_nodelay(true);
    let mut buf = Vec::new();
    while let Ok(Some(request)) = read(&mut stream, &mut buf) {
        state.seen.lock().unwrap().push(request);
        let gate = state.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.pass();
        }
        let answer = state.answer.lock().unwrap().clone();
        let sent = answer.pieces.iter().all(|piece| stream.write_all(piece).is_ok());
        if sent && answer.close {
            return;
        }
        if !sent {
            break;
        }
    }
    state.hung_up.fetch_add(1, Ordering::SeqCst);
}

/// Reads one request; `None` where the other side closed instead.
fn read(stream: &mut TcpStream, buf: &mut Vec<u8>) -> io::Result<Option<Seen>> {
    let mut piece = [0; 16 * 1024];
    loop {
        if let Some(at) = buf.windows(4).position(|window| window == b"\r\n\r\n") {
            let seen = Seen { head: String::from_utf8_lossy(&buf[..at]).into_owned(), body: Vec::new() };
            let length: usize = seen.header("content-length").map_or(0, |n| n.parse().unwrap());
            if buf.len() >= at + 4 + length {
                let body = buf[at + 4..at + 4 + length].to_vec();
                buf.drain(..at + 4 + length);
                return Ok(Some(Seen { body, ..seen }));
            }
        }
        match stream.read(&mut piece)? {
            0 => return Ok(None),
            n => buf.extend_from_slice(&piece[..n]),
        }
    }
}
