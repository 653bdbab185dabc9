//! What an organisation, a project, a member or a service account has spent by itself: in each window of its calendar, with
//! what is set aside for calls that run, and what is left of its limits.

use crate::App;
use crate::input::PathParam;
use crate::power::Power;
use crate::problem::{Problem, Result};
use crate::routes::{organisations, projects};
use crate::routing::{Routes, routes};
use crate::wire::{now_ms, time};
use anykey_core::controls::Controls;
use anykey_core::tenancy::LevelId;
use anykey_core::{BudgetId, MemberId, Nanos, OrganisationId, ServiceAccountId, Span};
use axum::Json;
use axum::extract::State;
use jiff::tz::TimeZone;
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(of_organisation))
        .routes(routes!(of_project))
        .routes(routes!(of_member))
        .routes(routes!(of_service_account))
}

/// What somebody has spent, and what they still may.
#[derive(Serialize, ToSchema)]
#[schema(as = Spend)]
struct SpendView {
    /// `organisation`, `project`, `member` or `service_account`.
    level: &'static str,
    id: String,
    name: String,
    /// By whose calendar its days, weeks and months begin.
    time_zone: String,
    /// `total`, `month`, `week` and `day`, whether or not they are limited.
    windows: Vec<WindowView>,
}

/// One window of time. Dollars are decimal text.
#[derive(Serialize, ToSchema)]
#[schema(as = SpendWindow)]
struct WindowView {
    /// `total`, `month`, `week` or `day`.
    window: &'static str,
    /// By all keys below it, of calls that began in the window.
    spent_usd: String,
    /// Set aside for calls that run on this replica; only what is limited has anything set aside.
    held_usd: String,
    /// With what was granted beyond it for a while; null where nothing is limited.
    #[schema(required)]
    limit_usd: Option<String>,
    /// Of the limit: neither spent nor set aside.
    #[schema(required)]
    left_usd: Option<String>,
    /// The limit warns and refuses nothing.
    warn_only: bool,
    /// The largest share of the limit, in percent, that is used up and worth a warning.
    #[schema(required)]
    warning: Option<u8>,
    /// Null of all time.
    #[schema(required)]
    starts_at: Option<String>,
    /// Null of all time.
    #[schema(required)]
    resets_at: Option<String>,
}

/// Whose spend it is, with the policy of the organisation around it.
struct Whose<'a> {
    id: LevelId,
    name: String,
    own: &'a Controls,
    outer: Option<&'a Controls>,
}

async fn show(app: &App, whose: Whose<'_>) -> Result<Json<SpendView>> {
    let Whose { id, name, own, outer } = whose;
    let zone = |controls: &Controls| controls.spend.time_zone.clone();
    let zone = zone(own).or_else(|| outer.and_then(zone)).unwrap_or(TimeZone::UTC);
    // What callers saw end is counted.
    app.settle().await?;
    let mut windows = Vec::with_capacity(Span::ALL.len());
    for span in [Span::Total, Span::Month, Span::Week, Span::Day] {
        windows.push(window(app, BudgetId { subject: id.into(), span }, own, &zone).await?);
    }
    let time_zone = zone.iana_name().unwrap_or("UTC").to_owned();
    Ok(Json(SpendView { level: id.level().name(), id: id.to_string(), name, time_zone, windows }))
}

async fn window(app: &App, id: BudgetId, own: &Controls, zone: &TimeZone) -> Result<WindowView> {
    let (span, now) = (id.span, now_ms());
    let window = span.window(now, zone);
    let spent = app.store().spent_within(id, window).await?;
    let limit = own.spend.get(span).map(|limit| limit.saturating_add(own.spend.extra(span, now)));
    let held = if own.spend.enforced(span).is_some() { app.deps.books.held(id, now) } else { Nanos::ZERO };
    let left = |limit: Nanos| Nanos(limit.0.saturating_sub(spent.0).saturating_sub(held.0).max(0)).to_string();
    let bounded = span != Span::Total;
    Ok(WindowView {
        window: span.field(),
        spent_usd: spent.to_string(),
        held_usd: held.to_string(),
        limit_usd: limit.map(|limit| limit.to_string()),
        left_usd: limit.map(left),
        warn_only: own.spend.warn_only.contains(span),
        warning: limit.and_then(|limit| own.spend.warning(spent, limit)),
        starts_at: bounded.then(|| time(window.start)),
        resets_at: bounded.then(|| time(window.end)),
    })
}

async fn policy(app: &App, organisation: OrganisationId) -> Result<Controls> {
    Ok(app.store().organisation(organisation).await?.controls)
}

/// What an organisation has spent in each window, and what is left.
#[utoipa::path(get, path = "/organisations/{id}/spend", operation_id = "organisation_spend", tag = "organisations",
    params(("id" = String, Path)), responses((status = 200, body = SpendView)))]
async fn of_organisation(State(app): State<App>, PathParam(id): PathParam) -> Result<Json<SpendView>> {
    let row = app.store().organisation(organisations::id_of(&app, &id).await?).await?;
    let id = LevelId::Organisation(row.id);
    show(&app, Whose { id, name: row.name, own: &row.controls, outer: None }).await
}

/// What a project has spent in each window, and what is left.
#[utoipa::path(get, path = "/projects/{id}/spend", operation_id = "project_spend", tag = "projects",
    params(("id" = String, Path)), responses((status = 200, body = SpendView)))]
async fn of_project(State(app): State<App>, power: Power, PathParam(id): PathParam) -> Result<Json<SpendView>> {
    let row = app.store().project(projects::id_of(&app, &power, &id).await?).await?;
    let (id, outer) = (LevelId::Project(row.id), policy(&app, row.organisation).await?);
    show(&app, Whose { id, name: row.name, own: &row.controls, outer: Some(&outer) }).await
}

/// What the keys of a member have spent in each window, and what is left.
#[utoipa::path(get, path = "/members/{id}/spend", operation_id = "member_spend", tag = "members",
    params(("id" = String, Path)), responses((status = 200, body = SpendView)))]
async fn of_member(State(app): State<App>, PathParam(id): PathParam) -> Result<Json<SpendView>> {
    let id = MemberId::parse(&id).ok_or_else(|| Problem::not_found("member"))?;
    let row = app.store().member(id).await?;
    let outer = policy(&app, row.organisation).await?;
    show(&app, Whose { id: LevelId::Member(id), name: row.name, own: &row.controls, outer: Some(&outer) }).await
}

/// What the keys of a service account have spent in each window, and what is left.
#[utoipa::path(get, path = "/service-accounts/{id}/spend", operation_id = "service_account_spend",
    tag = "service-accounts", params(("id" = String, Path)), responses((status = 200, body = SpendView)))]
async fn of_service_account(State(app): State<App>, PathParam(id): PathParam) -> Result<Json<SpendView>> {
    let id = ServiceAccountId::parse(&id).ok_or_else(|| Problem::not_found("service account"))?;
    let row = app.store().service_account(id).await?;
    let outer = policy(&app, row.organisation).await?;
    show(&app, Whose { id: LevelId::ServiceAccount(id), name: row.name, own: &row.controls, outer: Some(&outer) }).await
}
