//! For tests: a scripted admin API on a free port, and a bench that runs a command in-process with streams, variables and
//! a clock of its own.

use crate::cli::terminal::Streams;
use crate::cli::{Exit, Session};
use crate::commands::{self, Cli};
use bytes::Bytes;
use clap::Parser;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::io::{self, Cursor, Write};
use std::sync::{Arc, Mutex};

/// The status of a route that hangs up instead of answering.
pub const HANG_UP: u16 = 0;
pub const NOW: &str = "2026-11-21T10:00:00Z";

/// A request as the fake server got it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `POST /admin/v1/keys?force=true`
    pub line: String,
    pub headers: HeaderMap,
    pub body: String,
}

impl Seen {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

struct Route {
    line: String,
    status: u16,
    body: String,
}

#[derive(Default)]
struct Script {
    routes: Vec<Route>,
    seen: Vec<Seen>,
}

/// A server that answers what it was told to. The same line several times is answered in turn; its last answer stays.
#[derive(Clone)]
pub struct Fake {
    pub url: String,
    script: Arc<Mutex<Script>>,
}

impl Fake {
    pub async fn start(routes: &[(&str, u16, &str)]) -> Fake {
        let routes = routes
            .iter()
            .map(|(line, status, body)| Route { line: line.to_string(), status: *status, body: body.to_string() })
            .collect();
        let script = Arc::new(Mutex::new(Script { routes, seen: Vec::new() }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let for_server = script.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let script = for_server.clone();
                let service = service_fn(move |request| answer(request, script.clone()));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Fake { url, script }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.script.lock().unwrap().seen.clone()
    }

    pub fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).collect()
    }
}

async fn answer(request: Request<Incoming>, script: Arc<Mutex<Script>>) -> io::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let line = format!("{} {}", head.method, head.uri);
    let mut script = script.lock().unwrap();
    let seen = Seen { line: line.clone(), headers: head.headers, body: String::from_utf8_lossy(&body).into_owned() };
    script.seen.push(seen);
    let matching: Vec<usize> = (0..script.routes.len()).filter(|i| script.routes[*i].line == line).collect();
    let (status, body) = match matching[..] {
        [] => (404, format!(r#"{{"title":"the test has no route {line}","code":"not_found"}}"#)),
        [only] => (script.routes[only].status, script.routes[only].body.clone()),
        [first, ..] => {
            let route = script.routes.remove(first);
            (route.status, route.body)
        }
    };
    if status == HANG_UP {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    Ok(Response::builder().status(status).header("x-request-id", "req_test").body(Full::new(body.into())).unwrap())
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// How a command ended and what it said.
pub struct Ran {
    pub exit: Exit,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Everything, for a snapshot.
    pub fn transcript(&self) -> String {
        format!("exit {}\n--- stdout\n{}--- stderr\n{}", self.exit.code(), self.out, self.err)
    }
}

#[derive(Clone, Default)]
pub struct Bench {
    env: HashMap<String, String>,
    input: String,
    on_terminal: bool,
    out: Sink,
    err: Sink,
}

impl Bench {
    pub fn offline() -> Bench {
        Bench::default().env("NO_COLOR", "1")
    }

    pub fn with(fake: &Fake) -> Bench {
        Bench::offline().env("ANYKEY_URL", &fake.url).env("ANYKEY_ADMIN_KEY", "ak-admin-test")
    }

    pub fn env(mut self, name: &str, value: &str) -> Bench {
        self.env.insert(name.into(), value.into());
        self
    }

    pub fn input(mut self, text: &str) -> Bench {
        self.input = text.into();
        self
    }

    /// A person sits there, before 120 columns.
    pub fn on_terminal(mut self) -> Bench {
        self.on_terminal = true;
        self
    }

    pub fn session(&self, flags: &[&str]) -> Session {
        self.parse(flags).0
    }

    fn parse(&self, args: &[&str]) -> (Session, Option<commands::Command>) {
        let cli = Cli::try_parse_from(std::iter::once(&"anykey").chain(args)).unwrap();
        let env = self.env.clone();
        let streams = Streams {
            out: Box::new(self.out.clone()),
            err: Box::new(self.err.clone()),
            input: Box::new(Cursor::new(self.input.clone().into_bytes())),
            out_is_tty: self.on_terminal,
            input_is_tty: self.on_terminal,
            width: Some(120),
        };
        let environment = Box::new(move |name: &str| env.get(name).cloned());
        (Session::new(cli.globals, environment, streams, NOW.parse().unwrap()), cli.command)
    }

    pub async fn run(&self, args: &[&str]) -> Ran {
        self.out.0.lock().unwrap().clear();
        self.err.0.lock().unwrap().clear();
        let (mut session, command) = self.parse(args);
        let exit = commands::finish(commands::dispatch(command.unwrap(), &mut session).await, &mut session);
        Ran { exit, out: self.out.text(), err: self.err.text() }
    }
}
