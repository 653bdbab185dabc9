//! OpenID Connect: people come in by issuers that the settings name, with the authorisation code flow and PKCE. The flow is
//! our own, some hundreds of lines over the outgoing client with its guard; signatures are verified by `ring`.

mod claims;
mod endpoint;
mod exchange;
mod flow;
mod issuer;
mod keys;
mod settings;
#[cfg(test)]
mod tests;
mod token;

pub(crate) use claims::Kept;
pub(crate) use exchange::{is_error_name, with_query};
pub(crate) use flow::{Flow, Half, LIVES_S, check_return_to, over};
pub(crate) use issuer::{Issuer, Trouble};
pub use settings::{ClaimIs, Gives, IssuerSettings, RoleRule, SecondFactorOf, SignUp, check_issuer, check_public_url};
pub(crate) use token::{Algorithm, Expected};

/// The issuers of the settings, in their order.
pub(crate) struct Issuers(Vec<Issuer>);

impl Issuers {
    pub fn new(settings: Vec<IssuerSettings>, public_url: Option<&str>) -> Self {
        let base = public_url.unwrap_or_default().trim_end_matches('/');
        let issuer = |settings: IssuerSettings| {
            let back = format!("{base}/admin/v1/auth/issuers/{}/callback", settings.name);
            Issuer::new(settings, back)
        };
        Issuers(settings.into_iter().map(issuer).collect())
    }

    pub fn all(&self) -> &[Issuer] {
        &self.0
    }

    /// By what the settings call it.
    pub fn named(&self, name: &str) -> Option<&Issuer> {
        self.0.iter().find(|issuer| issuer.settings.name == name)
    }

    /// By the URL that its tokens have.
    pub fn of_url(&self, url: &str) -> Option<&Issuer> {
        self.0.iter().find(|issuer| issuer.settings.issuer == url)
    }
}
