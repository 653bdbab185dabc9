//! `[[issuers]]` of the settings file: by whom people sign in, and what their claims give. All that is wrong is told at once.

use super::file::{Reader, nearest, span};
use anykey_control::{ClaimIs, Gives, IssuerSettings, RoleRule, SecondFactorOf, SignUp, check_issuer};
use anykey_core::{Role, model};
use std::collections::BTreeSet;
use std::ops::Range;
use toml::de::{DeTable, DeValue};

const ISSUER: &[&str] = &[
    "name",
    "title",
    "issuer",
    "client_id",
    "client_secret",
    "scopes",
    "allowed_domains",
    "sign_up",
    "link_by_email",
    "trust_email",
    "second_factor",
    "strong_amr",
    "strong_acr",
    "acr_values",
    "roles",
    "allow_private_network",
];
const RULE: &[&str] = &["claim", "value", "organisation", "role"];

const SCOPES: &[&str] = &["openid", "email", "profile"];
/// What can be given in an organisation, and for it all.
const ROLES: &[Role] = &[Role::Admin, Role::Member, Role::Viewer, Role::Auditor, Role::Operator];
/// Anybody can have an account there.
const OPEN_TO_ALL: &[&str] = &[
    "https://accounts.google.com",
    "https://appleid.apple.com",
    "https://gitlab.com",
    "https://login.microsoftonline.com/9188040d-6c67-4b5b-b112-36a304b66dad/v2.0",
    "https://login.yahoo.com",
    "https://slack.com",
];

impl Reader<'_> {
    pub(super) fn issuers(&mut self, table: &DeTable<'_>) -> Vec<IssuerSettings> {
        let (mut names, mut urls, mut found) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for (at, table) in self.tables(table, "issuers") {
            let Some(issuer) = self.issuer(at.clone(), &table) else { continue };
            if !names.insert(issuer.name.clone()) {
                self.wrong(at.clone(), format!("there are two issuers called {:?}", issuer.name));
            }
            if !urls.insert(issuer.issuer.clone()) {
                self.wrong(at, format!("there are two issuers at {}", issuer.issuer));
            }
            found.push(issuer);
        }
        found
    }

    fn issuer(&mut self, at: Range<usize>, table: &DeTable<'_>) -> Option<IssuerSettings> {
        self.known(table, ISSUER, "field of an issuer");
        let name = self.required(table, "name", &at, "issuer");
        if name.as_deref().is_some_and(|name| !model::is_provider_name(name)) {
            self.wrong(span(table, "name"), "an issuer's name is lower-case letters, digits, - and _");
        }
        let allow_private = self.flag(table, "allow_private_network").unwrap_or(false);
        let issuer = self.required(table, "issuer", &at, "issuer");
        if let Some(Err(why)) = issuer.as_deref().map(|url| check_url(url, allow_private)) {
            self.wrong(span(table, "issuer"), format!("issuer: {why}"));
        }
        let client_id = self.required(table, "client_id", &at, "issuer");
        let client_secret = self.secret(table, "client_secret");
        let scopes = self.texts(table, "scopes").unwrap_or_else(|| SCOPES.iter().map(|s| (*s).to_owned()).collect());
        if !scopes.iter().any(|scope| scope == "openid") {
            self.wrong(span(table, "scopes"), "scopes holds \"openid\", without which there is no sign-in");
        }
        let mut allowed_domains = self.texts(table, "allowed_domains").unwrap_or_default();
        allowed_domains.iter_mut().for_each(|domain| domain.make_ascii_lowercase());
        if allowed_domains.iter().any(|domain| domain.contains('@') || !domain.contains('.')) {
            self.wrong(span(table, "allowed_domains"), "allowed_domains is a list such as [\"example.com\"]");
        }
        let sign_up = self.choice(table, "sign_up", SignUp::ALL.map(|it| (it.name(), it)));
        let second_factor = self.choice(table, "second_factor", SecondFactorOf::ALL.map(|it| (it.name(), it)));
        let rules = self.rules(table);
        let settings = IssuerSettings {
            title: self.text(table, "title").or_else(|| name.clone())?,
            name: name?,
            issuer: issuer?,
            client_id: client_id?,
            client_secret,
            scopes,
            allowed_domains,
            sign_up,
            link_by_email: self.flag(table, "link_by_email").unwrap_or(false),
            trust_email: self.flag(table, "trust_email").unwrap_or(false),
            second_factor,
            strong_amr: self.texts(table, "strong_amr").unwrap_or_default(),
            strong_acr: self.texts(table, "strong_acr").unwrap_or_default(),
            acr_values: self.text(table, "acr_values"),
            rules,
            allow_private,
        };
        if lets_all_in(&settings) {
            let why = "anybody can have an account at this issuer, and all of them would come in; name allowed_domains, \
                       or give no role to everybody";
            self.wrong(at, why);
        }
        Some(settings)
    }

    fn rules(&mut self, table: &DeTable<'_>) -> Vec<RoleRule> {
        let tables = self.tables(table, "roles");
        tables.into_iter().filter_map(|(at, table)| self.rule(at, &table)).collect()
    }

    fn rule(&mut self, at: Range<usize>, table: &DeTable<'_>) -> Option<RoleRule> {
        self.known(table, RULE, "field of a rule");
        let when = match (self.text(table, "claim"), self.text(table, "value")) {
            (Some(claim), Some(value)) => Some(ClaimIs { claim, value }),
            (None, None) if !table.contains_key("claim") && !table.contains_key("value") => None,
            _ => {
                self.wrong(at.clone(), "a rule has both a claim and its value, or neither, and is then for everybody");
                None
            }
        };
        let organisation = self.text(table, "organisation");
        let name = self.required(table, "role", &at, "rule")?;
        let role = ROLES.iter().copied().find(|role| role.name() == name);
        let gives = match (role, organisation) {
            (None, _) => {
                let near = nearest(&name, ROLES.iter().map(|role| role.name()));
                self.wrong(span(table, "role"), format!("there is no role called {name:?} that a rule can give{near}"));
                return None;
            }
            (Some(Role::Operator), None) => Gives::Operator,
            (Some(Role::Operator), Some(_)) => {
                self.wrong(
                    span(table, "organisation"),
                    "an operator is one of the installation, not of an organisation",
                );
                return None;
            }
            (Some(_), None) => {
                self.wrong(at, "this rule names no organisation");
                return None;
            }
            (Some(role), Some(organisation)) => Gives::Role { organisation, role },
        };
        if gives == Gives::Operator && when.is_none() {
            self.wrong(at, "not everybody of an issuer runs the installation; name a claim and its value");
        }
        Some(RoleRule { when, gives })
    }

    /// One of some words; the default where none is said.
    fn choice<T: Copy + Default>(&mut self, table: &DeTable<'_>, name: &str, all: [(&str, T); 3]) -> T {
        let Some(word) = self.text(table, name) else { return T::default() };
        match all.iter().find(|(known, _)| *known == word) {
            Some((_, value)) => *value,
            None => {
                let words = all.map(|(known, _)| format!("{known:?}")).join(", ");
                self.wrong(span(table, name), format!("{name} is one of {words}"));
                T::default()
            }
        }
    }

    /// A list of texts without white space; `None` where there is no such list.
    fn texts(&mut self, table: &DeTable<'_>, name: &str) -> Option<Vec<String>> {
        let value = table.get(name)?;
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong(value.span(), format!("{name} is a list of texts in quotes"));
            return None;
        };
        let mut texts = Vec::new();
        for item in items {
            match item.get_ref() {
                DeValue::String(text) if !text.is_empty() && !text.contains(char::is_whitespace) => {
                    texts.push(text.to_string());
                }
                _ => self.wrong(item.span(), format!("{name} is a list of texts in quotes, without spaces")),
            }
        }
        Some(texts)
    }
}

fn check_url(url: &str, allow_private: bool) -> Result<(), String> {
    let shared = ["/common/", "/organizations/", "/consumers/"];
    if url.starts_with("https://login.microsoftonline.com/") && shared.iter().any(|part| url.contains(part)) {
        return Err("each tenant has an issuer of its own: write its id, as in \
                    https://login.microsoftonline.com/TENANT/v2.0"
            .into());
    }
    check_issuer(url, allow_private)
}

fn lets_all_in(settings: &IssuerSettings) -> bool {
    let to_everybody = settings.rules.iter().any(|rule| rule.when.is_none());
    let takes_strangers = match settings.sign_up {
        SignUp::Nobody => false,
        SignUp::WithRole => to_everybody,
        SignUp::Everybody => true,
    };
    OPEN_TO_ALL.contains(&settings.issuer.trim_end_matches('/'))
        && settings.allowed_domains.is_empty()
        && takes_strangers
}

#[cfg(test)]
mod tests {
    use super::super::file::{FileSettings, read};
    use super::*;
    use secrecy::ExposeSecret;
    use std::path::Path;

    fn parse(text: &str) -> Result<FileSettings, String> {
        let env = |name: &str| (name == "OIDC_SECRET").then(|| "from the environment".to_owned());
        read(Path::new("anykey.toml"), text, &env).map_err(|error| error.to_string())
    }

    #[test]
    fn an_issuer_is_read_whole() {
        let text = r#"
[[issuers]]
name = "acme"
issuer = "https://login.example.com/realms/acme"
client_id = "anykey"
client_secret = "${OIDC_SECRET}"
scopes = ["openid", "email", "groups"]
allowed_domains = ["Example.com"]
sign_up = "everybody"
second_factor = "require"
strong_amr = ["mfa"]
roles = [
  { claim = "groups", value = "ops", role = "operator" },
  { claim = "realm_access.roles", value = "admin", organisation = "acme", role = "admin" },
  { organisation = "acme", role = "member" },
]

[[issuers]]
name = "other"
title = "The other one"
issuer = "https://id.example.org/"
client_id = "x"
"#;
        let issuers = parse(text).unwrap().issuers;
        let [acme, other] = &issuers[..] else { panic!("two issuers") };
        assert_eq!((acme.title.as_str(), acme.sign_up), ("acme", SignUp::Everybody));
        assert_eq!(acme.client_secret.as_ref().map(|s| s.expose_secret()), Some("from the environment"));
        assert_eq!(
            (&acme.allowed_domains[..], acme.second_factor),
            (&["example.com".to_owned()][..], SecondFactorOf::Require)
        );
        assert_eq!(acme.rules[0].gives, Gives::Operator);
        let when = Some(ClaimIs { claim: "realm_access.roles".into(), value: "admin".into() });
        let gives = Gives::Role { organisation: "acme".into(), role: Role::Admin };
        assert_eq!(acme.rules[1], RoleRule { when, gives });
        assert_eq!(acme.rules[2].when, None);
        assert_eq!(
            (other.issuer.as_str(), &other.scopes[..]),
            ("https://id.example.org/", &["openid", "email", "profile"].map(String::from)[..])
        );
        assert_eq!((other.sign_up, other.second_factor), (SignUp::WithRole, SecondFactorOf::Ask));
        assert!(!other.link_by_email && !other.trust_email && !other.allow_private && other.client_secret.is_none());
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let text = r#"[[issuers]]
name = "A c"
issuer = "http://login.example.com"
client_secret = "${NOT_SET}"
scopes = ["email", "a b"]
allowed_domains = ["@example.com"]
sign_up = "some"
second_factor = "never"
colour = "red"
roles = [
  { claim = "groups", role = "member", organisation = "acme" },
  { role = "operator" },
  { claim = "g", value = "v", organisation = "acme", role = "operator" },
  { role = "member" },
  { role = "admn", organisation = "acme" },
  { organisation = "acme" },
]
[[issuers]]
name = "b"
issuer = "https://login.microsoftonline.com/common/v2.0"
client_id = "x"
[[issuers]]
name = "b"
issuer = "https://accounts.google.com"
client_id = "x"
sign_up = "everybody"
"#;
        let errors = parse(text).unwrap_err();
        for (line, start) in [
            (1, "this issuer has no client_id"),
            (2, "an issuer's name"),
            (3, "issuer: the URL must start with https://"),
            (4, "client_secret names the variable NOT_SET"),
            (5, "scopes is a list of texts"),
            (5, "scopes holds \"openid\""),
            (6, "allowed_domains is a list"),
            (7, "sign_up is one of \"nobody\", \"with_role\", \"everybody\""),
            (8, "second_factor is one of"),
            (9, "there is no field of an issuer called \"colour\""),
            (11, "a rule has both a claim and its value"),
            (12, "not everybody of an issuer runs the installation"),
            (13, "an operator is one of the installation"),
            (14, "this rule names no organisation"),
            (15, "there is no role called \"admn\" that a rule can give; did you mean \"admin\"?"),
            (16, "this rule has no role"),
            (20, "issuer: each tenant has an issuer of its own"),
            (22, "anybody can have an account at this issuer"),
            (22, "there are two issuers called \"b\""),
        ] {
            assert!(errors.contains(&format!("anykey.toml:{line}: {start}")), "{line} {start}\n{errors}");
        }
        assert_eq!(errors.lines().count(), 19, "{errors}");
    }

    #[test]
    fn an_issuer_on_this_machine_needs_a_word() {
        let issuer = |line: &str| {
            parse(&format!("[[issuers]]\nname = \"a\"\nissuer = \"http://127.0.0.1:8080\"\nclient_id = \"x\"\n{line}"))
        };
        assert!(issuer("").unwrap_err().contains("not public"));
        assert!(issuer("allow_private_network = true").is_ok());
    }

    #[test]
    fn where_anybody_has_an_account_somebody_must_be_named() {
        let google = |line: &str| {
            let issuer = "[[issuers]]\nname = \"g\"\nissuer = \"https://accounts.google.com\"\nclient_id = \"x\"\n";
            parse(&format!("{issuer}{line}\n")).is_ok()
        };
        assert!(google(""), "nobody has a role");
        let member = "roles = [{ organisation = \"acme\", role = \"member\" }]";
        assert!(!google(member) && !google("sign_up = \"everybody\""));
        assert!(google(&format!("{member}\nallowed_domains = [\"example.com\"]")));
        assert!(google(&format!("{member}\nsign_up = \"nobody\"")));
        let by_claim =
            "roles = [{ claim = \"hd\", value = \"example.com\", organisation = \"acme\", role = \"member\" }]";
        assert!(google(by_claim));
    }
}
