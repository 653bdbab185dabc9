//! What answers used, in disjoint classes.

use anykey_core::Endpoint::{self, *};
use anykey_core::Unit::{self, *};
use anykey_core::Usage;
use anykey_dialect::usage::{estimate, read_answer};
use serde_json::{Value, json};

fn counts(units: &[(Unit, u64)]) -> Option<Usage> {
    Some(units.iter().copied().chain([(Request, 1)]).collect())
}

fn used(endpoint: Endpoint, answer: Value) -> Option<Usage> {
    let read = read_answer(endpoint, answer.to_string().as_bytes());
    assert!(read.complete);
    read.usage
}

fn chat(usage: Value) -> Option<Usage> {
    used(ChatCompletions, json!({"id": "c", "model": "m", "choices": [{}], "usage": usage}))
}

#[test]
fn openai_counts_parts_inside_of_wholes() {
    assert_eq!(
        chat(json!({
            "prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150,
            "prompt_tokens_details": {"cached_tokens": 30, "audio_tokens": 10},
            "completion_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 5, "accepted_prediction_tokens": 3}
        })),
        counts(&[(Input, 60), (CacheRead, 30), (AudioIn, 10), (Output, 25), (Reasoning, 20), (AudioOut, 5)])
    );
    assert_eq!(
        used(
            Responses,
            json!({"output": [{"type": "web_search_call"}, {"type": "message"}, {"type": "web_search_call"}], "usage": {
                "input_tokens": 9, "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": 7, "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 16}})
        ),
        counts(&[(Input, 9), (Output, 5), (Reasoning, 2), (Search, 2)])
    );
    assert_eq!(used(Embeddings, json!({"usage": {"prompt_tokens": 8, "total_tokens": 8}})), counts(&[(Input, 8)]));
    assert_eq!(used(Embeddings, json!({"usage": {"total_tokens": 8}})), counts(&[(Input, 8)]));
}

#[test]
fn imitators_of_openai() {
    // Reasoning is in the total, not in the completion.
    assert_eq!(
        chat(json!({"prompt_tokens": 102, "completion_tokens": 758, "total_tokens": 1725})),
        counts(&[(Input, 102), (Output, 1623)])
    );
    assert_eq!(
        chat(json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 35,
            "completion_tokens_details": {"reasoning_tokens": 20}})),
        counts(&[(Input, 10), (Output, 5), (Reasoning, 20)])
    );
    assert_eq!(
        chat(json!({"prompt_tokens": 10, "prompt_cache_hit_tokens": 6, "completion_tokens": 1})),
        counts(&[(Input, 4), (CacheRead, 6), (Output, 1)])
    );
    assert_eq!(
        chat(json!({"prompt_tokens": 10, "input_tokens": 10, "cached_tokens": 6, "completion_tokens": 1})),
        counts(&[(Input, 4), (CacheRead, 6), (Output, 1)])
    );
    assert_eq!(
        chat(json!({"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": null})),
        counts(&[(Input, 3), (Output, 2)])
    );
}

#[test]
fn counts_that_do_not_add_up_are_clamped() {
    assert_eq!(
        chat(json!({"prompt_tokens": 5, "completion_tokens": 4,
            "prompt_tokens_details": {"cached_tokens": 9, "audio_tokens": 9},
            "completion_tokens_details": {"reasoning_tokens": 9, "audio_tokens": 9}})),
        counts(&[(CacheRead, 5), (Reasoning, 4)])
    );
    assert_eq!(
        chat(json!({"prompt_tokens": 1.5, "completion_tokens": -3, "total_tokens": "9"})),
        counts(&[(Input, 2)])
    );
    let most = used(
        Messages,
        json!({"usage": {"input_tokens": u64::MAX, "output_tokens": u64::MAX, "cache_read_input_tokens": u64::MAX,
            "cache_creation": {"ephemeral_5m_input_tokens": u64::MAX, "ephemeral_1h_input_tokens": u64::MAX}}}),
    );
    assert_eq!(most.unwrap().input_tokens(), u64::MAX);
}

/// Unpriced work is worse than a detail that is missing.
#[test]
fn details_of_a_wrong_type_do_not_lose_the_counts_beside_them() {
    let plain = counts(&[(Unit::Request, 1), (Unit::Input, 9), (Unit::Output, 4)]);
    for details in [json!("none"), json!([1, 2]), json!(7), json!(null), json!({"cached_tokens": {"of": "what"}})] {
        let usage = json!({"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": details});
        assert_eq!(chat(usage), plain);
    }
}

#[test]
fn anthropic_counts_caches_beside_input() {
    assert_eq!(
        used(
            Messages,
            json!({"usage": {"input_tokens": 10, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 12,
                "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 8},
                "output_tokens": 5, "server_tool_use": {"web_search_requests": 2}, "service_tier": "standard"}})
        ),
        counts(&[(Input, 10), (CacheRead, 20), (CacheWrite5m, 4), (CacheWrite1h, 8), (Output, 5), (Search, 2)])
    );
    assert_eq!(
        used(
            Messages,
            json!({"usage": {"input_tokens": 1, "cache_creation_input_tokens": 12, "output_tokens": 5,
            "cache_creation": null, "server_tool_use": null}})
        ),
        counts(&[(Input, 1), (CacheWrite5m, 12), (Output, 5)])
    );
    assert_eq!(
        used(
            Messages,
            json!({"usage": {"input_tokens": 1, "output_tokens": 5, "cache_creation": {"ephemeral_1h_input_tokens": 3}}})
        ),
        counts(&[(Input, 1), (CacheWrite1h, 3), (Output, 5)])
    );
}

#[test]
fn gemini_counts_thoughts_beside_candidates() {
    assert_eq!(
        used(
            GenerateContent,
            json!({"modelVersion": "g", "responseId": "r", "usageMetadata": {
                "promptTokenCount": 100, "cachedContentTokenCount": 40, "candidatesTokenCount": 30, "thoughtsTokenCount": 20,
                "toolUsePromptTokenCount": 7, "totalTokenCount": 157,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 50}, {"modality": "AUDIO", "tokenCount": 30},
                    {"modality": "IMAGE", "tokenCount": 20}],
                "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 10}, {"modality": "TEXT", "tokenCount": 30}],
                "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 12}]}})
        ),
        counts(&[
            (Input, 20 + 7),
            (CacheRead, 30),
            (AudioCacheRead, 10),
            (AudioIn, 20),
            (ImageIn, 20),
            (Output, 18),
            (ImageOut, 12),
            (Reasoning, 20),
        ])
    );
    assert_eq!(
        used(GenerateContent, json!({"usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 9}})),
        counts(&[(Input, 4), (Output, 5)])
    );
}

#[test]
fn a_ranking_counts_searches_or_tokens() {
    let cohere = json!({"results": [], "meta": {"billed_units": {"search_units": 2}}});
    assert_eq!(used(Rerank, cohere), Some(Usage::default().with(Search, 2)));
    assert_eq!(used(Rerank, json!({"results": [], "usage": {"total_tokens": 9}})), counts(&[(Input, 9)]));
    assert_eq!(used(Rerank, json!({"data": [], "meta": {"billed_units": null}})), None);
    assert_eq!(
        used(Moderations, json!({"results": [], "usage": {"prompt_tokens": 3, "total_tokens": 3}})),
        counts(&[(Input, 3)])
    );
    assert_eq!(Some(estimate(Moderations, 9, 4000)), counts(&[(Input, 3)]));
}

#[test]
fn pictures_and_sound_count_what_their_prices_name() {
    let usage =
        json!({"input_tokens": 9, "output_tokens": 40, "input_tokens_details": {"text_tokens": 4, "image_tokens": 5}});
    let said = used(ImageGenerations, json!({"data": [{}, {}], "usage": usage}));
    assert_eq!(said, counts(&[(Input, 4), (ImageIn, 5), (ImageOut, 40), (Image, 2)]));
    assert_eq!(used(ImageEdits, json!({"data": [{}]})), Some(Usage::default().with(Image, 1)));
    assert_eq!(used(ImageVariations, json!({"created": 1})), None);
    let tokens =
        json!({"type": "tokens", "input_tokens": 9, "output_tokens": 4, "input_token_details": {"audio_tokens": 8}});
    assert_eq!(
        used(Transcriptions, json!({"text": "a", "usage": tokens})),
        counts(&[(Input, 1), (AudioIn, 8), (Output, 4)])
    );
    let seconds = Some(Usage::default().with(Second, 8));
    assert_eq!(used(Translations, json!({"usage": {"type": "duration", "seconds": 7.2}})), seconds);
    assert_eq!(used(Transcriptions, json!({"text": "a", "duration": "7.5"})), seconds);
    assert_eq!(used(Transcriptions, json!({"text": "a"})), None);
}

#[test]
fn what_was_not_said_is_none() {
    for (endpoint, answer) in [
        (ChatCompletions, json!({"model": "m"})),
        (ChatCompletions, json!({"usage": null})),
        (ChatCompletions, json!({"usage": {}})),
        (ChatCompletions, json!({"usage": "many"})),
        (Messages, json!({"usage": {"service_tier": "standard"}})),
        (GenerateContent, json!({"usageMetadata": {}})),
        (EmbedContent, json!({"embedding": {"values": [0.1]}})),
        (BatchEmbedContents, json!({"embeddings": []})),
    ] {
        assert_eq!(used(endpoint, answer.clone()), None, "{answer}");
    }
}

#[test]
fn counting_tokens_uses_nothing() {
    assert_eq!(used(CountTokens, json!({"input_tokens": 14})), Some(Usage::default()));
    assert_eq!(used(GeminiCountTokens, json!({"totalTokens": 14})), Some(Usage::default()));
    assert_eq!(estimate(CountTokens, 100, 100), Usage::default());
}

#[test]
fn names_and_completeness() {
    let answer = read_answer(ChatCompletions, br#"{"id":"chatcmpl-1","model":"gpt-x","choices":[]}"#);
    assert_eq!((answer.model.as_deref(), answer.id.as_deref()), (Some("gpt-x"), Some("chatcmpl-1")));
    let answer = read_answer(GenerateContent, br#"{"modelVersion":"g","responseId":"r"}"#);
    assert_eq!((answer.model.as_deref(), answer.id.as_deref()), (Some("g"), Some("r")));
    for cut in [&b""[..], b"{\"id\":\"x\"", b"{\"id\":\"x\"}}", b"<html>", b"\xff"] {
        let answer = read_answer(ChatCompletions, cut);
        assert!(!answer.complete && answer.usage.is_none() && answer.id.is_none(), "{cut:?}");
    }
    assert!(read_answer(ChatCompletions, b" [1, 2] ").complete);
}

#[test]
fn estimates_round_up() {
    assert_eq!(Some(estimate(ChatCompletions, 0, 0)), counts(&[(Input, 1), (Output, 1)]));
    assert_eq!(Some(estimate(Messages, 9, 4)), counts(&[(Input, 3), (Output, 1)]));
    assert_eq!(Some(estimate(Embeddings, 9, 4000)), counts(&[(Input, 3)]));
}
