//! What OpenAI's two dialects have in common: the same things under other names, and the same refusals.

use super::fields::{Fields, refuse};
use super::form::{Choice, Level, Sampling, Tool};
use super::notes::{Feature, Notes};
use super::{Api, effort};
use crate::value::{Json, Object};
use anykey_core::Refusal;

/// The arguments of a call that has none.
pub const NO_ARGUMENTS: &str = "{}";

/// Arguments as OpenAI's dialects have them, never empty.
pub fn arguments(arguments: String) -> String {
    if arguments.trim().is_empty() { NO_ARGUMENTS.to_owned() } else { arguments }
}

/// The schema of a function without arguments.
pub fn empty_schema() -> Json {
    Object::new().with("type", "object").with("properties", Object::new()).into()
}

/// Takes the members that chat completions and responses share, under the same names; those that say nothing stay behind.
pub fn members(f: &mut Fields) -> Object {
    const MEMBERS: [&str; 8] = [
        "metadata",
        "store",
        "service_tier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "logit_bias",
        "verbosity",
    ];
    let mut object = Object::new();
    for name in MEMBERS {
        let Some(value) = f.take(name) else { continue };
        let says_nothing = match name {
            "store" => value == Json::Bool(false),
            "service_tier" => matches!(value.str(), Some("auto" | "default")),
            _ => false,
        };
        if !says_nothing {
            object.put(name, value);
        }
    }
    object
}

/// Names what the two have and another provider has not.
pub fn drop_members(members: &Object, notes: &mut Notes) {
    for (name, _) in members.iter() {
        notes.member("", name);
    }
}

/// A choice of tools that is a word.
pub fn choice_word(word: &str) -> Result<Choice, Refusal> {
    Ok(match word {
        "auto" => Choice::Auto,
        "none" => Choice::None,
        "required" => Choice::Required,
        _ => return Err(refuse("tool_choice", "must be auto, none, required or a tool")),
    })
}

/// `allowed_tools`: its mode, and its tools by `name`.
pub fn among(f: &mut Fields, name: impl Fn(&Json) -> Option<&str>) -> Result<Choice, Refusal> {
    let required = f.text("mode")?.as_deref() == Some("required");
    let tools = f.list("tools")?.unwrap_or_default();
    let names: Option<Vec<String>> = tools.iter().map(|tool| name(tool).map(str::to_owned)).collect();
    Ok(Choice::Among { names: names.ok_or_else(|| f.unserved("tools"))?, required })
}

/// A choice of tools. The two differ in how deep a tool's name and the list of allowed ones stand.
pub fn choice(choice: Choice, named: fn(String) -> Object, allowed: fn(Object) -> Object) -> Json {
    match choice {
        Choice::Auto => "auto".into(),
        Choice::None => "none".into(),
        Choice::Required => "required".into(),
        Choice::Named(name) => named(name).into(),
        Choice::Among { names, required } => {
            let tools: Json = names.into_iter().map(|name| Json::from(named(name))).collect();
            allowed(Object::new().with("mode", if required { "required" } else { "auto" }).with("tools", tools)).into()
        }
    }
}

/// The tools of a request with their choice, each written by `tool`.
pub fn tools(
    tools: Vec<Tool>,
    choice: Option<Json>,
    parallel: Option<bool>,
    tool: fn(Tool) -> Json,
    out: &mut Object,
    notes: &mut Notes,
) {
    if tools.is_empty() {
        return;
    }
    if tools.iter().any(|tool| tool.cache.is_some()) {
        notes.drop(Feature::Cache);
    }
    out.put("tools", tools.into_iter().map(tool).collect::<Json>());
    if let Some(choice) = choice {
        out.put("tool_choice", choice);
    }
    if let Some(parallel) = parallel {
        out.put("parallel_tool_calls", parallel);
    }
}

/// `json_schema` of an answer's format, behind the members that `object` has.
pub fn schema_members(
    object: Object,
    name: Option<String>,
    description: Option<String>,
    schema: Json,
    strict: Option<bool>,
) -> Object {
    object
        .with("name", name.unwrap_or_else(|| "answer".to_owned()))
        .maybe("description", description)
        .with("schema", schema)
        .maybe("strict", strict)
}

/// Temperature and `top_p`, which OpenAI's models that reason refuse (`fixed`).
pub fn heat(s: &mut Sampling, fixed: bool, out: &mut Object, notes: &mut Notes) {
    for (name, value, feature) in
        [("temperature", s.temperature.take(), Feature::Temperature), ("top_p", s.top_p.take(), Feature::TopP)]
    {
        match value {
            Some(value) if fixed && value.parse() != Ok(1.0) => notes.drop(feature),
            Some(value) => out.put(name, Json::Number(value)),
            None => {}
        }
    }
}

/// An effort as a word of OpenAI's; `None` where nothing is to be said, or nothing can be, which is named. Callers of its
/// own dialects name an effort because the model takes one; the others' budgets are for models that are known to.
pub fn effort_word(level: Level, model: &str, notes: &mut Notes) -> Option<&'static str> {
    let reasons = effort::openai_reasons(model);
    let asked_in_words = matches!(notes.client(), Api::Chat | Api::Responses);
    match level {
        Level::Auto => None,
        Level::Off if effort::openai_can_stop_reasoning(model) => Some("none"),
        Level::Off if !reasons => None,
        level => match level.effort() {
            Some(effort) if reasons || asked_in_words => Some(effort.word()),
            _ => {
                notes.drop(Feature::Reasoning);
                None
            }
        },
    }
}
