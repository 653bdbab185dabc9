//! `[smtp]` and `[notices]`: how mail is sent, and what is worth a word.

use super::file::{Reader, Value, span};
use anykey_notices::mail::mailbox;
use anykey_notices::{MailOptions, Options, Security};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::net::IpAddr;
use toml::de::{DeTable, DeValue};

const SMTP: &[&str] = &["host", "port", "tls", "username", "password", "from", "ca_file"];
const NOTICES: &[&str] = &["unused_days", "allow_private_network"];

impl Reader<'_> {
    /// Both tables, each of which may be left out.
    pub(super) fn notices(&mut self, table: &DeTable<'_>) -> Options {
        let mut options = Options::default();
        if let Some(value) = table.get("notices") {
            match value.get_ref() {
                DeValue::Table(table) => self.notice_settings(table, &mut options),
                _ => self.wrong(value.span(), "notices is written as [notices]"),
            }
        }
        if let Some(value) = table.get("smtp") {
            match value.get_ref() {
                DeValue::Table(table) => options.mail = self.smtp(value, table),
                _ => self.wrong(value.span(), "smtp is written as [smtp]"),
            }
        }
        options
    }

    fn notice_settings(&mut self, table: &DeTable<'_>, options: &mut Options) {
        const DAYS: &str = "unused_days is a whole number of days from 1 to 3650, or 0 for never";
        self.known(table, NOTICES, "setting of notices");
        options.allow_private = self.flag(table, "allow_private_network").unwrap_or(false);
        if let Some(days) = self.number(table, "unused_days", 0..=3650, DAYS) {
            options.unused_days = Some(days).filter(|days| *days > 0);
        }
    }

    fn smtp(&mut self, value: &Value<'_>, table: &DeTable<'_>) -> Option<MailOptions> {
        self.known(table, SMTP, "setting of smtp");
        let at = value.span();
        let host = self.required(table, "host", &at, "smtp table");
        let from = self.required(table, "from", &at, "smtp table");
        if from.as_deref().is_some_and(|from| mailbox(from).is_err()) {
            let what = "from is an address such as \"keys@example.com\" or \"anykey <keys@example.com>\"";
            self.wrong(span(table, "from"), what);
        }
        let plain = |host: &str| {
            let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
            host.parse::<IpAddr>().is_ok() || (!host.is_empty() && host.bytes().all(name))
        };
        if host.as_deref().is_some_and(|host| !plain(host)) {
            self.wrong(span(table, "host"), "host is a name or an address, without a port");
        }
        let security = match self.text(table, "tls").as_deref() {
            None | Some("starttls") => Security::StartTls,
            Some("implicit") => Security::Implicit,
            Some("none") => Security::None,
            Some(_) => {
                self.wrong(span(table, "tls"), "tls is \"starttls\", \"implicit\" or \"none\"");
                Security::StartTls
            }
        };
        let port = self.number(table, "port", 1..=65_535, "port is a number from 1 to 65535");
        let default = match security {
            Security::StartTls => 587,
            Security::Implicit => 465,
            Security::None => 25,
        };
        let username = self.text(table, "username");
        let password = self.secret(table, "password");
        if username.is_some() != table.contains_key("password") {
            self.wrong(at, "username and password stand together, or neither does");
        }
        let local = host.as_deref().is_some_and(is_local);
        if security == Security::None && username.is_some() && !local {
            self.wrong(span(table, "tls"), "tls = \"none\" would show the password to everybody on the way");
        }
        let roots = self.text(table, "ca_file").map(|file| self.certificates(table, &file)).unwrap_or_default();
        Some(MailOptions {
            host: host?,
            port: port.and_then(|port| u16::try_from(port).ok()).unwrap_or(default),
            security,
            credentials: username.zip(password),
            from: from?,
            roots,
        })
    }

    fn certificates(&mut self, table: &DeTable<'_>, file: &str) -> Vec<Vec<u8>> {
        let read = std::fs::read(self.folder.join(file)).map_err(|error| error.to_string());
        let found: Result<Vec<Vec<u8>>, String> = read.and_then(|pem| {
            CertificateDer::pem_slice_iter(&pem)
                .map(|it| it.map(|it| it.to_vec()).map_err(|no| no.to_string()))
                .collect()
        });
        match found {
            Ok(found) if !found.is_empty() => found,
            Ok(_) => {
                self.wrong(span(table, "ca_file"), "ca_file names a file without a certificate in PEM");
                Vec::new()
            }
            Err(why) => {
                self.wrong(span(table, "ca_file"), format!("ca_file names a file that cannot be read: {why}"));
                Vec::new()
            }
        }
    }
}

fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use crate::config::{FileSettings, read};
    use anykey_notices::Security;
    use secrecy::ExposeSecret;
    use std::path::Path;

    fn parse(text: &str) -> Result<FileSettings, String> {
        let env = |name: &str| (name == "SMTP_PASSWORD").then(|| "pa55".to_owned());
        read(Path::new("anykey.toml"), text, &env).map_err(|error| error.to_string())
    }

    #[test]
    fn mail_is_off_until_a_server_is_named() {
        let options = parse("").unwrap().notices;
        assert!(options.mail.is_none() && !options.allow_private);
        assert_eq!(options.unused_days, Some(90));
        let options = parse("[notices]\nunused_days = 0\nallow_private_network = true\n").unwrap().notices;
        assert!(options.unused_days.is_none() && options.allow_private);
    }

    #[test]
    fn a_server_has_the_port_of_its_kind() {
        let mail = |tls: &str| {
            let text = format!("[smtp]\nhost = \"localhost\"\nfrom = \"anykey <keys@example.com>\"\ntls = {tls:?}\n");
            parse(&text).unwrap().notices.mail.unwrap()
        };
        for (tls, port, security) in
            [("starttls", 587, Security::StartTls), ("implicit", 465, Security::Implicit), ("none", 25, Security::None)]
        {
            let mail = mail(tls);
            assert_eq!((mail.port, mail.security), (port, security));
        }
        let text = "[smtp]\nhost = \"mx.example.com\"\nfrom = \"keys@example.com\"\nport = 2525\nusername = \"u\"\n\
                    password = \"${SMTP_PASSWORD}\"\n";
        let mail = parse(text).unwrap().notices.mail.unwrap();
        assert_eq!(mail.port, 2525);
        assert_eq!(
            mail.credentials.map(|(user, word)| (user, word.expose_secret().to_owned())),
            Some(("u".into(), "pa55".into()))
        );
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let errors = parse(
            "[notices]\nunused_days = -1\nunused = 3\n[smtp]\nhost = \"mx.example.com:25\"\nport = 70000\n\
             from = \"keys\"\ntls = \"maybe\"\nusername = \"u\"\nca_file = \"nowhere.pem\"\n",
        )
        .unwrap_err();
        for (line, start) in [
            (2, "unused_days is"),
            (3, "there is no setting of notices called \"unused\""),
            (4, "username and password stand together"),
            (5, "host is a name or an address"),
            (6, "port is a number"),
            (7, "from is an address"),
            (8, "tls is"),
            (10, "ca_file names a file that cannot be read"),
        ] {
            assert!(errors.contains(&format!("anykey.toml:{line}: {start}")), "{line} {start}: {errors}");
        }
        assert!(parse("[smtp]\n").unwrap_err().contains("has no host"));
        let clear =
            "[smtp]\nhost = \"mx.example.com\"\nfrom = \"a@b\"\ntls = \"none\"\nusername = \"u\"\npassword = \"p\"\n";
        assert!(parse(clear).unwrap_err().contains("would show the password"));
    }
}
