//! Controls: what bounds a key, a person, a project or an organisation. All bounds of a chain hold at once, so nothing
//! below can widen what is set above.

mod address;
mod checks;
mod endpoints;
mod glob;
mod limits;
#[cfg(test)]
mod tests;
mod within;

pub use address::{AddressRange, BadRange, Client, client_of};
pub use endpoints::EndpointSet;
pub use glob::{BadGlob, ModelGlob, NameGlob};
pub use limits::{Dimension, Limits, Unit};
pub use within::Wider;

use crate::Scopes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// More entries than any list needs; each is looked at on the path of a call.
pub const LIST_LIMIT: usize = 256;
/// Limits for so many groups of models: each that a call falls under is counted by itself.
pub const MODEL_LIMITS: usize = 32;

/// What is allowed, as one level says it. What is not named is not bounded by this level.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Sent")]
pub struct Controls {
    /// At most these scopes. A key's own scopes are a field of the key; this is for the levels above it.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "scope_names")]
    pub scopes: Option<Scopes>,
    /// Only these endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<EndpointSet>,
    /// Which models may serve: looked at on the target, after aliases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<Models>,
    /// Which names may be asked for: models as callers write them, aliases, routing groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routing: Option<Box<[NameGlob]>>,
    /// Only callers from these addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ips: Option<Box<[AddressRange]>>,
    #[serde(skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// Limits that the models of a pattern share.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub model_limits: BTreeMap<ModelGlob, Limits>,
}

/// An allow list or a block list, never both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Models {
    Allow(Box<[ModelGlob]>),
    Block(Box<[ModelGlob]>),
}

impl Models {
    /// Whether a model may serve; `provider` is its name here, `model` the provider's own name for it.
    pub fn permits(&self, provider: &str, model: &str) -> bool {
        match self {
            Models::Allow(globs) => globs.iter().any(|glob| glob.allows(provider, model)),
            Models::Block(globs) => !globs.iter().any(|glob| glob.matches(provider, model)),
        }
    }
}

impl Controls {
    /// Whether nothing is bounded.
    pub fn is_open(&self) -> bool {
        *self == Controls::default()
    }

    /// Whether calls have to be counted.
    pub fn has_limits(&self) -> bool {
        !self.limits.is_empty() || !self.model_limits.is_empty()
    }

    /// The longest time that one of the limits looks back.
    pub fn longest_window(&self) -> Option<Duration> {
        let all = std::iter::once(&self.limits).chain(self.model_limits.values());
        let seconds = all.flat_map(Limits::iter).filter_map(|(dimension, _)| dimension.window_seconds()).max();
        seconds.map(Duration::from_secs)
    }

    /// Reads the stored form. An unknown field is an error that names it.
    pub fn from_json(text: &str) -> Result<Controls, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The form that is stored and shown.
    pub fn to_json(&self) -> String {
        // Text, numbers and lists: there is nothing in it that could fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The same with what it leaves open filled in from a policy above, since that is what bounds it there.
    #[must_use]
    pub fn filled_from(&self, above: &Controls) -> Controls {
        let Limits { rpm, rph, rpd, tpm, tpd, concurrency } = self.limits;
        let most = &above.limits;
        let mut model_limits = above.model_limits.clone();
        model_limits.extend(self.model_limits.clone());
        Controls {
            scopes: self.scopes.or(above.scopes),
            endpoints: self.endpoints.or(above.endpoints),
            models: self.models.clone().or_else(|| above.models.clone()),
            routing: self.routing.clone().or_else(|| above.routing.clone()),
            ips: self.ips.clone().or_else(|| above.ips.clone()),
            limits: Limits {
                rpm: rpm.or(most.rpm),
                rph: rph.or(most.rph),
                rpd: rpd.or(most.rpd),
                tpm: tpm.or(most.tpm),
                tpd: tpd.or(most.tpd),
                concurrency: concurrency.or(most.concurrency),
            },
            model_limits,
        }
    }

    /// Whether a model may serve a call.
    pub fn permits_model(&self, provider: &str, model: &str) -> bool {
        self.models.as_ref().is_none_or(|models| models.permits(provider, model))
    }

    /// Whether a name may be asked for.
    pub fn permits_name(&self, asked: &str) -> bool {
        self.routing.as_ref().is_none_or(|names| names.iter().any(|glob| glob.matches(asked)))
    }

    /// The limits for the models of a pattern that covers this target.
    pub fn model_limits_of(&self, provider: &str, model: &str) -> impl Iterator<Item = (&ModelGlob, &Limits)> {
        self.model_limits.iter().filter(move |(glob, _)| glob.matches(provider, model))
    }
}

/// Where a bound is set, from the outside in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    Installation = 0,
    Organisation = 1,
    Project = 2,
    Member = 3,
    ServiceAccount = 4,
    Key = 5,
}

impl Level {
    pub const ALL: [Level; 6] =
        [Level::Installation, Level::Organisation, Level::Project, Level::Member, Level::ServiceAccount, Level::Key];

    /// The name in answers of the API.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Installation => "installation",
            Level::Organisation => "organisation",
            Level::Project => "project",
            Level::Member => "member",
            Level::ServiceAccount => "service_account",
            Level::Key => "key",
        }
    }

    /// The name in a sentence.
    pub const fn words(self) -> &'static str {
        match self {
            Level::ServiceAccount => "service account",
            Level::Key => "API key",
            other => other.name(),
        }
    }
}

/// The controls of one level, and whose they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    pub level: Level,
    pub id: [u8; 16],
    pub name: Arc<str>,
    pub controls: Arc<Controls>,
}

impl Bound {
    /// The chain of a key, outermost first. Levels that bound nothing are left out, so that an empty chain says that
    /// there is nothing to check.
    pub fn chain(bounds: impl IntoIterator<Item = Bound>) -> Arc<[Bound]> {
        bounds.into_iter().filter(|bound| !bound.controls.is_open()).collect()
    }
}

/// Says whose bound it is: ``the project `search` ``.
impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.level {
            Level::Installation => f.write_str("this installation"),
            level => write!(f, "the {} `{}`", level.words(), self.name),
        }
    }
}

/// Controls as they are sent and stored, before they are checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Sent {
    scopes: Option<Vec<String>>,
    endpoints: Option<EndpointSet>,
    models: Option<SentModels>,
    routing: Option<Vec<NameGlob>>,
    ips: Option<Vec<AddressRange>>,
    limits: Option<Limits>,
    model_limits: Option<BTreeMap<ModelGlob, Limits>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SentModels {
    #[serde(default)]
    allow: Option<Vec<ModelGlob>>,
    #[serde(default)]
    block: Option<Vec<ModelGlob>>,
}

/// What is wrong with controls that were sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadControls {
    #[error("`{0}` names nothing, which would refuse every call; leave it out to allow all")]
    Empty(&'static str),
    #[error("`{0}` has more than {LIST_LIMIT} entries")]
    TooMany(&'static str),
    #[error("`models` has an allow list or a block list, not both")]
    BothLists,
    #[error("there is no scope `{0}`")]
    Scope(String),
    #[error("`model_limits` has more than {MODEL_LIMITS} patterns")]
    TooManyLimits,
    #[error("`model_limits` sets no limit for `{0}`")]
    NoLimit(String),
}

impl TryFrom<Sent> for Controls {
    type Error = BadControls;

    fn try_from(sent: Sent) -> Result<Self, BadControls> {
        let models = match sent.models {
            None => None,
            Some(SentModels { allow: Some(_), block: Some(_) }) => return Err(BadControls::BothLists),
            Some(SentModels { allow: Some(allow), block: None }) => Some(Models::Allow(list("models.allow", allow)?)),
            Some(SentModels { allow: None, block: Some(block) }) => Some(Models::Block(list("models.block", block)?)),
            Some(SentModels { allow: None, block: None }) => return Err(BadControls::Empty("models")),
        };
        let model_limits = sent.model_limits.unwrap_or_default();
        if model_limits.len() > MODEL_LIMITS {
            return Err(BadControls::TooManyLimits);
        }
        if let Some((glob, _)) = model_limits.iter().find(|(_, limits)| limits.is_empty()) {
            return Err(BadControls::NoLimit(glob.to_string()));
        }
        Ok(Controls {
            scopes: sent.scopes.map(read_scopes).transpose()?,
            endpoints: sent.endpoints,
            models,
            routing: sent.routing.map(|names| list("routing", names)).transpose()?,
            ips: sent.ips.map(|ranges| list("ips", ranges)).transpose()?,
            limits: sent.limits.unwrap_or_default(),
            model_limits,
        })
    }
}

fn list<T>(name: &'static str, entries: Vec<T>) -> Result<Box<[T]>, BadControls> {
    match entries.len() {
        0 => Err(BadControls::Empty(name)),
        1..=LIST_LIMIT => Ok(entries.into()),
        _ => Err(BadControls::TooMany(name)),
    }
}

fn read_scopes(names: Vec<String>) -> Result<Scopes, BadControls> {
    if names.is_empty() {
        return Err(BadControls::Empty("scopes"));
    }
    names.iter().try_fold(Scopes::NONE, |set, name| match crate::Scope::from_name(name) {
        Some(scope) => Ok(set.with(scope)),
        None => Err(BadControls::Scope(crate::refusal::echo(name))),
    })
}

fn scope_names<S: serde::Serializer>(scopes: &Option<Scopes>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(scopes.iter().flat_map(|set| set.iter()).map(crate::Scope::name))
}
