//! How far a caller reaches on a route: decided once, before the handler runs, from the roles that they hold.
//!
//! An object of the path that they do not reach is answered here exactly as one that is not there. Handlers narrow their
//! queries by [`Power::sight`], and ask [`Power::require`] about what a body names.

use crate::App;
use crate::access::{At, Rule};
use crate::caller::Caller;
use crate::input::Findings;
use crate::problem::{Problem, Result};
use crate::tenancy;
use anykey_core::{
    ApprovalId, Code, DeliveryId, DestinationId, Grant, JobId, KeyId, MemberId, OrganisationId, Permission, PersonId,
    Place, ProjectId, RequestId, Role, ServiceAccountId, Sight,
};
use anykey_store::StoreError;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::sync::Arc;

/// What the caller holds, and what the route asks of it. Only [`allow`] makes one.
#[derive(Clone)]
pub(crate) struct Power {
    grant: Arc<Grant>,
    permission: Permission,
}

impl Power {
    /// What they reach on this route.
    pub fn sight(&self) -> Sight {
        self.grant.sight(self.permission)
    }

    /// What they reach with another permission, as to find what a name stands for.
    pub fn sees(&self, permission: Permission) -> Sight {
        self.grant.sight(permission)
    }

    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Whether they may do it there.
    pub fn require(&self, place: &Place) -> Result<()> {
        if self.sight().covers(place) { Ok(()) } else { Err(self.refused()) }
    }

    /// Whether they reach a place only because what is there is their own. What was set for them then holds.
    pub fn is_own_only(&self, place: &Place) -> bool {
        !self.sight().beyond_own().covers(place)
    }

    pub fn refused(&self) -> Problem {
        let permission = self.permission.name();
        let roles: Vec<&str> = self.grant.roles().into_iter().map(Role::name).collect();
        let detail = match roles.as_slice() {
            [] => format!("You have no role that includes {permission}. Ask an operator of the installation."),
            [one] => format!("The role {one} does not include {permission} there. Ask an admin of the organisation."),
            _ => format!(
                "None of the roles {} includes {permission} there. Ask an admin of the organisation.",
                roles.join(", ")
            ),
        };
        Problem::new(Code::RoleForbidden, detail)
    }
}

impl<S: Sync> FromRequestParts<S> for Power {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        parts.extensions.get::<Power>().cloned().ok_or_else(crate::identify::missing)
    }
}

/// Whether a caller may use a route, for the object that its path names.
pub(crate) async fn allow(app: &App, caller: &Caller, rule: Rule, id: Option<&str>) -> Result<Power> {
    let grant = Arc::new(caller.grant(app).await?);
    let power = Power { grant, permission: rule.permission };
    if rule.at == At::Caller {
        // What is one's own belongs to people; a key has no password.
        caller.person()?;
        return Ok(power);
    }
    let sight = power.sight();
    if sight.is_nothing() {
        return Err(power.refused());
    }
    if sight == Sight::Everything || matches!(rule.at, At::All | At::Each | At::Body) {
        return Ok(power);
    }
    if rule.at == At::Installation {
        return Err(Problem::new(Code::RoleForbidden, "This is for operators of the installation."));
    }
    let found = places(app, caller, &power, rule.at, id.unwrap_or_default()).await?;
    let reached = |sight: &Sight| found.iter().any(|place| sight.covers(place));
    if reached(&sight) {
        Ok(power)
    } else if reached(&power.sees(rule.permission.to_see())) {
        Err(power.refused())
    } else {
        Err(Problem::not_found(rule.at.noun()))
    }
}

/// Where the object of a path stands; nowhere, if there is none.
async fn places(app: &App, caller: &Caller, power: &Power, at: At, id: &str) -> Result<Vec<Place>> {
    let store = app.store();
    let found = match at {
        At::Key => match KeyId::parse(id) {
            Some(id) => store.place_of_key(id).await?,
            None => None,
        },
        At::Organisation => organisation(app, id).await?.map(Place::organisation),
        At::Project => match ProjectId::parse(id) {
            Some(id) => store.place_of_project(id).await?,
            None => {
                let found = tenancy::project(app, power, "id", id, &mut Findings::default()).await?;
                found.map(|row| Place::project(row.organisation, row.id))
            }
        },
        At::Member => match MemberId::parse(id) {
            Some(id) => store.place_of_member(id).await?,
            None => None,
        },
        At::Account => match ServiceAccountId::parse(id) {
            Some(id) => store.place_of_service_account(id).await?,
            None => None,
        },
        At::Person => match PersonId::parse(id) {
            Some(id) => return Ok(store.places_of_person(id).await?),
            None => None,
        },
        At::Job => job(app, caller, power, id).await?,
        At::Request => match RequestId::parse(id) {
            Some(id) => {
                // What has just ended is not stored yet.
                app.settle().await?;
                store.place_of_request(id).await?
            }
            None => None,
        },
        At::Destination => match DestinationId::parse(id) {
            Some(id) => store.place_of_destination(id).await?,
            None => None,
        },
        At::Delivery => match DeliveryId::parse(id) {
            Some(id) => store.place_of_delivery(id).await?,
            None => None,
        },
        At::Approval => match ApprovalId::parse(id) {
            Some(id) => store.place_of_approval(id).await?,
            None => None,
        },
        At::Installation | At::All | At::Each | At::Body | At::Caller => None,
    };
    Ok(found.into_iter().collect())
}

async fn organisation(app: &App, text: &str) -> Result<Option<OrganisationId>> {
    if let Some(id) = OrganisationId::parse(text) {
        return Ok(Some(id));
    }
    match app.store().organisation_by_slug(text).await {
        Ok(row) => Ok(Some(row.id)),
        Err(StoreError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A job is seen by those who see the organisation that its keys are in, and by whoever asked for it.
async fn job(app: &App, caller: &Caller, power: &Power, id: &str) -> Result<Option<Place>> {
    let Some(id) = JobId::parse(id) else { return Ok(None) };
    match app.store().job(id).await {
        Ok(job) if job.creator == Some(caller.id()) => Ok(power.somewhere()),
        Ok(job) => Ok(job.organisation.map(Place::organisation)),
        Err(StoreError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Power {
    /// A place that they reach.
    fn somewhere(&self) -> Option<Place> {
        let Sight::Within(reached) = self.sight() else { return Some(Place::INSTALLATION) };
        Some(Place {
            organisation: reached.organisations.first().copied(),
            project: reached.projects.first().copied(),
            member: reached.members.first().copied(),
        })
    }
}
