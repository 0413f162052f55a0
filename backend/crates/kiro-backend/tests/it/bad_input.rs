//! Every kind of bad request gets a JSON error.

use anyhow::Result;
use kiro_backend::app::MAX_BODY_BYTES;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::support::{Service, expect_error};

fn post(service: &Service, content_type: &str, body: impl Into<String>) -> RequestBuilder {
    service
        .request(Method::POST, "/api/notes")
        .header("content-type", content_type)
        .body(body.into())
}

#[tokio::test]
async fn malformed_json_is_refused() -> Result<()> {
    let service = Service::start().await?;
    for body in ["", "{", "{\"text\": tea}", "{\"text\":\"a\"} more"] {
        let request = post(&service, "application/json", body);
        expect_error(request, 400, "malformed_json").await?;
    }
    Ok(())
}

#[tokio::test]
async fn other_content_types_are_refused() -> Result<()> {
    let service = Service::start().await?;
    let body = r#"{"text":"tea"}"#;
    let plain = post(&service, "text/plain", body);
    expect_error(plain, 415, "unsupported_media_type").await?;

    let untyped = service.request(Method::POST, "/api/notes").body(body);
    expect_error(untyped, 415, "unsupported_media_type").await
}

#[tokio::test]
async fn bodies_that_are_no_note_are_refused() -> Result<()> {
    let service = Service::start().await?;
    for body in [
        json!({}),
        json!({ "text": null }),
        json!({ "text": 5 }),
        json!({ "text": "tea", "color": "green" }),
        json!(["tea"]),
        json!("tea"),
    ] {
        let request = post(&service, "application/json", body.to_string());
        expect_error(request, 422, "invalid_body").await?;
    }
    Ok(())
}

#[tokio::test]
async fn blank_and_overlong_texts_are_refused() -> Result<()> {
    let service = Service::start().await?;
    let long = "x".repeat(2001);
    for (text, code) in [
        ("", "text_blank"),
        (" \n\t", "text_blank"),
        (long.as_str(), "text_too_long"),
    ] {
        let body = json!({ "text": text }).to_string();
        let request = post(&service, "application/json", body);
        expect_error(request, 422, code).await?;
    }
    assert_eq!(service.get_json("/api/notes").await?, json!([]));
    Ok(())
}

#[tokio::test]
async fn bodies_over_the_limit_are_refused() -> Result<()> {
    let service = Service::start().await?;
    let body = json!({ "text": "tea" }).to_string();
    let padding = " ".repeat(MAX_BODY_BYTES - body.len());

    let exact = post(&service, "application/json", padding.clone() + &body);
    assert_eq!(exact.send().await?.status().as_u16(), 201);

    let over = post(&service, "application/json", padding + " " + &body);
    expect_error(over, 413, "body_too_large").await
}

#[tokio::test]
async fn ids_that_are_no_numbers_are_refused() -> Result<()> {
    let service = Service::start().await?;
    for id in ["tea", "1x", "1.5", "99999999999999999999", "%FF"] {
        let request = service.request(Method::DELETE, &format!("/api/notes/{id}"));
        expect_error(request, 400, "invalid_path").await?;
    }
    Ok(())
}

#[tokio::test]
async fn absent_notes_and_unknown_routes_are_not_found() -> Result<()> {
    let service = Service::start().await?;
    for (method, path) in [
        (Method::DELETE, "/api/notes/12345"),
        (Method::GET, "/"),
        (Method::GET, "/api/nothing"),
        (Method::POST, "/api/notes/"),
    ] {
        let request = service.request(method, path);
        expect_error(request, 404, "not_found").await?;
    }
    Ok(())
}

#[tokio::test]
async fn wrong_methods_are_refused() -> Result<()> {
    let service = Service::start().await?;
    for (method, path) in [
        (Method::POST, "/health"),
        (Method::DELETE, "/api/greeting"),
        (Method::PUT, "/api/notes"),
        (Method::GET, "/api/notes/1"),
    ] {
        let request = service.request(method, path);
        expect_error(request, 405, "method_not_allowed").await?;
    }
    let response = service.request(Method::PUT, "/api/notes").send().await?;
    assert_eq!(response.headers()["allow"], "GET,HEAD,POST");
    Ok(())
}
