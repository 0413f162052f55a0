//! Creating, listing and deleting notes.

use anyhow::{Context, Result};
use futures::future::try_join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Service, expect_error};

#[tokio::test]
async fn a_new_service_has_no_notes() -> Result<()> {
    let service = Service::start().await?;
    assert_eq!(service.get_json("/api/notes").await?, json!([]));
    Ok(())
}

#[tokio::test]
async fn notes_are_listed_oldest_first() -> Result<()> {
    let service = Service::start().await?;
    let first = service.create_note("  first, with spaces ").await?;
    let second = service.create_note("second 🫖").await?;

    assert_eq!(first["text"], "  first, with spaces ");
    assert_eq!(
        service.get_json("/api/notes").await?,
        json!([first, second])
    );
    Ok(())
}

#[tokio::test]
async fn a_note_has_exactly_an_id_a_text_and_a_time() -> Result<()> {
    let service = Service::start().await?;
    let note = service.create_note("tea").await?;
    let fields: Vec<_> = note.as_object().context("an object")?.keys().collect();
    assert_eq!(fields, ["created_at", "id", "text"]);
    assert!(note["id"].is_i64());

    let time = note["created_at"].as_str().context("a text")?;
    assert!(time.ends_with('Z') && time.contains('T'), "{time}");
    Ok(())
}

#[tokio::test]
async fn the_longest_text_is_accepted() -> Result<()> {
    let service = Service::start().await?;
    let text = "ß".repeat(2000);
    assert_eq!(service.create_note(&text).await?["text"], text);
    Ok(())
}

#[tokio::test]
async fn a_deleted_note_is_gone() -> Result<()> {
    let service = Service::start().await?;
    let note = service.create_note("short-lived").await?;
    let path = format!("/api/notes/{}", note["id"]);

    let response = service.request(Method::DELETE, &path).send().await?;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(response.text().await?, "");
    assert_eq!(service.get_json("/api/notes").await?, json!([]));
    expect_error(service.request(Method::DELETE, &path), 404, "not_found").await
}

#[tokio::test]
async fn concurrent_creates_are_all_kept() -> Result<()> {
    let service = Service::start().await?;
    let texts: Vec<_> = (0..40).map(|n| format!("note {n}")).collect();
    let created = try_join_all(texts.iter().map(|text| service.create_note(text))).await?;

    let listed = service.get_json("/api/notes").await?;
    let listed = listed.as_array().context("an array")?;
    assert_eq!(listed.len(), created.len());
    assert!(created.iter().all(|note| listed.contains(note)));
    assert!(listed.is_sorted_by_key(|note: &Value| note["id"].as_i64()));
    Ok(())
}
