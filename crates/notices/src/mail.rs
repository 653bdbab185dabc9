//! Letters, by SMTP. What stands in a header is a checked address, a name of ours, or text that is encoded as such.

use crate::words::Letter;
use anykey_core::notice::is_address;
use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use secrecy::{ExposeSecret, SecretString};
use std::time::{Duration, SystemTime};

/// For one command, and for a whole letter.
const COMMAND: Duration = Duration::from_secs(15);
const LETTER: Duration = Duration::from_secs(40);

/// How a mail server is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// In plain until STARTTLS, which must be there.
    #[default]
    StartTls,
    /// TLS from the first byte.
    Implicit,
    /// Never encrypted: for a server on the same machine.
    None,
}

/// The mail server, and who writes.
#[derive(Debug)]
pub struct MailOptions {
    pub host: String,
    pub port: u16,
    pub security: Security,
    pub credentials: Option<(String, SecretString)>,
    /// `anykey <keys@example.com>`, or the address alone.
    pub from: String,
    /// Roots in DER that are trusted beside the public ones and this machine's own.
    pub roots: Vec<Vec<u8>>,
}

#[derive(Debug, thiserror::Error)]
pub enum MailError {
    #[error("`{0}` is not an e-mail address")]
    Address(String),
    #[error("the mail server's settings cannot be used: {0}")]
    Settings(String),
}

/// What a mail server said to a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub code: Option<i64>,
    pub error: String,
    /// It will say the same the next time.
    pub for_good: bool,
}

/// Sends letters.
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

/// `Name <address>` or an address.
pub fn mailbox(text: &str) -> Result<Mailbox, MailError> {
    let wrong = || MailError::Address(text.to_owned());
    let (name, address) = match text.split_once('<') {
        Some((name, rest)) => {
            let name = name.trim().trim_matches('"').trim();
            (Some(name).filter(|name| !name.is_empty()), rest.trim_end().strip_suffix('>').ok_or_else(wrong)?)
        }
        None => (None, text),
    };
    if !is_address(address) || name.is_some_and(|name| name.chars().any(char::is_control)) {
        return Err(wrong());
    }
    let (user, domain) = address.split_once('@').ok_or_else(wrong)?;
    Ok(Mailbox::new(name.map(str::to_owned), Address::new(user, domain).map_err(|_| wrong())?))
}

impl Mailer {
    pub fn new(options: MailOptions) -> Result<Mailer, MailError> {
        let from = mailbox(&options.from)?;
        let tls = match options.security {
            Security::StartTls => Tls::Required(tls(&options.host, options.roots)?),
            Security::Implicit => Tls::Wrapper(tls(&options.host, options.roots)?),
            Security::None => Tls::None,
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(options.host)
            .port(options.port)
            .tls(tls)
            .timeout(Some(COMMAND))
            .hello_name(ClientId::Domain(from.email.domain().to_owned()))
            .authentication(vec![Mechanism::Plain, Mechanism::Login]);
        if let Some((user, password)) = options.credentials {
            transport = transport.credentials(Credentials::new(user, password.expose_secret().to_owned()));
        }
        Ok(Mailer { transport: transport.build(), from })
    }

    /// Sends a letter. `id` is the same at every attempt, so that a mailbox that got it twice can tell.
    pub async fn send(&self, to: &str, id: &str, written_at: SystemTime, letter: &Letter) -> Result<(), Refused> {
        let unfit = |error: String| Refused { code: None, error, for_good: true };
        let to = mailbox(to).map_err(|error| unfit(error.to_string()))?;
        let message = self.message(to, id, written_at, letter).map_err(|error| unfit(error.to_string()))?;
        match tokio::time::timeout(LETTER, self.transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(refused(&error)),
            Err(_) => {
                Err(Refused { code: None, error: "the mail server did not answer in time".into(), for_good: false })
            }
        }
    }

    fn message(
        &self,
        to: Mailbox,
        id: &str,
        written_at: SystemTime,
        letter: &Letter,
    ) -> Result<Message, lettre::error::Error> {
        let mut message = Message::builder()
            .from(self.from.clone())
            .to(to)
            .date(written_at)
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .subject(&letter.subject)
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text.clone())?;
        // RFC 3834: so that no program that is away from its desk answers.
        let name = HeaderName::new_from_ascii_str("Auto-Submitted");
        message.headers_mut().insert_raw(HeaderValue::new(name, "auto-generated".into()));
        Ok(message)
    }
}

fn tls(host: &str, extra: Vec<Vec<u8>>) -> Result<TlsParameters, MailError> {
    let own = anykey_net::system_roots().into_iter().map(|root| root.to_vec());
    let mut builder = TlsParameters::builder(host.to_owned()).certificate_store(CertificateStore::WebpkiRoots);
    // Of this machine's own roots some may be of a form that is not read; those that an operator names must be.
    for root in own.filter_map(|root| Certificate::from_der(root).ok()) {
        builder = builder.add_root_certificate(root);
    }
    for root in extra {
        let root = Certificate::from_der(root).map_err(|error| MailError::Settings(error.to_string()))?;
        builder = builder.add_root_certificate(root);
    }
    builder.build_rustls().map_err(|error| MailError::Settings(error.to_string()))
}

/// A wrong password is the operator's to put right, and the letter goes out then; what a server says of the letter or
/// the mailbox itself it will say again.
fn refused(error: &lettre::transport::smtp::Error) -> Refused {
    let code = error.status().map(|code| i64::from(u16::from(code)));
    let about_us = code.is_some_and(|code| matches!(code, 530 | 534 | 535 | 538));
    Refused { code, error: told(error), for_good: error.is_permanent() && !about_us }
}

/// An error with what is behind it.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailer() -> Mailer {
        let options = MailOptions {
            host: "localhost".into(),
            port: 1,
            security: Security::None,
            credentials: None,
            from: "Ünïkey <keys@example.com>".into(),
            roots: Vec::new(),
        };
        Mailer::new(options).unwrap()
    }

    #[test]
    fn mailboxes_are_plain() {
        for good in ["a@example.com", "Any Key <a@example.com>", "\"Key, Any\" <a@example.com>"] {
            assert!(mailbox(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "<a@b", "x\r\nBcc: c@d <a@b>", "a@b\nc", "Name <a@b> more", "<>"] {
            assert!(mailbox(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn nothing_in_a_letter_becomes_a_header() {
        let letter = Letter {
            subject: "é\r\nBcc: eve@example.com\r\n\r\nbody".into(),
            text: "a\r\n.\r\nBcc: eve@example.com\r\nRCPT TO:<x@y>\n".into(),
        };
        let to = mailbox("ada@example.com").unwrap();
        let message = mailer().message(to, "dlv_1", SystemTime::UNIX_EPOCH, &letter).unwrap();
        let text = String::from_utf8(message.formatted()).unwrap();
        let (head, _) = text.split_once("\r\n\r\n").unwrap();
        let names: Vec<&str> = head
            .split("\r\n")
            .filter(|line| !line.starts_with([' ', '\t']))
            .map(|line| line.split(':').next().unwrap())
            .collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!(
            sorted,
            [
                "Auto-Submitted",
                "Content-Transfer-Encoding",
                "Content-Type",
                "Date",
                "From",
                "Message-ID",
                "Subject",
                "To"
            ]
        );
        assert!(head.contains("Message-ID: <dlv_1@example.com>") && head.is_ascii(), "{head}");
    }
}
