//! The greeting.

use axum::{Json, extract::State};
use kiro_domain::{Greeting, greeting};
use tracing::debug;

use crate::state::AppState;

/// Greets a visitor.
#[utoipa::path(get, path = "/api/greeting", responses((status = 200, body = Greeting)))]
pub async fn show_greeting(State(state): State<AppState>) -> Json<Greeting> {
    let greeting = greeting(state.count_visit());
    debug!(visits = greeting.visits, "greeted a visitor");
    Json(greeting)
}
