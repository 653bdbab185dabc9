//! Warnings of limits of money: how much of each window's limit is used up, on every level, told once per share and window,
//! whoever looks first.

use super::reminders::mark;
use super::{Draft, member_mail, owners_mail};
use crate::Store;
use crate::audit::inert_text;
use crate::db::{FromRow, Row, Tx, params};
use crate::error::{Result, StoreError};
use crate::sums::DAY_MS;
use anykey_core::controls::{Bound, Controls, Level};
use anykey_core::notice::{Event, Reminder};
use anykey_core::spend::{SpendLimit, limits_of};
use anykey_core::{BudgetId, KeyId, MemberId, Nanos, OrganisationId, ProjectId, Span, Window};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// A window that ended so long ago is looked at once more: what was spent in its last minutes may not have been seen.
const LATE_MS: i64 = 15 * 60_000;
/// Reminders of windows are numbered beyond those of limits over all time.
const STAGES_OF_A_SPAN: i64 = 1000;
/// No window is longer.
const KEPT_MS: i64 = 40 * DAY_MS;

/// Something above keys that limits money.
struct Above {
    level: Level,
    id: [u8; 16],
    organisation: OrganisationId,
    project: Option<ProjectId>,
    name: String,
    controls: Controls,
    /// Whose time zone it has where it names none.
    outer: Option<Controls>,
}

/// The level, the organisation, the project if it is in one, the name, its policy and that of the organisation.
const ABOVE: [(Level, &str); 4] = [
    (
        Level::Organisation,
        "SELECT o.id, o.id, CASE WHEN 1 = 0 THEN o.id END, o.name, o.controls, CASE WHEN 1 = 0 THEN o.controls END \
         FROM organisation o \
         WHERE o.deleted_at IS NULL AND o.controls LIKE '%\"spend\"%'",
    ),
    (
        Level::Project,
        "SELECT p.id, p.organisation_id, p.id, p.name, p.controls, o.controls FROM project p \
         JOIN organisation o ON o.id = p.organisation_id \
         WHERE p.deleted_at IS NULL AND o.deleted_at IS NULL AND p.controls LIKE '%\"spend\"%'",
    ),
    (
        Level::Member,
        "SELECT m.id, m.organisation_id, CASE WHEN 1 = 0 THEN m.id END, p.name, m.controls, o.controls FROM membership m \
         JOIN organisation o ON o.id = m.organisation_id JOIN person p ON p.id = m.person_id \
         WHERE m.deleted_at IS NULL AND o.deleted_at IS NULL AND m.controls LIKE '%\"spend\"%'",
    ),
    (
        Level::ServiceAccount,
        "SELECT s.id, s.organisation_id, s.project_id, s.name, s.controls, o.controls FROM service_account s \
         JOIN organisation o ON o.id = s.organisation_id \
         WHERE s.deleted_at IS NULL AND o.deleted_at IS NULL AND s.controls LIKE '%\"spend\"%'",
    ),
];

/// Keys with limits of days, weeks or months, or with shares of their own, that were used lately.
const KEYS: &str = "SELECT k.id FROM api_key k WHERE k.deleted_at IS NULL AND NOT k.disabled AND k.kind <> 'temp' \
     AND k.controls LIKE '%\"spend\"%' AND k.active_day >= $1";

impl FromRow for Above {
    fn from_row(row: &mut Row) -> Result<Self> {
        Ok(Above {
            level: Level::Organisation,
            id: row.bytes()?,
            organisation: OrganisationId(row.bytes()?),
            project: row.take::<Option<Vec<u8>>>()?.as_deref().and_then(ProjectId::from_slice),
            name: row.take()?,
            controls: crate::controls::read(row)?.unwrap_or_default(),
            outer: crate::controls::read(row)?,
        })
    }
}

impl Above {
    fn bounds(&self) -> Vec<Bound> {
        let bound = |level, id, controls: &Controls| Bound {
            level,
            id,
            name: self.name.as_str().into(),
            controls: Arc::new(controls.clone()),
        };
        let outer = self.outer.as_ref().map(|outer| bound(Level::Organisation, self.organisation.0, outer));
        outer.into_iter().chain([bound(self.level, self.id, &self.controls)]).collect()
    }
}

/// A share of a limit that is used up.
struct Reached {
    id: BudgetId,
    window: Window,
    percent: u8,
    /// The smaller ones, which are no news after it.
    lower: Vec<u8>,
    spent: Nanos,
    limit: Nanos,
    warn_only: bool,
}

impl Reached {
    fn reminder(&self, percent: u8) -> Reminder {
        let (stage, due) = match self.id.span {
            Span::Total => (0, self.limit.0),
            span => (span as i64 * STAGES_OF_A_SPAN, self.window.start),
        };
        Reminder { event: Event::SpendWarning, stage: stage + i64::from(percent), due }
    }

    fn told(&self, name: String) -> Value {
        json!({
            "level": self.id.subject.level.name(),
            "of": self.id.subject.level.words(),
            "name": name,
            "window": self.id.span.word(),
            "percent": self.percent,
            "used_usd": self.spent.to_string(),
            "limit_usd": self.limit.to_string(),
            "resets_at": self.window.resets_at().map(|at| at.as_millisecond()),
            "warn_only": self.warn_only,
        })
    }
}

impl Store {
    /// Writes every warning that is due and was not written yet; says how many.
    pub(super) async fn warn_of_spending(&self) -> Result<usize> {
        let mut written = 0;
        for (level, sql) in ABOVE {
            for above in self.db.all::<Above>(sql, params![]).await? {
                let above = Above { level, ..above };
                for reached in self.reached(&above.bounds(), (level, above.id)).await? {
                    written += self.warn_above(&above, reached).await?;
                }
            }
        }
        let since = (self.now() - LATE_MS).div_euclid(DAY_MS);
        for (id,) in self.db.all::<(Vec<u8>,)>(KEYS, params![since]).await? {
            let Some(id) = KeyId::from_slice(&id) else { continue };
            let key = match self.key(id).await {
                Ok(key) => key,
                Err(StoreError::NotFound(_)) => continue,
                Err(error) => return Err(error),
            };
            let mut bounds = self.bounds_of(&key).await?.to_vec();
            if let Some(own) = bounds.iter_mut().find(|bound| bound.id == id.0)
                && own.controls.spend.warn_at.is_some()
            {
                // With shares of its own; the usual ones are found by the columns of the key.
                own.controls = Arc::new(key.controls.clone());
            }
            for reached in self.reached(&bounds, (Level::Key, id.0)).await? {
                written += self.warn_of_key(id, reached).await?;
            }
        }
        let old = "DELETE FROM reminder WHERE event = $1 AND stage >= $2 AND at < $3";
        let before = self.now() - KEPT_MS;
        self.db.exec(old, params![Event::SpendWarning.name(), STAGES_OF_A_SPAN, before]).await?;
        Ok(written)
    }

    /// The largest share that is used up of each limit that one level of a chain sets.
    async fn reached(&self, bounds: &[Bound], (level, id): (Level, [u8; 16])) -> Result<Vec<Reached>> {
        let now = self.now();
        let mut found = Vec::new();
        for limit in limits_of(bounds).filter(|limit| limit.bound.level == level && limit.bound.id == id) {
            let window = limit.window(now);
            let since = self.spent_within(limit.id(), window).await?;
            found.extend(share(&limit, window, since, now));
            if window.start > now - LATE_MS {
                let before = limit.window(window.start - 1);
                // Sums have no end: what is in both is of the window that runs.
                let spent = Nanos(self.spent_within(limit.id(), before).await?.0 - since.0);
                found.extend(share(&limit, before, spent, before.end - 1));
            }
        }
        Ok(found)
    }

    async fn warn_above(&self, above: &Above, reached: Reached) -> Result<usize> {
        let name = inert_text(&above.name, &self.brand);
        let data = Map::from_iter([("limit".to_owned(), reached.told(name))]);
        let (level, id, organisation, project) = (above.level, above.id, above.organisation, above.project);
        self.detached(move |store| async move {
            let mut tx = store.db.begin().await?;
            if !store.is_news(&mut tx, &reached).await? {
                return Ok(0);
            }
            let to = store.answerable_above(&mut tx, level, id, organisation, project).await?;
            let draft =
                Draft { event: Event::SpendWarning, organisation: Some(organisation), project, key: None, data, to };
            store.post(&mut tx, draft).await?;
            tx.commit().await?;
            store.wake_outbox();
            Ok(1)
        })
        .await
    }

    async fn warn_of_key(&self, id: KeyId, reached: Reached) -> Result<usize> {
        let row = self.key(id).await?;
        let mut data = self.key_data(&row);
        data.insert("limit".to_owned(), reached.told(inert_text(&row.name, &self.brand)));
        self.detached(move |store| async move {
            let mut tx = store.db.begin().await?;
            if !store.is_news(&mut tx, &reached).await? {
                return Ok(0);
            }
            let to = store.answerable(&mut tx, &super::placement(&row)).await?;
            store.post(&mut tx, Draft::of_key(Event::SpendWarning, &row, data, to)).await?;
            tx.commit().await?;
            store.wake_outbox();
            Ok(1)
        })
        .await
    }

    /// Marks a share as told, and with it the smaller ones.
    async fn is_news(&self, tx: &mut Tx, reached: &Reached) -> Result<bool> {
        let now = self.now();
        let subject = reached.id.subject.id;
        let news = mark(tx, &subject, reached.reminder(reached.percent), now).await?;
        if news {
            for percent in &reached.lower {
                mark(tx, &subject, reached.reminder(*percent), now).await?;
            }
        }
        Ok(news)
    }

    /// The mailboxes of those who answer for something above keys.
    async fn answerable_above(
        &self,
        tx: &mut Tx,
        level: Level,
        id: [u8; 16],
        organisation: OrganisationId,
        project: Option<ProjectId>,
    ) -> Result<Vec<String>> {
        if !self.notice_settings().mail {
            return Ok(Vec::new());
        }
        let own = match (level, project) {
            (Level::Member, _) => member_mail(tx, MemberId(id)).await?,
            (_, Some(project)) => owners_mail(tx, project).await?,
            _ => Vec::new(),
        };
        if own.is_empty() { admins_mail(tx, organisation).await } else { Ok(own) }
    }
}

fn share(limit: &SpendLimit<'_>, window: Window, spent: Nanos, at: i64) -> Option<Reached> {
    let most = limit.limit.saturating_add(limit.extra(at));
    let (percent, lower) = limit.bound.controls.spend.shares_used(spent, most).split_last()?;
    let (lower, warn_only) = (lower.to_vec(), limit.warns_only());
    Some(Reached { id: limit.id(), window, percent: *percent, lower, spent, limit: most, warn_only })
}

async fn admins_mail(tx: &mut Tx, organisation: OrganisationId) -> Result<Vec<String>> {
    let found: Vec<(String,)> = tx
        .all(
            "SELECT p.email FROM membership m JOIN person p ON p.id = m.person_id WHERE m.organisation_id = $1 \
             AND m.role = 'admin' AND m.deleted_at IS NULL AND NOT m.disabled AND p.deleted_at IS NULL \
             AND NOT p.disabled ORDER BY p.email",
            params![&organisation.0],
        )
        .await?;
    Ok(found.into_iter().map(|(email,)| email).collect())
}
