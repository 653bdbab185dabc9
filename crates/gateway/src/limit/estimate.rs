//! How many tokens a call may use, before it is sent: the size of its text, its images, and what it lets the model answer.

use crate::intake::Call;
use crate::route::Plan;
use anykey_core::limit::Demand;

/// A run of base64 that is at least so long is content of another kind: an image, a sound, a document.
const DATA_RUN: usize = 1024;
/// What providers count for an image of usual size, at most.
const DATA_TOKENS: u64 = 1600;

pub(super) fn demand(call: &Call, plan: &Plan) -> Demand {
    if let Some(measured) = &call.measured {
        let most = &measured.most;
        let input = measured.likely.input_tokens().min(most.input);
        return Demand { bytes: 0, fixed_input: input, window: None, output: Some(most.output), free: false };
    }
    let (bytes, fixed_input) = measure(&call.body);
    let embedding = call.route.endpoint.is_without_output();
    let asked = call.head.max_tokens.map(|most| plan.max_output.map_or(most, |limit| most.min(limit)));
    let output = if embedding { Some(0) } else { asked.map(|most| most.saturating_mul(call.head.n)) };
    Demand { bytes, fixed_input, window: plan.context_window, output, free: false }
}

/// Bytes of text, and tokens for what is not text.
fn measure(body: &[u8]) -> (u64, u64) {
    let (mut text, mut tokens) = (body.len(), 0);
    if body.len() < DATA_RUN {
        return (text as u64, 0);
    }
    for run in body.split(|b| !is_base64(*b)).filter(|run| run.len() >= DATA_RUN) {
        text -= run.len();
        tokens += DATA_TOKENS.min(run.len() as u64 / 4);
    }
    (text as u64, tokens)
}

const fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_does_not_count_as_text() {
        let image = "A".repeat(200_000);
        let body = format!(r#"{{"text":"what is this?","image":"data:image/png;base64,{image}"}}"#);
        let (text, tokens) = measure(body.as_bytes());
        assert_eq!((text, tokens), (body.len() as u64 - 200_000, DATA_TOKENS));
        let prose = "long words, and many of them. ".repeat(100);
        assert_eq!(measure(prose.as_bytes()), (prose.len() as u64, 0));
        let small = "B".repeat(2_000);
        assert_eq!(measure(format!("\"{small}\"").as_bytes()), (2, 500));
    }
}
