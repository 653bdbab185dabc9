//! A mail server that keeps every letter, with STARTTLS or TLS from the first byte, and faults on request.

use crate::wait::DEADLINE;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// The authority of [`SmtpServer`]'s certificate, for `ca_file`.
pub fn test_ca() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/tls/ca.pem").into()
}

/// How a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTls {
    StartTls,
    Implicit,
    None,
}

/// What goes wrong with one letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailFault {
    /// 450 to the recipient: come back later.
    Greylist,
    /// 550 to the recipient: there is nobody of this name.
    NoSuchMailbox,
    /// 535 to the credentials.
    WrongPassword,
    /// The connection closes in the middle of the letter.
    Cut,
    /// The letter is kept, and the connection closes before that is said.
    LostAnswer,
}

/// A letter that was kept.
#[derive(Clone, Debug)]
pub struct KeptLetter {
    pub from: String,
    pub to: Vec<String>,
    /// As it was sent, without the dots that hide dots.
    pub data: String,
    pub encrypted: bool,
    /// `user password`
    pub credentials: Option<String>,
}

impl KeptLetter {
    /// The value of a header, unfolded.
    pub fn header(&self, name: &str) -> Option<String> {
        let (head, _) = self.data.split_once("\r\n\r\n")?;
        let head = head.replace("\r\n ", " ").replace("\r\n\t", " ");
        let mut fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
        fields.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    }
}

#[derive(Default)]
struct State {
    kept: Mutex<Vec<KeptLetter>>,
    faults: Mutex<VecDeque<MailFault>>,
    attempts: AtomicUsize,
    stopped: AtomicBool,
}

/// The server; it stops when this is dropped.
pub struct SmtpServer {
    pub address: SocketAddr,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

impl SmtpServer {
    /// One that asks for credentials where it encrypts.
    pub fn start(tls: MailTls) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = state.clone();
        let config = config();
        let accepting = Some(std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (state, config) = (shared.clone(), config.clone());
                std::thread::spawn(move || {
                    let _ = stream.set_read_timeout(Some(DEADLINE));
                    // The other side ends a conversation as it likes.
                    let _ = Talk::new(stream, tls, config, &state).and_then(Talk::run);
                });
            }
        }));
        SmtpServer { address, state, accepting }
    }

    /// What goes wrong with the next letters, one each.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = MailFault>) {
        self.state.faults.lock().unwrap().extend(faults);
    }

    pub fn kept(&self) -> Vec<KeptLetter> {
        self.state.kept.lock().unwrap().clone()
    }

    pub fn take_kept(&self) -> Vec<KeptLetter> {
        std::mem::take(&mut self.state.kept.lock().unwrap())
    }

    /// How often somebody connected and said who they are.
    pub fn attempts(&self) -> usize {
        self.state.attempts.load(Ordering::SeqCst)
    }

    /// `[smtp]` of a settings file.
    pub fn settings(&self, tls: &str) -> String {
        let credentials = if tls == "none" { "" } else { "username = \"anykey\"\npassword = \"pa55\"\n" };
        format!(
            "[smtp]\nhost = \"127.0.0.1\"\nport = {}\ntls = {tls:?}\nfrom = \"anykey <keys@example.com>\"\nca_file = {:?}\n\
             {credentials}\n",
            self.address.port(),
            test_ca()
        )
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn config() -> Arc<ServerConfig> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tls");
    let chain = CertificateDer::pem_file_iter(format!("{folder}/server.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(format!("{folder}/server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Arc::new(config)
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.read(buf),
            Wire::Tls(stream) => stream.read(buf),
        }
    }
}

impl Wire {
    fn say(&mut self, line: &str) -> io::Result<()> {
        let bytes = format!("{line}\r\n");
        match self {
            Wire::Plain(stream) => stream.write_all(bytes.as_bytes()),
            Wire::Tls(stream) => stream.write_all(bytes.as_bytes()).and_then(|()| stream.flush()),
        }
    }
}

/// One conversation.
struct Talk<'s> {
    wire: Wire,
    buf: Vec<u8>,
    tls: MailTls,
    config: Arc<ServerConfig>,
    state: &'s State,
    credentials: Option<String>,
    from: String,
    to: Vec<String>,
}

impl<'s> Talk<'s> {
    fn new(stream: TcpStream, tls: MailTls, config: Arc<ServerConfig>, state: &'s State) -> io::Result<Self> {
        let mut talk = Talk {
            wire: Wire::Plain(stream),
            buf: Vec::new(),
            tls,
            config,
            state,
            credentials: None,
            from: String::new(),
            to: Vec::new(),
        };
        if tls == MailTls::Implicit {
            talk = talk.encrypted()?;
        }
        Ok(talk)
    }

    fn encrypted(mut self) -> io::Result<Self> {
        // What was sent before the handshake was not protected by it.
        self.buf.clear();
        let connection = ServerConnection::new(self.config.clone()).map_err(io::Error::other)?;
        self.wire = match self.wire {
            Wire::Plain(stream) => Wire::Tls(Box::new(StreamOwned::new(connection, stream))),
            tls @ Wire::Tls(_) => tls,
        };
        Ok(self)
    }

    fn is_encrypted(&self) -> bool {
        matches!(self.wire, Wire::Tls(_))
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.buf.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buf[..at]).into_owned();
                self.buf.drain(..at + 2);
                return Ok(line);
            }
            let mut piece = [0; 4096];
            match self.wire.read(&mut piece)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => self.buf.extend_from_slice(&piece[..n]),
            }
        }
    }

    /// Whether the next letter shall suffer this.
    fn suffers(&self, fault: MailFault) -> bool {
        let mut faults = self.state.faults.lock().unwrap();
        let due = faults.front() == Some(&fault);
        if due {
            faults.pop_front();
        }
        due
    }

    fn run(mut self) -> io::Result<()> {
        self.wire.say("220 localhost ESMTP")?;
        loop {
            let line = self.line()?;
            let verb = line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" | "HELO" => self.hello()?,
                "STARTTLS" => {
                    self.wire.say("220 go ahead")?;
                    self = self.encrypted()?;
                }
                "AUTH" => self.authenticate(&line)?,
                "MAIL" | "RCPT" if self.needs_credentials() => self.wire.say("530 who are you?")?,
                "MAIL" => {
                    self.from = address(&line);
                    self.to.clear();
                    self.wire.say("250 ok")?;
                }
                "RCPT" if self.suffers(MailFault::Greylist) => self.wire.say("450 4.7.1 come back later")?,
                "RCPT" if self.suffers(MailFault::NoSuchMailbox) => self.wire.say("550 5.1.1 there is nobody here")?,
                "RCPT" => {
                    self.to.push(address(&line));
                    self.wire.say("250 ok")?;
                }
                "DATA" => {
                    if self.data()? {
                        return Ok(());
                    }
                }
                "RSET" | "NOOP" => self.wire.say("250 ok")?,
                "QUIT" => return self.wire.say("221 bye"),
                _ => self.wire.say("502 what?")?,
            }
        }
    }

    fn needs_credentials(&self) -> bool {
        self.tls != MailTls::None && self.credentials.is_none()
    }

    fn hello(&mut self) -> io::Result<()> {
        self.state.attempts.fetch_add(1, Ordering::SeqCst);
        self.wire.say("250-localhost")?;
        if self.tls == MailTls::StartTls && !self.is_encrypted() {
            self.wire.say("250-STARTTLS")?;
        }
        if self.is_encrypted() {
            self.wire.say("250-AUTH PLAIN LOGIN")?;
        }
        self.wire.say("250 8BITMIME")
    }

    fn authenticate(&mut self, line: &str) -> io::Result<()> {
        if !self.is_encrypted() {
            return self.wire.say("538 not in the clear");
        }
        let given = line.split_whitespace().nth(2).unwrap_or_default().to_owned();
        if self.suffers(MailFault::WrongPassword) || given != PLAIN {
            return self.wire.say("535 5.7.8 that is not the password");
        }
        self.credentials = Some("anykey pa55".into());
        self.wire.say("235 welcome")
    }

    /// Takes a letter; says whether the conversation is cut.
    fn data(&mut self) -> io::Result<bool> {
        self.wire.say("354 go on")?;
        let mut data = String::new();
        loop {
            let line = self.line()?;
            if self.suffers(MailFault::Cut) {
                return Ok(true);
            }
            if line == "." {
                break;
            }
            data.push_str(line.strip_prefix('.').unwrap_or(&line));
            data.push_str("\r\n");
        }
        self.state.kept.lock().unwrap().push(KeptLetter {
            from: self.from.clone(),
            to: self.to.clone(),
            data,
            encrypted: self.is_encrypted(),
            credentials: self.credentials.clone(),
        });
        if self.suffers(MailFault::LostAnswer) {
            return Ok(true);
        }
        self.wire.say("250 kept")?;
        Ok(false)
    }
}

/// `\0anykey\0pa55` in base64, as AUTH PLAIN has it.
const PLAIN: &str = "AGFueWtleQBwYTU1";

fn address(line: &str) -> String {
    line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(String::new(), |(it, _)| it.to_owned())
}
