//! Who may reach what, as far as rows know: what a person is, where an object stands, and how a query is narrowed to what
//! somebody reaches. What follows from that is `anykey_core::grant`'s to say.

use crate::Store;
use crate::db::{FromRow, Row, Value, params};
use crate::error::{Result, StoreError};
use crate::key_rows::{KeyRecord, read_placement};
use crate::key_types::{KeyPatch, KeyRow, NewKey};
use crate::sql::Conditions;
use anykey_core::key_rules::KeyFacts;
use anykey_core::spend::SpendLimits;
use anykey_core::token::Digest;
use anykey_core::{
    ApprovalId, DeliveryId, DestinationId, Grant, Held, KeyId, MemberId, OrganisationId, PersonId, Place, Placement,
    ProjectId, Role, Scopes, ServiceAccountId, Sight,
};

/// The columns by which a table says where its rows stand.
#[derive(Clone, Copy, Default)]
pub(crate) struct Columns {
    pub organisation: Option<&'static str>,
    pub project: Option<&'static str>,
    pub member: Option<&'static str>,
}

impl Conditions {
    /// Narrows a list to what somebody reaches.
    pub fn within(&mut self, sight: &Sight, columns: Columns) {
        let Sight::Within(reached) = sight else { return };
        let mut any = Vec::new();
        let mut add = |column: Option<&str>, ids: Vec<[u8; 16]>| {
            if let (Some(column), false) = (column, ids.is_empty()) {
                any.push(self.one_of(column, ids.iter().map(Value::from)));
            }
        };
        add(columns.organisation, reached.organisations.iter().map(|id| id.0).collect());
        add(columns.project, reached.projects.iter().map(|id| id.0).collect());
        add(columns.member, reached.members.iter().map(|id| id.0).collect());
        self.and_any(&any);
    }

    /// The same of keys. A key that manages something is reached by those who manage as much, and is nobody's own; so
    /// says [`Place::of_key`], in the words of the database.
    pub fn within_keys(&mut self, sight: &Sight, key: &str) {
        let Sight::Within(reached) = sight else { return };
        let mut any = Vec::new();
        let mut add = |column: &str, ids: Vec<[u8; 16]>, managing: &str| {
            if !ids.is_empty() {
                let ids = self.one_of(&format!("{key}.{column}"), ids.iter().map(Value::from));
                any.push(format!("({ids} AND ({key}.kind <> 'admin'{managing}))"));
            }
        };
        let project = format!(" OR {key}.scopes = 'admin:project'");
        let organisation = format!("{project} OR {key}.scopes = 'admin:organisation'");
        add("organisation_id", reached.organisations.iter().map(|id| id.0).collect(), &organisation);
        add("project_id", reached.projects.iter().map(|id| id.0).collect(), &project);
        add("member_id", reached.members.iter().map(|id| id.0).collect(), "");
        self.and_any(&any);
    }

    /// The same of what keys have done.
    pub fn within_uses(&mut self, sight: &Sight, column: &str) {
        if *sight == Sight::Everything {
            return;
        }
        self.and_text(&format!("{column} IN (SELECT own.id FROM api_key own WHERE TRUE"));
        self.within_keys(sight, "own");
        self.close();
    }
}

/// Organisation, project and owner of a key, and its scopes.
struct KeyPlace(Place);

impl FromRow for KeyPlace {
    fn from_row(row: &mut Row) -> Result<Self> {
        let placement = read_placement(row)?;
        let scopes = row.name(|text| Scopes::from_text(text).ok())?;
        Ok(KeyPlace(Place::of_key(scopes, &placement)))
    }
}

const KEY_PLACE: &str =
    "SELECT organisation_id, project_id, member_id, service_account_id, scopes FROM api_key WHERE id = $1";

/// CROSS JOIN keeps SQLite to this order: the secret, then its key.
macro_rules! found_place {
    () => {
        "SELECT s.digest, s.digest_kind, k.id, k.organisation_id, k.project_id, k.member_id, k.service_account_id, \
         k.scopes FROM secret s CROSS JOIN api_key k WHERE k.id = s.key_id AND "
    };
}

/// A key that was found by a secret, and where it stands.
struct FoundPlace {
    digest: Digest,
    unused_import: bool,
    key: KeyId,
    place: Place,
}

impl FromRow for FoundPlace {
    fn from_row(row: &mut Row) -> Result<Self> {
        Ok(FoundPlace {
            digest: Digest(row.bytes()?),
            unused_import: row.take::<String>()? == "sha256",
            key: KeyId(row.bytes()?),
            place: KeyPlace::from_row(row)?.0,
        })
    }
}

impl KeyRow {
    pub const fn placement(&self) -> Placement {
        Placement { organisation: self.organisation_id, project: self.project_id, owner: self.owner_id }
    }

    pub fn place(&self) -> Place {
        Place::of_key(self.scopes, &self.placement())
    }

    /// What it could spend after a change.
    pub fn spend_after(&self, patch: &KeyPatch) -> SpendLimits {
        let mut spend = self.controls.spend.clone();
        if let Some(new) = patch.controls.as_ref().filter(|_| !patch.keeps_spend) {
            spend = SpendLimits { total: new.spend.total.or(spend.total), ..new.spend.clone() };
        }
        if let Some(amounts) = patch.amounts {
            spend.set_amounts(amounts);
        }
        spend.total = patch.spend_limit.unwrap_or(spend.total);
        spend
    }

    /// Where a change would put it.
    pub fn placement_after(&self, patch: &KeyPatch) -> Placement {
        let Placement { organisation, project, owner } = self.placement();
        Placement { organisation, project: patch.project.unwrap_or(project), owner: patch.owner_id.unwrap_or(owner) }
    }
}

impl KeyRecord {
    /// What the rules above it look at.
    pub(crate) fn facts(&self) -> KeyFacts<'_> {
        KeyFacts {
            has_owner: self.placement.owner.is_some(),
            description: &self.description,
            environment: self.environment.as_deref(),
            note: &self.note,
            tags: self.tags.keys().map(String::as_str).collect(),
            expires_at: self.expires_at,
            review_at: self.review_at,
            rotation_interval_ms: self.rotation_interval_ms,
            spend_limit: match &self.controls {
                Some(controls) => controls.spend.enforced_total(self.spend_limit),
                None => self.spend_limit,
            },
            spends_by_calendar: self.controls.as_ref().is_some_and(|controls| controls.spend.has_windows()),
            scopes: self.scopes,
            browser_allowed: self.browser_allowed,
        }
    }
}

impl NewKey {
    /// What the rules above it look at.
    pub fn facts(&self) -> KeyFacts<'_> {
        KeyFacts {
            has_owner: self.placement.owner.is_some(),
            description: &self.description,
            environment: self.environment.as_deref(),
            note: &self.note,
            tags: self.tags.keys().map(String::as_str).collect(),
            expires_at: self.expires_at,
            review_at: self.review_at,
            rotation_interval_ms: self.rotation_interval_ms,
            spend_limit: self.controls.spend.enforced_total(self.spend_limit),
            spends_by_calendar: self.controls.spend.has_windows(),
            scopes: self.scopes,
            browser_allowed: self.browser_allowed,
        }
    }

    pub fn place(&self) -> Place {
        Place::of_key(self.scopes, &self.placement)
    }
}

impl Store {
    /// What somebody is by now, who does not run the installation. What is disabled or deleted gives nobody a role.
    pub async fn grant_of(&self, person: PersonId) -> Result<Grant> {
        let members: Vec<(Vec<u8>, Vec<u8>, String)> = self
            .db
            .all(
                "SELECT m.organisation_id, m.id, m.role FROM membership m \
                 JOIN organisation o ON o.id = m.organisation_id JOIN person p ON p.id = m.person_id \
                 WHERE m.person_id = $1 AND m.deleted_at IS NULL AND NOT m.disabled \
                 AND o.deleted_at IS NULL AND NOT o.disabled AND p.deleted_at IS NULL AND NOT p.disabled ORDER BY m.id",
                params![&person.0],
            )
            .await?;
        let mut held: Vec<Held> = members
            .iter()
            .filter_map(|(organisation, member, role)| {
                Some(Held::InOrganisation {
                    role: Role::from_name(role)?,
                    organisation: OrganisationId::from_slice(organisation)?,
                    member: MemberId::from_slice(member),
                })
            })
            .collect();
        if held.is_empty() {
            return Ok(Grant::default());
        }
        let projects: Vec<(Vec<u8>, Vec<u8>)> = self
            .db
            .all(
                "SELECT j.organisation_id, j.id FROM project_role r JOIN project j ON j.id = r.project_id \
                 WHERE r.person_id = $1 AND j.deleted_at IS NULL ORDER BY j.id",
                params![&person.0],
            )
            .await?;
        let owned: Vec<Held> = projects
            .iter()
            .filter_map(|(organisation, project)| {
                let organisation = OrganisationId::from_slice(organisation)?;
                // Whoever is no member of an organisation, or is disabled there, owns nothing in it.
                let member = held.iter().any(
                    |held| matches!(held, Held::InOrganisation { organisation: theirs, .. } if *theirs == organisation),
                );
                member.then_some(Held::OfProject { organisation, project: ProjectId::from_slice(project)? })
            })
            .collect();
        held.extend(owned);
        Ok(Grant::of(held))
    }

    /// Where a key stands; `None` where there is none.
    pub async fn place_of_key(&self, id: KeyId) -> Result<Option<Place>> {
        Ok(self.db.one::<KeyPlace>(KEY_PLACE, params![&id.0]).await?.map(|found| found.0))
    }

    /// The key of which this is a secret's public id, whatever became of the secret, and where it stands.
    pub async fn place_of_public_id(&self, public_id: &str) -> Result<Option<(KeyId, Place)>> {
        let sql = concat!(found_place!(), "s.public_id = $1");
        let found: Option<FoundPlace> = self.db.one(sql, params![public_id]).await?;
        Ok(found.map(|found| (found.key, found.place)))
    }

    /// The same of a secret's digest; `plain` is the plain SHA-256 of the same text, by which keys of other systems are
    /// known until their first use. A digest of one kind never stands for the other.
    pub async fn place_of_secret(&self, digest: Digest, plain: Digest) -> Result<Option<(KeyId, Place)>> {
        let sql = concat!(found_place!(), "s.digest IN ($1, $2)");
        let found: Vec<FoundPlace> = self.db.all(sql, params![&digest.0, &plain.0]).await?;
        let right = |found: &FoundPlace| found.digest == if found.unused_import { plain } else { digest };
        Ok(found.into_iter().find(right).map(|found| (found.key, found.place)))
    }

    /// How the database would run these two. For tests.
    #[doc(hidden)]
    pub async fn explain_found_keys(&self) -> Result<[String; 2]> {
        let digest = Digest([0; 32]);
        Ok([
            self.db.explain(concat!(found_place!(), "s.public_id = $1"), params!["AbCd1234"]).await?,
            self.db.explain(concat!(found_place!(), "s.digest IN ($1, $2)"), params![&digest.0, &digest.0]).await?,
        ])
    }

    /// Where the key stands that made a request.
    pub async fn place_of_request(&self, id: anykey_core::RequestId) -> Result<Option<Place>> {
        const SQL: &str = "SELECT organisation_id, project_id, member_id, service_account_id, scopes FROM api_key \
             WHERE id = (SELECT key_id FROM usage WHERE request = $1 LIMIT 1)";
        Ok(self.db.one::<KeyPlace>(SQL, params![&id.0]).await?.map(|found| found.0))
    }

    pub async fn place_of_project(&self, id: ProjectId) -> Result<Option<Place>> {
        let found: Option<(Vec<u8>,)> =
            self.db.one("SELECT organisation_id FROM project WHERE id = $1", params![&id.0]).await?;
        let organisation = found.and_then(|(organisation,)| OrganisationId::from_slice(&organisation));
        Ok(organisation.map(|organisation| Place::project(organisation, id)))
    }

    pub async fn place_of_member(&self, id: MemberId) -> Result<Option<Place>> {
        let found: Option<(Vec<u8>,)> =
            self.db.one("SELECT organisation_id FROM membership WHERE id = $1", params![&id.0]).await?;
        let organisation = found.and_then(|(organisation,)| OrganisationId::from_slice(&organisation));
        Ok(organisation.map(|organisation| Place::member(organisation, id)))
    }

    pub async fn place_of_service_account(&self, id: ServiceAccountId) -> Result<Option<Place>> {
        let found: Option<(Vec<u8>, Option<Vec<u8>>)> = self
            .db
            .one("SELECT organisation_id, project_id FROM service_account WHERE id = $1", params![&id.0])
            .await?;
        Ok(found.and_then(|(organisation, project)| {
            let organisation = OrganisationId::from_slice(&organisation)?;
            let project = project.as_deref().and_then(ProjectId::from_slice);
            Some(Place { project, ..Place::organisation(organisation) })
        }))
    }

    pub async fn place_of_destination(&self, id: DestinationId) -> Result<Option<Place>> {
        let row = match self.destination(id).await {
            Ok(row) => row,
            Err(StoreError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(Place { organisation: row.organisation, project: row.project, member: None }))
    }

    pub async fn place_of_delivery(&self, id: DeliveryId) -> Result<Option<Place>> {
        let found: Option<(Option<Vec<u8>>,)> =
            self.db.one("SELECT organisation_id FROM delivery WHERE id = $1", params![&id.0]).await?;
        Ok(found.map(|(id,)| Place {
            organisation: id.as_deref().and_then(OrganisationId::from_slice),
            ..Place::INSTALLATION
        }))
    }

    pub async fn place_of_approval(&self, id: ApprovalId) -> Result<Option<Place>> {
        match self.approval(id).await {
            Ok(row) => {
                Ok(Some(Place { organisation: Some(row.organisation), project: Some(row.project), member: row.member }))
            }
            Err(StoreError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every place that a person is in, those of organisations that are gone included; none where they are nowhere.
    pub async fn places_of_person(&self, id: PersonId) -> Result<Vec<Place>> {
        let found: Vec<(Vec<u8>, Vec<u8>)> = self
            .db
            .all(
                "SELECT organisation_id, id FROM membership WHERE person_id = $1 AND deleted_at IS NULL ORDER BY id",
                params![&id.0],
            )
            .await?;
        let place = |(organisation, member): &(Vec<u8>, Vec<u8>)| {
            Some(Place::member(OrganisationId::from_slice(organisation)?, MemberId::from_slice(member)?))
        };
        Ok(found.iter().filter_map(place).collect())
    }
}
