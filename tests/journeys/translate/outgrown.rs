//! A provider of another dialect that writes more than it was asked for.

use super::clients::Client;
use super::{pairs, world};
use anykey_testkit::{nanos, usd};
use serde_json::{Value, json};

/// The member that bounds an answer.
fn bound(client: Client, tokens: u64) -> Value {
    match client {
        Client::Chat => json!({ "max_completion_tokens": tokens }),
        Client::Messages => json!({ "max_tokens": tokens }),
        Client::Responses => json!({ "max_output_tokens": tokens }),
        Client::Gemini => json!({ "generationConfig": { "maxOutputTokens": tokens } }),
    }
}

#[test]
fn it_is_cut_without_money_and_goes_on_with_it() {
    let world = world();
    // Nobody knows the prices of the others here.
    for (client, side) in pairs().filter(|(_, side)| !matches!(side.provider, "deepseek" | "answers")) {
        let told = format!("{client:?} of {side:?}");
        let name = side.model("overrun?times=40&chunk_delay=1");
        let ask = |name: &str| client.ask(name, "hello", true, bound(client, 300));
        let brief = world.call(&ask(&side.model("overrun?times=01&chunk_delay=1")));
        let hold = nanos(world.gateway.record_soon(brief.id())["hold_usd"].as_str().unwrap());
        let key = |limit| {
            let limits = json!({ "spend_limits": [{ "window": "total", "usd": usd(limit) }] });
            world.gateway.key_with("outgrown", limits).secret
        };
        let mark = world.sim.requests();
        let reply = world.gateway.call(&ask(&name).bearer(&key(hold)));
        assert_eq!(reply.status, 200, "{told}: {}", reply.text());
        assert!(!reply.whole && reply.text().contains("spend_limit_reached"), "{told}: {}", reply.text());
        let record = world.gateway.record_soon(reply.id());
        assert_eq!((&record["outcome"], &record["code"]), (&json!("cut"), &json!("spend_limit_reached")), "{told}");
        assert!(nanos(record["cost_usd"].as_str().unwrap()) <= hold, "{told}: {record:#}");
        assert!(world.sim.only(mark).is("client_gone"), "{told}");

        let reply = world.gateway.call(&ask(&side.model("overrun?times=3")).bearer(&key(20 * hold)));
        assert!(reply.whole, "{told}: {}", reply.text());
        let said = client.said(&client.gathered(&reply.body));
        assert_eq!(said.output, 900, "{told}");
        let record = world.gateway.record_soon(reply.id());
        assert_eq!((&record["outcome"], &record["usage_source"]), (&json!("completed"), &json!("reported")), "{told}");
        assert!(nanos(record["hold_usd"].as_str().unwrap()) > hold, "{told}");
    }
}
