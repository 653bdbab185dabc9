//! `/jobs`: how far work on many keys is.

use crate::App;
use crate::caller::Caller;
use crate::input::{Findings, Params, PathParam};
use crate::page::{self, List};
use crate::power::Power;
use crate::problem::{Problem, Result};
use crate::routing::{Routes, routes};
use crate::wire::time;
use anykey_core::JobId;
use anykey_store::{JobFilter, JobRow, Skipped};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Keys that are named with the reason for which they were left alone.
const NAMED: u32 = 200;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list)).routes(routes!(show))
}

/// Work on many keys.
#[derive(Serialize, ToSchema)]
#[schema(as = Job)]
pub(super) struct JobView {
    id: String,
    /// `disable`, `enable`, `extend` or `tag`.
    action: &'static str,
    /// `running` or `done`.
    status: &'static str,
    /// Keys that were meant when the work was asked for.
    total: i64,
    /// Keys that were changed so far.
    done: i64,
    /// Keys that were left as they are so far.
    skipped: i64,
    /// The key or person that asked for it.
    #[schema(required)]
    creator: Option<String>,
    created_at: String,
    #[schema(required)]
    finished_at: Option<String>,
}

impl From<JobRow> for JobView {
    fn from(job: JobRow) -> Self {
        JobView {
            id: job.id.to_string(),
            action: job.action.name(),
            status: if job.finished_at.is_some() { "done" } else { "running" },
            total: job.total,
            done: job.done,
            skipped: job.skipped,
            creator: job.creator,
            created_at: time(job.created_at),
            finished_at: job.finished_at.map(time),
        }
    }
}

/// A key that was left as it is.
#[derive(Serialize, ToSchema)]
#[schema(as = SkippedKey)]
struct SkippedView {
    key_id: String,
    reason: String,
}

impl From<Skipped> for SkippedView {
    fn from(skipped: Skipped) -> Self {
        SkippedView { key_id: skipped.key.to_string(), reason: skipped.why }
    }
}

/// A job and the first keys that it left alone.
#[derive(Serialize, ToSchema)]
#[schema(as = JobReport)]
struct JobReport {
    #[serde(flatten)]
    job: JobView,
    /// At most 200.
    skipped_keys: Vec<SkippedView>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// 1 to 200; 50 by default.
    limit: Option<String>,
    /// `next` of the part before.
    after: Option<String>,
}

/// List jobs, the newest first.
#[utoipa::path(get, path = "/jobs", operation_id = "list_jobs", tag = "jobs", params(ListParams),
    responses((status = 200, body = List<JobView>)))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    power: Power,
    Params(params): Params<ListParams>,
) -> Result<Json<List<JobView>>> {
    let mut findings = Findings::default();
    let page = page::read(params.limit.as_deref(), params.after.as_deref(), JobId::parse, &mut findings);
    findings.end()?;
    let filter = JobFilter { within: power.sight(), asker: Some(caller.id()) };
    Ok(page::show(app.store().jobs(&filter, page).await?, JobView::from))
}

/// Show how far a job is, and which keys it left alone.
#[utoipa::path(get, path = "/jobs/{id}", operation_id = "show_job", tag = "jobs", params(("id" = String, Path)),
    responses((status = 200, body = JobReport)))]
async fn show(State(app): State<App>, PathParam(id): PathParam) -> Result<Json<JobReport>> {
    let id = JobId::parse(&id).ok_or_else(|| Problem::not_found("job"))?;
    let job = app.store().job(id).await?;
    let skipped = app.store().job_skipped(id, NAMED).await?;
    Ok(Json(JobReport { job: job.into(), skipped_keys: skipped.into_iter().map(SkippedView::from).collect() }))
}
