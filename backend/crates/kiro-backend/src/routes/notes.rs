//! Notes: list, create, delete.

use axum::{Json, extract::State, http::StatusCode};
use kiro_domain::{Note, NoteId, NoteText};
use serde::Deserialize;
use tracing::info;
use utoipa::ToSchema;

use crate::{
    error::{ApiError, ErrorBody},
    extract::{ApiJson, ApiPath},
    state::AppState,
};

/// What a client sends to create a note.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewNote {
    /// What the note says: not blank, at most 2000 characters.
    #[schema(min_length = 1, max_length = 2000)]
    pub text: String,
}

/// Lists all notes, oldest first.
///
/// # Errors
///
/// Answers 500 when the database fails.
#[utoipa::path(get, path = "/api/notes", responses((status = 200, body = [Note])))]
pub async fn list_notes(State(state): State<AppState>) -> Result<Json<Vec<Note>>, ApiError> {
    Ok(Json(state.store.list().await?))
}

/// Creates a note.
///
/// # Errors
///
/// Answers 4xx when the body is not a valid note, 500 when the database fails.
#[utoipa::path(post, path = "/api/notes", request_body = NewNote, responses(
    (status = 201, body = Note),
    (status = 400, body = ErrorBody, description = "The body is not JSON"),
    (status = 413, body = ErrorBody, description = "The body is larger than 64 KiB"),
    (status = 415, body = ErrorBody, description = "The content type is not JSON"),
    (status = 422, body = ErrorBody, description = "The body is not a valid note"),
))]
pub async fn create_note(
    State(state): State<AppState>,
    ApiJson(new_note): ApiJson<NewNote>,
) -> Result<(StatusCode, Json<Note>), ApiError> {
    let text = NoteText::parse(new_note.text)?;
    let note = state.store.create(text).await?;
    info!(id = %note.id, "note created");
    Ok((StatusCode::CREATED, Json(note)))
}

/// Deletes a note.
///
/// # Errors
///
/// Answers 404 when there is no such note, 500 when the database fails.
#[utoipa::path(
    delete,
    path = "/api/notes/{id}",
    params(("id" = i64, Path, description = "The id of the note")),
    responses(
        (status = 204, description = "The note is gone"),
        (status = 400, body = ErrorBody, description = "The id is not a number"),
        (status = 404, body = ErrorBody, description = "There is no such note"),
    ),
)]
pub async fn delete_note(
    State(state): State<AppState>,
    ApiPath(id): ApiPath<NoteId>,
) -> Result<StatusCode, ApiError> {
    if !state.store.delete(id).await? {
        return Err(ApiError::not_found(format!("there is no note {id}")));
    }
    info!(%id, "note deleted");
    Ok(StatusCode::NO_CONTENT)
}
