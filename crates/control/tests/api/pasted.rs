//! A key that somebody pastes where a text is kept: no field of any request takes it, as the document lists them.

use crate::harness::Api;
use anykey_core::{KeyKind, PersonId, Token};
use axum::http::Method;
use serde_json::{Map, Value, json};

/// Fields that a key is meant for: it is looked up, or kept sealed or hashed, and never shown. A new one is added here by
/// hand, when it is one of these.
const MEANT: [(&str, &str); 13] = [
    ("find_key", "key"),
    ("report_exposed_keys", "found"),
    ("report_scanner", "found"),
    ("add_provider", "api_key"),
    ("update_provider", "api_key"),
    ("ask_approval", "key"),
    ("use_link", "token"),
    ("use_link", "password"),
    ("sign_in", "password"),
    ("begin_totp", "password"),
    ("remove_totp", "password"),
    ("change_password", "current_password"),
    ("change_password", "new_password"),
];

/// Requests that are read by other rules: signed ones, whose sender has no key, and those that a key sends for itself. What
/// is not one of the two fields that they keep is refused for its own sake.
const OTHER_RULES: [&str; 4] = ["report_scanner", "report_github", "mint_temp_key", "update_prices"];

fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    match schema["$ref"].as_str() {
        Some(name) => document.pointer(name.trim_start_matches('#')).unwrap(),
        None => schema,
    }
}

/// The schema of the object that a request sends, behind what says that it may also send none.
fn object_of<'d>(document: &'d Value, schema: &'d Value) -> Option<&'d Map<String, Value>> {
    let schema = resolved(document, schema);
    if let Some(properties) = schema["properties"].as_object() {
        return Some(properties);
    }
    ["oneOf", "anyOf", "allOf"]
        .iter()
        .filter_map(|name| schema[*name].as_array())
        .flatten()
        .find_map(|one| object_of(document, one))
}

/// Every operation with a body, and its fields.
fn bodies(document: &Value) -> Vec<(Method, String, String, Vec<String>)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let Some(properties) = object_of(document, schema) else { continue };
            let id = operation["operationId"].as_str().unwrap().to_owned();
            let method = method.to_uppercase().parse().unwrap();
            found.push((method, path.clone(), id, properties.keys().cloned().collect()));
        }
    }
    found
}

#[tokio::test]
async fn no_field_of_any_request_keeps_a_key() {
    let api = Api::start().await;
    let document = api.get("/openapi.json").await.is(200);
    let bodies = bodies(&document);
    // Some of them are for people alone.
    let boss = json!({"email": "boss@example.com", "name": "B", "operator": true});
    let boss = PersonId::parse(api.post("/people", boss).await.is(201)["id"].as_str().unwrap()).unwrap();
    let (session, cookie) = api.store.begin_session(boss, "test", None, None).await.unwrap();
    let (csrf, cookie) = (api.store.csrf_token(&session), format!("anykey={}", cookie.expose()));
    let with_body = document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
    let with_body = with_body.filter(|operation| operation["requestBody"].is_object()).count();
    assert!(bodies.len() + 3 >= with_body && bodies.len() > 35, "{} of {with_body}", bodies.len());
    let (mut fields, mut meant) = (0, 0);
    let (ours, theirs) = (Token::mint("ak", KeyKind::Live).unwrap(), Token::mint("zz9", KeyKind::Admin).unwrap());
    for (method, path, operation, names) in &bodies {
        let path = crate::document::concrete(path);
        for name in names {
            if MEANT.contains(&(operation.as_str(), name.as_str())) {
                meant += 1;
                continue;
            }
            fields += 1;
            for token in [&ours, &theirs] {
                let text = format!("for the CI: {}, ask kai", token.expose());
                // As it is, in a list, as a value and as the name of one, and deep inside.
                for value in [
                    json!(text),
                    json!([text]),
                    json!({"x": text}),
                    json!({text.as_str(): "x"}),
                    json!({"x": [{"y": [text]}]}),
                ] {
                    let call = api.stranger(method.clone(), &path).header("cookie", &cookie);
                    let answer = call.header("x-csrf-token", &csrf).json(json!({name: value})).send().await;
                    let what = format!("{method} {path} {name} {value}: {} {}", answer.status, answer.text());
                    assert!(!answer.text().contains(&token.expose()[9..]), "it is repeated: {what}");
                    if OTHER_RULES.contains(&operation.as_str()) {
                        assert!(answer.status.is_client_error(), "{what}");
                        continue;
                    }
                    assert_eq!(answer.status, 400, "{what}");
                    assert_eq!(answer.faults(), [name.as_str()], "{what}");
                    assert!(answer.text().contains("holds an API key"), "{what}");
                }
            }
        }
    }
    assert_eq!(meant, MEANT.len(), "a field that is excepted is not there any more");
    assert!(fields > 100, "{fields} fields");
    let log = api.get("/audit/export").await.text().to_owned();
    assert!(![&ours, &theirs].iter().any(|token| log.contains(&token.expose()[17..])));
}

#[tokio::test]
async fn what_a_temporary_key_keeps_holds_no_key() {
    let api = Api::start().await;
    let parent = api.post("/keys", json!({"name": "parent"})).await.is(201)["id"].as_str().unwrap().to_owned();
    let token = Token::mint("ak", KeyKind::Live).unwrap();
    for (name, value) in [("name", json!(token.expose())), ("models", json!([token.expose()]))] {
        let answer = api.post(&format!("/keys/{parent}/temp"), json!({name: value})).await;
        assert_eq!(answer.faults(), [name]);
        assert!(answer.text().contains("holds an API key") && !answer.text().contains(&token.expose()[17..]));
    }
}
