//! Where dialects agree, bytes pass as they are: the caller's up, the provider's down, and a break never looks like an end.

use crate::support::{Dialect, ENDPOINTS, STREAMS, Streaming, World, assert_error, assert_refusal, setup};
use anykey_testkit::{Canned, CannedUpstream, Connection, Key, Reply, Request, TestGateway, TestSim, events};
use serde_json::Value;

/// Bodies with everything that a parser would tidy up: order, blanks, spellings of numbers and letters, unknown members.
const ODD: [(&str, &str, &str); 6] = [
    (
        "/v1/chat/completions",
        "openai/echo",
        r#"{ "zeta" : [1.0, 1e0, -0.0, 1E+2, 123456789012345678901234567890, 0.1000] ,
	"messages":[{"content":"caf\u00e9 é 😀 \/ \ud83d\ude00","role":"user","name" : "\u0062ob"}],"model"  :  "openai/echo",
 "temperature":1.50, "a":{"b":{"a":1,"a ":2}},"new_beta_field":{"model":"openai/echo"},"":null } "#,
    ),
    (
        "/v1/completions",
        "openai/echo",
        r#"{"prompt":["a","b\u000a"],"model":"openai/echo","suffix":"\"","logit_bias":{"50256":-100}}"#,
    ),
    (
        "/v1/responses",
        "openai/echo",
        "{\"input\":[{\"role\":\"user\",\"content\":\"x\"}],\r\n\"model\":\"openai/echo\",\"store\":false,\"x\":1e-7}",
    ),
    (
        "/v1/embeddings",
        "openai/embed",
        r#"{"input":[[1,2,3]],"encoding_format":"base64","model":"openai/embed","user":"ü"}"#,
    ),
    (
        "/v1/messages?beta=true",
        "anthropic/echo",
        r#"{"max_tokens":5,"system":[{"type":"text","text":"s","cache_control":{"ttl":"1h","type":"ephemeral"}}],"model":"anthropic/echo","messages":[{"role":"user","content":"x"}],"thinking":{"type":"adaptive"},"top_k":1}"#,
    ),
    (
        "/v1beta/models/gemini/echo:generateContent?fields=a%2Cb",
        "gemini/echo",
        r#"{"generationConfig":{"temperature":0.0,"thinkingConfig":{"thinkingBudget":-1}},"contents":[{"parts":[{"text":"x"}]}],"unknown":{"k":[ ]}}"#,
    ),
];

#[test]
fn a_body_goes_up_as_it_came_but_for_the_name_of_the_model() {
    let upstream = CannedUpstream::start();
    upstream.answer(Canned::json(r#"{"model":"echo"}"#));
    let gateway = setup().upstream("", &upstream.url()).alias("house", "openai/echo").start();
    let key = gateway.key("journey");
    let send = |target: &str, body: &str| {
        let request = Request::post(target).body(body).header("anthropic-version", "2023-06-01").bearer(&key.secret);
        let reply = gateway.call(&request);
        assert_eq!(reply.status, 200, "{}", reply.text());
        upstream.take_seen().remove(0)
    };
    for (target, model, body) in ODD {
        let bare = model.split_once('/').unwrap().1;
        let seen = send(target, body);
        // The member `model` alone, not what looks like it further inside.
        let (before, after) = match body.rfind(&format!("\"{model}\"")) {
            Some(_) => {
                let at = body
                    .find(&format!(":  \"{model}\""))
                    .map_or_else(|| body.find(&format!("\"{model}\"")).unwrap(), |at| at + 3);
                (&body[..at], &body[at + model.len() + 2..])
            }
            None => (body, ""),
        };
        let expected = if after.is_empty() { body.to_owned() } else { format!("{before}\"{bare}\"{after}") };
        assert_eq!(String::from_utf8(seen.body).unwrap(), expected);
        let line = seen.head.lines().next().unwrap();
        assert_eq!(
            line.split_once('?').map(|(_, query)| query.to_owned()),
            target.split_once('?').map(|(_, query)| format!("{query} HTTP/1.1"))
        );
    }
    // However the name is spelled, it is the one that is replaced.
    for spelled in [r"open\u0061i/echo", r"openai\/echo", "house", r"\u0068ouse"] {
        let seen = send("/v1/responses", &format!(r#"{{"input":"x", "model": "{spelled}" ,"z":0}}"#));
        assert_eq!(String::from_utf8(seen.body).unwrap(), r#"{"input":"x", "model": "echo" ,"z":0}"#);
    }
}

#[test]
fn a_stream_asks_for_usage_and_changes_nothing_else() {
    let upstream = CannedUpstream::start();
    upstream.answer(Canned::json(r#"{"model":"echo"}"#));
    let gateway = setup().upstream("", &upstream.url()).start();
    let key = gateway.key("journey");
    let asked = r#""stream_options":{"include_usage":true}"#;
    for path in ["/v1/chat/completions", "/v1/completions"] {
        for (body, expected) in [
            (
                r#"{ "stream":true,"model":"openai/echo","x":1.0}"#,
                format!(r#"{{{asked}, "stream":true,"model":"echo","x":1.0}}"#),
            ),
            (
                r#"{"model":"openai/echo","stream":true,"stream_options":null}"#,
                format!(r#"{{"model":"echo","stream":true,{asked}}}"#),
            ),
            (
                r#"{"stream":true,"stream_options":{"include_usage": false},"model":"openai/echo"}"#,
                r#"{"stream":true,"stream_options":{"include_usage": true},"model":"echo"}"#.to_owned(),
            ),
            (
                r#"{"stream":true,"stream_options":{"include_usage": true},"model":"openai/echo"}"#,
                r#"{"stream":true,"stream_options":{"include_usage": true},"model":"echo"}"#.to_owned(),
            ),
            (
                r#"{"stream":true,"stream_options":{"include_obfuscation":false},"model":"openai/echo"}"#,
                r#"{"stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false},"model":"echo"}"#
                    .to_owned(),
            ),
            (r#"{"stream":false,"model":"openai/echo"}"#, r#"{"stream":false,"model":"echo"}"#.to_owned()),
        ] {
            gateway.call(&Request::post(path).body(body).bearer(&key.secret));
            assert_eq!(String::from_utf8(upstream.take_seen().remove(0).body).unwrap(), expected);
        }
    }
}

/// What the practice provider itself says to a call.
fn from_provider(sim: &TestSim, mut request: Request, dialect: Dialect) -> Reply {
    let own = format!("{}/", dialect.name());
    let body = String::from_utf8(request.body.take().unwrap()).unwrap();
    request.body = Some(body.replace(&own, "").into_bytes());
    request.target = request.target.replace(&own, "");
    let reply = Connection::open(sim.address).unwrap().request(&request).unwrap();
    assert!(reply.status == 200 && reply.whole, "{}", reply.text());
    reply
}

/// The same call by a caller who wants the usage of a stream.
fn wanting_usage(stream: &Streaming, model: &str) -> Request {
    let mut request = (stream.request)(model);
    if matches!(stream.name, "chat" | "completions") {
        let mut body: Value = serde_json::from_slice(&request.body.take().unwrap()).unwrap();
        body["stream_options"] = serde_json::json!({ "include_usage": true });
        request.body = Some(body.to_string().into_bytes());
    }
    request
}

struct Shelf {
    sim: TestSim,
    upstream: CannedUpstream,
    gateway: TestGateway,
    key: Key,
}

impl Shelf {
    fn start() -> Self {
        let upstream = CannedUpstream::start();
        let gateway = setup().upstream("", &upstream.url()).start();
        let key = gateway.key("journey");
        Shelf { sim: TestSim::start(), upstream, gateway, key }
    }

    fn call(&self, request: Request) -> Reply {
        self.gateway.call(&request.bearer(&self.key.secret))
    }
}

#[test]
fn a_stream_comes_down_byte_for_byte_however_it_is_cut_into_pieces() {
    let shelf = Shelf::start();
    for stream in &STREAMS {
        for model in ["echo", "reason", "tool", "lorem?chunks=30"] {
            if stream.name == "completions" && model != "echo" {
                continue;
            }
            let golden = from_provider(&shelf.sim, wanting_usage(stream, model), stream.dialect);
            let content_type = golden.header("content-type").unwrap();
            for size in [1, 7, 64, 1000, usize::MAX] {
                shelf.upstream.answer(Canned::stream(content_type, golden.body.chunks(size.min(golden.body.len()))));
                let reply = shelf.call(wanting_usage(stream, model));
                assert!(reply.whole, "{} {model} in pieces of {size}", stream.name);
                assert!(
                    reply.body == golden.body,
                    "{} {model} in pieces of {size}:\n{}\n---\n{}",
                    stream.name,
                    reply.text(),
                    golden.text()
                );
                assert_eq!(reply.header("content-type"), Some(content_type));
                assert_eq!(shelf.gateway.record(reply.id())["outcome"], "completed");
            }
        }
    }
}

#[test]
fn usage_that_a_caller_did_not_ask_for_is_taken_out_and_nothing_else() {
    let shelf = Shelf::start();
    for stream in &STREAMS[..2] {
        let golden = from_provider(&shelf.sim, wanting_usage(stream, "echo"), stream.dialect);
        let text = golden.text();
        let usage = text.split_inclusive("\n\n").find(|frame| frame.contains("\"choices\":[]")).expect("a usage chunk");
        for size in [1, 7, usize::MAX] {
            shelf.upstream.answer(Canned::stream("text/event-stream", golden.body.chunks(size.min(golden.body.len()))));
            let reply = shelf.call((stream.request)("echo"));
            assert!(reply.whole);
            assert_eq!(reply.text(), text.replace(usage, ""), "{} in pieces of {size}", stream.name);
            assert_eq!(shelf.gateway.record(reply.id())["usage_source"], "reported");
        }
    }
}

#[test]
fn a_whole_answer_comes_down_byte_for_byte() {
    let shelf = Shelf::start();
    for endpoint in ENDPOINTS.iter().filter(|e| !e.name.starts_with("stream")) {
        let golden = from_provider(&shelf.sim, endpoint.at(endpoint.model), endpoint.dialect);
        let odd = [b" \r\n", golden.body.as_slice(), b"\n"].concat();
        for body in [&golden.body, &odd] {
            shelf.upstream.answer(Canned::whole(200, &[("content-type", "application/json")], body));
            let reply = shelf.call(endpoint.at(endpoint.model));
            assert_eq!((reply.status, &reply.body), (200, body), "{}", endpoint.name);
        }
    }
}

/// Where the bytes begin that end an answer.
fn end_of(stream: &Streaming, body: &[u8]) -> usize {
    let text = std::str::from_utf8(body).unwrap();
    let at = match stream.name {
        "chat" | "completions" => text.find("data: [DONE]"),
        "responses" => text.find("event: response.completed"),
        "messages" => text.find("event: message_stop"),
        "gemini sse" => text.rfind("data: "),
        _ => text.rfind(']'),
    };
    at.unwrap()
}

/// The last thing that a broken stream says is an error in the shape that its reader knows.
fn assert_broken(stream: &Streaming, reply: &Reply) {
    let said = reply.text();
    let last = match stream.name {
        "gemini array" => {
            let start = said.rfind("{\"error\"").unwrap_or_else(|| panic!("no error: {said}"));
            said[start..].trim_end_matches([']', '\n', '\r']).to_owned()
        }
        _ => {
            let last = events(&reply.body).pop().unwrap_or_else(|| panic!("no event: {said}"));
            let named = matches!(stream.name, "messages" | "responses");
            assert_eq!(last.name, if named { "error" } else { "" }, "{said}");
            last.data
        }
    };
    let error: Value = serde_json::from_str(&last).unwrap_or_else(|no| panic!("{no}: {last}"));
    if stream.name == "responses" {
        assert_eq!((&error["type"], &error["code"]), (&"error".into(), &"upstream_error".into()), "{error}");
        assert!(error["sequence_number"].is_number() && error["message"].is_string(), "{error}");
    } else {
        assert_error(&error, stream.dialect, 502, "upstream_error", reply.id());
    }
}

#[test]
fn a_stream_that_breaks_off_anywhere_never_looks_whole() {
    let shelf = Shelf::start();
    for stream in &STREAMS {
        let golden = from_provider(&shelf.sim, wanting_usage(stream, "lorem?chunks=6"), stream.dialect);
        let content_type = golden.header("content-type").unwrap();
        let end = end_of(stream, &golden.body);
        let offsets: Vec<usize> = (0..24).map(|n| end * n / 24).chain(end.saturating_sub(3)..=end).collect();
        for offset in offsets {
            let what = format!("{} cut after {offset} of {end}", stream.name);
            shelf.upstream.answer(Canned::cut_stream(content_type, golden.body[..offset].chunks(50)));
            let reply = shelf.call(wanting_usage(stream, "echo"));
            assert_eq!(reply.status, 200, "{what}");
            assert!(!reply.whole, "{what} has a clean end");
            let said = reply.text();
            assert_broken(stream, &reply);
            // Before the error stand all the provider's own frames, and nothing in them says that the answer is over.
            let same = reply.body.iter().zip(&golden.body[..offset]).take_while(|(a, b)| a == b).count();
            if stream.dialect != Dialect::Gemini {
                let frames = golden.text()[..offset].rfind("\n\n").map_or(0, |at| at + 2);
                assert!(same >= frames, "{what}: {frames} bytes were whole frames, {same} came down");
            }
            assert!(!stream.is_over(&reply.body[..same]), "{what}: {said}");
            for terminal in ["data: [DONE]", "event: response.completed", "event: message_stop"] {
                assert!(!said.contains(terminal), "{what}: {said}");
            }
            let record = shelf.gateway.record(reply.id());
            assert_eq!((&record["outcome"], &record["code"]), (&"broken".into(), &"upstream_error".into()), "{what}");
            assert_eq!(record["usage_source"], "estimated", "{what}");
        }
    }
}

#[test]
fn a_stream_that_is_no_stream_is_cut_and_said_to_be() {
    let shelf = Shelf::start();
    // H8: a line without an end.
    let endless = [b"data: ".as_slice(), &vec![b'x'; 20 << 20]].concat();
    for stream in &STREAMS {
        shelf.upstream.answer(Canned::stream(stream.content_type, endless.chunks(64 << 10)));
        let reply = shelf.call((stream.request)("echo"));
        assert!(!reply.whole, "{}", stream.name);
        let said = &reply.body[reply.body.len().saturating_sub(2000)..];
        assert!(reply.body.len() < 17 << 20, "{}: {} bytes passed", stream.name, reply.body.len());
        assert!(String::from_utf8_lossy(said).to_lowercase().contains("upstream_error"), "{}", stream.name);
        assert_eq!(shelf.gateway.record(reply.id())["outcome"], "broken");
    }
}

#[test]
fn a_whole_answer_that_breaks_off_or_is_not_json_is_502() {
    let world = World::start();
    for endpoint in ENDPOINTS.iter().filter(|e| !e.name.starts_with("stream")) {
        for model in ["cut_after=0", "cut_after=1", "cut_after=40", "broken-json"] {
            let model = if model == "broken-json" { model.to_owned() } else { format!("{}?{model}", endpoint.model) };
            let reply = world.call(&endpoint.at(&model));
            if endpoint.is_free() && reply.status == 200 {
                // The answer is shorter than the cut, or the model has no part in counting.
                continue;
            }
            let message = assert_refusal(&reply, endpoint.dialect, 502, "upstream_error");
            assert!(message.contains(endpoint.dialect.name()), "{message}");
            let record = world.gateway.record(reply.id());
            assert_eq!(record["outcome"], "broken", "{} {model}: {record}", endpoint.name);
        }
    }
}
