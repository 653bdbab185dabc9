//! What a bound says to a call: yes, or a refusal that names the bound and what to do.

use super::{Bound, Client};
use crate::limit::Target;
use crate::refusal::echo;
use crate::{Code, Endpoint, Refusal, Scope};

impl Bound {
    pub fn check_address(&self, client: Client) -> Result<(), Refusal> {
        let Some(ranges) = &self.controls.ips else { return Ok(()) };
        if client.known && ranges.iter().any(|range| range.contains(client.address)) {
            return Ok(());
        }
        let message = if client.known {
            format!(
                "Calls from {} are not allowed by {self}. Call from an address on its list, or ask for this one. Where a \
                 proxy stands in front of the gateway, its operator has to declare it in trusted_proxies.",
                client.address
            )
        } else {
            format!(
                "The call comes through the proxy {} and its X-Forwarded-For cannot be read, so nobody knows whether \
                 {self} allows the caller's address. Tell the operator.",
                client.address
            )
        };
        Err(Refusal::new(Code::IpNotAllowed, message))
    }

    pub fn check_scope(&self, wanted: Scope) -> Result<(), Refusal> {
        if self.controls.scopes.is_none_or(|scopes| scopes.contains(wanted)) {
            return Ok(());
        }
        let message =
            format!("The scope `{}` that this endpoint asks for is not allowed by {self}. Ask for it.", wanted.name());
        Err(Refusal::new(Code::ScopeMissing, message))
    }

    pub fn check_endpoint(&self, endpoint: Endpoint) -> Result<(), Refusal> {
        if self.controls.endpoints.is_none_or(|endpoints| endpoints.contains(endpoint)) {
            return Ok(());
        }
        let message = format!(
            "The endpoint `{}` is not on the list of {self}. Use an endpoint that is, or ask for this one.",
            endpoint.name()
        );
        Err(Refusal::new(Code::EndpointNotAllowed, message))
    }

    /// `asked` is what the caller wrote; the target is what would serve it.
    pub fn check_model(&self, asked: &str, target: Target<'_>) -> Result<(), Refusal> {
        let asked_for = echo(asked);
        let what = if !self.controls.permits_name(asked) {
            format!("The model `{asked_for}` may not be asked for by that name: {self} routes calls by other names.")
        } else if !self.controls.permits_model(target.provider, target.model) {
            let served = format!("{}/{}", target.provider, target.model);
            format!("The model `{asked_for}` is served as `{}`, which {self} does not allow.", echo(&served))
        } else {
            return Ok(());
        };
        let message = format!("{what} GET /v1/models lists what this key may call; or ask for this model.");
        Err(Refusal::new(Code::ModelNotAllowed, message).param("model"))
    }

    /// Whether a list of models shows this one.
    pub fn offers(&self, name: &str, target: Target<'_>) -> bool {
        self.controls.permits_name(name) && self.controls.permits_model(target.provider, target.model)
    }
}
