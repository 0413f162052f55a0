//! Numbers about the service, in the text format Prometheus reads.

use std::{fmt, sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The route of requests that match none, so that labels stay few.
const UNMATCHED: &str = "unmatched";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    route: String,
    status: u16,
}

/// Everything the service counts and measures.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    duration: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("kiro_backend");
        let requests = Family::default();
        let duration = Histogram::new(exponential_buckets(0.000_5, 2.0, 14));
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register(
            "http_request_duration_seconds",
            "Time from request to response",
            duration.clone(),
        );
        Self {
            registry,
            requests,
            duration,
        }
    }
}

impl Metrics {
    /// The current numbers as text.
    ///
    /// # Errors
    ///
    /// Fails only when a metric cannot be written as text.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }

    fn record(&self, labels: &RequestLabels, started: Instant) {
        self.requests.get_or_create(labels).inc();
        self.duration.observe(started.elapsed().as_secs_f64());
    }
}

/// Middleware that counts and times every request.
pub async fn track(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().to_string();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or(UNMATCHED, MatchedPath::as_str)
        .to_owned();
    let response = next.run(request).await;
    let labels = RequestLabels {
        method,
        route,
        status: response.status().as_u16(),
    };
    metrics.record(&labels, started);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_requests_show_up() {
        let metrics = Metrics::default();
        let labels = RequestLabels {
            method: "GET".to_owned(),
            route: "/health".to_owned(),
            status: 200,
        };
        metrics.record(&labels, Instant::now());
        let page = metrics.render().expect("plain text");
        let line = r#"http_requests_total{method="GET",route="/health",status="200"} 1"#;
        assert!(page.contains(line), "{page}");
    }
}
