//! Making keys, and taking over those of other systems.

use super::view::{KeyView, Shown, SpendLimit};
use super::{bounds, fields};
use crate::App;
use crate::caller::Caller;
use crate::idempotency::{Once, Reply};
use crate::input::{Body, Field, Findings, body};
use crate::power::Power;
use crate::problem::Result;
use crate::tenancy::{self, ControlsBody};
use anykey_core::token::Digest;
use anykey_core::{KeyKind, OwnerId, Permission, Place, Placement};
use anykey_store::NewKey;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use std::collections::BTreeMap;

body! {
    /// A key to be made.
    Create as NewKey {
        required {
            name: String,
        }
        optional {
            description: String,
            /// `live` (by default), `test` or `admin`.
            kind: String,
            tags: BTreeMap<String, String>,
            /// Who uses it, in words.
            owner: String,
            /// Who answers for it: a member (`mem_...`) or a service account (`svc_...`).
            owner_id: String,
            /// An id, a slug, or `organisation/slug`; the default project where nothing is said.
            project: String,
            /// The key's own policy. Its `spend` is the same as `spend_limits`.
            controls: ControlsBody,
            environment: String,
            /// By default all but those of admin keys. Of an admin key one of `admin:*` (by default; the installation),
            /// `admin:organisation` and `admin:project`: what it manages of where it is.
            scopes: Vec<String>,
            /// Whether a web page may use the key.
            browser_allowed: bool,
            spend_limits: Vec<SpendLimit>,
            /// A time to come, or a date.
            expires_at: String,
            /// A duration such as `90d`, instead of `expires_at`.
            expires_in: String,
            /// Where the secret will be stored.
            note: String,
            rotation_interval_days: i64,
            review_at: String,
        }
    }
}

body! {
    /// A key of another system, by its hash.
    Import as ImportKey {
        required {
            name: String,
            /// The plain SHA-256 of the whole key, as 64 hexadecimal digits.
            sha256: String,
        }
        optional {
            description: String,
            /// `live` (by default) or `test`.
            kind: String,
            tags: BTreeMap<String, String>,
            /// Who uses it, in words.
            owner: String,
            /// Who answers for it: a member (`mem_...`) or a service account (`svc_...`).
            owner_id: String,
            /// An id, a slug, or `organisation/slug`; the default project where nothing is said.
            project: String,
            /// The key's own policy.
            controls: ControlsBody,
            environment: String,
            scopes: Vec<String>,
            browser_allowed: bool,
            spend_limits: Vec<SpendLimit>,
            expires_at: String,
            expires_in: String,
            note: String,
            rotation_interval_days: i64,
            review_at: String,
        }
    }
}

impl Import {
    /// The hash, and what there is to say of any key.
    fn split(self) -> (Field<String>, Create) {
        let Import {
            name,
            sha256,
            description,
            kind,
            tags,
            owner,
            owner_id,
            project,
            controls,
            environment,
            scopes,
            browser_allowed,
            spend_limits,
            expires_at,
            expires_in,
            note,
            rotation_interval_days,
            review_at,
        } = self;
        let rest = Create {
            name,
            description,
            kind,
            tags,
            owner,
            owner_id,
            project,
            controls,
            environment,
            scopes,
            browser_allowed,
            spend_limits,
            expires_at,
            expires_in,
            note,
            rotation_interval_days,
            review_at,
        };
        (sha256, rest)
    }
}

impl Create {
    /// Reads the body, and holds it to the rules of the organisation that the key shall be in.
    async fn read(
        self,
        app: &App,
        (caller, power): (&Caller, &Power),
        kinds: &[KeyKind],
        findings: &mut Findings,
    ) -> Result<NewKey> {
        let name = self.name.required("name", findings);
        let kind = self.kind.given("kind", findings).and_then(|text| {
            let known = KeyKind::from_name(&text).filter(|kind| kinds.contains(kind));
            let names = kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
            findings.check("kind", known.ok_or_else(|| format!("is one of {names}")))
        });
        let kind = kind.unwrap_or(KeyKind::Live);
        let mut new = NewKey::new(kind, fields::name(name, findings).unwrap_or_default());
        new.creator = Some(caller.id());
        new.description = fields::long(self.description, "description", findings).unwrap_or_default();
        new.tags = fields::tags(self.tags, findings).unwrap_or_default();
        new.owner = fields::label(self.owner, "owner", findings).flatten();
        new.placement.owner = tenancy::owner(self.owner_id, findings).flatten();
        let project = fields::label(self.project, "project", findings).flatten();
        let policy = fields::policy(self.controls, self.spend_limits, true, findings);
        new.controls = policy.controls.unwrap_or_default();
        if let Some(amounts) = policy.amounts {
            new.controls.spend.set_amounts(amounts);
            new.spend_limit = new.controls.spend.total;
        }
        new.environment = fields::label(self.environment, "environment", findings).flatten();
        let scopes = fields::scopes(self.scopes, kind, findings);
        new.scopes = scopes.unwrap_or(new.scopes);
        new.browser_allowed = self.browser_allowed.given("browser_allowed", findings).unwrap_or_default();
        new.expires_at = fields::expiry(self.expires_at, self.expires_in, findings).flatten();
        new.note = fields::long(self.note, "note", findings).unwrap_or_default();
        new.rotation_interval_ms = fields::rotation(self.rotation_interval_days, findings).flatten();
        new.review_at = fields::review(self.review_at, findings).flatten();
        if !place(app, power, project, &mut new.placement, findings).await? {
            return Ok(new);
        }
        if new.placement.owner.is_none() && power.is_own_only(&new.place()) {
            // Who may only have keys of their own has made this one for themselves.
            new.placement.owner = power.grant().member_in(new.placement.organisation).map(OwnerId::Member);
        }
        let rules = app.store().key_rules(new.placement.project).await?;
        tenancy::hold_new(&rules, &new, findings);
        bounds::hold_bounds(app, power, &new.placement, scopes, Some(&new.controls), findings).await?;
        Ok(new)
    }
}

/// Where a key shall be; `false` where that is a finding.
pub(in crate::routes) async fn place(
    app: &App,
    power: &Power,
    project: Option<String>,
    placement: &mut Placement,
    findings: &mut Findings,
) -> Result<bool> {
    let Some(text) = project else {
        let here =
            power.sees(Permission::ProjectsRead).covers(&Place::project(placement.organisation, placement.project));
        if !here {
            findings.add("project", "is required: it says which of your projects the key is in");
        }
        return Ok(here);
    };
    let Some(project) = tenancy::project(app, power, "project", &text, findings).await? else { return Ok(false) };
    placement.project = project.id;
    placement.organisation = project.organisation;
    Ok(true)
}

/// Make a key. Its secret is in this answer and nowhere else.
#[utoipa::path(post, path = "/keys", operation_id = "create_key", tag = "keys", request_body = Create,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, body = Shown)))]
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    power: Power,
    once: Once,
    body: Body<Create>,
) -> Result<Response> {
    let mut findings = Findings::default();
    let kinds = [KeyKind::Live, KeyKind::Test, KeyKind::Admin];
    let new = body.value.read(&app, (&caller, &power), &kinds, &mut findings).await?;
    findings.end()?;
    power.require(&new.place())?;
    let work = app.clone();
    once.run(&app, &body.raw, async move {
        let (key, token) = work.store().create_key(new).await?;
        Reply::new(StatusCode::CREATED, &Shown::new(key, token))
    })
    .await
}

/// Take over a key of another system. It goes on working; its text is never sent here.
#[utoipa::path(post, path = "/keys/import", operation_id = "import_key", tag = "keys", request_body = Import,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, body = KeyView)))]
pub(super) async fn import(
    State(app): State<App>,
    caller: Caller,
    power: Power,
    once: Once,
    body: Body<Import>,
) -> Result<Response> {
    let mut findings = Findings::default();
    let (hash, rest) = body.value.split();
    let hash = hash.required("sha256", &mut findings);
    let digest = hash.and_then(|text| findings.check("sha256", digest(&text).ok_or("is 64 hexadecimal digits")));
    // An admin key of another system could not be told from noise without asking the database.
    let new = rest.read(&app, (&caller, &power), &[KeyKind::Live, KeyKind::Test], &mut findings).await?;
    findings.end()?;
    power.require(&new.place())?;
    let work = app.clone();
    once.run(&app, &body.raw, async move {
        let Some(digest) = digest else { return Err(crate::problem::Problem::field("sha256", "is required")) };
        let key = work.store().import_key(digest, new).await?;
        Reply::new(StatusCode::CREATED, &KeyView::from(key))
    })
    .await
}

fn digest(hex: &str) -> Option<Digest> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let digit = |b: u8| char::from(b).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(Digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_64_digits() {
        assert_eq!(digest(&"0aF".repeat(22)[..64]).map(|d| d.0[..3].to_vec()), Some(vec![0x0a, 0xf0, 0xaf]));
        for text in ["", "00", &"g".repeat(64), &"0".repeat(63), &"é".repeat(32), &"0".repeat(65)] {
            assert_eq!(digest(text), None, "{text}");
        }
    }
}
