//! `/prices`: the price catalogue in force, and taking a newer one.

mod update;
mod view;

use crate::App;
use crate::problem::{Problem, Result};
use crate::routing::{Routes, routes};
use crate::wire::now_ms;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use view::{CatalogueView, ModelPrices};

/// The most that an update may weigh; the list itself is bounded by the catalogue.
const MAX_BODY: usize = anykey_core::catalogue::MAX_FILE + 1024;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(update::update)).body_limit(MAX_BODY).routes(routes!(show)).routes(routes!(show_model))
}

/// Show which price catalogue is in force.
#[utoipa::path(get, path = "/prices", operation_id = "show_prices", tag = "prices", responses((status = 200, body = CatalogueView)))]
async fn show(State(app): State<App>) -> Json<CatalogueView> {
    Json(CatalogueView::new(&app.deps.catalogue.load()))
}

/// Show a model's prices: the one in force, and those before and to come.
#[utoipa::path(get, path = "/prices/models/{kind}/{*model}", operation_id = "show_model_prices", tag = "prices",
    params(("kind" = String, Path, description = "A kind of provider"),
        ("model" = String, Path, description = "The model's name there, which may hold slashes")),
    responses((status = 200, body = ModelPrices)))]
async fn show_model(
    State(app): State<App>,
    path: std::result::Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<ModelPrices>> {
    let Path((kind, model)) = path.map_err(|_| Problem::not_found("model"))?;
    let catalogue = app.deps.catalogue.load();
    let entry = catalogue.find(&kind, &model).ok_or_else(|| Problem::not_found("model in the price catalogue"))?;
    Ok(Json(ModelPrices::new(&kind, entry, now_ms())))
}
