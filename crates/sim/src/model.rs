//! The models on offer: their names, what each does, and how a requested name is read.

use std::str::FromStr;

/// What a model can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Chat,
    Embedding,
    Moderation,
    Rerank,
    Image,
    Speech,
    Transcription,
}

/// One line of the model list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimModel {
    pub name: &'static str,
    pub does: &'static str,
    pub kind: Kind,
}

/// Every model, in the order in which lists show them.
pub fn models() -> &'static [SimModel] {
    MODELS
}

/// A model that was recognised by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Model {
    Echo,
    Lorem,
    Tool,
    Reason,
    Json,
    Slow,
    Flaky,
    RateLimited,
    ServerError,
    Cut,
    Embed,
    BrokenJson,
    NoUsage,
    Overrun,
    Long,
    Redirect,
    Unauthorized,
    Forbidden,
    Moderate,
    Rerank,
    Image,
    Picture,
    Speech,
    Transcribe,
    Listen,
}

const fn chat(name: &'static str, does: &'static str) -> SimModel {
    SimModel { name, does, kind: Kind::Chat }
}

// The order is that of `Model`, so that a name's place in this table is its variant.
static MODELS: &[SimModel] = &[
    chat("echo", "repeats the last user message"),
    chat("lorem", "writes max_tokens tokens of filler, paced by tps"),
    chat("tool", "calls the first declared tool, then answers in text"),
    chat("reason", "thinks before it repeats the last user message"),
    chat("json", "answers with a valid instance of the given JSON schema"),
    chat("slow", "echo that takes its time"),
    chat("flaky", "echo that fails one time in three (every=N)"),
    chat("429", "always refuses with a rate limit and a time to retry"),
    chat("500", "always fails"),
    chat("cut", "echo whose connection drops half-way"),
    SimModel { name: "embed", does: "deterministic unit vectors", kind: Kind::Embedding },
    chat("broken-json", "answers 200 with JSON that does not parse"),
    chat("no-usage", "echo that never reports usage"),
    chat("overrun", "writes twice as much as max_tokens allows (times=N)"),
    chat("long", "streams 10,000 chunks at 10 ms each unless the client hangs up"),
    chat("redirect", "answers 307 to another place"),
    chat("401", "refuses the credential that it was given"),
    chat("403", "says that the credential may not use it"),
    SimModel { name: "moderate", does: "flags what speaks of violence", kind: Kind::Moderation },
    SimModel { name: "rerank", does: "ranks documents by the words of the query", kind: Kind::Rerank },
    SimModel { name: "image", does: "draws a dot, counted in tokens", kind: Kind::Image },
    SimModel { name: "picture", does: "draws a dot, counted in pictures", kind: Kind::Image },
    SimModel { name: "speech", does: "speaks silence of the right length", kind: Kind::Speech },
    SimModel { name: "transcribe", does: "says how long a sound is, counted in tokens", kind: Kind::Transcription },
    SimModel { name: "listen", does: "says how long a sound is, counted in seconds", kind: Kind::Transcription },
];

/// Names of real families may stand in front of a model's, which then is as strict as that family is.
const FAMILIES: [&str; 3] = [REASONING, "gemini-3-", "claude-sonnet-4-5-"];

/// OpenAI's models that reason.
pub(crate) const REASONING: &str = "gpt-5-";

const VARIANTS: [Model; 25] = [
    Model::Echo,
    Model::Lorem,
    Model::Tool,
    Model::Reason,
    Model::Json,
    Model::Slow,
    Model::Flaky,
    Model::RateLimited,
    Model::ServerError,
    Model::Cut,
    Model::Embed,
    Model::BrokenJson,
    Model::NoUsage,
    Model::Overrun,
    Model::Long,
    Model::Redirect,
    Model::Unauthorized,
    Model::Forbidden,
    Model::Moderate,
    Model::Rerank,
    Model::Image,
    Model::Picture,
    Model::Speech,
    Model::Transcribe,
    Model::Listen,
];

impl Model {
    pub(crate) fn card(self) -> &'static SimModel {
        &MODELS[self as usize]
    }

    /// Whether an endpoint of this kind can answer with the model. Fault models fail everywhere alike.
    pub(crate) fn serves(self, kind: Kind) -> bool {
        let talks = [Model::Echo, Model::Lorem, Model::Tool, Model::Reason, Model::Json, Model::Overrun, Model::Long];
        let own = self.card().kind;
        own == kind || (own == Kind::Chat && !talks.contains(&self))
    }
}

impl FromStr for Model {
    type Err = ();

    /// Reads a bare name, with or without `sim/` before it.
    fn from_str(name: &str) -> Result<Self, ()> {
        let name = name.strip_prefix("sim/").unwrap_or(name);
        // What OpenAI's own SDK means where nobody names a model.
        let name = if name == "omni-moderation-latest" { "moderate" } else { name };
        let name = FAMILIES.iter().find_map(|family| name.strip_prefix(family)).unwrap_or(name);
        MODELS.iter().position(|card| card.name == name).map(|place| VARIANTS[place]).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_its_own_variant() {
        for (place, card) in MODELS.iter().enumerate() {
            let model: Model = card.name.parse().unwrap();
            assert_eq!(model as usize, place);
            assert_eq!(model.card(), card);
            assert_eq!(format!("sim/{}", card.name).parse(), Ok(model));
            assert_eq!(format!("gpt-5-{}", card.name).parse(), Ok(model));
        }
        assert!("gpt-5".parse::<Model>().is_err());
    }
}
