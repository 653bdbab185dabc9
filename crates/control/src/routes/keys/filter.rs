//! Which keys are meant.

use super::ListParams;
use crate::App;
use crate::input::Findings;
use crate::power::Power;
use crate::problem::Result;
use crate::tenancy;
use crate::wire::{now_ms, read_duration, read_time};
use anykey_core::{KeyId, KeyKind, OwnerId};
use anykey_store::{KeyFilter, KeyStatus};

impl ListParams {
    /// Reads the filter, of what the caller reaches. Organisations and projects that are not there are findings.
    pub(crate) async fn read(self, app: &App, power: &Power, findings: &mut Findings) -> Result<KeyFilter> {
        let owner_id = self.owner.as_deref().and_then(OwnerId::parse);
        let mut filter = KeyFilter {
            within: power.sight(),
            q: self.q,
            name: self.name,
            owner: self.owner.filter(|_| owner_id.is_none()),
            owner_id,
            environment: self.environment,
            tag: self.tag,
            ..KeyFilter::default()
        };
        filter.status = self.status.and_then(|text| {
            let known = KeyStatus::from_name(&text).ok_or("is active, disabled, expired, rotating or revoked");
            findings.check("status", known)
        });
        filter.kind = self.kind.and_then(|text| {
            findings.check("kind", KeyKind::from_name(&text).ok_or("is live, test, plan, custom, temp or admin"))
        });
        filter.parent =
            self.parent.and_then(|text| findings.check("parent", KeyId::parse(&text).ok_or("is the id of a key")));
        filter.unused_since = moment("unused", self.unused, -1, findings);
        filter.expiring_before = moment("expiring", self.expiring, 1, findings);
        filter.review_before = moment("review", self.review, 1, findings);
        filter.rotation_before = moment("rotation", self.rotation, 1, findings);
        let sorting = [filter.unused_since, filter.expiring_before, filter.review_before, filter.rotation_before];
        if sorting.iter().flatten().count() > 1 {
            findings.add(
                "expiring",
                "cannot stand beside unused, review or rotation, nor these beside each other: each sorts the list",
            );
        }
        if let Some(text) = &self.organisation {
            filter.organisation =
                tenancy::organisation(app, power, "organisation", text, findings).await?.map(|row| row.id);
        }
        if let Some(text) = &self.project {
            filter.project = tenancy::project(app, power, "project", text, findings).await?.map(|row| row.id);
        }
        Ok(filter)
    }
}

/// A time, or a span before or after now.
fn moment(name: &'static str, text: Option<String>, sign: i64, findings: &mut Findings) -> Option<i64> {
    let text = text?;
    let read = match read_duration(&text) {
        Ok(span) => Ok(now_ms().saturating_add(sign * span)),
        Err(_) => read_time(&text).map_err(|_| "is a duration such as 30d, a time, or a date"),
    };
    findings.check(name, read)
}
