//! The price list of the journeys, and the arithmetic of a bill written down a second time.

use serde_json::{Value, json};

/// The practice provider's models under the names of three real kinds, each at rates of its own that do not divide
/// evenly, so that a wrong price or a wrong rounding shows.
pub fn catalogue() -> String {
    let chat = || json!({ "any": CHAT.map(|name| json!({ "starts": name })) });
    let model = |id: &str, rule: Value, context: u64, output: u64, rates: Value| json!({ "id": id, "match": rule, "context": context, "output": output, "prices": [{ "rates": rates }] });
    let openai = json!({ "input": 150_001, "cache_read": 75_001, "output": 600_007, "reasoning": 900_001 });
    let anthropic = json!({
        "input": 3_000_001, "cache_read": 300_001, "cache_write_5m": 3_750_001, "cache_write_1h": 6_000_001,
        "output": 15_000_001,
    });
    let google = json!({ "input": 300_007, "cache_read": 30_007, "output": 2_500_003 });
    let embed = |rate: u64| json!({ "id": "embed", "context": 8192, "prices": [{ "rates": { "input": rate } }] });
    // How much it can take and say is not known.
    let boundless = json!({ "id": "boundless", "prices": [{ "rates": { "input": 150_001, "output": 600_007 } }] });
    let rated = |id: &str, rates: Value| json!({ "id": id, "context": 32_768, "prices": [{ "rates": rates }] });
    let rerank = |rates: Value| ["rerank", "no-usage", "broken-json"].map(|id| rated(id, rates.clone()));
    let house = |id: &str, rates: Value| json!({ "id": id, "match": { "starts": id }, "prices": [{ "rates": rates }] });
    let mut picture = house("picture", json!({ "image": 40_000_000_000_u64 }));
    let dearer = |name: &str, rate: u64| json!({ "name": name, "prices": [{ "rates": { "image": rate } }] });
    picture["services"] = json!([dearer("image:hd", 80_000_000_000), dearer("image:hd/1024x1792", 120_000_000_000)]);
    let image = json!({ "input": 5_000_000, "output": 10_000_000, "image_out": 32_000_000 });
    let tokens = json!({ "input": 2_500_000, "audio_in": 6_000_000, "output": 10_000_000 });
    json!({
        "format": "anykey-catalogue/1",
        "source": "journeys",
        "as_of": "2026-11-01",
        "providers": [
            { "id": "openai", "models": [model("chat", chat(), 128_000, 16_384, openai), embed(20_003), boundless] },
            { "id": "anthropic", "models": [model("chat", chat(), 200_000, 32_000, anthropic)] },
            { "id": "google", "models": [model("chat", chat(), 1_000_000, 65_536, google), embed(150_007)] },
            { "id": "compatible", "models": [
                house("image", image),
                picture,
                house("speech", json!({ "character": 15_000_000 })),
                house("transcribe", tokens),
                house("listen", json!({ "second": 100_000_000 })),
            ] },
            { "id": "mistral", "models": [rated("moderate", json!({ "input": 100_003 }))] },
            { "id": "cohere", "models": rerank(json!({ "search": 2_000_003_000_u64 })) },
            { "id": "jina", "models": rerank(json!({ "input": 20_011 })) },
            { "id": "voyageai", "models": rerank(json!({ "input": 50_021 })) },
        ],
    })
    .to_string()
}

/// The practice provider's models that talk; what follows a name (`echo?delay=5`) does not change the price.
const CHAT: [&str; 20] = [
    "gpt-5-",
    "gemini-3-",
    "claude-sonnet-4-5-",
    "echo",
    "reason",
    "lorem",
    "long",
    "tool",
    "json",
    "slow",
    "cut",
    "broken-json",
    "no-usage",
    "overrun",
    "flaky",
    "redirect",
    "429",
    "500",
    "401",
    "403",
];

/// What a call costs by [`catalogue`], in nano-dollars: the units of a record at the rates of a model, rounded up once.
pub fn cost(provider: &str, model: &str, usage: &Value) -> u64 {
    let catalogue: Value = serde_json::from_str(&catalogue()).unwrap();
    let provider = if provider == "gemini" { "google" } else { provider };
    let id = if model.starts_with("embed") { "embed" } else { "chat" };
    let find = |list: &Value, id: &str| list.as_array().unwrap().iter().find(|item| item["id"] == id).unwrap().clone();
    let rates = find(&find(&catalogue["providers"], provider)["models"], id)["prices"][0]["rates"].clone();
    let rate = |unit: &str| match (rates[unit].as_u64(), unit) {
        (Some(rate), _) => rate,
        (None, "reasoning") => rates["output"].as_u64().unwrap(),
        (None, "request") => 0,
        (None, other) => panic!("no rate for {other} at {provider}"),
    };
    let units = usage.as_object().unwrap().iter();
    units.map(|(unit, count)| rate(unit) * count.as_u64().unwrap()).sum::<u64>().div_ceil(1000)
}

/// Reads a decimal number of dollars into nano-dollars, exactly.
pub fn nanos(usd: &str) -> u64 {
    let (whole, fraction) = usd.split_once('.').unwrap_or((usd, ""));
    assert!(fraction.len() <= 9, "finer than nano-dollars: {usd}");
    format!("{whole}{fraction:0<9}").parse().unwrap_or_else(|_| panic!("not an amount: {usd}"))
}

/// Writes nano-dollars as dollars.
pub fn usd(nanos: u64) -> String {
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}
