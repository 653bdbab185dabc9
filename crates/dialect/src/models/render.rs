//! The three shapes of a model and of a list of them.

use super::ListedModel;
use anykey_core::Dialect;
use bytes::Bytes;
use serde::Serialize;

/// Serialising these types cannot fail: they hold only strings, numbers and lists.
fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

pub(super) fn one(dialect: Dialect, model: &ListedModel) -> Bytes {
    match dialect {
        Dialect::OpenAi => json(&OpenAi::of(model)),
        Dialect::Anthropic => json(&Anthropic::of(model)),
        Dialect::Gemini => json(&Gemini::of(model)),
    }
}

pub(super) fn openai_list(models: &[ListedModel]) -> Bytes {
    json(&OpenAiList { object: "list", data: models.iter().map(OpenAi::of).collect() })
}

pub(super) fn anthropic_list(models: &[ListedModel], has_more: bool) -> Bytes {
    json(&AnthropicList {
        data: models.iter().map(Anthropic::of).collect(),
        has_more,
        first_id: models.first().map(|m| m.id.as_str()),
        last_id: models.last().map(|m| m.id.as_str()),
    })
}

pub(super) fn gemini_list(models: &[ListedModel], next_page_token: Option<String>) -> Bytes {
    json(&GeminiList { models: models.iter().map(Gemini::of).collect(), next_page_token })
}

#[derive(Serialize)]
struct OpenAiList<'a> {
    object: &'static str,
    data: Vec<OpenAi<'a>>,
}

/// OpenAI's members, and those that clients of routers read beside them.
#[derive(Serialize)]
struct OpenAi<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    owned_by: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_window: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pricing: Option<Pricing<'a>>,
}

/// Dollars per token, as text, since JSON's numbers are not exact.
#[derive(Serialize)]
struct Pricing<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion: Option<&'a str>,
}

impl<'a> OpenAi<'a> {
    fn of(model: &'a ListedModel) -> Self {
        let (prompt, completion) = (model.input_price.as_deref(), model.output_price.as_deref());
        let priced = prompt.is_some() || completion.is_some();
        OpenAi {
            id: &model.id,
            object: "model",
            created: model.created,
            owned_by: &model.owned_by,
            name: model.display_name.as_deref(),
            context_window: model.context_window,
            max_output_tokens: model.max_output,
            pricing: priced.then_some(Pricing { prompt, completion }),
        }
    }
}

#[derive(Serialize)]
struct AnthropicList<'a> {
    data: Vec<Anthropic<'a>>,
    has_more: bool,
    first_id: Option<&'a str>,
    last_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Anthropic<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    display_name: &'a str,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
}

impl<'a> Anthropic<'a> {
    fn of(model: &'a ListedModel) -> Self {
        Anthropic {
            kind: "model",
            id: &model.id,
            display_name: model.display_name.as_deref().unwrap_or(&model.id),
            created_at: rfc3339(model.created),
            max_input_tokens: model.context_window,
            max_tokens: model.max_output,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GeminiList<'a> {
    models: Vec<Gemini<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Gemini<'a> {
    name: String,
    display_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_token_limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_token_limit: Option<u64>,
    supported_generation_methods: &'static [&'static str],
}

impl<'a> Gemini<'a> {
    fn of(model: &'a ListedModel) -> Self {
        let methods: &[&str] = if model.embedding {
            &["embedContent", "batchEmbedContents"]
        } else {
            &["generateContent", "streamGenerateContent", "countTokens"]
        };
        Gemini {
            name: format!("models/{}", model.id),
            display_name: model.display_name.as_deref().unwrap_or(&model.id),
            input_token_limit: model.context_window,
            output_token_limit: model.max_output,
            supported_generation_methods: methods,
        }
    }
}

/// `2025-02-19T00:00:00Z`. Years beyond four digits do not occur and are not well-formed.
fn rfc3339(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// The Gregorian date of a day since 1970 (Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_740_009_600, "2025-02-20T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }
}
