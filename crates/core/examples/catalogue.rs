//! Makes the bundled catalogue from the data file of genai-prices and, for the sizes of models, LiteLLM's.

use anykey_core::catalogue::Catalogue;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [source, as_of, prices, limits @ ..] = &args[..] else {
        return Err("usage: catalogue SOURCE YYYY-MM-DD PRICES.json [LIMITS.json] > models.json".into());
    };
    let mut catalogue = Catalogue::import(&std::fs::read(prices)?, source, Some(as_of))?;
    for note in catalogue.notes() {
        eprintln!("note: {note}");
    }
    if let [limits] = limits {
        add_limits(&mut catalogue, &std::fs::read_to_string(limits)?)?;
    }
    print!("{}", catalogue.to_json());
    Ok(())
}

#[derive(Deserialize)]
struct Limits {
    litellm_provider: Option<String>,
    max_input_tokens: Option<u64>,
    max_output_tokens: Option<u64>,
}

/// LiteLLM's names of providers, with the prefix that it puts before their models, and the catalogue's.
const PROVIDERS: &[(&str, &str, &str)] = &[
    ("openai", "", "openai"),
    ("anthropic", "", "anthropic"),
    ("gemini", "gemini/", "google"),
    ("deepseek", "deepseek/", "deepseek"),
    ("moonshot", "moonshot/", "moonshotai"),
    ("zai", "zai/", "zai"),
    ("mistral", "mistral/", "mistral"),
    ("groq", "groq/", "groq"),
    ("together_ai", "together_ai/", "together"),
    ("fireworks_ai", "fireworks_ai/", "fireworks"),
    ("xai", "xai/", "x-ai"),
    ("openrouter", "openrouter/", "openrouter"),
    ("perplexity", "perplexity/", "perplexity"),
    ("cerebras", "cerebras/", "cerebras"),
    ("cohere_chat", "", "cohere"),
];

/// A model that several names stand for gets the sizes of the one that is its id, or else the smallest.
fn add_limits(catalogue: &mut Catalogue, text: &str) -> Result<(), Box<dyn Error>> {
    let rows: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
    let mut found: BTreeMap<usize, (bool, Option<u64>, Option<u64>)> = BTreeMap::new();
    for (name, row) in rows {
        // Rows that are not about tokens (images by size, the explanation of the format) have other types here.
        let Ok(limits) = serde_json::from_str::<Limits>(row.get()) else { continue };
        let known = PROVIDERS.iter().find(|(own, ..)| limits.litellm_provider.as_deref() == Some(own));
        let Some((_, prefix, provider)) = known else { continue };
        let Some(model) = name.strip_prefix(prefix) else { continue };
        let Some(entry) = catalogue.find(provider, model) else { continue };
        let at =
            catalogue.entries().iter().position(|own| std::ptr::eq(own, entry)).ok_or("an entry of its own list")?;
        let new = (&*entry.id == model, limits.max_input_tokens, limits.max_output_tokens);
        let merged = match found.get(&at) {
            Some(old) if old.0 && !new.0 => *old,
            Some(old) if old.0 == new.0 => (new.0, least(old.1, new.1), least(old.2, new.2)),
            _ => new,
        };
        found.insert(at, merged);
    }
    for (at, (_, input, output)) in found {
        let context = catalogue.entries()[at].context_window.or(input);
        catalogue.set_limits(at, context, output);
    }
    Ok(())
}

fn least(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.into_iter().chain(b).min()
}
