//! Whether and how much a Claude is to think, within what it allows beside it: no forced tools, no temperature, a budget
//! below the bound on output, and a conversation whose open tool call still has its thinking.

use crate::translate::Target;
use crate::translate::effort::{self, LEAST_BUDGET};
use crate::translate::form::{Body, Choice, Effort, Level, Request, Role, Turn};
use crate::translate::notes::{Feature, Notes};
use crate::value::Object;

/// Where nobody says how long an answer may be.
const DEFAULT_MAX: u64 = 4096;

/// What the three members that belong together will say.
pub struct Plan {
    pub max_tokens: u64,
    pub thinking: Option<Object>,
    pub effort: Option<&'static str>,
}

pub fn plan(request: &Request, target: &Target<'_>, notes: &mut Notes) -> Plan {
    let asked = request.sampling.max_tokens.map(|most| target.max_output.map_or(most, |limit| most.min(limit)));
    let max_tokens = asked.or(target.max_output).unwrap_or(DEFAULT_MAX);
    let mut plan = Plan { max_tokens, thinking: None, effort: None };
    let level = match &request.reasoning {
        None => return plan,
        Some(reasoning) => reasoning.level,
    };
    if level == Level::Off {
        plan.thinking = Some(Object::new().with("type", "disabled"));
        return plan;
    }
    let forced = match &request.choice {
        Some(Choice::Required | Choice::Named(_)) => true,
        Some(Choice::Among { required, .. }) => *required,
        _ => false,
    };
    if forced || !history_allows(&request.turns) {
        notes.drop(Feature::Reasoning);
        return plan;
    }
    if effort::claude_adapts(target.model) {
        plan.thinking = Some(Object::new().with("type", "adaptive"));
        plan.effort = level.effort().map(effort_word);
        return plan;
    }
    let budget = match level {
        Level::Budget(tokens) => tokens.max(LEAST_BUDGET),
        level => level.effort().unwrap_or(Effort::Medium).budget(),
    };
    match room(budget, asked, target, &mut plan.max_tokens) {
        Some(budget) => {
            plan.thinking = Some(Object::new().with("type", "enabled").with("budget_tokens", budget));
        }
        None => notes.drop(Feature::Reasoning),
    }
    plan
}

const fn effort_word(effort: Effort) -> &'static str {
    match effort {
        Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::Highest => "max",
    }
}

/// A budget below the bound on output. A bound that the caller set holds, and a quarter of it stays for the answer; one
/// that nobody set grows, as far as the model goes.
fn room(budget: u64, asked: Option<u64>, target: &Target<'_>, max_tokens: &mut u64) -> Option<u64> {
    if asked.is_none() {
        let wanted = budget.saturating_add(DEFAULT_MAX);
        *max_tokens = (*max_tokens).max(target.max_output.map_or(wanted, |limit| limit.min(wanted)));
    }
    let budget = if budget < *max_tokens { budget } else { *max_tokens - *max_tokens / 4 };
    (LEAST_BUDGET..*max_tokens).contains(&budget).then_some(budget)
}

/// A call whose result comes now has to stand behind its own thinking; where a caller's dialect lost it, the model cannot
/// go on thinking in this turn.
fn history_allows(turns: &[Turn]) -> bool {
    let has_results = |turn: &Turn| turn.blocks.iter().any(|block| matches!(block.body, Body::ToolResult { .. }));
    let signed = |turn: &Turn| {
        turn.blocks.iter().any(|block| match &block.body {
            Body::Thinking { signature: Some(signature), .. } => signature.is_anthropics(),
            _ => false,
        })
    };
    let Some(last) = turns.iter().rposition(|turn| turn.role == Role::Assistant) else { return true };
    let said = turns[..=last].iter().rev().take_while(|turn| turn.role == Role::Assistant);
    !turns[last..].iter().any(has_results) || said.into_iter().any(signed)
}
