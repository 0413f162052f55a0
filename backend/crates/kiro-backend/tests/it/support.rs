//! A service on a free port of the loopback interface, with its own database.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use kiro_backend::{app, server, state::AppState};
use kiro_store::Store;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// A running service; it ends with the test.
pub(crate) struct Service {
    pub(crate) folder: TempDir,
    pub(crate) client: Client,
    pub(crate) addr: SocketAddr,
}

impl Service {
    pub(crate) async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let store = Store::open(folder.path().join("notes.db")).await?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let app = app::router(AppState::new(store));
        tokio::spawn(server::serve_until(listener, app, std::future::pending()));
        Ok(Self {
            folder,
            client: client()?,
            addr,
        })
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://{}{path}", self.addr);
        self.client.request(method, url)
    }

    pub(crate) async fn get_json(&self, path: &str) -> Result<Value> {
        let response = self.request(Method::GET, path).send().await?;
        Ok(response.error_for_status()?.json().await?)
    }

    pub(crate) async fn create_note(&self, text: &str) -> Result<Value> {
        let request = self.request(Method::POST, "/api/notes");
        let response = request.json(&json!({ "text": text })).send().await?;
        assert_eq!(response.status(), StatusCode::CREATED);
        Ok(response.json().await?)
    }
}

/// A client that uses no proxy, whatever the environment says.
pub(crate) fn client() -> reqwest::Result<Client> {
    Client::builder().no_proxy().build()
}

/// Sends `request` and checks that the answer is a JSON error.
pub(crate) async fn expect_error(request: RequestBuilder, status: u16, code: &str) -> Result<()> {
    let response = request.send().await?;
    assert_eq!(response.status().as_u16(), status, "{code}");
    assert_eq!(response.headers()["content-type"], "application/json");

    let body: Value = response.json().await?;
    assert_eq!(body["error"]["code"], code, "{body}");
    let message = body["error"]["message"].as_str().unwrap_or_default();
    assert!(!message.is_empty(), "{body}");
    Ok(())
}
