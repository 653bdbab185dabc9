//! Every endpoint under every prefix with every credential carrier: one decision, and it is the one that is charged.

use crate::support::{Dialect, ENDPOINTS, STREAMS, World, assert_one_decision, assert_refusal, setup};
use anykey_testkit::{Canned, CannedUpstream, Request, Setup, until};
use std::path::Path;

/// Puts a secret into a request.
type Carrier = fn(Request, &str) -> Request;

const CARRIERS: [(&str, Carrier); 7] = [
    ("bearer", |request, key| request.bearer(key)),
    ("bearer in lower case", |request, key| request.header("authorization", format!("bearer {key}"))),
    ("x-api-key", |request, key| request.header("x-api-key", key)),
    ("x-goog-api-key", |request, key| request.header("x-goog-api-key", key)),
    ("api-key", |request, key| request.header("api-key", key)),
    ("sub-protocol", |request, key| {
        request.header("sec-websocket-protocol", format!("realtime, openai-insecure-api-key.{key}"))
    }),
    ("everywhere at once", |request, key| {
        request.bearer(key).header("x-api-key", key).header("x-goog-api-key", key).header("api-key", key)
    }),
];

fn in_query(request: Request, key: &str) -> Request {
    let sign = if request.target.contains('?') { '&' } else { '?' };
    Request { target: format!("{}{sign}key={key}", request.target), ..request }
}

#[test]
fn every_endpoint_prefix_and_carrier_leads_to_one_decision() {
    let world = World::start();
    for endpoint in &ENDPOINTS {
        for prefix in endpoint.dialect.prefixes() {
            let gemini: &[(&str, Carrier)] =
                if endpoint.dialect == Dialect::Gemini { &[("?key=", in_query)] } else { &[] };
            for (carrier, carry) in CARRIERS.iter().chain(gemini) {
                let model = format!("{}/{}", endpoint.dialect.name(), endpoint.model);
                let request = carry(endpoint.to(prefix, &model), &world.key.secret);
                let mark = world.sim.requests();
                let reply = world.gateway.call(&request);
                assert_eq!(reply.status, 200, "{} {carrier}: {}", request.target, reply.text());
                assert!(reply.whole);
                let entry = world.sim.only(mark);
                assert_one_decision(&world, endpoint.name, endpoint.dialect, endpoint.model, &reply, &entry);
                assert!(!entry.0.to_string().contains(&world.key.secret), "the key went up: {}", entry.0);
            }
        }
    }
}

#[test]
fn streams_are_charged_like_whole_answers() {
    let world = World::start();
    for stream in &STREAMS {
        for model in ["echo", "reason", "lorem?chunks=40"] {
            if (stream.name, model) == ("completions", "reason") {
                continue;
            }
            let mark = world.sim.requests();
            let reply = world.call(&(stream.request)(model));
            assert_eq!(reply.status, 200, "{}", reply.text());
            assert!(reply.whole && stream.is_over(&reply.body), "{}: {}", stream.name, reply.text());
            let entry = world.sim.only(mark);
            let record = world.gateway.record(reply.id());
            assert_one_decision(&world, record["endpoint"].as_str().unwrap(), stream.dialect, model, &reply, &entry);
            assert_eq!(record["stream"], true);
        }
    }
}

#[test]
fn reading_lists_and_figures_calls_nobody_and_leaves_no_record() {
    let world = World::start();
    let called = world.call(&Dialect::OpenAi.chat().at("echo"));
    let mark = world.sim.requests();
    let paths = |prefix: &str| {
        let id = called.id();
        ["models".to_owned(), "key".to_owned(), format!("generation/{id}"), format!("generation?id={id}")]
            .map(|path| format!("{prefix}/{path}"))
    };
    for prefix in Dialect::OpenAi.prefixes() {
        for path in paths(prefix) {
            for (carrier, carry) in CARRIERS {
                let reply = world.gateway.call(&carry(Request::get(&path), &world.key.secret));
                assert_eq!(reply.status, 200, "{path} {carrier}: {}", reply.text());
            }
        }
    }
    // Whose list the shared path shows follows the headers that the dialects' own SDKs send.
    for (path, headers) in [
        ("/v1/models/openai/echo", vec![]),
        ("/v1beta/models", vec![]),
        ("/v1beta/models/gemini/echo", vec![]),
        ("/v1/models/gemini/echo", vec![("x-goog-api-client", "genai")]),
        ("/v1/models/anthropic/echo", vec![("anthropic-version", "2023-06-01")]),
        ("/anthropic/v1/models", vec![("anthropic-version", "2023-06-01")]),
    ] {
        let request =
            headers.into_iter().fold(Request::get(path), |request, (name, value)| request.header(name, value));
        let reply = world.call(&request);
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    }
    assert_eq!(world.sim.requests(), mark);
    assert_eq!(world.gateway.records_of(&world.key).len(), 1, "only the call itself is recorded");

    let generation = world.call(&Request::get(format!("/v1/generation/{}", called.id()))).text();
    let cost = world.gateway.record(called.id())["cost_usd"].as_str().unwrap().to_owned();
    assert!(generation.contains(&format!("\"total_cost\":{cost},")), "{generation}");
    let other = world.gateway.key("other");
    let foreign = world.gateway.call(&Request::get(format!("/v1/generation/{}", called.id())).bearer(&other.secret));
    assert_refusal(&foreign, Dialect::OpenAi, 404, "not_found");
}

#[test]
fn a_key_in_the_query_of_another_dialect_is_refused_and_flagged() {
    let world = World::start();
    let mark = world.sim.requests();
    let shown = || world.gateway.get(&format!("/keys/{}", world.key.id));
    assert!(shown()["exposed_at"].is_null());
    for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
        let reply = world.gateway.call(&in_query(dialect.chat().at("echo"), &world.key.secret));
        assert_refusal(&reply, dialect, 400, "key_in_query_forbidden");
        assert!(!reply.seen().contains(&world.key.secret));
    }
    until("the key is flagged", || shown()["exposed_at"].is_string());
    assert_eq!(world.sim.requests(), mark);
    assert!(!world.gateway.log().contains(&world.key.secret));
}

#[test]
fn two_different_keys_are_a_conflict_and_neither_is_used() {
    let world = World::start();
    let other = world.gateway.key("other");
    let mark = world.sim.requests();
    for dialect in Dialect::ALL {
        let request = dialect.chat().at("echo").bearer(&world.key.secret);
        let mut pairs = vec![
            request.clone().header("x-api-key", &other.secret),
            request.clone().header("api-key", &other.secret),
            request.clone().header("x-goog-api-key", &other.secret),
            request.clone().bearer(&other.secret),
            request.clone().header("x-api-key", "not-even-a-key"),
        ];
        if dialect == Dialect::Gemini {
            pairs.push(in_query(request.clone(), &other.secret));
            pairs.push(in_query(in_query(dialect.chat().at("echo"), &world.key.secret), &other.secret));
        }
        for pair in pairs {
            let reply = world.gateway.call(&pair);
            assert_refusal(&reply, dialect, 400, "conflicting_credentials");
        }
    }
    assert_eq!(world.sim.requests(), mark);
    for key in [&world.key, &other] {
        assert!(world.gateway.records_of(key).is_empty());
        assert!(world.gateway.get(&format!("/keys/{}", key.id))["last_used_at"].is_null());
    }
}

#[test]
fn no_credential_crosses_and_none_is_kept_in_the_clear() {
    let mut world = World::start();
    let kinds = ["openai", "anthropic", "gemini"];
    for endpoint in &ENDPOINTS {
        let (dialect, mark) = (endpoint.dialect, world.sim.requests());
        let reply = world.call(&endpoint.at(endpoint.model));
        assert!(!reply.seen().contains("CANARY") && !reply.seen().contains(&world.key.secret), "{}", reply.seen());
        let entry = world.sim.only(mark);
        let (carrier, value) = match dialect {
            Dialect::OpenAi => ("authorization", format!("Bearer {}", Setup::credential("openai"))),
            Dialect::Anthropic => ("x-api-key", Setup::credential("anthropic").to_owned()),
            Dialect::Gemini => ("x-goog-api-key", Setup::credential("gemini").to_owned()),
        };
        let carriers = ["authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie", "sec-websocket-protocol"];
        let mut presented = entry.headers();
        presented.retain(|(name, _)| carriers.contains(&name.as_str()));
        assert_eq!(presented, [(carrier.to_owned(), value)], "{}", entry.0);
        let all = entry.0.to_string();
        assert!(!all.contains(&world.key.secret));
        for foreign in kinds.into_iter().filter(|kind| *kind != dialect.name()) {
            assert!(!all.contains(Setup::credential(foreign)), "{all}");
        }
    }
    // The provider's own refusal of the operator's credential must not hand it on either.
    for dialect in Dialect::ALL {
        let reply = world.call(&dialect.chat().at("401"));
        assert_eq!(reply.status, 502);
        assert!(!reply.seen().contains("CANARY"), "{}", reply.seen());
    }
    let secrets: Vec<String> = [world.key.secret.clone(), world.key.secret[17..].to_owned()]
        .into_iter()
        .chain(kinds.map(|kind| Setup::credential(kind).to_owned()))
        .collect();
    assert_in_no_file(&world.gateway.data_dir(), &secrets);
    assert_eq!(world.gateway.stop(), Some(0));
    assert_in_no_file(&world.gateway.data_dir(), &secrets);
    let log = world.gateway.log();
    assert!(secrets.iter().all(|secret| !log.contains(secret)), "{log}");
}

fn assert_in_no_file(folder: &Path, secrets: &[String]) {
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_in_no_file(&path, secrets);
            continue;
        }
        files += 1;
        let bytes = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for secret in secrets {
            assert!(!text.contains(secret), "{} holds {}…", path.display(), &secret[..8]);
        }
    }
    assert!(files > 0, "{} is empty", folder.display());
}

/// What a provider may see of a caller.
const UP: [&str; 19] = [
    "host",
    "authorization",
    "content-type",
    "content-length",
    "accept-encoding",
    "accept",
    "user-agent",
    "anthropic-version",
    "anthropic-beta",
    "openai-beta",
    "idempotency-key",
    "x-goog-api-client",
    "x-client-request-id",
    "x-app",
    "originator",
    "session_id",
    "session-id",
    "conversation_id",
    "x-claude-code-session-id",
];

/// What a caller may see of a provider and of the gateway.
const DOWN: [&str; 14] = [
    "x-request-id",
    "content-type",
    "content-length",
    "openai-processing-ms",
    "openai-version",
    "x-should-retry",
    "retry-after",
    "retry-after-ms",
    "deprecation",
    "sunset",
    "x-anykey-provider",
    "x-anykey-model",
    "x-anykey-attempts",
    "x-anykey-cost",
];

#[test]
fn only_listed_headers_cross_in_either_direction() {
    let upstream = CannedUpstream::start();
    let gateway = setup().upstream("", &upstream.url()).start();
    let key = gateway.key("journey");
    let body = r#"{"id":"x","object":"chat.completion","model":"echo","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;
    let fields = [
        ("content-type", "application/json"),
        ("set-cookie", "session=up"),
        ("server", "nginx/1.2"),
        ("via", "1.1 inner"),
        ("x-request-id", "req_upstream"),
        ("openai-organization", "org-operator"),
        ("openai-processing-ms", "12"),
        ("x-ratelimit-remaining-requests", "1"),
        ("cf-ray", "abc"),
        ("x-internal-host", "10.0.0.7"),
        ("alt-svc", "h3"),
        ("strict-transport-security", "max-age=1"),
        ("access-control-allow-origin", "*"),
        ("location", "http://inner/"),
        ("x-anykey-cost", "1000"),
        ("x-anykey-provider", "forged"),
        ("www-authenticate", "Basic"),
    ];
    upstream.answer(Canned::whole(200, &fields, body.as_bytes()));
    let request = [
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-host", "evil"),
        ("forwarded", "for=1.2.3.4"),
        ("via", "1.0 me"),
        ("x-real-ip", "1.2.3.4"),
        ("openai-organization", "org-mine"),
        ("openai-project", "proj"),
        ("cookie", "a=b"),
        ("x-goog-user-project", "p"),
        ("x-anykey-model", "openai/costly"),
        ("x-anykey-key-id", "key_other"),
        ("x-http-method-override", "DELETE"),
        ("accept-encoding", "gzip, br"),
        ("te", "trailers"),
        ("priority", "u=1"),
        ("referer", "http://inner/?key=1"),
        ("x-stainless-os", "Linux"),
        ("authorization-extra", "x"),
        ("user-agent", "journey/1"),
        ("anthropic-beta", "a-2025,b-2026"),
        ("openai-beta", "assistants=v2"),
        ("idempotency-key", "once"),
        ("accept", "application/json"),
        ("proxy-authorization", "Basic eA=="),
    ]
    .into_iter()
    .fold(Dialect::OpenAi.chat().at("echo").bearer(&key.secret), |request, (name, value)| request.header(name, value));
    let reply = gateway.call(&request);
    assert_eq!(reply.status, 200, "{}", reply.text());

    let seen = upstream.take_seen().remove(0);
    let names: Vec<String> =
        seen.head.lines().skip(1).map(|line| line.split(':').next().unwrap().to_ascii_lowercase()).collect();
    assert!(names.iter().all(|name| UP.contains(&name.as_str())), "{}", seen.head);
    assert_eq!(names.iter().collect::<std::collections::HashSet<_>>().len(), names.len(), "{}", seen.head);
    assert_eq!(seen.header("accept-encoding"), Some("identity"), "{}", seen.head);
    for (name, value) in [
        ("user-agent", "journey/1"),
        ("anthropic-beta", "a-2025,b-2026"),
        ("openai-beta", "assistants=v2"),
        ("idempotency-key", "once"),
        ("accept", "application/json"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{}", seen.head);
    }

    for (name, value) in &reply.headers {
        assert!(DOWN.contains(&name.as_str()), "{name}: {value}");
    }
    assert_eq!(reply.header("openai-processing-ms"), Some("12"));
    assert_eq!(reply.header("x-anykey-provider"), Some("openai"));
    assert_ne!(reply.header("x-anykey-cost"), Some("1000"));
    assert_ne!(reply.id(), "req_upstream");
    assert_eq!(gateway.record(reply.id())["upstream_id"], "req_upstream");
}
