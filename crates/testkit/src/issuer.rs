//! An issuer of OpenID Connect on this machine. It is strict with its client (redirect URI, PKCE, secret, each code once),
//! and misbehaves as it is told to.

use crate::http::{Connection, Request};
use crate::jwt::{Alg, Signer, encode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

pub const CLIENT_ID: &str = "any key/client";
/// With signs that have to be encoded on their way.
pub const CLIENT_SECRET: &str = "CANARY:secret+of/the client%";

type Edit = Box<dyn FnMut(&mut Value) + Send>;
type Forge = Box<dyn FnMut(&Signer, Value) -> String + Send>;

/// What a code was given for.
struct Grant {
    nonce: String,
    challenge: String,
    redirect_uri: String,
}

struct Ways {
    redirect_uri: String,
    /// Who is signed in there: the claims of their ID token, beside those of every token.
    claims: Value,
    userinfo: Value,
    signers: Vec<Signer>,
    grants: HashMap<String, Grant>,
    secret_in_body: bool,
    /// What goes wrong.
    discovery: Option<Edit>,
    id_token: Option<Edit>,
    forge: Option<Forge>,
    /// Whole answers, by path.
    instead: HashMap<String, Vec<u8>>,
    seen: Vec<String>,
    clock_ms: Option<i64>,
}

struct Shared {
    address: SocketAddr,
    ways: Mutex<Ways>,
    stopped: AtomicBool,
}

/// The issuer; it stops when this is dropped.
pub struct FakeIssuer {
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl FakeIssuer {
    /// One whose client is sent back to `redirect_uri` and nowhere else.
    pub fn start(redirect_uri: &str) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let ways = Ways {
            redirect_uri: redirect_uri.to_owned(),
            claims: json!({"sub": "subject-1", "email": "ada@example.com", "email_verified": true, "name": "Ada"}),
            userinfo: json!({"sub": "subject-1"}),
            signers: vec![Signer::new("first", Alg::Es256)],
            grants: HashMap::new(),
            secret_in_body: false,
            discovery: None,
            id_token: None,
            forge: None,
            instead: HashMap::new(),
            seen: Vec::new(),
            clock_ms: None,
        };
        let shared =
            Arc::new(Shared { address: listener.local_addr().unwrap(), ways: Mutex::new(ways), stopped: false.into() });
        let serving = shared.clone();
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (shared, stream) = (serving.clone(), stream.unwrap());
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        FakeIssuer { shared, accepting: Some(accepting) }
    }

    /// What its tokens call it.
    pub fn url(&self) -> String {
        self.shared.url()
    }

    /// The claims of whoever is signed in there from now on.
    pub fn is(&self, claims: Value) {
        self.shared.ways().claims = claims;
    }

    /// What is asked for behind the token.
    pub fn knows(&self, userinfo: Value) {
        self.shared.ways().userinfo = userinfo;
    }

    /// Publishes and signs with this key alone.
    pub fn signs_with(&self, signer: Signer) {
        self.shared.ways().signers = vec![signer];
    }

    /// Wants the secret in the body, and says so.
    pub fn wants_the_secret_in_the_body(&self) {
        self.shared.ways().secret_in_body = true;
    }

    /// The clock of its tokens, which else is this machine's.
    pub fn clock_is(&self, ms: i64) {
        self.shared.ways().clock_ms = Some(ms);
    }

    /// Alters what it publishes of itself.
    pub fn describes_itself(&self, edit: impl FnMut(&mut Value) + Send + 'static) {
        self.shared.ways().discovery = Some(Box::new(edit));
    }

    /// Alters the claims of ID tokens before they are signed.
    pub fn lies(&self, edit: impl FnMut(&mut Value) + Send + 'static) {
        self.shared.ways().id_token = Some(Box::new(edit));
    }

    /// Makes ID tokens in another way.
    pub fn forges(&self, forge: impl FnMut(&Signer, Value) -> String + Send + 'static) {
        self.shared.ways().forge = Some(Box::new(forge));
    }

    /// Answers a path with exactly these bytes, and closes.
    pub fn answers(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.shared.ways().instead.insert(path.to_owned(), bytes.into());
    }

    /// Behaves again.
    pub fn behaves(&self) {
        let mut ways = self.shared.ways();
        (ways.discovery, ways.id_token, ways.forge) = (None, None, None);
        ways.instead.clear();
    }

    /// The first lines of requests for a path.
    pub fn asked(&self, path: &str) -> usize {
        self.shared.ways().seen.iter().filter(|seen| seen.as_str() == path).count()
    }

    /// Signs whatever claims, as the issuer's own: logout tokens.
    pub fn sign(&self, claims: &Value) -> String {
        self.shared.ways().signers[0].token(claims)
    }

    /// What a browser does that was sent here: it signs in, and is sent back. The path and query of where.
    pub fn sign_in(&self, url: &str) -> String {
        let origin = format!("http://{}", self.shared.address);
        let target = url.strip_prefix(&origin).unwrap_or_else(|| panic!("{url} is not of this issuer"));
        let mut connection = Connection::open(self.shared.address).unwrap();
        let reply = connection.request(&Request::get(target)).unwrap();
        assert_eq!(reply.status, 303, "{}", reply.text());
        let location = reply.header("location").unwrap();
        let path = location.find("://").and_then(|at| location[at + 3..].find('/').map(|slash| at + 3 + slash));
        location[path.unwrap()..].to_owned()
    }
}

impl Drop for FakeIssuer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the one that accepts.
        let _ = TcpStream::connect(self.shared.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// A request, as far as an issuer looks at it.
struct Asked {
    method: String,
    path: String,
    query: HashMap<String, String>,
    headers: HashMap<String, String>,
    body: String,
}

impl Shared {
    fn url(&self) -> String {
        format!("http://{}/realm", self.address)
    }

    fn ways(&self) -> std::sync::MutexGuard<'_, Ways> {
        self.ways.lock().unwrap()
    }

    fn serve(&self, mut stream: TcpStream) {
        let Some(asked) = read(&mut stream) else { return };
        self.ways().seen.push(asked.path.clone());
        let instead = self.ways().instead.get(&asked.path).cloned();
        let answer = instead.unwrap_or_else(|| self.answer(&asked));
        let _ = stream.write_all(&answer);
    }

    fn answer(&self, asked: &Asked) -> Vec<u8> {
        match asked.path.as_str() {
            "/realm/.well-known/openid-configuration" => json_answer(200, &self.discovery()),
            "/realm/keys" => {
                let keys: Vec<Value> = self.ways().signers.iter().map(Signer::jwk).collect();
                json_answer(200, &json!({ "keys": keys }))
            }
            "/realm/authorize" => self.authorize(asked),
            "/realm/token" => self.token(asked),
            "/realm/userinfo" => match asked.headers.get("authorization").map(String::as_str) {
                Some("Bearer an-access-token") => json_answer(200, &self.ways().userinfo),
                _ => json_answer(401, &json!({"error": "invalid_token"})),
            },
            _ => json_answer(404, &json!({"error": "not_found"})),
        }
    }

    fn discovery(&self) -> Value {
        let (base, mut ways) = (self.url(), self.ways());
        let mut found = json!({
            "issuer": base,
            "authorization_endpoint": format!("{base}/authorize?tenant=1"),
            "token_endpoint": format!("{base}/token"),
            "jwks_uri": format!("{base}/keys"),
            "userinfo_endpoint": format!("{base}/userinfo"),
            "end_session_endpoint": format!("{base}/logout"),
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["ES256", "RS256"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
        });
        let method = if ways.secret_in_body { "client_secret_post" } else { "client_secret_basic" };
        found["token_endpoint_auth_methods_supported"] = json!([method]);
        if let Some(edit) = &mut ways.discovery {
            edit(&mut found);
        }
        found
    }

    fn authorize(&self, asked: &Asked) -> Vec<u8> {
        let url = self.url();
        let mut ways = self.ways();
        let of = |name: &str| asked.query.get(name).cloned().unwrap_or_default();
        let wrong = |what: &str| json_answer(400, &json!({"error": "invalid_request", "what": what}));
        let checks = [
            ("tenant", of("tenant") == "1"),
            ("response_type", of("response_type") == "code"),
            ("client_id", of("client_id") == CLIENT_ID),
            ("redirect_uri", of("redirect_uri") == ways.redirect_uri),
            ("scope", of("scope").split(' ').any(|scope| scope == "openid")),
            ("state", of("state").len() >= 32),
            ("nonce", of("nonce").len() >= 32 && of("nonce") != of("state")),
            ("code_challenge", of("code_challenge").len() == 43),
            ("code_challenge_method", of("code_challenge_method") == "S256"),
        ];
        if let Some((what, _)) = checks.iter().find(|(_, fine)| !fine) {
            return wrong(what);
        }
        let code = format!("code-{}", ways.seen.len());
        let grant = Grant { nonce: of("nonce"), challenge: of("code_challenge"), redirect_uri: of("redirect_uri") };
        ways.grants.insert(code.clone(), grant);
        let location = format!(
            "{}?code={code}&state={}&iss={}&session_state=x",
            ways.redirect_uri,
            of("state"),
            url.replace(':', "%3A").replace('/', "%2F")
        );
        format!("HTTP/1.1 303 See Other\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n").into_bytes()
    }

    fn token(&self, asked: &Asked) -> Vec<u8> {
        let url = self.url();
        let mut ways = self.ways();
        let refuse = |status, error: &str| json_answer(status, &json!({ "error": error }));
        let form = pairs(&asked.body);
        let of = |name: &str| form.get(name).cloned().unwrap_or_default();
        let urlencoded = asked.headers.get("content-type").is_some_and(|t| t == "application/x-www-form-urlencoded");
        if asked.method != "POST" || !urlencoded || of("grant_type") != "authorization_code" {
            return refuse(400, "invalid_request");
        }
        let basic = format!("Basic {}", BASE64.encode("any%20key%2Fclient:CANARY%3Asecret%2Bof%2Fthe%20client%25"));
        let authenticated = match asked.headers.get("authorization") {
            Some(sent) => !ways.secret_in_body && *sent == basic && !form.contains_key("client_secret"),
            None => ways.secret_in_body && of("client_id") == CLIENT_ID && of("client_secret") == CLIENT_SECRET,
        };
        if !authenticated {
            return refuse(401, "invalid_client");
        }
        // Each code once, also when what follows is wrong.
        let Some(grant) = ways.grants.remove(&of("code")) else { return refuse(400, "invalid_grant") };
        let verifier = of("code_verifier");
        let challenge = encode(ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes()));
        let long = (43..=128).contains(&verifier.len());
        if grant.redirect_uri != of("redirect_uri") || grant.challenge != challenge || !long {
            return refuse(400, "invalid_grant");
        }
        let now = ways.clock_ms.unwrap_or_else(now_ms) / 1000;
        let mut claims = json!({"iss": url, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": grant.nonce});
        for (name, value) in ways.claims.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let ways = &mut *ways;
        if let Some(edit) = &mut ways.id_token {
            edit(&mut claims);
        }
        let signer = ways.signers.last().unwrap();
        let token = match &mut ways.forge {
            Some(forge) => forge(signer, claims),
            None => signer.token(&claims),
        };
        let answer = json!({"access_token": "an-access-token", "token_type": "Bearer", "id_token": token});
        json_answer(200, &answer)
    }
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn json_answer(status: u16, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status} Issuer\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut body = vec![0; headers.get("content-length").map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    let (path, query) = (path.to_owned(), pairs(query));
    Some(Asked { method, path, query, headers, body: String::from_utf8(body).ok()? })
}

/// A form's pairs; one that comes twice is a fault of whoever sends it.
fn pairs(text: &str) -> HashMap<String, String> {
    let mut found = HashMap::new();
    for (name, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
        assert!(found.insert(decode(name), decode(value)).is_none(), "{name} comes twice");
    }
    found
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        if bytes[at] == b'%' {
            out.push(u8::from_str_radix(&text[at + 1..at + 3], 16).unwrap());
            at += 3;
        } else {
            out.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
            at += 1;
        }
    }
    String::from_utf8(out).unwrap()
}
