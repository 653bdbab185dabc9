//! How much to think: words at OpenAI, tokens at Anthropic and Gemini. The steps are those that Google publishes for its
//! own compatibility with OpenAI.

use super::form::{Effort, Level};

/// The least that Anthropic takes.
pub const LEAST_BUDGET: u64 = 1024;

impl Effort {
    pub const fn word(self) -> &'static str {
        match self {
            Effort::Minimal => "minimal",
            Effort::Low => "low",
            Effort::Medium => "medium",
            Effort::High => "high",
            Effort::Highest => "xhigh",
        }
    }

    pub fn of_word(word: &str) -> Option<Effort> {
        Some(match word {
            "minimal" => Effort::Minimal,
            "low" => Effort::Low,
            "medium" => Effort::Medium,
            "high" => Effort::High,
            "xhigh" | "max" => Effort::Highest,
            _ => return None,
        })
    }

    pub const fn budget(self) -> u64 {
        match self {
            Effort::Minimal | Effort::Low => LEAST_BUDGET,
            Effort::Medium => 8192,
            Effort::High => 24_576,
            Effort::Highest => 32_768,
        }
    }

    pub const fn of_budget(tokens: u64) -> Effort {
        match tokens {
            0..=1024 => Effort::Low,
            1025..=8192 => Effort::Medium,
            8193..=24_576 => Effort::High,
            _ => Effort::Highest,
        }
    }
}

impl Level {
    /// As a word of OpenAI's; `None` for the model's own choice.
    pub const fn effort(self) -> Option<Effort> {
        match self {
            Level::Off | Level::Auto => None,
            Level::Effort(effort) => Some(effort),
            // Not every model has the highest.
            Level::Budget(tokens) => Some(match Effort::of_budget(tokens) {
                Effort::Highest => Effort::High,
                effort => effort,
            }),
        }
    }
}

/// Whether OpenAI calls a model one that reasons: such models take an effort, and no temperature.
pub fn openai_reasons(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    let numbered =
        |letter: &str| name.strip_prefix(letter).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let gpt = name.strip_prefix("gpt-").and_then(|rest| rest.chars().next()?.to_digit(10));
    (numbered("o") || gpt.is_some_and(|major| major >= 5) || name.starts_with("gpt-oss")) && !name.contains("-chat")
}

/// Whether one of them takes the effort `none`: GPT-5.1 and later.
pub fn openai_can_stop_reasoning(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    let Some(rest) = name.strip_prefix("gpt-") else { return false };
    let mut numbers = rest.split(['.', '-']).map(|word| word.parse::<u32>().ok());
    let major = numbers.next().flatten().unwrap_or(0);
    let minor = numbers.next().flatten().filter(|n| *n < 100).unwrap_or(0);
    !name.contains("-chat") && (major, minor) >= (5, 1)
}

/// Whether a Claude thinks as much as it finds right, by an effort, and takes no budget: those from 4.6 on.
pub fn claude_adapts(model: &str) -> bool {
    claude_version(model).is_some_and(|version| version >= (4, 6))
}

/// The version of a Claude; `None` where the name does not say.
pub fn claude_version(model: &str) -> Option<(u32, u32)> {
    let (_, rest) = model.split_once("claude")?;
    // Dates are numbers too.
    let mut numbers =
        rest.split(['-', '.', '@', ':']).filter_map(|word| word.parse::<u32>().ok()).take_while(|n| *n < 100);
    Some((numbers.next()?, numbers.next().unwrap_or(0)))
}

/// The generation of a Gemini; `None` where the name does not say.
pub fn gemini_generation(model: &str) -> Option<u32> {
    let rest = model.split_once("gemini-").map(|(_, rest)| rest)?;
    rest.split(['-', '.']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_known_by_name() {
        for (model, reasons) in [
            ("o3-mini", true),
            ("gpt-5.1", true),
            ("openai/gpt-5-mini", true),
            ("gpt-oss-120b", true),
            ("gpt-4o", false),
            ("gpt-5-chat-latest", false),
            ("olmo", false),
            ("echo", false),
        ] {
            assert_eq!(openai_reasons(model), reasons, "{model}");
        }
        for (model, adapts) in [
            ("claude-opus-4-6", true),
            ("claude-opus-4-7-20260401", true),
            ("claude-sonnet-5", true),
            ("claude-sonnet-4-5-20250929", false),
            ("claude-3-7-sonnet-20250219", false),
            ("claude-sonnet-4-20250514", false),
            ("reason", false),
        ] {
            assert_eq!(claude_adapts(model), adapts, "{model}");
        }
        assert_eq!(gemini_generation("gemini-3-pro-preview"), Some(3));
        assert_eq!(gemini_generation("gemini-2.5-flash"), Some(2));
        assert_eq!(gemini_generation("gemini-flash-latest"), None);
    }

    #[test]
    fn steps_there_and_back() {
        for effort in [Effort::Low, Effort::Medium, Effort::High, Effort::Highest] {
            assert_eq!(Effort::of_budget(effort.budget()), effort);
            assert_eq!(Effort::of_word(effort.word()), Some(effort));
        }
    }
}
