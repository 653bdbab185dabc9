//! What claims say of somebody: who they are, what the rules give them, and whether a second factor was seen.

use super::settings::{Gives, IssuerSettings, RoleRule, SecondFactorOf, SignUp};
use super::token::IdToken;
use anykey_store::{Claimed, ClaimedRole};
use serde_json::{Map, Value};

/// Longer e-mails are none.
const LONGEST_EMAIL: usize = 254;
const LONGEST_NAME: usize = 200;

/// Why somebody for whom an issuer vouches is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// No e-mail that is verified, and of a domain that comes in.
    OutOfDomain,
    /// The issuer left a claim out that rules look at, so nobody knows what it gives.
    ClaimLeftOut,
}

/// A claim by its name, or by the way to it through objects.
pub(crate) fn find<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c Value> {
    // Some claims are URLs, with dots of their own.
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let (first, rest) = name.split_once('.')?;
    rest.split('.').try_fold(claims.get(first)?, |value, step| value.get(step))
}

/// Whether a claim is a value or lists it.
fn says(value: &Value, wanted: &str) -> bool {
    match value {
        Value::Array(all) => all.iter().any(|one| !one.is_array() && says(one, wanted)),
        Value::String(text) => text == wanted,
        Value::Bool(flag) => flag.to_string() == wanted,
        Value::Number(number) => number.to_string() == wanted,
        Value::Null | Value::Object(_) => false,
    }
}

fn text<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c str> {
    claims.get(name)?.as_str().map(str::trim).filter(|text| !text.is_empty())
}

impl IssuerSettings {
    /// The claims without which somebody cannot be placed.
    pub(crate) fn needed_claims(&self) -> impl Iterator<Item = &str> {
        let verified = (!self.trust_email).then_some("email_verified");
        let of_rules = self.rules.iter().filter_map(|rule| Some(rule.when.as_ref()?.claim.as_str()));
        ["email"].into_iter().chain(verified).chain(of_rules)
    }

    /// Adds what a second source says to a token's claims, which hold. An e-mail and whether it is verified are one
    /// statement, and are of one source: what one verified says nothing of the other's.
    pub(crate) fn add_claims(&self, claims: &mut Map<String, Value>, mut more: Map<String, Value>) {
        const PAIR: [&str; 2] = ["email", "email_verified"];
        let whole = text(claims, "email").is_some() && (self.trust_email || claims.contains_key("email_verified"));
        let loser = if whole || text(&more, "email").is_none() { &mut more } else { &mut *claims };
        for name in PAIR {
            loser.remove(name);
        }
        for (name, value) in more {
            claims.entry(name).or_insert(value);
        }
    }

    /// What the claims come to.
    pub(crate) fn claimed(&self, token: &IdToken) -> Result<Claimed, Kept> {
        let claims = &token.claims;
        if self.is_left_out(claims) {
            return Err(Kept::ClaimLeftOut);
        }
        let email = self.email(claims);
        if !self.allowed_domains.is_empty() && !email.as_deref().is_some_and(|email| self.is_of_a_domain(email)) {
            return Err(Kept::OutOfDomain);
        }
        let (mut roles, mut operator) = (Vec::new(), false);
        for rule in self.rules.iter().filter(|rule| applies(rule, claims)) {
            match &rule.gives {
                Gives::Operator => operator = true,
                Gives::Role { organisation, role } => {
                    roles.push(ClaimedRole { organisation: organisation.clone(), role: *role });
                }
            }
        }
        let may_create = match self.sign_up {
            SignUp::Nobody => false,
            SignUp::WithRole => operator || !roles.is_empty(),
            SignUp::Everybody => true,
        };
        Ok(Claimed {
            issuer: self.issuer.clone(),
            subject: token.subject.clone(),
            email,
            name: name(claims),
            roles,
            operator,
            may_create,
            may_link: self.link_by_email,
        })
    }

    /// An issuer that has too many values for a token says where the rest is (OpenID Connect Core 5.6.2); taking that for
    /// no values would take roles away.
    fn is_left_out(&self, claims: &Map<String, Value>) -> bool {
        let Some(Value::Object(elsewhere)) = claims.get("_claim_names") else { return false };
        let mut looked_at = self.rules.iter().filter_map(|rule| rule.when.as_ref());
        looked_at.any(|when| {
            elsewhere.contains_key(&when.claim)
                || when.claim.split('.').next().is_some_and(|first| elsewhere.contains_key(first))
        })
    }

    /// The e-mail, if the issuer stands for it.
    fn email(&self, claims: &Map<String, Value>) -> Option<String> {
        let verified = match claims.get("email_verified") {
            Some(Value::Bool(verified)) => *verified,
            // Some write a word.
            Some(Value::String(word)) => word == "true",
            _ => self.trust_email,
        };
        let email = text(claims, "email").filter(|email| email.len() <= LONGEST_EMAIL)?;
        let plain = !email.chars().any(|c| c.is_control() || c.is_whitespace());
        let (user, host) = email.rsplit_once('@')?;
        (verified && plain && !user.is_empty() && !host.is_empty() && !host.starts_with('.')).then(|| email.to_owned())
    }

    fn is_of_a_domain(&self, email: &str) -> bool {
        let domain = email.rsplit_once('@').map(|(_, domain)| domain.to_ascii_lowercase());
        domain.is_some_and(|domain| self.allowed_domains.contains(&domain))
    }

    /// Whether the issuer says that it saw a second factor.
    pub(crate) fn saw_second_factor(&self, token: &IdToken) -> bool {
        let amr = token.claims.get("amr").is_some_and(|amr| self.strong_amr.iter().any(|strong| says(amr, strong)));
        let acr = text(&token.claims, "acr").is_some_and(|acr| self.strong_acr.iter().any(|strong| strong == acr));
        self.second_factor == SecondFactorOf::Issuer || amr || acr
    }
}

fn applies(rule: &RoleRule, claims: &Map<String, Value>) -> bool {
    rule.when.as_ref().is_none_or(|when| find(claims, &when.claim).is_some_and(|value| says(value, &when.value)))
}

fn name(claims: &Map<String, Value>) -> String {
    let name = text(claims, "name").or_else(|| text(claims, "preferred_username")).unwrap_or_default();
    name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect()
}
