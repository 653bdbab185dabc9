//! May the key use this model? Asked of the name that the caller wrote and of the provider's model that would serve, so
//! that no alias, group, prefix or fallback leads around a list.

use anykey_core::limit::Target;
use anykey_core::{Bound, Refusal};

pub(crate) fn check(bounds: &[Bound], asked: &str, target: Target<'_>) -> Result<(), Refusal> {
    bounds.iter().try_for_each(|bound| bound.check_model(asked, target))
}

/// Whether a list of models shows this one to the key.
pub(crate) fn offers(bounds: &[Bound], name: &str, target: Target<'_>) -> bool {
    bounds.iter().all(|bound| bound.offers(name, target))
}
