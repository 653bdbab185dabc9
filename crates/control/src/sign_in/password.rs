//! Passwords: Argon2id as OWASP advises it, off the threads that answer, and few at once, so that nobody can fill memory
//! by signing in.

use crate::input::Findings;
use crate::problem::{Problem, Result};
use anykey_core::Code;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use axum::http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Semaphore;

/// OWASP's password storage cheat sheet: Argon2id with 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// So much memory times this is all that signing in ever takes.
const AT_ONCE: usize = 2;
/// Who waits longer is told to come again.
const PATIENCE: Duration = Duration::from_secs(5);

/// In characters. Length is what counts (NIST SP 800-63B); nothing is asked of what they are.
const SHORTEST: usize = 12;
/// In bytes: hashing more would be work for nothing.
const LONGEST: usize = 1024;

pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    patience: Duration,
    /// Stands in for the hash of somebody who is not there, so that they take as long as somebody who is.
    nobody: Arc<OnceLock<Option<String>>>,
}

impl Default for Passwords {
    fn default() -> Self {
        Passwords { turns: Arc::new(Semaphore::new(AT_ONCE)), patience: PATIENCE, nobody: Arc::default() }
    }
}

impl Passwords {
    pub async fn hash(&self, password: SecretString) -> Result<String> {
        self.work(move || hash(&password)).await?.ok_or_else(|| Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR))
    }

    /// Whether it is the password of that hash. Without a hash it never is, after the same time.
    pub async fn verify(&self, password: SecretString, stored: Option<String>) -> Result<bool> {
        if password.expose_secret().len() > LONGEST {
            return Ok(false);
        }
        let nobody = Arc::clone(&self.nobody);
        self.work(move || match stored {
            Some(stored) => verify(&password, &stored),
            None => {
                let other = nobody.get_or_init(|| hash(&SecretString::from("nobody's password")));
                std::hint::black_box(other.as_deref().map(|other| verify(&password, other)));
                false
            }
        })
        .await
    }

    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let turn = tokio::time::timeout(self.patience, Arc::clone(&self.turns).acquire_owned());
        let Ok(Ok(turn)) = turn.await else {
            return Err(Problem::new(Code::AuthUnavailable, "Too many sign in now. Try again in a moment."));
        };
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        done.await.map_err(|_| Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR))
    }
}

fn argon() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash(password: &SecretString) -> Option<String> {
    argon().hash_password(password.expose_secret().as_bytes()).ok().map(|hash: PasswordHash| hash.to_string())
}

fn verify(password: &SecretString, stored: &str) -> bool {
    let Ok(stored) = PasswordHash::new(stored) else { return false };
    argon().verify_password(password.expose_secret().as_bytes(), &stored).is_ok()
}

/// A password that somebody chose.
pub(crate) fn chosen(field: &'static str, text: Option<String>, findings: &mut Findings) -> Option<SecretString> {
    let text = SecretString::from(text?);
    let length = text.expose_secret().chars().count();
    if length < SHORTEST {
        findings.add(field, format!("has at least {SHORTEST} characters"));
        return None;
    }
    if text.expose_secret().len() > LONGEST {
        findings.add(field, format!("has at most {LONGEST} bytes"));
        return None;
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_again_and_its_hash_says_how_it_was_made() {
        let passwords = Passwords::default();
        let text = || SecretString::from("correct horse battery");
        let stored = passwords.hash(text()).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert_ne!(stored, passwords.hash(text()).await.unwrap(), "each has a salt of its own");
        assert!(passwords.verify(text(), Some(stored.clone())).await.unwrap());
        assert!(!passwords.verify(SecretString::from("correct horse batterz"), Some(stored)).await.unwrap());
        assert!(!passwords.verify(text(), None).await.unwrap());
        assert!(!passwords.verify(SecretString::from("nobody's password"), None).await.unwrap());
        assert!(!passwords.verify(text(), Some("plain".into())).await.unwrap());
    }

    /// From the tests of the reference implementation in C.
    #[tokio::test]
    async fn a_hash_of_the_reference_implementation_is_understood() {
        let stored = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        let passwords = Passwords::default();
        assert!(passwords.verify(SecretString::from("password"), Some(stored.into())).await.unwrap());
        assert!(!passwords.verify(SecretString::from("Password"), Some(stored.into())).await.unwrap());
    }

    #[tokio::test]
    async fn few_are_hashed_at_once() {
        let passwords = Passwords { patience: Duration::ZERO, ..Passwords::default() };
        let held = Arc::clone(&passwords.turns).acquire_many_owned(u32::try_from(AT_ONCE).unwrap()).await.unwrap();
        let refused = passwords.hash(SecretString::from("x")).await.unwrap_err();
        assert_eq!((refused.kind.status, refused.kind.code), (503, "auth_unavailable"));
        drop(held);
        assert!(passwords.hash(SecretString::from("x")).await.is_ok());
    }

    #[test]
    fn a_chosen_password_is_long_enough_and_not_endless() {
        let faults = |text: &str| {
            let mut findings = Findings::default();
            let chosen = chosen("password", Some(text.to_owned()), &mut findings);
            assert_eq!(chosen.is_none(), findings.end().is_err());
            chosen.is_none()
        };
        assert!(faults("elevenchars") && faults("") && faults(&"x".repeat(1025)));
        assert!(!faults("twelve chars") && !faults("zwölf Zeichen"));
    }
}
