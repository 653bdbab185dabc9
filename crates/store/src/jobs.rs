//! Work on many keys, in the background: settled in one transaction, done batch by batch, each key exactly once.
//!
//! What is done is noted key by key in the transaction that does it. A process that dies leaves a job that says what is
//! still to do, and the next one goes on there; two replicas that run the same job take turns on its row.

use crate::Store;
use crate::audit::{Deed, Facts, Object, ObjectKind, Verb};
use crate::change::Change;
use crate::db::{FromRow, Row, Tx, Value, damaged, params};
use crate::error::{Result, StoreError};
use crate::job_batch::What;
use crate::job_types::{BulkAction, JobFilter, JobRow, Selection, Skipped};
use crate::key_list::{Words, selection};
use crate::key_types::{KeyFilter, Listed, Page};
use crate::sql::{Conditions, dynamic};
use anykey_core::{JobId, KeyId, OrganisationId, Sight};
use std::time::Duration;

/// Keys that are changed in one transaction: few enough that others do not wait long for it.
const BATCH: i64 = 200;
/// How long a job waits before it asks a database again that did not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// Keys that are named in one statement.
const NAMED_AT_ONCE: usize = 500;

const SELECT: &str =
    "SELECT id, action, organisation_id, creator, total, done, skipped, created_at, finished_at FROM job";

impl FromRow for JobRow {
    fn from_row(row: &mut Row) -> Result<Self> {
        Ok(JobRow {
            id: JobId(row.bytes()?),
            action: read_action(&row.take::<String>()?)?,
            organisation: row.take::<Option<Vec<u8>>>()?.as_deref().and_then(OrganisationId::from_slice),
            creator: row.take()?,
            total: row.take()?,
            done: row.take()?,
            skipped: row.take()?,
            created_at: row.take()?,
            finished_at: row.take()?,
        })
    }
}

fn read_action(text: &str) -> Result<BulkAction> {
    serde_json::from_str(text).map_err(|_| damaged("a job's action is not what this program writes"))
}

const INSERT: &str = "INSERT INTO job_item (job_id, key_id) ";
/// After the last that was done, so that those before it are not looked at again.
const NEXT_ITEMS: &str =
    "SELECT key_id FROM job_item WHERE job_id = $1 AND key_id > $2 AND outcome IS NULL ORDER BY key_id LIMIT $3";
/// No key has this id.
const BEFORE_ALL: KeyId = KeyId([0; 16]);

fn settling(id: JobId, filter: &KeyFilter, words: &Words<'_>) -> (String, Vec<Value>) {
    selection(&format!("{INSERT}SELECT $1, k.id"), vec![Value::from(&id.0)], filter, words)
}

impl Store {
    /// Settles which keys are meant and begins the work. The job is there, and is done sooner or later, once this returns.
    pub async fn start_job(&self, action: BulkAction, chosen: Selection, creator: Option<String>) -> Result<JobRow> {
        let now = self.now();
        let id = JobId::random(now)?;
        let job = self
            .detached(move |store| async move {
                let mut tx = store.db.begin().await?;
                let text = serde_json::to_string(&action).unwrap_or_default();
                tx.exec(
                    "INSERT INTO job (id, action, creator, state, total, done, skipped, created_at) \
                     VALUES ($1, $2, $3, 'running', 0, 0, 0, $4)",
                    params![&id.0, &text, &creator, now],
                )
                .await?;
                let total = store.settle(&mut tx, id, &chosen).await?;
                let organisation = organisation_of(&mut tx, id).await?;
                tx.exec(
                    "UPDATE job SET total = $2, organisation_id = $3 WHERE id = $1",
                    params![&id.0, total, organisation.map(|id| id.0)],
                )
                .await?;
                let object = Object::new(ObjectKind::Job, id, action.name()).within(organisation);
                let facts = Facts::default().with("action", text).with("selection", told(&chosen)).with("keys", total);
                store.record(&mut tx, Deed::done(Verb::KeyBulk, object, facts)).await?;
                let job = read(&mut tx, id).await?;
                tx.commit().await?;
                Ok(job)
            })
            .await?;
        self.run_job(id);
        Ok(job)
    }

    /// How the database would settle which keys of a filter are meant, and find those that are still to do. For tests.
    #[doc(hidden)]
    pub async fn explain_job(&self, filter: &KeyFilter) -> Result<[String; 2]> {
        let id = JobId::random(self.now())?;
        let (settle, values) = settling(id, filter, &self.words());
        Ok([
            self.db.explain(&settle, values).await?,
            self.db.explain(NEXT_ITEMS, params![&id.0, &BEFORE_ALL.0, BATCH]).await?,
        ])
    }

    pub async fn job(&self, id: JobId) -> Result<JobRow> {
        self.db
            .one(dynamic(format!("{SELECT} WHERE id = $1")), params![&id.0])
            .await?
            .ok_or(StoreError::NotFound("job"))
    }

    /// Newest first.
    pub async fn jobs(&self, filter: &JobFilter, page: Page<JobId>) -> Result<Listed<JobRow, JobId>> {
        let mut sql = Conditions::new(&format!("{SELECT} WHERE TRUE"));
        if let Sight::Within(reached) = &filter.within {
            let asker = sql.bind(Value::from(&filter.asker));
            let reached = sql.one_of("organisation_id", reached.organisations.iter().map(|id| Value::from(&id.0)));
            sql.and_any(&[format!("creator = {asker}"), reached]);
        }
        self.page_of(sql, "id", page, |id| id.0, |row: &JobRow| row.id).await
    }

    /// The first keys that a job left as they are, by id.
    pub async fn job_skipped(&self, id: JobId, limit: u32) -> Result<Vec<Skipped>> {
        let rows: Vec<(Vec<u8>, String)> = self
            .db
            .all(
                "SELECT key_id, outcome FROM job_item WHERE job_id = $1 AND outcome <> '' ORDER BY key_id LIMIT $2",
                params![&id.0, i64::from(limit)],
            )
            .await?;
        Ok(rows.into_iter().filter_map(|(key, why)| Some(Skipped { key: KeyId::from_slice(&key)?, why })).collect())
    }

    /// Goes on with what an earlier process left.
    pub(crate) async fn resume_jobs(&self) -> Result<()> {
        let running: Vec<(Vec<u8>,)> = self.db.all("SELECT id FROM job WHERE state = 'running'", params![]).await?;
        for id in running.iter().filter_map(|(id,)| JobId::from_slice(id)) {
            self.run_job(id);
        }
        Ok(())
    }

    /// Notes the keys that are meant; says how many.
    async fn settle(&self, tx: &mut Tx, id: JobId, chosen: &Selection) -> Result<i64> {
        let added = match chosen {
            Selection::Filter(filter) => {
                let (sql, values) = settling(id, filter, &self.words());
                tx.exec(dynamic(sql), values).await?
            }
            Selection::Keys(keys) => self.settle_named(tx, id, keys, &Sight::Everything).await?,
            Selection::KeysWithin(keys, sight) => self.settle_named(tx, id, keys, sight).await?,
        };
        Ok(i64::try_from(added).unwrap_or(i64::MAX))
    }

    async fn settle_named(&self, tx: &mut Tx, id: JobId, keys: &[KeyId], sight: &Sight) -> Result<u64> {
        let mut added = 0;
        for keys in keys.chunks(NAMED_AT_ONCE) {
            let select = format!("{INSERT}SELECT $1, k.id FROM api_key k WHERE TRUE");
            let mut sql = Conditions::with(&select, vec![Value::from(&id.0)]);
            sql.within_keys(sight, "k");
            sql.and_in("k.id", keys.iter().map(|key| Value::from(&key.0)));
            let (sql, values) = sql.finish(" ON CONFLICT (job_id, key_id) DO NOTHING");
            added += tx.exec(dynamic(sql), values).await?;
        }
        Ok(added)
    }

    fn run_job(&self, id: JobId) {
        let (store, stop) = (self.me.clone(), self.stop.clone());
        self.track(tokio::spawn(async move {
            let mut last = BEFORE_ALL;
            while !stop.is_cancelled() {
                let Some(store) = store.upgrade() else { return };
                match store.job_batch(id, last).await {
                    Ok(Some(key)) => last = key,
                    Ok(None) => return,
                    Err(StoreError::Contended) => tokio::task::yield_now().await,
                    Err(error) => {
                        tracing::warn!(%error, job = %id, "a job waits for the database");
                        drop(store);
                        tokio::select! {
                            () = stop.cancelled() => return,
                            () = tokio::time::sleep(PAUSE) => {}
                        }
                    }
                }
            }
        }));
    }

    /// Does the next keys of a job, in the order of their ids; says which was the last, or that there was none. Whoever did
    /// those before it, this process or another, did them in the same order, so none of them waits.
    async fn job_batch(&self, id: JobId, last: KeyId) -> Result<Option<KeyId>> {
        self.detached(move |store| async move {
            let now = store.now();
            let mut tx = store.db.begin().await?;
            // Held until the commit, so that another replica that runs this job waits and then sees what is done.
            const LOCK: &str =
                "UPDATE job SET done = done WHERE id = $1 AND state = 'running' RETURNING action, creator";
            let locked = tx.one::<(String, Option<String>)>(LOCK, params![&id.0]).await?;
            let Some((action, creator)) = locked else { return Ok(None) };
            let what = What { action: read_action(&action)?, creator };
            let items: Vec<(Vec<u8>,)> = tx.all(NEXT_ITEMS, params![&id.0, &last.0, BATCH]).await?;
            let keys: Vec<KeyId> = items.iter().filter_map(|(key,)| KeyId::from_slice(key)).collect();
            let reached = keys.last().copied();
            if reached.is_none() {
                const FINISH: &str = "UPDATE job SET state = 'done', finished_at = $2 WHERE id = $1";
                tx.exec(FINISH, params![&id.0, now]).await?;
                let job = read(&mut tx, id).await?;
                tx.commit().await?;
                job_done(&job);
                return Ok(None);
            }
            let states = store.do_batch(&mut tx, id, &what, &keys).await?;
            let changes: Vec<Change> = states.iter().map(|state| Change::Key(state.key.info.id)).collect();
            store.announce_all(&mut tx, &changes).await?;
            tx.commit().await?;
            for state in &states {
                store.cache.changed(state, now);
            }
            store.wake_outbox();
            Ok(reached)
        })
        .await
    }
}

/// The organisation that all keys of a job are in, if that is one.
async fn organisation_of(tx: &mut Tx, id: JobId) -> Result<Option<OrganisationId>> {
    let found: Vec<(Vec<u8>,)> = tx
        .all(
            "SELECT DISTINCT k.organisation_id FROM job_item i JOIN api_key k ON k.id = i.key_id WHERE i.job_id = $1 \
             LIMIT 2",
            params![&id.0],
        )
        .await?;
    Ok(match found.as_slice() {
        [(one,)] => OrganisationId::from_slice(one),
        _ => None,
    })
}

async fn read(tx: &mut Tx, id: JobId) -> Result<JobRow> {
    tx.one(dynamic(format!("{SELECT} WHERE id = $1")), params![&id.0]).await?.ok_or(StoreError::NotFound("job"))
}

/// The end of every job: what is to be told of it is told here.
fn job_done(job: &JobRow) {
    tracing::info!(job = %job.id, action = job.action.name(), done = job.done, skipped = job.skipped, "a job is done");
}

/// A selection as the audit log tells of it.
fn told(chosen: &Selection) -> serde_json::Value {
    /// More ids say no more to a reader.
    const NAMED: usize = 100;
    match chosen {
        Selection::Keys(keys) | Selection::KeysWithin(keys, _) => {
            keys.iter().take(NAMED).map(KeyId::to_string).collect::<Vec<_>>().into()
        }
        Selection::Filter(filter) => {
            let mut facts = serde_json::Map::new();
            let mut add = |name: &str, value: Option<String>| {
                if let Some(value) = value {
                    facts.insert(name.to_owned(), value.into());
                }
            };
            add("q", filter.q.clone());
            add("name", filter.name.clone());
            add("status", filter.status.map(|status| status.name().to_owned()));
            add("kind", filter.kind.map(|kind| kind.name().to_owned()));
            add("organisation", filter.organisation.map(|id| id.to_string()));
            add("project", filter.project.map(|id| id.to_string()));
            add("owner", filter.owner.clone());
            add("owner_id", filter.owner_id.map(|id| id.to_string()));
            add("environment", filter.environment.clone());
            add("parent", filter.parent.map(|id| id.to_string()));
            add("tag", filter.tag.clone());
            add("unused_since", filter.unused_since.map(|at| at.to_string()));
            add("expiring_before", filter.expiring_before.map(|at| at.to_string()));
            add("review_before", filter.review_before.map(|at| at.to_string()));
            add("rotation_before", filter.rotation_before.map(|at| at.to_string()));
            facts.into()
        }
    }
}
