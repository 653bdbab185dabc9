//! Builds a valid instance of a JSON schema, for tool arguments and structured answers.
//!
//! Understands what the providers accept: `$ref` inside the document, `const`, `enum`, `anyOf`, `oneOf`, `allOf`,
//! bounds, formats, and Gemini's upper-case types. `pattern` and `not` are not solved.

use serde_json::{Map, Number, Value, json};

/// Beyond this depth a recursive schema gets only what it cannot do without, and soon nothing.
const OPTIONAL_DEPTH: usize = 6;
const MAX_DEPTH: usize = 24;

/// An instance of `schema`.
pub(crate) fn instance(schema: &Value) -> Value {
    build(schema, schema, 0)
}

/// An instance of `schema` that is an object whatever the schema says: tool arguments always are.
pub(crate) fn object(schema: &Value) -> Value {
    match instance(schema) {
        Value::Object(map) => Value::Object(map),
        _ => json!({}),
    }
}

fn build(schema: &Value, root: &Value, depth: usize) -> Value {
    let Some(map) = schema.as_object() else {
        // `true`, or nothing at all: anything goes.
        return Value::String("text".to_owned());
    };
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    if let Some(target) = map.get("$ref").and_then(Value::as_str) {
        let found = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return found.map_or(Value::Null, |found| build(found, root, depth + 1));
    }
    if let Some(constant) = map.get("const") {
        return constant.clone();
    }
    if let Some(first) = map.get("enum").and_then(Value::as_array).and_then(|all| all.first()) {
        return first.clone();
    }
    if let Some(parts) = map.get("allOf").and_then(Value::as_array) {
        return build(&merge(map, parts, root), root, depth + 1);
    }
    for word in ["anyOf", "oneOf"] {
        if let Some(options) = map.get(word).and_then(Value::as_array) {
            return build(simplest(options, root, depth), root, depth + 1);
        }
    }
    match type_of(map).as_str() {
        "object" => build_object(map, root, depth),
        "array" => build_array(map, root, depth),
        "integer" => Value::Number(whole_number(map)),
        "number" => build_number(map),
        "boolean" => Value::Bool(true),
        "null" => Value::Null,
        _ => Value::String(build_string(map)),
    }
}

/// The declared type in lower case, the first that is not null of several, or what the keywords imply.
fn type_of(map: &Map<String, Value>) -> String {
    let declared = match map.get("type") {
        Some(Value::String(one)) => Some(one.as_str()),
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).find(|one| *one != "null").or(Some("null")),
        _ => None,
    };
    match declared {
        Some(declared) => declared.to_ascii_lowercase(),
        None if map.contains_key("properties") || map.contains_key("required") => "object".to_owned(),
        None if map.contains_key("items") => "array".to_owned(),
        None if map.contains_key("minimum") || map.contains_key("maximum") => "number".to_owned(),
        None => "string".to_owned(),
    }
}

fn build_object(map: &Map<String, Value>, root: &Value, depth: usize) -> Value {
    let mut out = Map::new();
    let required: Vec<&str> = map
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    if let Some(properties) = map.get("properties").and_then(Value::as_object) {
        for (name, property) in properties {
            // With a list of what is required, the rest is left out; without one a caller learns more from all.
            let wanted = required.contains(&name.as_str()) || (required.is_empty() && depth < OPTIONAL_DEPTH);
            if wanted {
                out.insert(name.clone(), build(property, root, depth + 1));
            }
        }
    }
    let anything = Value::Bool(true);
    let extra = map.get("additionalProperties").unwrap_or(&anything);
    for name in required {
        if !out.contains_key(name) {
            out.insert(name.to_owned(), build(extra, root, depth + 1));
        }
    }
    let least = bound(map, "minProperties").unwrap_or(0.0) as usize;
    for nth in 0..least.min(64) {
        if out.len() >= least {
            break;
        }
        out.insert(format!("key{nth}"), build(extra, root, depth + 1));
    }
    Value::Object(out)
}

fn build_array(map: &Map<String, Value>, root: &Value, depth: usize) -> Value {
    let anything = Value::Bool(true);
    let prefix = map.get("prefixItems").and_then(Value::as_array);
    let items = map.get("items").unwrap_or(&anything);
    let least = bound(map, "minItems").unwrap_or(0.0) as usize;
    let most = bound(map, "maxItems").map_or(usize::MAX, |most| most as usize);
    // One item shows the shape, unless it would only feed a recursion.
    let natural = prefix.map_or(usize::from(depth < OPTIONAL_DEPTH), Vec::len);
    let length = natural.max(least).min(most).min(1024);
    let unique = map.get("uniqueItems").and_then(Value::as_bool).unwrap_or(false);
    let item = |nth: usize| {
        let schema = prefix.and_then(|all| all.get(nth)).unwrap_or(items);
        let built = build(schema, root, depth + 1);
        if unique { distinct(built, schema, nth) } else { built }
    };
    Value::Array((0..length).map(item).collect())
}

/// The nth variation of a value, for arrays that must not repeat themselves.
fn distinct(value: Value, schema: &Value, nth: usize) -> Value {
    if let Some(option) = schema.get("enum").and_then(|options| options.get(nth)) {
        return option.clone();
    }
    match value {
        Value::String(text) if nth > 0 => Value::String(format!("{text}{nth}")),
        Value::Number(number) if nth > 0 => match number.as_i64() {
            Some(whole) => json!(whole + nth as i64),
            None => json!(number.as_f64().unwrap_or_default() + nth as f64),
        },
        other => other,
    }
}

fn bound(map: &Map<String, Value>, name: &str) -> Option<f64> {
    // Gemini's proto JSON writes 64-bit numbers as strings.
    match map.get(name)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn whole_number(map: &Map<String, Value>) -> Number {
    let step = bound(map, "multipleOf").unwrap_or(1.0).max(1.0) as i64;
    let least = [
        bound(map, "minimum").map(|least| least.ceil() as i64),
        bound(map, "exclusiveMinimum").map(|least| least.floor() as i64 + 1),
    ];
    let most = [
        bound(map, "maximum").map(|most| most.floor() as i64),
        bound(map, "exclusiveMaximum").map(|most| most.ceil() as i64 - 1),
    ];
    let least = least.into_iter().flatten().max();
    let most = most.into_iter().flatten().min();
    let up = |from: i64| from.div_euclid(step) * step + if from.rem_euclid(step) == 0 { 0 } else { step };
    let value = match (least, most) {
        (Some(least), _) => up(least),
        (None, Some(most)) => most.min(1).div_euclid(step) * step,
        (None, None) => step,
    };
    Number::from(value)
}

fn build_number(map: &Map<String, Value>) -> Value {
    if let Some(step) = bound(map, "multipleOf") {
        let least = bound(map, "minimum").or(bound(map, "exclusiveMinimum")).unwrap_or(0.0);
        return json!(((least / step).floor() + 1.0) * step);
    }
    let least = bound(map, "minimum").or(bound(map, "exclusiveMinimum"));
    let most = bound(map, "maximum").or(bound(map, "exclusiveMaximum"));
    match (least, most) {
        (Some(least), Some(most)) => json!(least + (most - least) / 2.0),
        (Some(least), None) => json!(least + 1.5),
        (None, Some(most)) => json!(most - 1.5),
        (None, None) => json!(1.5),
    }
}

fn build_string(map: &Map<String, Value>) -> String {
    let formatted = match map.get("format").and_then(Value::as_str) {
        Some("date-time") => Some("2026-01-02T03:04:05Z"),
        Some("date") => Some("2026-01-02"),
        Some("time") => Some("03:04:05Z"),
        Some("duration") => Some("PT1H"),
        Some("email") => Some("someone@example.com"),
        Some("uri" | "url") => Some("https://example.com/"),
        Some("uuid") => Some("3f2504e0-4f89-41d3-9a0c-0305e82c3301"),
        Some("ipv4") => Some("192.0.2.1"),
        Some("ipv6") => Some("2001:db8::1"),
        Some("hostname") => Some("example.com"),
        _ => None,
    };
    if let Some(formatted) = formatted {
        return formatted.to_owned();
    }
    let mut text = "text".to_owned();
    let least = bound(map, "minLength").unwrap_or(0.0) as usize;
    while text.len() < least.min(1 << 20) {
        text.push('x');
    }
    if let Some(most) = bound(map, "maxLength") {
        text.truncate(most as usize);
    }
    text
}

/// The option that leads to an end soonest: anything but null while there is room, null once there is none.
fn simplest<'a>(options: &'a [Value], root: &'a Value, depth: usize) -> &'a Value {
    let is_null = |option: &&Value| option.get("type").and_then(Value::as_str) == Some("null");
    let flat = |option: &&Value| {
        let target = option.get("$ref").and_then(Value::as_str);
        let target = target.and_then(|target| root.pointer(target.strip_prefix('#')?));
        let option = target.unwrap_or(option);
        !matches!(option.get("type").and_then(Value::as_str), Some("object" | "array")) && option.get("$ref").is_none()
    };
    let deep = depth >= OPTIONAL_DEPTH;
    let found = match deep {
        true => options.iter().find(is_null).or(options.iter().find(flat)),
        false => options.iter().find(|option| !is_null(option)),
    };
    found.or(options.first()).unwrap_or(&Value::Null)
}

/// The parts of `allOf` and the schema around them as one schema.
fn merge(around: &Map<String, Value>, parts: &[Value], root: &Value) -> Value {
    let mut out = around.clone();
    out.remove("allOf");
    for part in parts {
        let target = part.get("$ref").and_then(Value::as_str);
        let target = target.and_then(|target| root.pointer(target.strip_prefix('#')?));
        let Some(part) = target.unwrap_or(part).as_object() else {
            continue;
        };
        for (word, value) in part {
            match (out.get_mut(word), value) {
                (Some(Value::Object(have)), Value::Object(more)) => have.extend(more.clone()),
                (Some(Value::Array(have)), Value::Array(more)) => have.extend(more.iter().cloned()),
                (Some(_), _) => {}
                (None, _) => {
                    out.insert(word.clone(), value.clone());
                }
            }
        }
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_what_the_schema_asks() {
        let schema = json!({
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 6, "maxLength": 6},
                "age": {"type": "integer", "minimum": 18, "multipleOf": 5},
                "score": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
                "kind": {"enum": ["a", "b"]},
                "tags": {"type": "array", "minItems": 2, "uniqueItems": true, "items": {"type": "string"}},
                "maybe": {"type": ["null", "boolean"]},
                "when": {"type": "STRING", "format": "date"},
                "not_needed": {"type": "string"}
            },
            "required": ["name", "age", "score", "kind", "tags", "maybe", "when"],
            "additionalProperties": false
        });
        assert_eq!(
            instance(&schema),
            json!({
                "name": "textxx", "age": 20, "score": 0.5, "kind": "a", "tags": ["text", "text1"], "maybe": true,
                "when": "2026-01-02"
            })
        );
    }

    #[test]
    fn follows_references_and_ends_recursion() {
        let schema = json!({
            "$ref": "#/$defs/node",
            "$defs": {"node": {
                "type": "object",
                "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
                "required": ["next"]
            }}
        });
        let mut depth = 0;
        let built = instance(&schema);
        let mut at = &built;
        while let Some(next) = at.get("next") {
            depth += 1;
            at = next;
        }
        assert!(at.is_null() && (1..MAX_DEPTH).contains(&depth), "{built}");
    }

    #[test]
    fn merges_all_of() {
        let schema = json!({
            "allOf": [
                {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]},
                {"properties": {"b": {"type": "boolean"}}, "required": ["b"]}
            ]
        });
        assert_eq!(instance(&schema), json!({"a": 1, "b": true}));
    }

    #[test]
    fn tool_arguments_are_objects_whatever_is_declared() {
        for schema in [json!({}), json!(true), json!(null), json!({"type": "string"})] {
            assert!(object(&schema).is_object());
        }
    }
}
