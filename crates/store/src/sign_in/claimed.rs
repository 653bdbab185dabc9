//! What an issuer's claims give somebody: memberships and, where the settings name it, the running of the installation.
//! What was given so is remembered, and only that is changed or taken away again.

use super::{Account, Claimed, Person};
use crate::audit::{Deed, Verb};
use crate::db::{Tx, params};
use crate::error::Result;
use crate::levels::{self, Level};
use crate::people;
use crate::tenancy::read_row;
use crate::tenancy_types::MemberRow;
use anykey_core::{LevelId, MemberId, OrganisationId, PersonId, Role};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A role in an organisation, named by its slug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedRole {
    pub organisation: String,
    pub role: Role,
}

/// What became of somebody for whom an issuer vouches.
#[derive(Debug)]
pub enum Recognised {
    Known(Account),
    /// Nobody knows them, and they are not taken in.
    Stranger,
    /// The e-mail is that of somebody else, as far as anybody can tell.
    EmailTaken(Person),
    Disabled(Person),
}

/// Sets what the claims give. The levels that changed by it are returned.
pub(super) async fn apply(
    tx: &mut Tx,
    claimed: &Claimed,
    id: PersonId,
    now: i64,
    deeds: &mut Vec<Deed>,
) -> Result<Vec<Arc<Level>>> {
    set_operator(tx, claimed, id, now, deeds).await?;
    let wanted = wanted(tx, &claimed.roles).await?;
    let given: Vec<(Vec<u8>, String)> =
        tx.all("SELECT organisation_id, issuer FROM issuer_membership WHERE person_id = $1", params![&id.0]).await?;
    let given: BTreeMap<OrganisationId, bool> = given
        .iter()
        .filter_map(|(of, issuer)| Some((OrganisationId::from_slice(of)?, *issuer == claimed.issuer)))
        .collect();
    let mut changed = Vec::new();
    for (organisation, _) in given.iter().filter(|(of, ours)| **ours && !wanted.contains_key(of)) {
        changed.extend(take_out(tx, *organisation, id, now, deeds).await?);
    }
    for (organisation, role) in wanted {
        let ours = given.get(&organisation).copied();
        changed.extend(take_in(tx, claimed, (organisation, role, ours), id, now, deeds).await?);
    }
    let mut levels = Vec::with_capacity(changed.len());
    for member in changed {
        levels.push(levels::read_in(tx, LevelId::Member(member)).await?);
    }
    Ok(levels)
}

/// By id, so that all take the rows in one order.
async fn wanted(tx: &mut Tx, roles: &[ClaimedRole]) -> Result<BTreeMap<OrganisationId, Role>> {
    let mut wanted = BTreeMap::new();
    for ClaimedRole { organisation: slug, role } in roles {
        let sql = "SELECT id FROM organisation WHERE slug = $1 AND deleted_at IS NULL";
        let found: Option<(Vec<u8>,)> = tx.one(sql, params![slug]).await?;
        match found.and_then(|(id,)| OrganisationId::from_slice(&id)) {
            Some(id) => drop(wanted.entry(id).or_insert(*role)),
            None => tracing::warn!(organisation = slug, "a rule of an issuer names an organisation that is not there"),
        }
    }
    Ok(wanted)
}

async fn set_operator(tx: &mut Tx, claimed: &Claimed, id: PersonId, now: i64, deeds: &mut Vec<Deed>) -> Result<()> {
    let before = people::read(tx, id).await?;
    let taken = !claimed.operator && {
        let gone = "DELETE FROM issuer_operator WHERE person_id = $1 AND issuer = $2";
        tx.exec(gone, params![&id.0, &claimed.issuer]).await? == 1
    };
    if claimed.operator && !before.operator {
        let given = "INSERT INTO issuer_operator (person_id, issuer) VALUES ($1, $2) \
                     ON CONFLICT (person_id) DO UPDATE SET issuer = excluded.issuer";
        tx.exec(given, params![&id.0, &claimed.issuer]).await?;
    }
    if before.operator == claimed.operator || (before.operator && !taken) {
        return Ok(());
    }
    let set = "UPDATE person SET operator = $2, version = version + 1, updated_at = $3 WHERE id = $1";
    tx.exec(set, params![&id.0, claimed.operator, now]).await?;
    deeds.push(Deed::changed(Verb::PersonUpdate, &before, &people::read(tx, id).await?));
    Ok(())
}

async fn member_in(tx: &mut Tx, organisation: OrganisationId, person: PersonId) -> Result<Option<MemberRow>> {
    let sql = "SELECT id FROM membership WHERE organisation_id = $1 AND person_id = $2";
    let found: Option<(Vec<u8>,)> = tx.one(sql, params![&organisation.0, &person.0]).await?;
    let Some(id) = found.and_then(|(id,)| MemberId::from_slice(&id)) else { return Ok(None) };
    read_row(tx, id.0).await.map(Some)
}

/// `ours` says whether this issuer gave what is there; `None`: no issuer did.
async fn take_in(
    tx: &mut Tx,
    claimed: &Claimed,
    (organisation, role, ours): (OrganisationId, Role, Option<bool>),
    person: PersonId,
    now: i64,
    deeds: &mut Vec<Deed>,
) -> Result<Option<MemberId>> {
    let before = member_in(tx, organisation, person).await?;
    let is_in = before.as_ref().is_some_and(|member| member.deleted_at.is_none());
    match &before {
        // What somebody gave by hand, or another issuer, is theirs to change.
        Some(_) if is_in && ours != Some(true) => return Ok(None),
        Some(member) if is_in && member.role == role => return Ok(None),
        // Who comes back is the same member, bounded and disabled as they were.
        Some(member) => {
            let set = "UPDATE membership SET role = $2, deleted_at = NULL, version = version + 1, updated_at = $3 \
                       WHERE id = $1";
            tx.exec(set, params![&member.id.0, role.name(), now]).await?;
        }
        None => {
            let id = MemberId::random(now)?;
            let insert = "INSERT INTO membership (id, organisation_id, person_id, role, disabled, version, created_at, \
                          updated_at) VALUES ($1, $2, $3, $4, FALSE, 1, $5, $5)";
            tx.exec(insert, params![&id.0, &organisation.0, &person.0, role.name(), now]).await?;
        }
    }
    let given = "INSERT INTO issuer_membership (person_id, organisation_id, issuer) VALUES ($1, $2, $3) \
                 ON CONFLICT (person_id, organisation_id) DO UPDATE SET issuer = excluded.issuer";
    tx.exec(given, params![&person.0, &organisation.0, &claimed.issuer]).await?;
    let Some(after) = member_in(tx, organisation, person).await? else { return Ok(None) };
    deeds.push(match &before {
        Some(before) if is_in => Deed::changed(Verb::MemberUpdate, before, &after),
        _ => Deed::made(Verb::MemberAdd, &after),
    });
    Ok(Some(after.id))
}

async fn take_out(
    tx: &mut Tx,
    organisation: OrganisationId,
    person: PersonId,
    now: i64,
    deeds: &mut Vec<Deed>,
) -> Result<Option<MemberId>> {
    let gone = "DELETE FROM issuer_membership WHERE person_id = $1 AND organisation_id = $2";
    tx.exec(gone, params![&person.0, &organisation.0]).await?;
    let before = member_in(tx, organisation, person).await?.filter(|member| member.deleted_at.is_none());
    let Some(before) = before else { return Ok(None) };
    let out = "UPDATE membership SET deleted_at = $2, version = version + 1, updated_at = $2 WHERE id = $1";
    tx.exec(out, params![&before.id.0, now]).await?;
    tx.exec(
        "DELETE FROM project_role WHERE person_id = $1 \
         AND project_id IN (SELECT id FROM project WHERE organisation_id = $2)",
        params![&person.0, &organisation.0],
    )
    .await?;
    let after: MemberRow = read_row(tx, before.id.0).await?;
    deeds.push(Deed::changed(Verb::MemberRemove, &before, &after));
    Ok(Some(before.id))
}
