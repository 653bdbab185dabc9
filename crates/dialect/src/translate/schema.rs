//! JSON Schema, cut to the words that a provider takes. Words that only describe go without a sound; one that would have
//! bound the answer is named as dropped.

use super::fields::camel_case;
use super::notes::{Feature, Notes};
use crate::value::{Json, Object};
use std::borrow::Cow;

/// What a provider takes of JSON Schema.
pub struct Dialect {
    words: &'static [&'static str],
    /// Every object says that it has no other members.
    closed: bool,
}

/// Gemini's `responseJsonSchema`, by its documentation. The arguments of functions (`parametersJsonSchema`) are any JSON
/// Schema, and go as they are.
pub const GEMINI: Dialect = Dialect {
    words: &[
        "$id",
        "$defs",
        "$ref",
        "$anchor",
        "type",
        "format",
        "title",
        "description",
        "enum",
        "items",
        "prefixItems",
        "minItems",
        "maxItems",
        "minimum",
        "maximum",
        "anyOf",
        "oneOf",
        "properties",
        "additionalProperties",
        "required",
        "propertyOrdering",
    ],
    closed: false,
};

/// Anthropic's structured output.
pub const ANTHROPIC: Dialect = Dialect {
    words: &[
        "$defs",
        "definitions",
        "$ref",
        "type",
        "format",
        "title",
        "description",
        "enum",
        "const",
        "items",
        "anyOf",
        "allOf",
        "properties",
        "required",
        "default",
        "additionalProperties",
    ],
    closed: true,
};

/// Words without which an answer is as valid as with them.
const SILENT: [&str; 11] = [
    "$schema",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    "example",
    "deprecated",
    "readOnly",
    "writeOnly",
    "propertyOrdering",
];

impl Dialect {
    /// The schema in these words.
    pub fn fit(&self, schema: Json, notes: &mut Notes) -> Json {
        let Json::Object(members) = schema else { return schema };
        let mut out = Object::new();
        let mut is_object = false;
        for (name, value) in self.respelled(members, notes).into_members() {
            is_object |= &*name == "properties" || (&*name == "type" && value.str() == Some("object"));
            self.word(name, value, &mut out, notes);
        }
        if self.closed && is_object && out.get("additionalProperties").is_none() {
            out.put("additionalProperties", false);
        }
        Json::Object(out)
    }

    fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    /// The same with other words for those that are not known. A word that has its meaning already stands beside it,
    /// never twice.
    fn respelled(&self, members: Object, notes: &mut Notes) -> Object {
        let mut out = Object::new();
        for (name, value) in members.into_members() {
            match &*name {
                // Whatever else is allowed, it is this one.
                "const" if !self.has("const") => out.set("enum", vec![value]),
                "enum" if !self.has("const") && out.get("enum").is_some() => {}
                "oneOf" if !self.has("oneOf") => self.one_of(value, &mut out, notes),
                "anyOf" if out.get("anyOf").is_some() => self.one_of(value, &mut out, notes),
                "definitions" if !self.has("definitions") => define(value, &mut out, notes),
                "$defs" if out.get("$defs").is_some() => define(value, &mut out, notes),
                _ => out.set(name, value),
            }
        }
        out
    }

    /// One of several, which any of several says well enough; beside other alternatives it holds as well.
    fn one_of(&self, value: Json, out: &mut Object, notes: &mut Notes) {
        if out.get("anyOf").is_none() {
            return out.set("anyOf", value);
        }
        if !self.has("allOf") {
            return notes.drop(Feature::SchemaWords);
        }
        let also: Json = Object::new().with("anyOf", value).into();
        match out.get_mut("allOf") {
            Some(Json::Array(all)) => all.push(also),
            _ => out.set("allOf", vec![also]),
        }
    }

    fn word(&self, name: Cow<'static, str>, value: Json, out: &mut Object, notes: &mut Notes) {
        if !self.has(&name) {
            if !SILENT.contains(&&*name) {
                notes.drop(Feature::SchemaWords);
            }
            return;
        }
        let value = match &*name {
            "properties" | "$defs" | "definitions" => {
                let members = value.into_object().into_members().into_iter();
                Json::Object(members.map(|(name, schema)| (name, self.fit(schema, notes))).collect())
            }
            "anyOf" | "oneOf" | "allOf" | "prefixItems" => {
                value.into_list().into_iter().map(|schema| self.fit(schema, notes)).collect()
            }
            "additionalProperties" if self.closed => {
                if value != Json::Bool(false) {
                    notes.drop(Feature::SchemaWords);
                }
                Json::Bool(false)
            }
            "items" | "additionalProperties" => self.fit(value, notes),
            "$ref" => match value.str().and_then(|r| r.strip_prefix("#/definitions/")) {
                Some(rest) if self.has("$defs") && !self.has("definitions") => format!("#/$defs/{rest}").into(),
                _ => value,
            },
            _ => value,
        };
        out.put(name, value);
    }
}

/// Puts definitions beside those that are there. Two of one name cannot both be kept.
fn define(value: Json, out: &mut Object, notes: &mut Notes) {
    let Some(Json::Object(there)) = out.get_mut("$defs") else { return out.set("$defs", value) };
    for (name, schema) in value.into_object().into_members() {
        match there.get(&name) {
            None => there.put(name, schema),
            Some(same) if *same == schema => {}
            Some(_) => notes.drop(Feature::SchemaWords),
        }
    }
}

/// Gemini's own schema, a subset of OpenAPI's, as JSON Schema: words in camel case, types in lower case, `nullable` as a
/// type.
pub fn from_openapi(schema: Json) -> Json {
    let Json::Object(members) = schema else { return schema };
    let mut nullable = false;
    let mut out = Object::new();
    for (name, value) in members.into_members() {
        let name = camel_case(name);
        let value = match &*name {
            "nullable" => {
                nullable = value.bool() == Some(true);
                continue;
            }
            "type" => match value.str() {
                Some("TYPE_UNSPECIFIED") => continue,
                Some(name) => name.to_ascii_lowercase().into(),
                None => value,
            },
            "properties" => {
                let members = value.into_object().into_members().into_iter();
                Json::Object(members.map(|(name, schema)| (name, from_openapi(schema))).collect())
            }
            "anyOf" => value.into_list().into_iter().map(from_openapi).collect(),
            "items" | "additionalProperties" => from_openapi(value),
            // 64-bit integers are strings in proto JSON.
            "minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties" | "maxProperties" => match value {
                Json::String(digits) if digits.parse::<u64>().is_ok() => Json::Number(digits),
                other => other,
            },
            "propertyOrdering" | "example" => continue,
            _ => value,
        };
        out.set(name, value);
    }
    if nullable { or_null(out) } else { Json::Object(out) }
}

/// The schema, or null. Every word that says what a value must be has to let it through.
fn or_null(mut schema: Object) -> Json {
    let null = || Json::from(Object::new().with("type", "null"));
    if let Some(Json::Array(values)) = schema.get_mut("enum")
        && !values.contains(&Json::Null)
    {
        values.push(Json::Null);
    }
    if let Some(Json::Array(alternatives)) = schema.get_mut("anyOf") {
        alternatives.push(null());
    } else if schema.get("$ref").is_some() {
        return Object::new().with("anyOf", vec![schema.into(), null()]).into();
    }
    if let Some(name) = schema.get("type").and_then(Json::str).map(str::to_owned) {
        schema.set("type", vec![Json::from(name), "null".into()]);
    }
    Json::Object(schema)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::Api;

    fn fit(dialect: &Dialect, schema: &str) -> (String, usize) {
        let mut notes = Notes::new(Api::Chat);
        let fitted = dialect.fit(Json::parse(schema).unwrap(), &mut notes).text();
        (fitted, notes.names().len())
    }

    #[test]
    fn a_property_may_be_called_like_a_word() {
        let schema = r#"{"type":"object","properties":{"pattern":{"type":"string","pattern":"a+"}}}"#;
        let expected = r#"{"type":"object","properties":{"pattern":{"type":"string"}}}"#;
        assert_eq!(fit(&GEMINI, schema), (expected.to_owned(), 1));
    }

    #[test]
    fn constants_and_definitions_are_respelled_for_gemini() {
        let schema =
            r##"{"$schema":"x","definitions":{"a":{"const":1}},"properties":{"b":{"$ref":"#/definitions/a"}}}"##;
        let expected = r##"{"$defs":{"a":{"enum":[1]}},"properties":{"b":{"$ref":"#/$defs/a"}}}"##;
        assert_eq!(fit(&GEMINI, schema), (expected.to_owned(), 0));
    }

    #[test]
    fn objects_are_closed_for_anthropic() {
        let schema = r#"{"type":"object","properties":{"n":{"type":"integer","minimum":1}},"required":["n"]}"#;
        let expected =
            r#"{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"],"additionalProperties":false}"#;
        assert_eq!(fit(&ANTHROPIC, schema), (expected.to_owned(), 1));
    }

    #[test]
    fn openapi_becomes_json_schema() {
        let schema =
            r#"{"type":"OBJECT","properties":{"a":{"type":"STRING","nullable":true}},"propertyOrdering":["a"]}"#;
        let expected = r#"{"type":"object","properties":{"a":{"type":["string","null"]}}}"#;
        assert_eq!(from_openapi(Json::parse(schema).unwrap()).text(), expected);
    }

    #[test]
    fn no_member_is_written_twice() {
        for (dialect, schema, expected) in [
            (&GEMINI, r#"{"const":1,"enum":[1,2]}"#, r#"{"enum":[1]}"#),
            (&GEMINI, r#"{"enum":[1,2],"const":1}"#, r#"{"enum":[1]}"#),
            (&GEMINI, r#"{"type":"string","type":"integer"}"#, r#"{"type":"integer"}"#),
            (
                &GEMINI,
                r#"{"$defs":{"a":{"type":"string"}},"definitions":{"a":{"type":"string"},"b":{}}}"#,
                r#"{"$defs":{"a":{"type":"string"},"b":{}}}"#,
            ),
            (
                &ANTHROPIC,
                r#"{"oneOf":[{"type":"string"}],"anyOf":[{"type":"integer"}]}"#,
                r#"{"anyOf":[{"type":"string"}],"allOf":[{"anyOf":[{"type":"integer"}]}]}"#,
            ),
            (
                &ANTHROPIC,
                r#"{"allOf":[{"type":"string"}],"anyOf":[{"enum":["a"]}],"oneOf":[{"enum":["b"]}]}"#,
                r#"{"allOf":[{"type":"string"},{"anyOf":[{"enum":["b"]}]}],"anyOf":[{"enum":["a"]}]}"#,
            ),
        ] {
            assert_eq!(fit(dialect, schema), (expected.to_owned(), 0), "{schema}");
        }
        // Which of the two is meant cannot be said.
        let twice = r#"{"$defs":{"a":{"type":"string"}},"definitions":{"a":{"type":"integer"}}}"#;
        assert_eq!(fit(&GEMINI, twice), (r#"{"$defs":{"a":{"type":"string"}}}"#.to_owned(), 1));
    }

    #[test]
    fn null_is_let_through_wherever_it_may_be() {
        for (schema, expected) in [
            (r#"{"any_of":[{"type":"STRING"}],"nullable":true}"#, r#"{"anyOf":[{"type":"string"},{"type":"null"}]}"#),
            (r#"{"nullable":true,"enum":["a"]}"#, r#"{"enum":["a",null]}"#),
            (r#"{"type":"STRING","enum":["a"],"nullable":true}"#, r#"{"type":["string","null"],"enum":["a",null]}"#),
            (r##"{"$ref":"#/$defs/a","nullable":true}"##, r##"{"anyOf":[{"$ref":"#/$defs/a"},{"type":"null"}]}"##),
            (
                r#"{"type":"ARRAY","min_items":"2","items":{"type":"TYPE_UNSPECIFIED"}}"#,
                r#"{"type":"array","minItems":2,"items":{}}"#,
            ),
            (r#"{"nullable":false,"type":"NUMBER"}"#, r#"{"type":"number"}"#),
        ] {
            assert_eq!(from_openapi(Json::parse(schema).unwrap()).text(), expected);
        }
    }
}
