//! JSON Schema, cut to the words that a provider takes. Words that only describe go without a sound; one that would have
//! bound the answer is named as dropped.

use super::notes::{Feature, Notes};
use crate::value::{Json, Object};
use std::borrow::Cow;

/// What a provider takes of JSON Schema.
pub struct Dialect {
    words: &'static [&'static str],
    /// Every object says that it has no other members.
    closed: bool,
}

/// Gemini's `responseJsonSchema` and `parametersJsonSchema`, by their documentation.
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
        for (name, value) in members.into_members() {
            is_object |= &*name == "properties" || (&*name == "type" && value.str() == Some("object"));
            self.word(name, value, &mut out, notes);
        }
        if self.closed && is_object && out.get("additionalProperties").is_none() {
            out.put("additionalProperties", false);
        }
        Json::Object(out)
    }

    fn word(&self, name: Cow<'static, str>, value: Json, out: &mut Object, notes: &mut Notes) {
        // An alternative that is spelled otherwise.
        let name = match &*name {
            "const" if !self.words.contains(&"const") => return out.put("enum", vec![value]),
            "oneOf" if !self.words.contains(&"oneOf") => "anyOf".into(),
            "definitions" if !self.words.contains(&"definitions") => "$defs".into(),
            _ => name,
        };
        if !self.words.contains(&&*name) {
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
                Some(rest) if self.words.contains(&"$defs") && !self.words.contains(&"definitions") => {
                    format!("#/$defs/{rest}").into()
                }
                _ => value,
            },
            _ => value,
        };
        out.put(name, value);
    }
}

/// Gemini's own schema, a subset of OpenAPI's, as JSON Schema: types in lower case, `nullable` as a type.
pub fn from_openapi(schema: Json) -> Json {
    let Json::Object(mut members) = schema else { return schema };
    let nullable = members.take("nullable").bool() == Some(true);
    let mut out = Object::new();
    for (name, value) in members.into_members() {
        let value = match &*name {
            "type" => {
                let lower = value.str().unwrap_or_default().to_ascii_lowercase();
                if nullable { vec![lower.into(), "null".into()].into() } else { lower.into() }
            }
            "properties" => {
                let members = value.into_object().into_members().into_iter();
                Json::Object(members.map(|(name, schema)| (name, from_openapi(schema))).collect())
            }
            "anyOf" | "any_of" => value.into_list().into_iter().map(from_openapi).collect(),
            "items" => from_openapi(value),
            // 64-bit integers are strings in proto JSON.
            "minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties" | "maxProperties" => match value {
                Json::String(digits) if digits.parse::<u64>().is_ok() => Json::Number(digits),
                other => other,
            },
            "propertyOrdering" | "property_ordering" | "example" => continue,
            _ => value,
        };
        out.put(name, value);
    }
    Json::Object(out)
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
}
