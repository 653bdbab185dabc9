//! What the settings file says of an issuer of OpenID Connect: where it is, who may come in by it, and what claims give.

use super::endpoint::Endpoint;
use anykey_core::Role;
use secrecy::SecretString;

/// An issuer by which people sign in.
#[derive(Clone, Debug)]
pub struct IssuerSettings {
    /// In paths; what the settings file calls it.
    pub name: String,
    /// What people know it by.
    pub title: String,
    /// Exactly as its tokens have it.
    pub issuer: String,
    pub client_id: String,
    /// Without one the client is a public one, which PKCE alone protects.
    pub client_secret: Option<SecretString>,
    pub scopes: Vec<String>,
    /// Only e-mails of these domains come in, where there are any; in lower case.
    pub allowed_domains: Vec<String>,
    pub sign_up: SignUp,
    /// Whether somebody who is known by their e-mail alone is the person that the issuer means.
    pub link_by_email: bool,
    /// Whether all its e-mails are as good as verified.
    pub trust_email: bool,
    pub second_factor: SecondFactorOf,
    /// Values of `amr` and `acr` that stand for a second factor.
    pub strong_amr: Vec<String>,
    pub strong_acr: Vec<String>,
    /// Asked for at the issuer.
    pub acr_values: Option<String>,
    pub rules: Vec<RoleRule>,
    pub allow_private: bool,
}

/// Who of those that nobody here knows is taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignUp {
    Nobody,
    /// Whoever the rules give a role.
    #[default]
    WithRole,
    Everybody,
}

impl SignUp {
    pub const ALL: [SignUp; 3] = [SignUp::Nobody, SignUp::WithRole, SignUp::Everybody];

    pub const fn name(self) -> &'static str {
        match self {
            SignUp::Nobody => "nobody",
            SignUp::WithRole => "with_role",
            SignUp::Everybody => "everybody",
        }
    }
}

/// Whose second factor counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecondFactorOf {
    /// The issuer's sign-in is enough.
    Issuer,
    /// Who has one here shows it, unless the issuer says that it saw one.
    #[default]
    Ask,
    /// Who has none here comes in only if the issuer says that it saw one.
    Require,
}

impl SecondFactorOf {
    pub const ALL: [SecondFactorOf; 3] = [SecondFactorOf::Issuer, SecondFactorOf::Ask, SecondFactorOf::Require];

    pub const fn name(self) -> &'static str {
        match self {
            SecondFactorOf::Issuer => "issuer",
            SecondFactorOf::Ask => "ask",
            SecondFactorOf::Require => "require",
        }
    }
}

/// What a claim gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRule {
    /// Without one the rule is for everybody.
    pub when: Option<ClaimIs>,
    pub gives: Gives,
}

/// A claim that is, or lists, a value. Dots lead into objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimIs {
    pub claim: String,
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gives {
    /// The running of the installation.
    Operator,
    /// A role in an organisation, by its slug.
    Role { organisation: String, role: Role },
}

/// Whether a text can be an issuer: a plain https URL, or a http one on this very machine where private networks are
/// allowed.
pub fn check_issuer(issuer: &str, allow_private: bool) -> Result<(), String> {
    if issuer.contains(['?', '#']) {
        return Err("the URL of an issuer has no query and no fragment".into());
    }
    Endpoint::parse(issuer, allow_private).map(|_| ())
}

/// Whether a browser can be sent back to a public URL: what is not on this machine must be https.
pub fn check_public_url(url: &str) -> Result<(), String> {
    match url.strip_prefix("http://") {
        Some(rest) if super::endpoint::is_loopback(rest) => Ok(()),
        None if url.starts_with("https://") => Ok(()),
        _ => Err("signing in at an issuer needs a public_url that begins with https://, or is of this machine".into()),
    }
}
