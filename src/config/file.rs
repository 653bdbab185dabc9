//! `anykey.toml`: its grammar, and an error for every line that breaks it.

use super::secret;
use anykey_control::ExposedAnd;
use anykey_core::controls::AddressRange;
use anykey_core::{model, provider};
use anykey_net::guard::Destination;
use anykey_store::NewProvider;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What a file says; what it leaves out is `None`.
#[derive(Debug, Default)]
pub struct FileSettings {
    pub listen: Option<String>,
    pub data_dir: Option<PathBuf>,
    pub database: Option<String>,
    pub brand: Option<String>,
    pub public_url: Option<String>,
    pub practice: Option<bool>,
    pub metrics_listen: Option<String>,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub strict_journal: Option<bool>,
    pub trusted_proxies: Vec<AddressRange>,
    pub providers: Vec<NewProvider>,
    pub aliases: Vec<(String, String)>,
    pub exposure: anykey_control::Exposure,
    pub notices: anykey_notices::Options,
    pub issuers: Vec<anykey_control::IssuerSettings>,
}

/// Everything that is wrong with a file, in the order of its lines.
#[derive(Debug)]
pub struct FileErrors {
    path: PathBuf,
    errors: Vec<(usize, String)>,
}

impl fmt::Display for FileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.errors.iter().map(|(line, what)| format!("{}:{line}: {what}", self.path.display()));
        f.write_str(&lines.collect::<Vec<_>>().join("\n"))
    }
}

impl std::error::Error for FileErrors {}

const SETTINGS: &[&str] = &[
    "listen",
    "data_dir",
    "database",
    "brand",
    "public_url",
    "practice",
    "metrics_listen",
    "tls_cert",
    "tls_key",
    "journal",
    "trusted_proxies",
    "providers",
    "models",
    "secret_scanning",
    "smtp",
    "notices",
    "issuers",
];
const SCANNING: &[&str] = &["github", "github_keys_url", "secret", "on_exposure", "allow_private_network"];
const PROVIDER: &[&str] = &["name", "kind", "base_url", "api_key", "allow_private_network", "disabled"];
const MODEL: &[&str] = &["name", "target"];

/// Where GitHub publishes the keys that it signs its reports with.
const GITHUB_KEYS: &str = "https://api.github.com/meta/public_keys/secret_scanning";
/// Who can guess it can disable keys that they have found; 128 bits in hexadecimal.
const SHORTEST_SECRET: usize = 32;

/// Reads a file's text. `env` looks variables up.
pub fn read(path: &Path, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<FileSettings, FileErrors> {
    let (table, syntax) = DeTable::parse_recoverable(text);
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut reader = Reader { text, folder, env, errors: Vec::new() };
    for error in syntax {
        reader.wrong(error.span().unwrap_or_default(), error.message());
    }
    let settings = if reader.errors.is_empty() { reader.settings(table.get_ref()) } else { FileSettings::default() };
    if reader.errors.is_empty() {
        return Ok(settings);
    }
    reader.errors.sort();
    Err(FileErrors { path: path.to_owned(), errors: reader.errors })
}

pub(super) type Value<'a> = Spanned<DeValue<'a>>;

pub(super) struct Reader<'r> {
    text: &'r str,
    pub(super) folder: &'r Path,
    env: &'r dyn Fn(&str) -> Option<String>,
    errors: Vec<(usize, String)>,
}

impl Reader<'_> {
    pub(super) fn wrong(&mut self, at: Range<usize>, what: impl fmt::Display) {
        let line = self.text[..at.start.min(self.text.len())].matches('\n').count() + 1;
        self.errors.push((line, what.to_string()));
    }

    fn settings(&mut self, table: &DeTable<'_>) -> FileSettings {
        self.known(table, SETTINGS, "setting");
        let mut settings = FileSettings {
            listen: self.text(table, "listen"),
            data_dir: self.text(table, "data_dir").map(PathBuf::from),
            database: self.text(table, "database"),
            brand: self.text(table, "brand"),
            public_url: self.text(table, "public_url"),
            practice: self.flag(table, "practice"),
            metrics_listen: self.text(table, "metrics_listen"),
            tls_cert: self.path(table, "tls_cert"),
            tls_key: self.path(table, "tls_key"),
            strict_journal: None,
            trusted_proxies: self.ranges(table, "trusted_proxies"),
            providers: Vec::new(),
            aliases: Vec::new(),
            exposure: anykey_control::Exposure::default(),
            notices: self.notices(table),
            issuers: self.issuers(table),
        };
        settings.strict_journal = match self.text(table, "journal").as_deref() {
            None => None,
            Some("fast") => Some(false),
            Some("strict") => Some(true),
            Some(_) => {
                self.wrong(span(table, "journal"), "journal is \"fast\" or \"strict\"");
                None
            }
        };
        let mut names = BTreeSet::new();
        for (at, table) in self.tables(table, "providers") {
            if let Some(provider) = self.provider(at.clone(), &table) {
                if !names.insert(provider.name.clone()) {
                    self.wrong(at, format!("there are two providers called {:?}", provider.name));
                }
                settings.providers.push(provider);
            }
        }
        let mut names = BTreeSet::new();
        for (at, table) in self.tables(table, "models") {
            if let Some((name, target)) = self.model(at.clone(), &table) {
                if !names.insert(name.clone()) {
                    self.wrong(at, format!("there are two models called {name:?}"));
                }
                settings.aliases.push((name, target));
            }
        }
        if let Some(value) = table.get("secret_scanning") {
            match value.get_ref() {
                DeValue::Table(table) => settings.exposure = self.scanning(table),
                _ => self.wrong(value.span(), "secret_scanning is written as [secret_scanning]"),
            }
        }
        settings
    }

    fn scanning(&mut self, table: &DeTable<'_>) -> anykey_control::Exposure {
        self.known(table, SCANNING, "setting of secret_scanning");
        let mut exposure = anykey_control::Exposure::default();
        let allow_private = self.flag(table, "allow_private_network").unwrap_or(false);
        let url = self.text(table, "github_keys_url");
        if self.flag(table, "github").unwrap_or(false) {
            match Destination::parse(url.as_deref().unwrap_or(GITHUB_KEYS), allow_private) {
                Ok(from) => exposure.github_keys = Some(from),
                Err(why) => self.wrong(span(table, "github_keys_url"), format!("github_keys_url: {why}")),
            }
        }
        exposure.secret = self.secret(table, "secret");
        if exposure.secret.as_ref().is_some_and(|secret| secret.expose_secret().len() < SHORTEST_SECRET) {
            let why =
                format!("secret has at least {SHORTEST_SECRET} characters, such as those of: openssl rand -hex 32");
            self.wrong(span(table, "secret"), why);
        }
        exposure.and = match self.text(table, "on_exposure").as_deref() {
            None | Some("disable") => ExposedAnd::Disable,
            Some("flag") => ExposedAnd::Flag,
            Some(_) => {
                self.wrong(span(table, "on_exposure"), "on_exposure is \"disable\" or \"flag\"");
                ExposedAnd::Disable
            }
        };
        exposure
    }

    fn provider(&mut self, at: Range<usize>, table: &DeTable<'_>) -> Option<NewProvider> {
        self.known(table, PROVIDER, "field of a provider");
        let name = self.required(table, "name", &at, "provider");
        let kind = self.required(table, "kind", &at, "provider");
        if let Some(name) = &name
            && (!model::is_provider_name(name) || name == model::PRACTICE)
        {
            self.wrong(
                span(table, "name"),
                "a provider's name is lower-case letters, digits, - and _, and not \"sim\"",
            );
        }
        let row = kind.as_deref().and_then(provider::kind).filter(|k| k.name != model::PRACTICE);
        if let (Some(kind), None) = (&kind, row) {
            let near = nearest(kind, provider::kinds().iter().map(|k| k.name));
            self.wrong(span(table, "kind"), format!("there is no kind of provider called {kind:?}{near}"));
        }
        let allow_private = self.flag(table, "allow_private_network").unwrap_or(false);
        let base_url = self.text(table, "base_url");
        if let Some(url) = &base_url
            && let Err(why) = Destination::parse(url, allow_private)
        {
            self.wrong(span(table, "base_url"), format!("base_url: {why} (allow_private_network)"));
        }
        if base_url.is_none() && row.is_some_and(|k| k.base_url.is_none()) {
            self.wrong(at.clone(), "a provider of this kind needs a base_url");
        }
        let credential = self.secret(table, "api_key");
        if credential.is_none() && row.is_some_and(|k| k.needs_key) && !table.contains_key("api_key") {
            self.wrong(at, "a provider of this kind needs an api_key, such as \"${OPENAI_API_KEY}\"");
        }
        let disabled = self.flag(table, "disabled").unwrap_or(false);
        Some(NewProvider { name: name?, kind: kind?, base_url, credential, allow_private, disabled })
    }

    pub(super) fn secret(&mut self, table: &DeTable<'_>, name: &'static str) -> Option<SecretString> {
        let value = table.get(name)?;
        let read = match value.get_ref() {
            DeValue::String(text) => secret::from_text(text, self.env),
            DeValue::Table(place) => match place.get("file").map(Spanned::get_ref) {
                Some(DeValue::String(path)) if place.len() == 1 => secret::from_file(self.folder, path),
                _ => Err("is a text or { file = \"...\" }".into()),
            },
            _ => Err("is a text or { file = \"...\" }".into()),
        };
        read.map_err(|why| self.wrong(value.span(), format!("{name} {why}"))).ok()
    }

    fn model(&mut self, at: Range<usize>, table: &DeTable<'_>) -> Option<(String, String)> {
        self.known(table, MODEL, "field of a model");
        let name = self.required(table, "name", &at, "model");
        let target = self.required(table, "target", &at, "model");
        if target.as_deref().is_some_and(|t| !t.contains('/')) {
            self.wrong(span(table, "target"), "target is provider/model, such as \"openai/gpt-4o-mini\"");
        }
        Some((name?, target?))
    }

    pub(super) fn known(&mut self, table: &DeTable<'_>, names: &[&str], what: &str) {
        for key in table.keys() {
            if !names.contains(&&**key.get_ref()) {
                let near = nearest(key.get_ref(), names.iter().copied());
                self.wrong(key.span(), format!("there is no {what} called {:?}{near}", key.get_ref()));
            }
        }
    }

    pub(super) fn required(
        &mut self,
        table: &DeTable<'_>,
        name: &str,
        at: &Range<usize>,
        what: &str,
    ) -> Option<String> {
        if !table.contains_key(name) {
            self.wrong(at.clone(), format!("this {what} has no {name}"));
        }
        self.text(table, name)
    }

    pub(super) fn text(&mut self, table: &DeTable<'_>, name: &str) -> Option<String> {
        let value = table.get(name)?;
        match value.get_ref() {
            DeValue::String(text) if !text.is_empty() => Some(text.to_string()),
            _ => {
                self.wrong(value.span(), format!("{name} is a text in quotes"));
                None
            }
        }
    }

    /// A file's path; one that is relative begins at the settings' folder.
    fn path(&mut self, table: &DeTable<'_>, name: &str) -> Option<PathBuf> {
        self.text(table, name).map(|path| self.folder.join(path))
    }

    pub(super) fn flag(&mut self, table: &DeTable<'_>, name: &str) -> Option<bool> {
        let value = table.get(name)?;
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            _ => {
                self.wrong(value.span(), format!("{name} is true or false"));
                None
            }
        }
    }

    /// A whole number of a range.
    pub(super) fn number(
        &mut self,
        table: &DeTable<'_>,
        name: &str,
        range: std::ops::RangeInclusive<i64>,
        what: &str,
    ) -> Option<i64> {
        let value = table.get(name)?;
        let number = match value.get_ref() {
            DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix()).ok(),
            _ => None,
        };
        let number = number.filter(|n| range.contains(n));
        if number.is_none() {
            self.wrong(value.span(), what);
        }
        number
    }

    fn ranges(&mut self, table: &DeTable<'_>, name: &str) -> Vec<AddressRange> {
        let Some(value) = table.get(name) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong(value.span(), format!("{name} is a list such as [\"10.0.0.0/8\"]"));
            return Vec::new();
        };
        let mut ranges = Vec::new();
        for item in items {
            match item.get_ref() {
                DeValue::String(text) => match AddressRange::parse(text) {
                    Ok(range) => ranges.push(range),
                    Err(error) => self.wrong(item.span(), format!("{name}: {error}")),
                },
                _ => self.wrong(item.span(), format!("{name} is a list such as [\"10.0.0.0/8\"]")),
            }
        }
        ranges
    }

    pub(super) fn tables<'t>(&mut self, table: &'t DeTable<'t>, name: &str) -> Vec<(Range<usize>, DeTable<'t>)> {
        let Some(value) = table.get(name) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong(value.span(), format!("{name} is written as [[{name}]]"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items {
            match item.get_ref() {
                DeValue::Table(table) => tables.push((item.span(), table.clone())),
                _ => self.wrong(item.span(), format!("{name} is written as [[{name}]]")),
            }
        }
        tables
    }
}

pub(super) fn span(table: &DeTable<'_>, name: &str) -> Range<usize> {
    table.get(name).map(Value::span).unwrap_or_default()
}

/// `; did you mean ...?` where one of the names is close.
pub(super) fn nearest<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> String {
    let close = names.map(|name| (distance(word, name), name)).min().filter(|(far, name)| *far <= name.len() / 3 + 1);
    close.map(|(_, name)| format!("; did you mean {name:?}?")).unwrap_or_default()
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut before = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let cost = before + usize::from(x != y);
            before = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(before + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<FileSettings, String> {
        let env = |name: &str| (name == "OPENAI_API_KEY").then(|| "sk-test".to_owned());
        read(Path::new("anykey.toml"), text, &env).map_err(|e| e.to_string())
    }

    #[test]
    fn the_documented_example_is_read() {
        let settings = parse(
            r#"
listen   = "127.0.0.1:7117"
data_dir = "./anykey-data"
database = "sqlite:"
brand    = "ak"
trusted_proxies = ["10.0.0.0/8", "::1"]

[[providers]]
name = "openai"
kind = "openai"
base_url = "https://api.openai.com/v1"
api_key = "${OPENAI_API_KEY}"
allow_private_network = false

[[models]]
name = "house-model"
target = "openai/gpt-4o-mini"
"#,
        )
        .unwrap();
        assert_eq!(settings.listen.as_deref(), Some("127.0.0.1:7117"));
        assert_eq!(settings.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.0/8", "::1"]);
        let provider = &settings.providers[0];
        assert_eq!(provider.credential.as_ref().map(|c| c.expose_secret()), Some("sk-test"));
        assert_eq!(settings.aliases, [("house-model".to_owned(), "openai/gpt-4o-mini".to_owned())]);
    }

    #[test]
    fn all_errors_are_told_at_once_with_their_lines() {
        let errors = parse(
            r#"listn = "x"
practice = "yes"
trusted_proxies = ["10.0.0.1/8"]
[[providers]]
name = "Open AI"
kind = "opnai"
api_key = "${NOT_SET}"
[[providers]]
name = "local"
kind = "openai"
base_url = "http://127.0.0.1:1234/v1"
api_key = "k"
[[models]]
name = "m"
"#,
        )
        .unwrap_err();
        let lines: Vec<&str> = errors.lines().collect();
        let starts = [
            "anykey.toml:1: there is no setting called \"listn\"; did you mean \"listen\"?",
            "anykey.toml:2: practice is true or false",
            "anykey.toml:3: trusted_proxies: `10.0.0.1/8` names one address and a range",
            "anykey.toml:5: a provider's name",
            "anykey.toml:6: there is no kind of provider called \"opnai\"; did you mean \"openai\"?",
            "anykey.toml:7: api_key names the variable NOT_SET, which is not set",
            "anykey.toml:11: base_url: the address is not public",
            "anykey.toml:13: this model has no target",
        ];
        assert_eq!(lines.len(), starts.len(), "{errors}");
        for (line, start) in lines.iter().zip(starts) {
            assert!(line.starts_with(start), "{line}");
        }
    }

    #[test]
    fn reports_of_exposed_keys_are_off_until_somebody_is_named() {
        let exposure = |text: &str| parse(text).unwrap().exposure;
        let nothing = exposure("");
        assert!(nothing.github_keys.is_none() && nothing.secret.is_none() && nothing.and == ExposedAnd::Disable);
        let github = exposure("[secret_scanning]\ngithub = true\non_exposure = \"flag\"\n");
        assert_eq!(github.github_keys.map(|d| d.host), Some("api.github.com".to_owned()));
        assert_eq!(github.and, ExposedAnd::Flag);
        let errors = parse(
            "[secret_scanning]\ngithub = true\ngithub_keys_url = \"http://127.0.0.1/keys\"\nsecret = \"short\"\n\
             on_exposure = \"burn\"\ngit = 1\n",
        )
        .unwrap_err();
        for (line, start) in [
            (3, "github_keys_url: the address is not public"),
            (4, "secret has at least"),
            (5, "on_exposure is"),
            (6, "there is no setting"),
        ] {
            assert!(errors.contains(&format!("anykey.toml:{line}: {start}")), "{errors}");
        }
    }

    #[test]
    fn broken_syntax_names_its_line() {
        let errors = parse("listen = \"a\"\nbrand = \n").unwrap_err();
        assert!(errors.starts_with("anykey.toml:2:"), "{errors}");
    }
}
