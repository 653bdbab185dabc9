//! The OpenAPI document and the routes are one thing.

use crate::harness::Api;
use axum::http::Method;
use serde_json::Value;
use std::collections::BTreeSet;

fn operations(document: &Value) -> Vec<(Method, String)> {
    let paths = document["paths"].as_object().unwrap();
    let each = paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().keys().map(move |method| (method.to_uppercase().parse().unwrap(), path.clone()))
    });
    each.collect()
}

/// Those who send reports have no key: they sign.
fn is_signed(path: &str) -> bool {
    path.starts_with("/admin/v1/secret-scanning/")
}

/// How people come in.
fn is_door(path: &str) -> bool {
    ["/admin/v1/auth/sign-in", "/admin/v1/auth/links/use", "/admin/v1/auth/second-factor"].contains(&path)
}

/// The way to an issuer and back, where there is one.
fn is_way(path: &str) -> bool {
    path.starts_with("/admin/v1/auth/issuers/")
}

/// What strangers may see.
fn is_public(path: &str) -> bool {
    path.ends_with("/openapi.json") || path == "/admin/v1/auth/issuers"
}

/// A path below the base with its parameters filled in.
pub fn concrete(path: &str) -> String {
    let path = path.strip_prefix("/admin/v1").unwrap();
    path.replace("{id}", "key_00000000000000000000000000")
        .replace("{person}", "person_00000000000000000000000000")
        .replace("{name}", "x")
        .replace("{kind}", "openai")
        .replace("{model}", "a/b")
}

#[tokio::test]
async fn every_documented_operation_is_served_and_needs_a_key() {
    let api = Api::start().await;
    let answer = api.stranger(Method::GET, "/openapi.json").send().await;
    let document = answer.is(200);
    assert_eq!(document["openapi"], "3.1.0");
    let operations = operations(&document);
    assert_eq!(operations.len(), 119, "{operations:#?}");
    for (method, path) in &operations {
        let answer = api.stranger(method.clone(), &concrete(path)).send().await;
        if is_public(path) {
            answer.is(200);
        } else if is_door(path) {
            answer.refused(400, "invalid_parameter");
        } else if is_signed(path) || is_way(path) {
            // Nobody is believed here until somebody is named.
            answer.refused(404, "not_found");
        } else {
            answer.refused(401, "missing_api_key");
        }
    }
}

/// A route that is served but not documented would answer something else than 405 here.
#[tokio::test]
async fn nothing_is_served_that_is_not_documented() {
    let api = Api::start().await;
    let document = serde_json::to_value(anykey_control::openapi()).unwrap();
    let documented: BTreeSet<(String, String)> =
        operations(&document).into_iter().map(|(m, p)| (m.to_string(), p)).collect();
    let paths: BTreeSet<String> = documented.iter().map(|(_, path)| path.clone()).collect();
    for path in &paths {
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
            if documented.contains(&(method.to_string(), path.clone())) {
                continue;
            }
            let answer = api.ask(method, &concrete(path)).send().await;
            answer.refused(405, "method_not_allowed");
            assert!(!answer.header("allow").is_empty());
        }
    }
    for path in [
        "",
        "/",
        "/key",
        "/keys/",
        "/keys/a/b",
        "/providers//test",
        "/KEYS",
        "/keys%2f",
        "/openapi.yaml",
        "/..",
        "/usage/x",
    ] {
        let answer = api.ask(Method::GET, path).send().await;
        assert!(matches!(answer.status.as_u16(), 404 | 405), "{path}: {}", answer.text());
    }
}

#[test]
fn the_document_is_complete() {
    let document = serde_json::to_value(anykey_control::openapi()).unwrap();
    let text = document.to_string();
    for (method, path) in operations(&document) {
        let operation = &document["paths"][&path][method.as_str().to_lowercase()];
        assert!(operation["operationId"].is_string(), "{path}");
        assert!(operation["responses"]["default"]["content"]["application/problem+json"].is_object(), "{path}");
        assert_eq!(
            operation["security"].is_array(),
            !is_public(&path) && !is_signed(&path) && !is_door(&path) && !is_way(&path),
            "{path}"
        );
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.values().all(|response| response["description"].is_string()), "{path}");
        let in_path: BTreeSet<&str> = path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
        let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
        let documented = parameters.iter().filter(|p| p["in"] == "path").map(|p| p["name"].as_str().unwrap()).collect();
        assert_eq!(in_path, documented, "{method} {path}");
    }
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap())
    {
        assert!(schemas.contains_key(reference), "{reference}");
    }
    let ids: BTreeSet<String> = operations(&document)
        .iter()
        .map(|(m, p)| document["paths"][p][m.as_str().to_lowercase()]["operationId"].to_string())
        .collect();
    assert_eq!(ids.len(), operations(&document).len());
    insta::assert_json_snapshot!("openapi", document);
}

/// A temporary key is read by the store and described here: every field that is described is read, in each of its types,
/// and every field that is read is described.
#[test]
fn what_is_described_of_a_temporary_key_is_what_is_read() {
    let document = serde_json::to_value(anykey_control::openapi()).unwrap();
    let properties = document["components"]["schemas"]["NewTempKey"]["properties"].as_object().unwrap();
    let mut described: Vec<&str> = properties.keys().map(String::as_str).collect();
    let mut read = anykey_store::NewTemp::FIELDS;
    described.sort_unstable();
    read.sort_unstable();
    assert_eq!(described, read);
    let text = |name: &str| match name {
        "expires_in" => "15m",
        "spend_limit_usd" => "5",
        "ip" => "192.0.2.1",
        "models" => "openai/*",
        "scopes" => "models:read",
        _ => "text",
    };
    let mut tried = Vec::new();
    for (name, schema) in properties {
        for kind in kinds(schema) {
            let value = match kind.as_str() {
                "string" => text(name).into(),
                "integer" => 7.into(),
                "boolean" => true.into(),
                "array" => serde_json::json!([text(name)]),
                "null" => serde_json::Value::Null,
                other => panic!("{name} is described as {other}"),
            };
            let body = serde_json::json!({ name.as_str(): value }).to_string();
            let read = anykey_store::NewTemp::from_json(body.as_bytes(), None);
            assert!(read.is_ok(), "{body}: {read:?}");
            tried.push(format!("{name} {kind}"));
        }
    }
    for both in ["expires_in string", "expires_in integer"] {
        assert!(tried.iter().any(|one| one == both), "{both} in {tried:?}");
    }
}

/// The types of a schema, those of its alternatives included.
fn kinds(schema: &serde_json::Value) -> Vec<String> {
    let own = match &schema["type"] {
        serde_json::Value::Array(all) => all.iter().map(|one| one.as_str().unwrap().to_owned()).collect(),
        serde_json::Value::String(one) => vec![one.clone()],
        _ => Vec::new(),
    };
    let alternatives = ["oneOf", "anyOf"].iter().filter_map(|name| schema[*name].as_array()).flatten();
    own.into_iter().chain(alternatives.flat_map(kinds)).collect()
}
