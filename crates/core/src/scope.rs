//! What a key may do at all: the scopes that a route asks for and a key names.

use serde::{Deserialize, Serialize};

/// One permission. A route asks for exactly one; only what a key names is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum Scope {
    #[serde(rename = "completions:write")]
    CompletionsWrite = 0,
    #[serde(rename = "embeddings:write")]
    EmbeddingsWrite = 1,
    #[serde(rename = "models:read")]
    ModelsRead = 2,
    #[serde(rename = "usage:read")]
    UsageRead = 3,
    /// Manages the whole installation.
    #[serde(rename = "admin:*")]
    Admin = 4,
    /// Manages the organisation that the key is in.
    #[serde(rename = "admin:organisation")]
    AdminOrganisation = 5,
    /// Manages the project that the key is in.
    #[serde(rename = "admin:project")]
    AdminProject = 6,
}

impl Scope {
    pub const ALL: [Scope; 7] = [
        Scope::CompletionsWrite,
        Scope::EmbeddingsWrite,
        Scope::ModelsRead,
        Scope::UsageRead,
        Scope::Admin,
        Scope::AdminOrganisation,
        Scope::AdminProject,
    ];
    /// Those of which a management key has exactly one, the widest first.
    pub const MANAGING: [Scope; 3] = [Scope::Admin, Scope::AdminOrganisation, Scope::AdminProject];

    pub const fn name(self) -> &'static str {
        match self {
            Scope::CompletionsWrite => "completions:write",
            Scope::EmbeddingsWrite => "embeddings:write",
            Scope::ModelsRead => "models:read",
            Scope::UsageRead => "usage:read",
            Scope::Admin => "admin:*",
            Scope::AdminOrganisation => "admin:organisation",
            Scope::AdminProject => "admin:project",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }
}

/// A set of scopes, as a bit set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scopes(u8);

impl Scopes {
    pub const NONE: Scopes = Scopes(0);
    /// What a key gets when its maker names none.
    pub const DEFAULT: Scopes = Scopes::NONE
        .with(Scope::CompletionsWrite)
        .with(Scope::EmbeddingsWrite)
        .with(Scope::ModelsRead)
        .with(Scope::UsageRead);
    /// What a management key has that manages the whole installation: it cannot call models.
    pub const ADMIN: Scopes = Scopes::NONE.with(Scope::Admin);

    #[must_use]
    pub const fn with(self, scope: Scope) -> Self {
        Scopes(self.0 | (1 << scope as u8))
    }

    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }

    /// The scope by which a key with these manages something, the widest where there are several.
    pub fn managing(self) -> Option<Scope> {
        Scope::MANAGING.into_iter().find(|scope| self.contains(*scope))
    }

    /// Whether a management key may have these: one managing scope and nothing else, so that it cannot call models.
    pub fn is_of_admin(self) -> bool {
        self.managing().is_some() && self.0.count_ones() == 1
    }

    /// The scopes of both.
    #[must_use]
    pub const fn and(self, other: Scopes) -> Self {
        Scopes(self.0 & other.0)
    }

    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |s| self.contains(*s))
    }

    /// Comma-separated names, the form kept in the database.
    pub fn to_text(self) -> String {
        self.iter().map(Scope::name).collect::<Vec<_>>().join(",")
    }

    /// The inverse of [`Scopes::to_text`]; an unknown name is an error that names it.
    pub fn from_text(text: &str) -> Result<Self, String> {
        text.split(',').map(str::trim).filter(|s| !s.is_empty()).try_fold(Scopes::NONE, |set, name| {
            Scope::from_name(name).map(|s| set.with(s)).ok_or_else(|| name.to_owned())
        })
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        scopes.into_iter().fold(Scopes::NONE, Scopes::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_names_what_it_does_not_know() {
        let all = Scope::ALL.into_iter().collect();
        for set in [Scopes::NONE, Scopes::DEFAULT, Scopes::ADMIN, all] {
            assert_eq!(Scopes::from_text(&set.to_text()), Ok(set));
        }
        assert_eq!(Scopes::from_text("models:read, root"), Err("root".into()));
    }

    #[test]
    fn a_default_key_cannot_manage() {
        assert!(!Scopes::DEFAULT.contains(Scope::Admin));
        assert!(!Scopes::ADMIN.contains(Scope::CompletionsWrite));
    }

    #[test]
    fn a_key_that_manages_has_one_scope() {
        for scope in Scope::MANAGING {
            let alone = Scopes::NONE.with(scope);
            assert_eq!((alone.managing(), alone.is_of_admin()), (Some(scope), true));
            assert!(!alone.with(Scope::ModelsRead).is_of_admin());
        }
        let two = Scopes::ADMIN.with(Scope::AdminProject);
        assert_eq!((two.managing(), two.is_of_admin()), (Some(Scope::Admin), false));
        assert_eq!((Scopes::DEFAULT.managing(), Scopes::NONE.is_of_admin()), (None, false));
    }
}
