//! Golden files: each dialect's errors and lists, as they go over the wire. `ANYKEY_GOLDEN=write` renews them.

use anykey_core::{Code, Dialect, Refusal};
use anykey_dialect::error::{render, render_array};
use anykey_dialect::models::{ListedModel, Page, render_list, render_one};
use anykey_dialect::stream::{StreamKind, StreamMeter};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn check(name: &str, actual: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("ANYKEY_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(String::from_utf8_lossy(actual), String::from_utf8_lossy(&expected), "{name}");
}

fn refusals() -> Vec<Refusal> {
    vec![
        Refusal::new(Code::InvalidParameter, "`n` must be a whole number from 1 to 128.").param("n"),
        Refusal::new(Code::InvalidApiKey, "This key does not exist."),
        Refusal::new(Code::SpendLimitReached, "The key's daily limit of $5 is used up."),
        Refusal::new(Code::ModelNotAllowed, "This key may not call `openai/gpt-4o`.").param("model"),
        Refusal::new(Code::ModelNotFound, "There is no model `x`.").param("model"),
        Refusal::new(Code::BodyTooLarge, "The body is larger than 32 MiB."),
        Refusal::new(Code::RateLimited, "60 requests a minute are allowed; try again in 7 s.").retry_after(7),
        Refusal::new(Code::InternalError, "Something went wrong here."),
        Refusal::new(Code::UpstreamUnavailable, "No provider of this model answers."),
        Refusal::new(Code::UpstreamTimeout, "The provider did not answer in time."),
    ]
}

#[test]
fn refusals_in_every_dialect() {
    for dialect in Dialect::ALL {
        for refusal in refusals() {
            let body = render(dialect, &refusal, "req_01");
            check(&format!("{dialect}/{}.json", refusal.code.name()), &body);
        }
    }
    check("gemini/rate_limited_array.json", &render_array(&refusals()[6], "req_01"));
}

#[test]
fn every_code_reaches_the_caller_in_every_dialect() {
    for code in Code::ALL {
        let refusal = Refusal::new(*code, "A \"sentence\"\nin two lines.");
        for dialect in Dialect::ALL {
            let json: Value = serde_json::from_slice(&render(dialect, &refusal, "req_01")).unwrap();
            let error = &json["error"];
            assert_eq!(error["message"], "A \"sentence\"\nin two lines.");
            let (said, request_id) = match dialect {
                Dialect::OpenAi => (&error["code"], &error["request_id"]),
                Dialect::Anthropic => (&error["code"], &json["request_id"]),
                Dialect::Gemini => {
                    (&error["details"][0]["metadata"]["code"], &error["details"][0]["metadata"]["request_id"])
                }
            };
            assert_eq!((said.as_str(), request_id.as_str()), (Some(code.name()), Some("req_01")));
        }
    }
}

#[test]
fn broken_streams() {
    let refusal = Refusal::new(Code::UpstreamError, "The provider's stream broke off. Try again.");
    for (kind, name) in [
        (StreamKind::OpenAiChat, "openai/broken_chat.txt"),
        (StreamKind::OpenAiCompletions, "openai/broken_completions.txt"),
        (StreamKind::Responses, "openai/broken_responses.txt"),
        (StreamKind::Anthropic, "anthropic/broken.txt"),
        (StreamKind::GeminiSse, "gemini/broken_sse.txt"),
        (StreamKind::GeminiArray, "gemini/broken_array.txt"),
    ] {
        check(name, &StreamMeter::new(kind, false).broken(&refusal, "req_01"));
    }
}

fn models() -> Vec<ListedModel> {
    let model = |id: &str, owner: &str| ListedModel {
        id: id.into(),
        display_name: None,
        created: 1_740_009_600,
        owned_by: owner.into(),
        context_window: None,
        max_output: None,
        input_price: None,
        output_price: None,
        embedding: false,
    };
    vec![
        ListedModel {
            display_name: Some("GPT-4o mini".into()),
            context_window: Some(128_000),
            max_output: Some(16_384),
            input_price: Some("0.00000015".into()),
            output_price: Some("0.0000006".into()),
            ..model("openai/gpt-4o-mini", "openai")
        },
        ListedModel { embedding: true, input_price: Some("0.00000002".into()), ..model("openai/embed", "openai") },
        model("sim/echo", "sim"),
        model("sim/lorem", "sim"),
    ]
}

#[test]
fn model_lists() {
    for dialect in Dialect::ALL {
        check(&format!("{dialect}/models.json"), &render_list(dialect, &models(), &Page::default()).unwrap());
        check(&format!("{dialect}/models_empty.json"), &render_list(dialect, &[], &Page::default()).unwrap());
        check(&format!("{dialect}/model.json"), &render_one(dialect, &models()[0]));
    }
}

/// Walks the pages as an SDK does and returns the ids in the order seen.
fn walk(
    dialect: Dialect,
    first: &str,
    next: impl Fn(&Value) -> Option<String>,
    ids: impl Fn(&Value) -> Vec<String>,
) -> Vec<Vec<String>> {
    let (mut pages, mut query) = (Vec::new(), first.to_owned());
    loop {
        let page = Page::from_query(dialect, &query).unwrap();
        let json: Value = serde_json::from_slice(&render_list(dialect, &models(), &page).unwrap()).unwrap();
        pages.push(ids(&json));
        match next(&json) {
            Some(more) => query = format!("{first}&{more}"),
            None => return pages,
        }
    }
}

fn texts(list: &Value, name: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|m| m[name].as_str().unwrap().to_owned()).collect()
}

#[test]
fn sdks_can_walk_the_pages() {
    let encode = |id: &str| id.replace('/', "%2F");
    let after = |json: &Value| {
        json["has_more"].as_bool().unwrap().then(|| format!("after_id={}", encode(json["last_id"].as_str().unwrap())))
    };
    let forward = walk(Dialect::Anthropic, "beta=true&limit=3", after, |json| texts(&json["data"], "id"));
    assert_eq!(forward, [vec!["openai/gpt-4o-mini", "openai/embed", "sim/echo"], vec!["sim/lorem"]]);

    let before = |json: &Value| {
        json["has_more"].as_bool().unwrap().then(|| format!("before_id={}", encode(json["first_id"].as_str().unwrap())))
    };
    let backward = walk(Dialect::Anthropic, "limit=2&before_id=sim/lorem", before, |json| texts(&json["data"], "id"));
    assert_eq!(backward, [vec!["openai/embed", "sim/echo"], vec!["openai/gpt-4o-mini"]]);

    let token = |json: &Value| json["nextPageToken"].as_str().map(|token| format!("pageToken={token}"));
    let gemini = walk(Dialect::Gemini, "pageSize=2", token, |json| texts(&json["models"], "name"));
    assert_eq!(
        gemini,
        [vec!["models/openai/gpt-4o-mini", "models/openai/embed"], vec!["models/sim/echo", "models/sim/lorem"]]
    );
}

#[test]
fn pages_that_do_not_exist() {
    for (dialect, query) in [
        (Dialect::Anthropic, "limit=0"),
        (Dialect::Anthropic, "limit=many"),
        (Dialect::Anthropic, "after_id=gone"),
        (Dialect::Anthropic, "before_id=gone"),
        (Dialect::Gemini, "pageSize=-1"),
        (Dialect::Gemini, "pageToken=%21%21"),
        (Dialect::Gemini, "pageToken=Z29uZQ"),
    ] {
        let result = Page::from_query(dialect, query).and_then(|page| render_list(dialect, &models(), &page));
        assert_eq!(result.map_err(|refusal| refusal.code), Err(Code::InvalidParameter), "{query}");
    }
    assert_eq!(Page::from_query(Dialect::OpenAi, "limit=0&pageSize=x").unwrap(), Page::default());
    assert_eq!(Page::from_query(Dialect::Gemini, "pageSize=5000").unwrap().limit, Some(1000));
}
