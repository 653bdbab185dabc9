//! Any client, any model: calls in one dialect to models of a provider that speaks another, against a provider as strict
//! as the real ones.

mod clients;
mod count;
mod lies;
mod outgrown;

use crate::support::{Dialect, World, assert_error, assert_refusal, setup};
use anykey_testkit::{Canned, CannedUpstream, Entry, Reply, Setup, TestSim, cost, events, nanos};
use clients::{Client, Said, next_turn, schema};
use serde_json::{Value, json};

/// A provider, and what stands in front of its models' names.
#[derive(Clone, Copy, Debug)]
struct Side {
    provider: &'static str,
    family: &'static str,
    dialect: &'static str,
}

/// OpenAI's models that reason are asked through responses. DeepSeek has chat completions and nothing else, and what is
/// called `answers` here has responses and nothing else.
const SIDES: [Side; 6] = [
    Side { provider: "openai", family: "", dialect: "openai" },
    Side { provider: "openai", family: "gpt-5-", dialect: "openai" },
    Side { provider: "deepseek", family: "", dialect: "openai" },
    Side { provider: "answers", family: "", dialect: "openai" },
    Side { provider: "anthropic", family: "claude-sonnet-4-5-", dialect: "anthropic" },
    Side { provider: "gemini", family: "gemini-3-", dialect: "gemini" },
];

impl Side {
    fn model(self, model: &str) -> String {
        format!("{}/{}{model}", self.provider, self.family)
    }

    /// Whether a client is served in its own words.
    fn is_verbatim(self, client: Client) -> bool {
        match client {
            Client::Responses => matches!(self.provider, "openai" | "answers"),
            Client::Chat if self.provider == "answers" => false,
            _ => self.dialect == client.dialect().name(),
        }
    }
}

/// Every client with every provider that is asked in other words.
fn pairs() -> impl Iterator<Item = (Client, Side)> {
    let all = Client::ALL.into_iter().flat_map(|client| SIDES.map(|side| (client, side)));
    all.filter(|(client, side)| !side.is_verbatim(*client))
}

/// The usual providers, and one more.
fn world() -> World {
    let sim = TestSim::start();
    let url = format!("{}/v1", sim.url());
    let gateway = setup()
        .sim(&sim)
        .provider("deepseek", "deepseek", &url, Setup::credential("openai"))
        .provider("answers", "responses", &url, Setup::credential("openai"))
        .start();
    let key = gateway.key("journey");
    World { sim, gateway, key }
}

/// The answer is 200, its record says what the provider billed, and so does the answer itself.
fn assert_charged(world: &World, side: Side, model: &str, reply: &Reply, entry: &Entry, said: &Said) {
    let record = world.gateway.record(reply.id());
    let shown = format!("{record:#}\n{}", entry.0);
    let sent = format!("{}{model}", side.family);
    assert_eq!(record["model_asked"], side.model(model), "{shown}");
    assert_eq!((&record["provider"], &record["model_sent"]), (&json!(side.provider), &json!(sent)), "{shown}");
    assert_eq!((entry.text("dialect"), entry.text("model")), (side.dialect, &*sent), "{shown}");
    assert_eq!((&record["outcome"], &record["usage_source"]), (&json!("completed"), &json!("reported")), "{shown}");
    assert_eq!((said.input, said.output), (entry.number("input_tokens"), entry.number("output_tokens")), "{shown}");
    // Nobody knows the prices of these two here.
    if !matches!(side.provider, "deepseek" | "answers") {
        let spent = nanos(record["cost_usd"].as_str().unwrap());
        assert_eq!(spent, cost(side.provider, &sent, &record["usage"]), "{shown}");
        assert!(spent > 0, "{shown}");
    }
    assert!(!entry.0.to_string().contains(&world.key.secret), "the key went up: {shown}");
}

#[test]
fn whole_and_streamed_answers_are_the_same_and_charged_as_the_provider_billed() {
    let world = world();
    for (client, side) in pairs() {
        for model in ["echo", "reason", "lorem?chunks=40", "echo?shred=1", "echo?shred=7"] {
            // The practice provider's `reason` takes the words of OpenAI alone.
            if model == "reason" && matches!(side.provider, "deepseek" | "answers") {
                continue;
            }
            let name = side.model(model);
            let ask = |stream| {
                let mark = world.sim.requests();
                let reply = world.call(&client.ask(&name, "hello there, Überraschung", stream, json!({})));
                assert_eq!(reply.status, 200, "{client:?} {name}: {}", reply.text());
                assert!(reply.whole);
                assert_eq!(reply.header("x-anykey-provider"), Some(side.provider));
                let entry = world.sim.only(mark);
                let body = if stream { client.gathered(&reply.body) } else { reply.json() };
                let said = client.said(&body);
                assert_charged(&world, side, model, &reply, &entry, &said);
                said
            };
            let (whole, streamed) = (ask(false), ask(true));
            assert_eq!(whole, streamed, "{client:?} {name}");
            assert!(!whole.text.is_empty(), "{whole:?}");
        }
    }
}

#[test]
fn tools_are_called_and_answered_one_and_several_at_once() {
    let world = world();
    for (client, side) in pairs() {
        for (model, count) in [("tool", 1), ("tool?calls=3", 3)] {
            for stream in [false, true] {
                let name = side.model(model);
                let more = json!({ "tools": client.tools(schema()) });
                let first = world.call(&client.ask(&name, "look it up", stream, more.clone()));
                assert_eq!(first.status, 200, "{client:?} {name}: {}", first.text());
                let answer = if stream { client.gathered(&first.body) } else { first.json() };
                let said = client.said(&answer);
                assert_eq!(said.calls, vec![("look_up".to_owned(), json!({ "q": "text" })); count], "{answer}");
                assert_eq!(said.stop, "tool", "{client:?} {name}");
                let mut conversation = vec![client.user("look it up")];
                conversation.extend(next_turn(client, &answer, "forty-two"));
                let mut more = more;
                more[client.turns()] = conversation.into();
                let second = world.call(&client.ask(&name, "", stream, more));
                assert_eq!(second.status, 200, "{client:?} {name}: {}", second.text());
                let answer = if stream { client.gathered(&second.body) } else { second.json() };
                let said = client.said(&answer);
                assert!(said.text.starts_with("The tool answered: "), "{}", said.text);
                assert_eq!((said.text.matches("forty-two").count(), said.stop.as_str()), (count, "end"));
            }
        }
    }
}

#[test]
fn a_providers_no_is_told_in_the_callers_words() {
    let world = world();
    for (client, side) in pairs() {
        let call = |model: &str, stream| world.call(&client.ask(&side.model(model), "hello", stream, json!({})));
        for stream in [false, true] {
            let limited = call("429", stream);
            assert_eq!(limited.status, 429, "{}", limited.text());
            assert!(limited.header("retry-after").is_some());
            let body = limited.json();
            match client {
                Client::Chat | Client::Responses => {
                    assert!(body["error"]["type"].is_string() && body["type"].is_null(), "{body}")
                }
                Client::Messages => {
                    assert_eq!((&body["type"], &body["error"]["type"]), (&json!("error"), &json!("rate_limit_error")));
                }
                Client::Gemini => {
                    let body = if body.is_array() { &body[0] } else { &body };
                    assert_eq!(body["error"]["status"], "RESOURCE_EXHAUSTED", "{body}");
                }
            }
            assert!(call("500", stream).status >= 500);
            assert_refusal(&call("401", stream), client.dialect(), 502, "upstream_error");
        }
        let cut = call("echo?chunks=40&cut_after=700", true);
        assert_eq!(cut.status, 200);
        assert!(!cut.whole, "{client:?} {side:?}: {}", cut.text());
        let mut last: Value = serde_json::from_str(&events(&cut.body).pop().unwrap().data).unwrap();
        if client == Client::Responses {
            // An event of its own kind, with the error inside.
            assert_eq!((&last["type"], &last["code"]), (&json!("error"), &json!("upstream_error")));
            last = json!({ "error": last["error"] });
        }
        assert_error(&last, client.dialect(), 502, "upstream_error", cut.id());
        let record = world.gateway.record(cut.id());
        assert_eq!((&record["outcome"], &record["usage_source"]), (&json!("broken"), &json!("estimated")), "{record}");
        assert_refusal(&call("broken-json", false), client.dialect(), 502, "upstream_error");
    }
}

#[test]
fn what_cannot_be_carried_is_named_and_what_cannot_be_served_is_refused() {
    let world = world();
    let mark = world.sim.requests();
    let more = json!({ "seed": 7, "temperature": 1.5, "logit_bias": { "1": 2 }, "no_such_member": [1], "user": "u1" });
    let reply = world.call(&Client::Chat.ask("anthropic/echo", "hello", false, more));
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("x-anykey-dropped"), Some("no_such_member, temperature, seed, logit_bias"));
    world.sim.only(mark);

    let tools = json!([{ "type": "web_search" }, Client::Responses.tools(schema())[0]]);
    let reply = world.call(&Client::Responses.ask("anthropic/tool", "hello", false, json!({ "tools": tools })));
    assert_eq!((reply.status, reply.header("x-anykey-dropped")), (200, Some("tools[].web_search")), "{}", reply.text());

    let mark = world.sim.requests();
    for (member, value) in [
        ("n", json!(2)),
        ("functions", json!([{ "name": "f" }])),
        ("web_search_options", json!({ "search_context_size": "low" })),
        ("tools", json!([{ "type": "web_search" }])),
        ("modalities", json!(["text", "audio"])),
    ] {
        let mut more = json!({});
        more[member] = value;
        let reply = world.call(&Client::Chat.ask("anthropic/echo", "hello", false, more));
        let message = assert_refusal(&reply, Dialect::OpenAi, 400, "invalid_parameter");
        assert!(message.contains(member), "{message}");
        assert!(reply.json()["error"]["param"].as_str().unwrap().starts_with(member));
    }
    let more = json!({ "mcp_servers": [{ "name": "x" }] });
    let reply = world.call(&Client::Messages.ask("openai/echo", "hello", false, more));
    assert_refusal(&reply, Dialect::Anthropic, 400, "invalid_parameter");
    assert_eq!(world.sim.requests(), mark, "nothing of it was sent");
    assert_eq!(world.gateway.record(reply.id())["outcome"], "refused");
}

#[test]
fn a_caller_who_hangs_up_is_charged_for_what_came_and_the_provider_is_told() {
    let world = world();
    for (client, side) in pairs() {
        let mark = world.sim.requests();
        let request = client.ask(&side.model("long"), "hello", true, json!({})).bearer(&world.key.secret);
        let mut connection = world.gateway.connect();
        connection.send(&request.bytes()).unwrap();
        let answer = connection.begin().unwrap();
        assert!(connection.piece().unwrap().is_some());
        connection.hang_up();
        let entry = world.sim.only(mark);
        assert!(entry.is("client_gone"), "{}", entry.0);
        let record = world.gateway.record_soon(answer.id());
        assert_eq!(record["outcome"], "client_gone", "{record}");
        assert_eq!(record["usage_source"], "estimated", "{record}");
    }
}

#[test]
fn thinking_returns_to_its_provider_through_a_client_that_has_no_place_for_it() {
    let upstream = CannedUpstream::start();
    let gateway = setup().upstream("", &upstream.url()).start();
    let key = gateway.key("journey");
    let answer = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "echo", "stop_reason": "tool_use",
        "content": [
            { "type": "thinking", "thinking": "Let me look.", "signature": "c2lnbmF0dXJlLg==" },
            { "type": "tool_use", "id": "toolu_1", "name": "look_up", "input": { "q": "x" } },
        ],
        "usage": { "input_tokens": 9, "output_tokens": 9 },
    });
    upstream.answer(Canned::json(&answer.to_string()));
    let more = json!({ "tools": Client::Chat.tools(schema()), "reasoning_effort": "low" });
    let ask = |more: Value| {
        let reply = gateway.call(&Client::Chat.ask("anthropic/echo", "hello", false, more).bearer(&key.secret));
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("x-anykey-dropped"), None);
        let seen = upstream.take_seen().remove(0);
        (reply.json(), serde_json::from_slice::<Value>(&seen.body).unwrap())
    };
    let (first, sent) = ask(more.clone());
    assert_eq!(sent["thinking"], json!({ "type": "enabled", "budget_tokens": 1024 }));
    let mut conversation = vec![json!({ "role": "user", "content": "hello" })];
    conversation.extend(next_turn(Client::Chat, &first, "found"));
    let mut more = more;
    more["messages"] = conversation.into();
    let (_, sent) = ask(more);
    let expected = json!([
        { "type": "thinking", "thinking": "", "signature": "c2lnbmF0dXJlLg==" },
        { "type": "tool_use", "id": "toolu_1", "name": "look_up", "input": { "q": "x" } },
    ]);
    assert_eq!(sent["messages"][1]["content"], expected, "{sent:#}");
    assert_eq!(sent["thinking"], json!({ "type": "enabled", "budget_tokens": 1024 }));
}

#[test]
fn what_coding_agents_send_beside_the_conversation_reaches_every_provider() {
    let world = world();
    let user = json!({ "device_id": "d".repeat(64), "session_id": "s" }).to_string();
    let more = json!({
        "system": [
            { "type": "text", "text": "x-anthropic-billing-header: cc_version=2" },
            { "type": "text", "text": "You write code.", "cache_control": { "type": "ephemeral" } },
        ],
        "metadata": { "user_id": user },
        "thinking": { "type": "enabled", "budget_tokens": 2000 },
        "context_management": { "edits": [] },
        "tools": [{ "name": "look_up", "input_schema": schema(), "cache_control": { "type": "ephemeral" } }],
    });
    for side in SIDES.into_iter().filter(|side| !side.is_verbatim(Client::Messages)) {
        let reply = world.call(&Client::Messages.ask(&side.model("tool"), "hello", true, more.clone()));
        assert_eq!(reply.status, 200, "{side:?}: {}", reply.text());
        let dropped = reply.header("x-anykey-dropped").unwrap();
        assert!(dropped.contains("context_management") && dropped.contains("cache_control"), "{dropped}");
        assert_eq!(Client::Messages.said(&Client::Messages.gathered(&reply.body)).stop, "tool");
    }
}
