//! The load generator of the benchmarks: HTTP/1.1 over loopback on one thread, bounded in count and time. It checks that
//! every answer is a 200 and whole, and prints one line of JSON.
//!
//! ```text
//! load closed  CONNECTIONS SECONDS URL BODY_FILE HEADER...   as many requests as the connections can carry
//! load rate    PER_SECOND  SECONDS URL BODY_FILE HEADER...   at a fixed rate, for latency
//! load streams CONNECTIONS SECONDS URL BODY_FILE HEADER...   streamed answers, counted by their events
//! load open    CONNECTIONS SECONDS URL BODY_FILE HEADER...   opens streams, says so, and reads them until the time is up
//! ```

use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Plan {
    address: String,
    request: Vec<u8>,
    until: Instant,
}

#[derive(Default)]
struct Tally {
    ok: u64,
    errors: u64,
    events: u64,
    latencies_us: Vec<u64>,
    first_error: Option<String>,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.ok += other.ok;
        self.errors += other.errors;
        self.events += other.events;
        self.latencies_us.extend(other.latencies_us);
        self.first_error = self.first_error.take().or(other.first_error);
    }

    fn failed(&mut self, why: String) {
        self.errors += 1;
        self.first_error.get_or_insert(why);
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [mode, count, seconds, url, body, headers @ ..] = args.as_slice() else {
        eprintln!("usage: load closed|rate|streams|open COUNT SECONDS URL BODY_FILE HEADER...");
        std::process::exit(2);
    };
    let count: u64 = count.parse().expect("COUNT is a number");
    let seconds: f64 = seconds.parse().expect("SECONDS is a number");
    assert!(seconds <= 120.0 && count <= 100_000, "bounded in count and time");
    let (address, path) = url.strip_prefix("http://").and_then(|u| u.split_once('/')).expect("URL is http://host:port/path");
    let body = std::fs::read(body).expect("BODY_FILE can be read");
    let mut request = format!("POST /{path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n");
    for header in headers {
        request.push_str(header);
        request.push_str("\r\n");
    }
    request.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let request = [request.as_bytes(), &body].concat();
    let started = Instant::now();
    let until = started + Duration::from_secs_f64(seconds);
    let plan = Rc::new(Plan { address: address.to_owned(), request, until });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let tally = tokio::task::LocalSet::new().block_on(&runtime, async move {
        match mode.as_str() {
            "closed" | "streams" => all(count, |_| repeat(plan.clone())).await,
            "rate" => rate(plan, count as f64, seconds).await,
            "open" => open(plan, count).await,
            _ => panic!("unknown mode"),
        }
    });
    print(&tally, started.elapsed().as_secs_f64());
}

fn print(tally: &Tally, seconds: f64) {
    let mut sorted = tally.latencies_us.clone();
    sorted.sort_unstable();
    let at = |share: f64| sorted.get(((sorted.len() as f64 - 1.0).max(0.0) * share) as usize).copied().unwrap_or(0);
    println!(
        "{{\"ok\":{},\"errors\":{},\"events\":{},\"seconds\":{seconds:.3},\"p50_us\":{},\"p99_us\":{},\"first_error\":\"{}\"}}",
        tally.ok,
        tally.errors,
        tally.events,
        at(0.50),
        at(0.99),
        tally.first_error.as_deref().unwrap_or("").replace(['"', '\\', '\n', '\r'], " "),
    );
}

async fn all<F: Future<Output = Tally> + 'static>(count: u64, start: impl Fn(u64) -> F) -> Tally {
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..count {
        tasks.spawn_local(start(n));
    }
    let mut sum = Tally::default();
    while let Some(tally) = tasks.join_next().await {
        sum.add(tally.expect("a task"));
    }
    sum
}

/// One connection, request after request until the time is up.
async fn repeat(plan: Rc<Plan>) -> Tally {
    let mut tally = Tally::default();
    let mut connection = None;
    while Instant::now() < plan.until {
        one(&plan, &mut connection, &mut tally, Instant::now()).await;
    }
    tally
}

/// Requests at fixed moments, whether or not the last one is back; late starts count as latency.
async fn rate(plan: Rc<Plan>, per_second: f64, seconds: f64) -> Tally {
    let started = Instant::now();
    let idle = Rc::new(std::cell::RefCell::new(Vec::new()));
    all((per_second * seconds) as u64, |n| {
        let (plan, idle) = (plan.clone(), idle.clone());
        let due = started + Duration::from_secs_f64(n as f64 / per_second);
        async move {
            let mut tally = Tally::default();
            tokio::time::sleep_until(due.into()).await;
            let mut connection = idle.borrow_mut().pop();
            one(&plan, &mut connection, &mut tally, Instant::now()).await;
            idle.borrow_mut().extend(connection);
            tally
        }
    })
    .await
}

/// Opens streams and reads what comes of each until the time is up.
async fn open(plan: Rc<Plan>, count: u64) -> Tally {
    all(count, |_| {
        let plan = plan.clone();
        async move {
            let mut tally = Tally::default();
            let reading = async {
                let mut stream = TcpStream::connect(&plan.address).await?;
                stream.write_all(&plan.request).await?;
                let mut buf = [0u8; 4096];
                loop {
                    match stream.read(&mut buf).await? {
                        0 => return Ok::<(), std::io::Error>(()),
                        n => tally.events += memchr::memmem::find_iter(&buf[..n], b"data: ").count() as u64,
                    }
                }
            };
            let _ = tokio::time::timeout_at(plan.until.into(), reading).await;
            match tally.events {
                0 => tally.failed("a stream that did not begin".into()),
                _ => tally.ok += 1,
            }
            tally
        }
    })
    .await
}

async fn one(plan: &Plan, connection: &mut Option<TcpStream>, tally: &mut Tally, begun: Instant) {
    match exchange(plan, connection).await {
        Ok(events) => {
            tally.ok += 1;
            tally.events += events;
            tally.latencies_us.push(begun.elapsed().as_micros() as u64);
        }
        Err(why) => {
            *connection = None;
            tally.failed(why);
        }
    }
}

/// Sends the request and reads the whole answer; returns how many events it held.
async fn exchange(plan: &Plan, connection: &mut Option<TcpStream>) -> Result<u64, String> {
    let stream = match connection {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(&plan.address).await.map_err(|e| e.to_string())?;
            stream.set_nodelay(true).map_err(|e| e.to_string())?;
            connection.insert(stream)
        }
    };
    stream.write_all(&plan.request).await.map_err(|e| e.to_string())?;
    let mut buf = Vec::with_capacity(16 * 1024);
    let (head, length) = loop {
        if stream.read_buf(&mut buf).await.map_err(|e| e.to_string())? == 0 {
            return Err("closed before the answer".into());
        }
        if let Some(end) = memchr::memmem::find(&buf, b"\r\n\r\n") {
            break (end + 4, length(&buf)?);
        }
    };
    // An answer in chunks ends with an empty one; nothing that is sent here holds that text.
    let whole = |buf: &[u8]| match length {
        Some(n) => buf.len() >= head + n,
        None => buf.ends_with(b"\r\n0\r\n\r\n"),
    };
    while !whole(&buf) {
        if stream.read_buf(&mut buf).await.map_err(|e| e.to_string())? == 0 {
            return Err("closed in the middle of the answer".into());
        }
    }
    Ok(memchr::memmem::find_iter(&buf[head..], b"data: ").count() as u64)
}

fn length(buf: &[u8]) -> Result<Option<usize>, String> {
    let mut slots = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut slots);
    response.parse(buf).map_err(|e| e.to_string())?;
    if response.code != Some(200) {
        return Err(String::from_utf8_lossy(&buf[..buf.len().min(300)]).into_owned());
    }
    let field = response.headers.iter().find(|h| h.name.eq_ignore_ascii_case("content-length"));
    Ok(field.and_then(|h| std::str::from_utf8(h.value).ok()?.parse().ok()))
}
