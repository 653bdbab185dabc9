//! Writes `generationConfig`, `tools` and `toolConfig`.

use crate::translate::effort;
use crate::translate::form::{Choice, Effort, Format, Level, Reasoning, Sampling, Tool};
use crate::translate::notes::{Feature, Notes};
use crate::translate::{Target, schema, shared};
use crate::value::{Json, Object};

/// Gemini takes no more of them.
const MOST_STOPS: usize = 5;
/// The largest budget that every model with budgets takes.
const MOST_BUDGET: u64 = 24_576;

pub fn generation(
    s: Sampling,
    reasoning: Option<Reasoning>,
    format: Option<Format>,
    target: &Target<'_>,
    notes: &mut Notes,
) -> Object {
    let most = s.max_tokens.map(|most| target.max_output.map_or(most, |limit| most.min(limit)));
    let mut out = Object::new().maybe("maxOutputTokens", most);
    for (name, value) in [
        ("temperature", s.temperature),
        ("topP", s.top_p),
        ("presencePenalty", s.presence),
        ("frequencyPenalty", s.frequency),
    ] {
        if let Some(value) = value {
            out.put(name, Json::Number(value));
        }
    }
    match s.seed {
        Some(seed) if seed.parse::<i32>().is_ok() => out.put("seed", Json::Number(seed)),
        Some(_) => notes.drop(Feature::Seed),
        None => {}
    }
    if let Some(k) = s.top_k {
        out.put("topK", k);
    }
    if let Some(n) = s.n.filter(|n| *n > 1) {
        out.put("candidateCount", n);
    }
    if let Some(alternatives) = s.logprobs {
        out.put("responseLogprobs", true);
        if alternatives > 0 {
            out.put("logprobs", alternatives);
        }
    }
    if s.stop.len() > MOST_STOPS {
        notes.drop(Feature::Stop);
    }
    if !s.stop.is_empty() {
        out.put("stopSequences", s.stop.into_iter().take(MOST_STOPS).map(Json::from).collect::<Json>());
    }
    if let Some(format) = format {
        out.put("responseMimeType", "application/json");
        if let Format::Schema { schema: wanted, .. } = format {
            out.put("responseJsonSchema", schema::GEMINI.fit(wanted, notes));
        }
    }
    if let Some(config) = reasoning.and_then(|reasoning| thinking(&reasoning, target, notes)) {
        out.put("thinkingConfig", config);
    }
    out
}

/// A budget up to the second generation, a level from the third on, which cannot be told to be still.
fn thinking(reasoning: &Reasoning, target: &Target<'_>, notes: &mut Notes) -> Option<Object> {
    let by_level = effort::gemini_generation(target.model).is_some_and(|generation| generation >= 3);
    let config = match reasoning.level {
        Level::Off if by_level => {
            notes.drop(Feature::Reasoning);
            return Some(Object::new().with("thinkingLevel", "low"));
        }
        Level::Off => return Some(Object::new().with("thinkingBudget", 0u64)),
        Level::Auto => Object::new(),
        level if by_level => {
            let high = level.effort() > Some(Effort::Low);
            Object::new().with("thinkingLevel", if high { "high" } else { "low" })
        }
        Level::Budget(tokens) => Object::new().with("thinkingBudget", tokens.min(MOST_BUDGET)),
        Level::Effort(effort) => Object::new().with("thinkingBudget", effort.budget().min(MOST_BUDGET)),
    };
    let config = if reasoning.show == Some(false) { config } else { config.with("includeThoughts", true) };
    Some(config).filter(|config| !config.is_empty())
}

pub fn tools(tools: Vec<Tool>, choice: Option<Choice>, out: &mut Object, notes: &mut Notes) {
    if tools.is_empty() {
        return;
    }
    if tools.iter().any(|tool| tool.cache.is_some()) {
        notes.drop(Feature::Cache);
    }
    if tools.iter().any(|tool| tool.strict == Some(true)) {
        notes.drop(Feature::Strict);
    }
    // Some of them, or none: the others are not declared.
    let tools = match &choice {
        Some(Choice::Among { names, required: false }) => shared::only(tools, names),
        _ => tools,
    };
    let functions: Json = tools.into_iter().map(function).collect();
    out.put("tools", vec![Object::new().with("functionDeclarations", functions).into()]);
    let (mode, names) = match choice {
        None => return,
        Some(Choice::Auto | Choice::Among { required: false, .. }) => ("AUTO", Vec::new()),
        Some(Choice::None) => ("NONE", Vec::new()),
        Some(Choice::Required) => ("ANY", Vec::new()),
        Some(Choice::Named(name)) => ("ANY", vec![name]),
        Some(Choice::Among { names, required: true }) => ("ANY", names),
    };
    let names: Vec<Json> = names.into_iter().map(Json::from).collect();
    let calling = Object::new().with("mode", mode).maybe("allowedFunctionNames", Some(names).filter(|n| !n.is_empty()));
    out.put("toolConfig", Object::new().with("functionCallingConfig", calling));
}

fn function(tool: Tool) -> Json {
    // A function without arguments has no schema at all.
    let schema = tool.schema.filter(|schema| schema.object().is_some_and(|o| !o.is_empty()));
    Object::new()
        .with("name", tool.name)
        .maybe("description", tool.description)
        .maybe("parametersJsonSchema", schema)
        .into()
}
