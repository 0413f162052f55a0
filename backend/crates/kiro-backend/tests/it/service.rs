//! Routes that are not about notes.

use std::fs;

use anyhow::Result;
use kiro_domain::GREETING_TEXT;
use reqwest::Method;
use serde_json::json;

use crate::support::{Service, expect_error};

#[tokio::test]
async fn a_working_service_is_healthy() -> Result<()> {
    let service = Service::start().await?;
    let response = service.request(Method::GET, "/health").send().await?;
    assert_eq!(response.status().as_u16(), 200);
    assert_eq!(response.text().await?, r#"{"status":"ok"}"#);
    Ok(())
}

#[tokio::test]
async fn without_its_database_the_service_is_not_healthy() -> Result<()> {
    let service = Service::start().await?;
    fs::remove_file(service.folder.path().join("notes.db"))?;
    let request = service.request(Method::GET, "/health");
    expect_error(request, 503, "database_unavailable").await
}

#[tokio::test]
async fn every_visitor_gets_the_greeting() -> Result<()> {
    let service = Service::start().await?;
    for _ in 0..3 {
        let body = service.get_json("/api/greeting").await?;
        assert_eq!(body, json!({ "message": GREETING_TEXT }));
    }
    Ok(())
}

#[tokio::test]
async fn requests_are_counted_by_route() -> Result<()> {
    let service = Service::start().await?;
    service.get_json("/api/notes").await?;
    service
        .request(Method::DELETE, "/api/notes/41")
        .send()
        .await?;
    service.request(Method::GET, "/nowhere").send().await?;

    let response = service.request(Method::GET, "/metrics").send().await?;
    let page = response.text().await?;
    for labels in [
        r#"method="GET",route="/api/notes",status="200""#,
        r#"method="DELETE",route="/api/notes/{id}",status="404""#,
        r#"method="GET",route="unmatched",status="404""#,
    ] {
        assert!(page.contains(labels), "{labels} is missing in {page}");
    }
    Ok(())
}

#[tokio::test]
async fn the_api_is_described() -> Result<()> {
    let service = Service::start().await?;
    let description = service.get_json("/api/openapi.json").await?;
    let paths = &description["paths"];
    assert!(paths["/health"]["get"].is_object());
    assert!(paths["/api/greeting"]["get"].is_object());
    assert!(paths["/api/notes"]["post"]["responses"]["422"].is_object());
    assert!(paths["/api/notes/{id}"]["delete"].is_object());
    Ok(())
}

#[tokio::test]
async fn large_answers_are_compressed() -> Result<()> {
    let service = Service::start().await?;
    let request = service.request(Method::GET, "/api/openapi.json");
    let response = request.header("accept-encoding", "gzip").send().await?;
    assert_eq!(response.headers()["content-encoding"], "gzip");
    Ok(())
}

#[tokio::test]
async fn requests_have_an_id() -> Result<()> {
    let service = Service::start().await?;
    let response = service.request(Method::GET, "/api/notes").send().await?;
    assert_eq!(response.headers()["x-request-id"].len(), 36);

    let request = service.request(Method::GET, "/api/notes");
    let response = request.header("x-request-id", "given").send().await?;
    assert_eq!(response.headers()["x-request-id"], "given");
    Ok(())
}
