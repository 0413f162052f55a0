//! What the service tells about itself: metrics and its API description.

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use utoipa::OpenApi;

use crate::{error::ApiError, metrics, openapi::ApiDoc, state::AppState};

/// Shows the current metrics.
///
/// # Errors
///
/// Answers 500 when they cannot be written as text.
pub async fn show_metrics(State(state): State<AppState>) -> Result<Response, ApiError> {
    let page = state.metrics.render().map_err(|_| ApiError::internal())?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], page).into_response())
}

/// Describes the API (OpenAPI).
pub async fn show_openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(ApiDoc::openapi())
}
