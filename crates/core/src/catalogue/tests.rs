use super::*;

/// 21 November 2026.
const NOW: i64 = 1_795_219_200_000;

#[test]
fn the_bundled_catalogue_prices_the_models_people_call() {
    let catalogue = Catalogue::bundled();
    for (kind, model) in [
        ("openai", "gpt-4o-mini"),
        ("anthropic", "claude-sonnet-4-5"),
        ("gemini", "gemini-2.5-flash"),
        ("deepseek", "deepseek-chat"),
        ("mistral", "mistral-large-latest"),
        ("xai", "grok-4"),
        ("groq", "llama-3.3-70b-versatile"),
        ("openrouter", "openai/gpt-4o-mini"),
        ("sim", "echo"),
    ] {
        let entry = catalogue.find(kind, model);
        assert!(entry.is_some_and(|entry| entry.price_at(NOW).is_some()), "{kind}/{model}");
    }
    assert!(catalogue.find("openai", "no-such-model").is_none());
    assert!(catalogue.find("no-such-kind", "gpt-4o-mini").is_none());
}
