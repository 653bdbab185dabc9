//! Reads a generateContent request; fields may be in camelCase or snake_case, as proto JSON allows.

use serde_json::{Value, json};

use crate::fault::Fault;
use crate::model::Model;
use crate::prompt::{Meter, Prompt, Tool, ToolChoice};
use crate::script::signature_holds;

pub(super) struct Generate {
    pub prompt: Prompt,
    pub include_thoughts: bool,
}

/// A field by its camelCase name, or by its snake_case one.
pub(super) fn field<'a>(value: &'a Value, camel: &str) -> Option<&'a Value> {
    value.get(camel).or_else(|| value.get(snake(camel)))
}

fn snake(camel: &str) -> String {
    let mut out = String::with_capacity(camel.len() + 4);
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

/// Parts, whether a content was given in full or, as the API also takes it, as a lone part's object.
fn parts(content: &Value) -> impl Iterator<Item = &Value> {
    list(content.get("parts")).chain(content.get("parts").filter(|parts| parts.is_object()))
}

pub(super) fn generate(body: &Value, model: Model, strict: bool) -> Result<Generate, Fault> {
    let contents: Vec<&Value> = list(body.get("contents")).collect();
    if contents.is_empty() {
        return Err(Fault::invalid("* GenerateContentRequest.contents: contents is not specified\n"));
    }
    if strict {
        check(&contents)?;
        check_schemas(body)?;
        if model == Model::Tool {
            check_signatures(&contents)?;
        }
    }
    let config = field(body, "generationConfig").unwrap_or(&Value::Null);
    let max_tokens = match field(config, "maxOutputTokens") {
        None | Some(Value::Null) => None,
        Some(value) => match value.as_u64() {
            Some(most) if most > 0 => Some(most),
            _ if !strict => None,
            _ => {
                return Err(Fault::invalid(
                    "Unable to submit request because it has a maxOutputTokens value that is out of range. The supported range is from 1 (inclusive) to 1048577 (exclusive). Update the value and try again.",
                ));
            }
        },
    };
    let mut meter = Meter::default();
    let mut prompt = Prompt {
        thinking: true,
        choices: 1,
        max_tokens,
        stop: list(field(config, "stopSequences")).filter_map(Value::as_str).map(str::to_owned).collect(),
        choice: tool_choice(body),
        schema: schema(config),
        ..Prompt::default()
    };
    for tool in list(body.get("tools")) {
        for declared in list(field(tool, "functionDeclarations")) {
            meter.json(declared);
            prompt.tools.extend(function(declared));
        }
    }
    if let Some(system) = field(body, "systemInstruction") {
        weigh(system, &mut meter);
    }
    for content in contents {
        read_content(content, &mut meter, &mut prompt);
    }
    prompt.input = meter.plain();
    let thoughts = field(config, "thinkingConfig").and_then(|config| field(config, "includeThoughts"));
    Ok(Generate { prompt, include_thoughts: thoughts.and_then(Value::as_bool).unwrap_or(false) })
}

/// Weighs a content that is not part of the conversation, and returns its text.
pub(super) fn weigh(content: &Value, meter: &mut Meter) -> String {
    let mut texts = Vec::new();
    for part in parts(content) {
        match part.get("text").and_then(Value::as_str) {
            Some(text) => {
                meter.text(text);
                texts.push(text);
            }
            None => weigh_other(part, meter),
        }
    }
    texts.join("\n")
}

fn weigh_other(part: &Value, meter: &mut Meter) {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some(call) = field(part, "functionCall") {
        meter.text(&text(call, "name"));
        meter.json(call.get("args").unwrap_or(&Value::Null));
    } else if let Some(response) = field(part, "functionResponse") {
        meter.json(response.get("response").unwrap_or(&Value::Null));
    } else if field(part, "inlineData").or(field(part, "fileData")).is_some() {
        meter.image();
    }
}

fn read_content(content: &Value, meter: &mut Meter, prompt: &mut Prompt) {
    let text = weigh(content, meter);
    let is_model = content.get("role").and_then(Value::as_str) == Some("model");
    let results: Vec<String> = parts(content)
        .filter_map(|part| field(part, "functionResponse"))
        .map(|response| response.get("response").unwrap_or(&Value::Null).to_string())
        .collect();
    if !is_model && !text.is_empty() {
        prompt.user = text;
    }
    prompt.tool_result = (!is_model && !results.is_empty()).then(|| results.join("\n"));
}

fn tool_choice(body: &Value) -> ToolChoice {
    let config = field(body, "toolConfig").and_then(|config| field(config, "functionCallingConfig"));
    let mode = config.and_then(|config| config.get("mode")).and_then(Value::as_str);
    let mut allowed = list(config.and_then(|config| field(config, "allowedFunctionNames")));
    match (mode, allowed.next().and_then(Value::as_str)) {
        (Some("NONE"), _) => ToolChoice::None,
        (Some("ANY"), Some(name)) => ToolChoice::Named(name.to_owned()),
        _ => ToolChoice::Auto,
    }
}

fn function(declared: &Value) -> Option<Tool> {
    let schema = field(declared, "parametersJsonSchema").or(declared.get("parameters"));
    Some(Tool {
        name: declared.get("name")?.as_str()?.to_owned(),
        schema: schema.cloned().unwrap_or_else(|| json!({})),
    })
}

fn schema(config: &Value) -> Option<Value> {
    let given = field(config, "responseJsonSchema").or(field(config, "responseSchema"));
    match (given, field(config, "responseMimeType").and_then(Value::as_str)) {
        (Some(schema), _) => Some(schema.clone()),
        (None, Some("application/json")) => Some(Value::Null),
        _ => None,
    }
}

/// What Gemini refuses: roles it does not know, contents without parts, calls without as many answers.
fn check(contents: &[&Value]) -> Result<(), Fault> {
    let mut called = 0;
    for (at, content) in contents.iter().enumerate() {
        if !matches!(content.get("role").and_then(Value::as_str), None | Some("user" | "model" | "function")) {
            return Err(Fault::invalid("Please use a valid role: user, model."));
        }
        if parts(content).next().is_none() {
            return Err(Fault::invalid(format!(
                "* GenerateContentRequest.contents[{at}].parts: contents.parts must not be empty.\n"
            )));
        }
        let answers: Vec<&Value> = parts(content).filter_map(|part| field(part, "functionResponse")).collect();
        if let Some(nameless) =
            answers.iter().position(|answer| answer.get("name").and_then(Value::as_str).is_none_or(str::is_empty))
        {
            return Err(Fault::invalid(format!(
                "* GenerateContentRequest.contents[{at}].parts[{nameless}].function_response.name: Name cannot be empty.\n"
            )));
        }
        if answers.iter().any(|answer| !answer.get("response").is_some_and(Value::is_object)) {
            return Err(Fault::invalid(
                "Invalid value at 'function_response.response' (type.googleapis.com/google.protobuf.Struct)",
            ));
        }
        if answers.len() != called {
            return Err(Fault::invalid(
                "Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.",
            ));
        }
        called = parts(content).filter(|part| field(part, "functionCall").is_some()).count();
    }
    Ok(())
}

/// What Google takes for a call whose signature its caller never had.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// As the third generation does: the first call of every turn has to stand there as it was signed.
fn check_signatures(contents: &[&Value]) -> Result<(), Fault> {
    for (at, content) in contents.iter().enumerate() {
        let Some(call) = parts(content).find(|part| field(part, "functionCall").is_some()) else { continue };
        let given = field(call, "thoughtSignature").and_then(Value::as_str).unwrap_or_default();
        // SDKs give it back in the other spelling of base64.
        let standard = given.replace('-', "+").replace('_', "/");
        if given != NO_SIGNATURE && (given.is_empty() || !signature_holds("", &standard)) {
            return Err(Fault::invalid(format!(
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly, and missing thought_signature may lead to degraded model performance. Position: contents[{at}]."
            )));
        }
    }
    Ok(())
}

/// Words of JSON Schema that the older schema fields do not know.
const NOT_OPENAPI: [&str; 6] = ["$schema", "$ref", "$defs", "const", "additionalProperties", "oneOf"];

fn check_schemas(body: &Value) -> Result<(), Fault> {
    for (at, tool) in list(body.get("tools")).enumerate() {
        for (nth, declared) in list(field(tool, "functionDeclarations")).enumerate() {
            if let Some(schema) = declared.get("parameters") {
                let place = format!("tools[{at}].function_declarations[{nth}].parameters");
                check_schema(schema, &place)?;
            }
        }
    }
    let config = field(body, "generationConfig").unwrap_or(&Value::Null);
    match field(config, "responseSchema") {
        Some(schema) => check_schema(schema, "generation_config.response_schema"),
        None => Ok(()),
    }
}

fn check_schema(schema: &Value, place: &str) -> Result<(), Fault> {
    if let Some(word) = NOT_OPENAPI.iter().find(|word| schema.get(**word).is_some()) {
        return Err(Fault::invalid(format!(
            "Invalid JSON payload received. Unknown name \"{word}\" at '{place}': Cannot find field."
        )));
    }
    if schema.get("type").is_some_and(Value::is_array) {
        return Err(Fault::invalid(format!(
            "Invalid JSON payload received. Unknown name \"type\" at '{place}': Proto field is not repeating, cannot start list."
        )));
    }
    for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        check_schema(inner, &format!("{place}.properties[{name}]"))?;
    }
    match schema.get("items") {
        Some(items) => check_schema(items, &format!("{place}.items")),
        None => Ok(()),
    }
}
