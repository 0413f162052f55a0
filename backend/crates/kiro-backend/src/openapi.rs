//! The description of the API.

use utoipa::OpenApi;

use crate::routes::{greeting, health, notes};

/// Collects what the handlers say about themselves.
#[derive(Debug, Clone, Copy, OpenApi)]
#[openapi(paths(
    health::health,
    greeting::show_greeting,
    notes::list_notes,
    notes::create_note,
    notes::delete_note,
))]
pub struct ApiDoc;
