//! Changing many keys at once, and giving one to another owner.

use super::view::KeyView;
use super::{ListParams, fields, key_id};
use crate::App;
use crate::caller::Caller;
use crate::idempotency::{Once, Reply};
use crate::input::{Body, Field, Findings, Named, PathParam, body};
use crate::power::Power;
use crate::precondition::{IfMatch, tagged};
use crate::problem::{Problem, Result};
use crate::routes::jobs::JobView;
use crate::tenancy;
use anykey_core::{KeyId, Place, Placement, Sight};
use anykey_store::{BulkAction, KeyFilter, Selection};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// More are meant with a filter.
const MOST_NAMED: usize = 1_000;

/// Which keys, in the words of the list's parameters.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(as = KeyFilter, value_type = std::collections::BTreeMap<String, String>)]
pub(crate) struct SentFilter(BTreeMap<String, String>);

impl Named for SentFilter {
    const WHAT: &str = "an object whose values are strings";
}

body! {
    /// What shall be done to many keys.
    Bulk as BulkChange {
        required {
            /// `disable`, `enable`, `extend` or `tag`.
            action: String,
        }
        optional {
            /// At most 1,000 ids.
            keys: Vec<String>,
            /// The parameters of the list of keys, such as `{"project": "search", "unused": "90d"}`; all keys where empty.
            filter: SentFilter,
            /// Of `extend`: when the keys end. A key that ends later, or never, is left alone.
            expires_at: String,
            /// A duration such as `90d`, instead of `expires_at`.
            expires_in: String,
            /// Of `tag`: tags to be set.
            tags: BTreeMap<String, String>,
            /// Of `tag`: names of tags to be taken away.
            untag: Vec<String>,
        }
    }
}

/// Disable, enable, extend or tag many keys. Which keys is settled now; the work is done in the background.
#[utoipa::path(post, path = "/keys/bulk", operation_id = "change_keys", tag = "keys", request_body = Bulk,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 202, description = "The job that does it", body = JobView)))]
pub(super) async fn bulk(
    State(app): State<App>,
    caller: Caller,
    power: Power,
    once: Once,
    body: Body<Bulk>,
) -> Result<Response> {
    let mut findings = Findings::default();
    let Bulk { action, keys, filter, expires_at, expires_in, tags, untag } = body.value;
    let action = action.required("action", &mut findings);
    let action = action.and_then(|name| read_action(&name, (expires_at, expires_in), (tags, untag), &mut findings));
    let chosen = choose(&app, &power, keys, filter, &mut findings).await?;
    findings.end()?;
    let chosen = chosen.map(|chosen| within(chosen, reached(&power, action.as_ref())));
    if reached(&power, action.as_ref()).is_nothing() {
        return Err(power.refused());
    }
    let creator = Some(caller.id().to_string());
    let work = app.clone();
    once.run(&app, &body.raw, async move {
        let (Some(action), Some(chosen)) = (action, chosen) else {
            return Err(Problem::field("action", "is required"));
        };
        let job = work.store().start_job(action, chosen, creator).await?;
        Reply::new(StatusCode::ACCEPTED, &JobView::from(job))
    })
    .await
}

/// The keys that the caller may do this to. What is one's own can be ended and tagged, and not be made to do more.
fn reached(power: &Power, action: Option<&BulkAction>) -> Sight {
    match action {
        Some(BulkAction::Enable | BulkAction::Extend { .. }) => power.sight().beyond_own(),
        _ => power.sight(),
    }
}

fn within(chosen: Selection, sight: Sight) -> Selection {
    match chosen {
        Selection::Keys(keys) | Selection::KeysWithin(keys, _) => Selection::KeysWithin(keys, sight),
        Selection::Filter(filter) => Selection::Filter(Box::new(KeyFilter { within: sight, ..*filter })),
    }
}

fn read_action(
    name: &str,
    (expires_at, expires_in): (Field<String>, Field<String>),
    (tags, untag): (Field<BTreeMap<String, String>>, Field<Vec<String>>),
    findings: &mut Findings,
) -> Option<BulkAction> {
    let until = fields::expiry(expires_at, expires_in, findings).flatten();
    let set = fields::tags(tags, findings).unwrap_or_default();
    let remove = untag.given("untag", findings).unwrap_or_default();
    match name {
        "extend" if until.is_none() => {
            findings.add("expires_at", "or expires_in is required to extend keys");
            None
        }
        "tag" if set.is_empty() && remove.is_empty() => {
            findings.add("tags", "or untag is required to tag keys");
            None
        }
        "disable" => Some(BulkAction::Disable),
        "enable" => Some(BulkAction::Enable),
        "extend" => until.map(|expires_at| BulkAction::Extend { expires_at }),
        "tag" => Some(BulkAction::Tag { set, remove: remove.into_iter().collect() }),
        _ => {
            findings.add("action", "is disable, enable, extend or tag");
            None
        }
    }
}

async fn choose(
    app: &App,
    power: &Power,
    keys: Field<Vec<String>>,
    filter: Field<SentFilter>,
    findings: &mut Findings,
) -> Result<Option<Selection>> {
    match (keys.given("keys", findings), filter.given("filter", findings)) {
        (Some(keys), None) => {
            if keys.is_empty() || keys.len() > MOST_NAMED {
                findings.add("keys", format!("has 1 to {MOST_NAMED} ids; use a filter for more"));
            }
            let ids: Option<Vec<KeyId>> = keys.iter().map(|id| KeyId::parse(id)).collect();
            Ok(findings.check("keys", ids.ok_or("has ids of keys (key_...)")).map(Selection::Keys))
        }
        (None, Some(sent)) => {
            Ok(read_filter(app, power, sent, findings).await?.map(|f| Selection::Filter(Box::new(f))))
        }
        (Some(_), Some(_)) => {
            findings.add("filter", "cannot stand beside keys");
            Ok(None)
        }
        (None, None) => {
            findings.add("keys", "or filter is required");
            Ok(None)
        }
    }
}

async fn read_filter(app: &App, power: &Power, sent: SentFilter, findings: &mut Findings) -> Result<Option<KeyFilter>> {
    if sent.0.contains_key("limit") || sent.0.contains_key("after") {
        findings.add("filter", "has no limit and no after: all keys that match are meant");
        return Ok(None);
    }
    let map = sent.0.into_iter().map(|(name, value)| (name, value.into())).collect();
    match serde_json::from_value::<ListParams>(serde_json::Value::Object(map)) {
        Ok(params) => params.read(app, power, findings).await.map(Some),
        Err(_) => {
            findings.add("filter", "has a field that the list of keys does not know");
            Ok(None)
        }
    }
}

body! {
    /// Who shall own a key.
    Transfer as KeyTransfer {
        required {
            /// A member (`mem_...`) or a service account (`svc_...`) of the key's organisation.
            owner_id: String,
        }
        optional {}
    }
}

/// Give a key to another owner. The old one still knows its secret, so the new one is asked to rotate it.
#[utoipa::path(post, path = "/keys/{id}/transfer", operation_id = "transfer_key", tag = "keys",
    request_body = Transfer, params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = KeyView)))]
pub(super) async fn transfer(
    State(app): State<App>,
    power: Power,
    PathParam(id): PathParam,
    IfMatch(expected): IfMatch,
    Body { value: body, .. }: Body<Transfer>,
) -> Result<Response> {
    let id = key_id(&id)?;
    let mut findings = Findings::default();
    let owner = tenancy::owner(body.owner_id, &mut findings).flatten();
    if owner.is_none() {
        findings.add("owner_id", "is required");
    }
    findings.end()?;
    let Some(owner) = owner else { return Err(Problem::field("owner_id", "is required")) };
    let key = app.store().key(id).await?;
    power.require(&Place::of_key(key.scopes, &Placement { owner: Some(owner), ..key.placement() }))?;
    let key = app.store().transfer_key(id, expected, owner).await?;
    let version = key.version;
    Ok(tagged(KeyView::from(key), version))
}
