//! What a model answers, in no dialect's words: blocks of thinking, text and tool calls, and why it stopped.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::control::Control;
use crate::model::Model;
use crate::prompt::{Prompt, ToolChoice};
use crate::schema;
use crate::text::{TOKEN_BYTES, id, lorem, repeat_to, tokens};

/// One answer, complete; streams are this, told piece by piece.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub blocks: Vec<Block>,
    pub stop: Stop,
    /// In how many pieces the text is streamed; `None` is one piece a token.
    pub pieces: Option<usize>,
    pub choices: u64,
    pub usage: Usage,
    /// `no-usage` hides it.
    pub report_usage: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    Thinking { text: String, signature: String },
    Text(String),
    Call { id_seed: u64, name: String, arguments: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    End,
    Length,
    Sequence(String),
    ToolUse,
}

/// Output tokens; `output` includes `reasoning`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub output: u64,
    pub reasoning: u64,
}

impl Block {
    /// The bytes that count as output.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Block::Thinking { text, .. } | Block::Text(text) => text.len(),
            Block::Call { name, arguments, .. } => name.len() + arguments.len(),
        }
    }

    /// What is streamed in pieces.
    pub(crate) fn streamed(&self) -> &str {
        match self {
            Block::Thinking { text, .. } | Block::Text(text) => text,
            Block::Call { arguments, .. } => arguments,
        }
    }
}

impl Answer {
    /// The text of the answer, without thinking.
    pub(crate) fn text(&self) -> &str {
        self.blocks
            .iter()
            .find_map(|block| match block {
                Block::Text(text) => Some(text.as_str()),
                _ => None,
            })
            .unwrap_or_default()
    }
}

/// Plays the part of `model`.
pub(crate) fn perform(model: Model, prompt: &Prompt, control: &Control, seed: u64) -> Answer {
    let (blocks, stop) = match model {
        Model::Tool if wants_call(prompt) => (calls(prompt, control, seed), Stop::ToolUse),
        _ => text_blocks(model, prompt, control),
    };
    let (blocks, stop) = match model {
        Model::Overrun => (blocks, stop),
        _ => limit(blocks, stop, prompt.max_tokens),
    };
    let choices = prompt.choices.max(1);
    Answer {
        usage: usage(&blocks, choices),
        blocks,
        stop,
        pieces: control.chunks.map(|chunks| chunks as usize),
        choices,
        report_usage: model != Model::NoUsage,
    }
}

/// Counts the tokens of these blocks, as many times as there are choices.
pub(crate) fn usage(blocks: &[Block], choices: u64) -> Usage {
    let (mut reasoning, mut visible) = (0, 0);
    for block in blocks {
        match block {
            Block::Thinking { .. } => reasoning += block.weight(),
            _ => visible += block.weight(),
        }
    }
    count(reasoning, visible, choices)
}

/// Output tokens for this many bytes of thinking and of everything else; an answer is never free.
pub(crate) fn count(reasoning: usize, visible: usize, choices: u64) -> Usage {
    let reasoning = tokens(reasoning) * choices;
    Usage { output: (reasoning + tokens(visible) * choices).max(1), reasoning }
}

/// The proof that a thinking block is ours and unchanged.
pub(crate) fn signature(thinking: &str) -> String {
    let mut bytes = b"sim\x01".to_vec();
    bytes.extend_from_slice(&Sha256::digest(thinking.as_bytes()));
    STANDARD.encode(bytes)
}

/// Whether `signature` was made by this provider, for this thinking where it was not left out.
pub(crate) fn signature_holds(thinking: &str, given: &str) -> bool {
    if thinking.is_empty() {
        STANDARD.decode(given).is_ok_and(|bytes| bytes.starts_with(b"sim\x01"))
    } else {
        signature(thinking) == given
    }
}

fn wants_call(prompt: &Prompt) -> bool {
    prompt.tool_result.is_none() && !prompt.tools.is_empty() && prompt.choice != ToolChoice::None
}

fn calls(prompt: &Prompt, control: &Control, seed: u64) -> Vec<Block> {
    let named = match &prompt.choice {
        ToolChoice::Named(name) => prompt.tools.iter().find(|tool| tool.name == *name),
        _ => None,
    };
    let Some(tool) = named.or(prompt.tools.first()) else {
        return Vec::new();
    };
    let arguments = schema::object(&tool.schema).to_string();
    (0..control.calls.unwrap_or(1))
        .map(|nth| Block::Call {
            id_seed: seed.wrapping_add(nth << 32),
            name: tool.name.clone(),
            arguments: arguments.clone(),
        })
        .collect()
}

fn text_blocks(model: Model, prompt: &Prompt, control: &Control) -> (Vec<Block>, Stop) {
    let text = match model {
        // One token more than is allowed, as filler never ends by itself when a limit is given.
        Model::Lorem if prompt.max_tokens.is_some() => lorem((filler_tokens(prompt, 0) + 1) * TOKEN_BYTES),
        Model::Lorem => lorem(64 * TOKEN_BYTES),
        Model::Overrun => {
            let times = control.times.unwrap_or(2) as usize;
            lorem((filler_tokens(prompt, 32) * times * TOKEN_BYTES).min(MOST_FILLER))
        }
        Model::Long => lorem(10_000 * TOKEN_BYTES),
        Model::Json => json_text(prompt),
        Model::Tool => match &prompt.tool_result {
            Some(result) => format!("The tool answered: {result}"),
            None => "There is no tool to call.".to_owned(),
        },
        _ => echo(prompt),
    };
    let (text, stop) = cut_at_stop(resize(text, control), &prompt.stop);
    let mut blocks = Vec::with_capacity(2);
    if model == Model::Reason && prompt.thinking {
        let thinking = format!("The user wants to read back {} bytes. I repeat them.", prompt.user.len());
        blocks.push(Block::Thinking { signature: signature(&thinking), text: thinking });
    }
    blocks.push(Block::Text(text));
    (blocks, stop)
}

/// The most bytes of filler for one call.
const MOST_FILLER: usize = 64 << 20;

fn filler_tokens(prompt: &Prompt, default: usize) -> usize {
    prompt.max_tokens.map_or(default, |most| most.min((MOST_FILLER / TOKEN_BYTES) as u64) as usize)
}

fn echo(prompt: &Prompt) -> String {
    if !prompt.user.is_empty() {
        return prompt.user.clone();
    }
    match &prompt.tool_result {
        Some(result) if !result.is_empty() => result.clone(),
        _ => "(nothing to repeat)".to_owned(),
    }
}

fn json_text(prompt: &Prompt) -> String {
    match &prompt.schema {
        Some(schema) if !schema.is_null() => schema::instance(schema).to_string(),
        _ => serde_json::json!({ "echo": prompt.user }).to_string(),
    }
}

fn resize(text: String, control: &Control) -> String {
    let bytes = control.bytes.or(control.chunks.map(|chunks| chunks * TOKEN_BYTES as u64));
    match bytes {
        Some(bytes) => repeat_to(&text, bytes as usize),
        None => text,
    }
}

fn cut_at_stop(mut text: String, stops: &[String]) -> (String, Stop) {
    let first = stops
        .iter()
        .filter(|stop| !stop.is_empty())
        .filter_map(|stop| text.find(stop.as_str()).map(|at| (at, stop)))
        .min_by_key(|(at, _)| *at);
    match first {
        Some((at, stop)) => {
            let stop = stop.clone();
            text.truncate(at);
            (text, Stop::Sequence(stop))
        }
        None => (text, Stop::End),
    }
}

/// Cuts the answer to `max_tokens`. A tool call that does not fit is left out, as half of one is no use to anyone.
fn limit(blocks: Vec<Block>, stop: Stop, max_tokens: Option<u64>) -> (Vec<Block>, Stop) {
    let Some(most) = max_tokens else {
        return (blocks, stop);
    };
    // Thinking and the rest are rounded up to whole tokens apart, so each has its own room.
    let mut left = most;
    let mut kept = Vec::with_capacity(blocks.len());
    let mut visible = 0;
    for mut block in blocks {
        let is_thinking = matches!(block, Block::Thinking { .. });
        let base = if is_thinking { 0 } else { visible };
        if tokens(base + block.weight()) <= left {
            match is_thinking {
                true => left -= tokens(block.weight()),
                false => visible += block.weight(),
            }
            kept.push(block);
            continue;
        }
        let room = (left as usize * TOKEN_BYTES).saturating_sub(base);
        match &mut block {
            Block::Thinking { text, signature: proof } => {
                text.truncate(text.floor_char_boundary(room));
                *proof = signature(text);
                kept.push(block);
            }
            Block::Text(text) => {
                text.truncate(text.floor_char_boundary(room));
                if !text.is_empty() {
                    kept.push(block);
                }
            }
            Block::Call { .. } => {}
        }
        return (kept, Stop::Length);
    }
    (kept, stop)
}

/// The id of a tool call as OpenAI and Anthropic would write it.
pub(crate) fn call_id(prefix: &str, id_seed: u64) -> String {
    id(prefix, 24, id_seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(user: &str) -> Prompt {
        Prompt { user: user.to_owned(), thinking: true, choices: 1, ..Prompt::default() }
    }

    #[test]
    fn echo_keeps_to_max_tokens_and_character_boundaries() {
        let mut prompt = ask("ééééé");
        prompt.max_tokens = Some(2);
        let answer = perform(Model::Echo, &prompt, &Control::default(), 1);
        assert_eq!(answer.text(), "éééé");
        assert_eq!(answer.stop, Stop::Length);
        assert_eq!(answer.usage.output, 2);
    }

    #[test]
    fn the_earliest_stop_sequence_ends_the_text() {
        let mut prompt = ask("one two three");
        prompt.stop = vec!["three".to_owned(), "two".to_owned()];
        let answer = perform(Model::Echo, &prompt, &Control::default(), 1);
        assert_eq!(answer.text(), "one ");
        assert_eq!(answer.stop, Stop::Sequence("two".to_owned()));
    }

    #[test]
    fn no_answer_but_overrun_exceeds_max_tokens() {
        for model in [Model::Echo, Model::Lorem, Model::Reason, Model::Tool, Model::Json, Model::Long] {
            for most in 1..40 {
                let mut prompt = ask("say this back to me, slowly, and with care; 東京");
                prompt.max_tokens = Some(most);
                prompt.tools = vec![crate::prompt::Tool {
                    name: "look_up".to_owned(),
                    schema: serde_json::json!({"type": "object", "properties": {"q": {"type": "string"}}}),
                }];
                let answer = perform(model, &prompt, &Control::default(), 1);
                assert!(answer.usage.output <= most, "{model:?} at {most}: {answer:?}");
            }
        }
        let mut prompt = ask("x");
        prompt.max_tokens = Some(10);
        assert_eq!(perform(Model::Overrun, &prompt, &Control::default(), 1).usage.output, 20);
        let seven = Control { times: Some(7), ..Control::default() };
        assert_eq!(perform(Model::Overrun, &prompt, &seven, 1).usage.output, 70);
    }

    #[test]
    fn signatures_hold_only_for_their_thinking() {
        let proof = signature("so it goes");
        assert!(signature_holds("so it goes", &proof));
        assert!(signature_holds("", &proof));
        assert!(!signature_holds("so it went", &proof));
        assert!(!signature_holds("", "c2lt"));
    }
}
