//! Whether the service can do its work.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    error::{ApiError, ErrorBody, log_store_error},
    state::AppState,
};

/// The answer of a healthy service.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Health {
    /// Always `ok`; an unhealthy service answers with an error instead.
    pub status: &'static str,
}

/// Reports whether the service and its database work.
///
/// # Errors
///
/// Answers 503 when the database cannot be reached.
#[utoipa::path(get, path = "/health", responses(
    (status = 200, body = Health),
    (status = 503, body = ErrorBody, description = "The database is not reachable"),
))]
pub async fn health(State(state): State<AppState>) -> Result<Json<Health>, ApiError> {
    match state.store.ping().await {
        Ok(()) => Ok(Json(Health { status: "ok" })),
        Err(error) => {
            log_store_error(&error);
            Err(ApiError::database_unavailable())
        }
    }
}
