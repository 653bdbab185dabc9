//! Whether one set of controls lets nothing through that another does not: what a key may hand on to a key it makes.
//!
//! The answer is never wrongly yes. It is no where the question cannot be decided pattern by pattern, as when an allow
//! list is only covered by several patterns together.

use super::{Controls, Limits, ModelGlob, Models};
use std::fmt;

/// The field in which controls let more through than those above them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wider {
    /// `models`, `limits.rpm`, `ips`.
    pub field: String,
}

impl fmt::Display for Wider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` allows more than the level above it does", self.field)
    }
}

impl std::error::Error for Wider {}

fn wider(field: impl Into<String>) -> Wider {
    Wider { field: field.into() }
}

impl Controls {
    /// Whether these controls are equal to or narrower than those above, each by itself.
    pub fn within(&self, above: &Controls) -> Result<(), Wider> {
        let fields = [
            ("scopes", bounded(&self.scopes, &above.scopes, |own, above| own.iter().all(|s| above.contains(s)))),
            ("endpoints", bounded(&self.endpoints, &above.endpoints, |own, above| own.is_within(*above))),
            ("models", self.models_within(above)),
            ("routing", bounded(&self.routing, &above.routing, |own, above| each(own, above, |o, i| o.covers(i)))),
            ("ips", bounded(&self.ips, &above.ips, |own, above| each(own, above, |o, i| o.covers(i)))),
        ];
        if let Some((field, _)) = fields.into_iter().find(|(_, within)| !within) {
            return Err(wider(field));
        }
        if let Some(dimension) = self.limits.wider_than(&above.limits) {
            return Err(wider(format!("limits.{}", dimension.field())));
        }
        if let Some(span) = self.spend.wider_than(&above.spend) {
            return Err(wider(format!("spend.{}", span.field())));
        }
        match above.model_limits.iter().find(|(glob, limits)| !self.keeps(glob, limits)) {
            Some((glob, _)) => Err(wider(format!("model_limits.{glob}"))),
            None => Ok(()),
        }
    }

    fn models_within(&self, above: &Controls) -> bool {
        match (&self.models, &above.models) {
            (_, None) => true,
            (Some(Models::Allow(own)), Some(Models::Allow(above))) => each(own, above, ModelGlob::covers_allowed),
            (Some(Models::Block(own)), Some(Models::Block(above))) => {
                above.iter().all(|blocked| own.iter().any(|glob| glob.covers(blocked)))
            }
            (Some(Models::Allow(own)), Some(Models::Block(above))) => {
                own.iter().all(|allowed| !above.iter().any(|blocked| blocked.meets(allowed)))
            }
            (Some(Models::Block(_)) | None, Some(Models::Allow(_))) | (None, Some(Models::Block(_))) => false,
        }
    }

    /// Whether the models of a pattern are limited as much: by the limits for all models, by those of a pattern that
    /// covers it, or because none of them may be called.
    fn keeps(&self, glob: &ModelGlob, limits: &Limits) -> bool {
        let unreachable = match &self.models {
            Some(Models::Allow(allowed)) => !allowed.iter().any(|allowed| allowed.meets(glob)),
            Some(Models::Block(blocked)) => blocked.iter().any(|blocked| blocked.covers(glob)),
            None => false,
        };
        let covering = || self.model_limits.iter().filter(|(own, _)| own.covers(glob)).map(|(_, own)| own);
        let kept =
            |one: Limits| std::iter::once(&self.limits).chain(covering()).any(|own| own.wider_than(&one).is_none());
        unreachable || singly(limits).all(kept)
    }
}

/// The limits one by one, since each may be kept by another entry.
fn singly(limits: &Limits) -> impl Iterator<Item = Limits> {
    let Limits { rpm, rph, rpd, tpm, tpd, concurrency } = *limits;
    let none = Limits::default();
    [
        Limits { rpm, ..none },
        Limits { rph, ..none },
        Limits { rpd, ..none },
        Limits { tpm, ..none },
        Limits { tpd, ..none },
        Limits { concurrency, ..none },
    ]
    .into_iter()
    .filter(|one| !one.is_empty())
}

/// What is not bounded below is as wide as can be.
fn bounded<T>(own: &Option<T>, above: &Option<T>, within: impl FnOnce(&T, &T) -> bool) -> bool {
    match (own, above) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(own), Some(above)) => within(own, above),
    }
}

fn each<T>(own: &[T], above: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
    own.iter().all(|inner| above.iter().any(|outer| covers(outer, inner)))
}
