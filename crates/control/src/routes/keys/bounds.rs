//! What a key may be made to be by somebody who does not run the installation: nothing that plainly exceeds what is above
//! it, and, by its owner alone, nothing more than it is.

use crate::App;
use crate::input::Findings;
use crate::power::Power;
use crate::problem::Result;
use anykey_core::controls::Controls;
use anykey_core::spend::{Increase, SpendLimits};
use anykey_core::{Place, Placement, Scopes, Sight};
use anykey_store::{KeyPatch, KeyRow};

/// Holds a policy that is set on a key to those above it. They hold for its calls in any case, so a setting that exceeds
/// them would do nothing: it is a mistake, or somebody who tries.
pub(super) async fn hold_bounds(
    app: &App,
    power: &Power,
    placement: &Placement,
    scopes: Option<Scopes>,
    controls: Option<&Controls>,
    findings: &mut Findings,
) -> Result<()> {
    // What a key manages is bounded by who may make it.
    let calling = scopes.filter(|scopes| scopes.managing().is_none());
    if power.sight() == Sight::Everything || (calling.is_none() && controls.is_none()) {
        return Ok(());
    }
    let own_only = power.is_own_only(&Place::of_key(scopes.unwrap_or(Scopes::DEFAULT), placement));
    // Another owner may not be there at all, which the store says.
    let owner = placement.owner.filter(|_| own_only);
    for bound in app.store().bounds_above(&Placement { owner, ..*placement }).await?.iter() {
        let above = &bound.controls;
        if let (Some(own), Some(most)) = (calling, above.scopes)
            && own.iter().any(|scope| !most.contains(scope))
        {
            findings
                .add("scopes", format!("has more than the {} `{}` lets keys have", bound.level.words(), bound.name));
        }
        if let Some(Err(wider)) = controls.map(|own| own.filled_from(above).within(above)) {
            let what =
                format!("allows more than the {} `{}` does in `{}`", bound.level.words(), bound.name, wider.field);
            findings.add("controls", what);
        }
    }
    Ok(())
}

fn with_spend(controls: &Controls, spend: &SpendLimits) -> Controls {
    Controls { spend: spend.clone(), ..controls.clone() }
}

/// What a change sets of the policy; nothing of what it leaves.
pub(super) fn policy_after(key: &KeyRow, patch: &KeyPatch) -> Option<Controls> {
    let spends = patch.amounts.is_some();
    if patch.controls.is_none() && !spends {
        return None;
    }
    let spend = if spends { key.spend_after(patch) } else { SpendLimits::default() };
    Some(with_spend(&patch.controls.clone().unwrap_or_default(), &spend))
}

/// Holds a change by the key's owner to what the key is: whoever set it for them may have had a reason.
pub(super) fn hold_narrow(key: &KeyRow, patch: &KeyPatch, findings: &mut Findings) {
    /// Where there is a bound, the new one is no wider.
    fn wider<T: PartialOrd>(old: Option<T>, new: Option<Option<T>>) -> bool {
        match (old, new) {
            (Some(old), Some(Some(new))) => new > old,
            (Some(_), Some(None)) => true,
            (None, _) | (_, None) => false,
        }
    }
    let (old_spend, after) = (&key.controls.spend, key.spend_after(patch));
    let had = |new: &Increase| old_spend.increases.iter().any(|old| old.is_same(new));
    let longer = !after.increases.iter().all(had);
    let scopes = patch.scopes.is_some_and(|new| new.iter().any(|scope| !key.scopes.contains(scope)));
    for (field, wider) in [
        ("scopes", scopes),
        ("browser_allowed", patch.browser_allowed == Some(true) && !key.browser_allowed),
        ("expires_at", wider(key.expires_at, patch.expires_at)),
        ("rotation_interval_days", wider(key.rotation_interval_ms, patch.rotation_interval_ms)),
        ("review_at", wider(key.review_at, patch.review_at)),
        (
            "controls",
            patch.controls.as_ref().is_some_and(|new| with_spend(new, old_spend).within(&key.controls).is_err()),
        ),
        ("spend_limits", after.wider_than(old_spend).is_some() || longer),
    ] {
        if wider {
            findings.add(field, "is wider than it is now; an owner of the project or an admin can widen it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Controls {
        Controls::from_json(json).unwrap()
    }

    #[test]
    fn what_is_left_open_is_inside_and_what_exceeds_is_not() {
        let above = read(
            r#"{"limits":{"rpm":100},"models":{"allow":["openai/*"]},"ips":["10.0.0.0/8"],
                "model_limits":{"openai/o1":{"rpd":5}}}"#,
        );
        let inside = |own: &str| read(own).filled_from(&above).within(&above).is_ok();
        for own in [
            "{}",
            r#"{"limits":{"rpm":100,"tpm":7}}"#,
            r#"{"models":{"allow":["openai/gpt-4o"]}}"#,
            r#"{"ips":["10.1.0.0/16"]}"#,
            r#"{"model_limits":{"openai/o1":{"rpd":1}}}"#,
        ] {
            assert!(inside(own), "{own}");
        }
        for own in [
            r#"{"limits":{"rpm":101}}"#,
            r#"{"models":{"allow":["*"]}}"#,
            r#"{"models":{"allow":["anthropic/*"]}}"#,
            r#"{"ips":["0.0.0.0/0"]}"#,
            r#"{"model_limits":{"openai/o1":{"rpd":6}}}"#,
        ] {
            assert!(!inside(own), "{own}");
        }
    }
}
