//! Routes and what surrounds them.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    error_handling::HandleErrorLayer,
    extract::{DefaultBodyLimit, Request},
    http::Response,
    middleware,
    routing::{delete, get},
};
use tower::{ServiceBuilder, timeout::TimeoutLayer};
use tower_http::{
    ServiceBuilderExt, catch_panic::CatchPanicLayer, compression::CompressionLayer,
    request_id::MakeRequestUuid, trace::TraceLayer,
};
use tracing::{Span, debug, info, info_span};

use crate::{
    metrics,
    routes::{fallback, greeting, health, notes, reports},
    state::AppState,
};

/// The largest request body taken, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// The longest time a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The whole service: every route with its middleware.
pub fn router(state: AppState) -> Router {
    let metrics = Arc::clone(&state.metrics);
    let routes = Router::new()
        .route("/health", get(health::health))
        .route("/metrics", get(reports::show_metrics))
        .route("/api/openapi.json", get(reports::show_openapi))
        .route("/api/greeting", get(greeting::show_greeting))
        .route(
            "/api/notes",
            get(notes::list_notes).post(notes::create_note),
        )
        .route("/api/notes/{id}", delete(notes::delete_note))
        .fallback(fallback::unknown_route)
        .method_not_allowed_fallback(fallback::wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(state);
    with_middleware(routes, REQUEST_TIMEOUT)
        .layer(middleware::from_fn_with_state(metrics, metrics::track))
}

/// Surrounds `routes` with request ids, logs, limits and compression; the
/// first layer sees a request first and its response last.
fn with_middleware(routes: Router, timeout: Duration) -> Router {
    routes.layer(
        ServiceBuilder::new()
            .set_x_request_id(MakeRequestUuid)
            .layer(
                TraceLayer::new_for_http()
                    .make_span_with(request_span)
                    .on_response(log_response),
            )
            .propagate_x_request_id()
            .layer(CompressionLayer::new())
            .layer(CatchPanicLayer::custom(fallback::panicked))
            .layer(HandleErrorLayer::new(fallback::timed_out))
            .layer(TimeoutLayer::new(timeout)),
    )
}

/// The span all log lines of a request share. Health checks get none: they
/// come every few seconds and would bury everything else.
fn request_span(request: &Request) -> Span {
    if request.uri().path() == "/health" {
        return Span::none();
    }
    let id = request.headers().get("x-request-id");
    info_span!(
        "request",
        method = %request.method(),
        path = request.uri().path(),
        id = id.and_then(|id| id.to_str().ok()),
    )
}

fn log_response<B>(response: &Response<B>, latency: Duration, span: &Span) {
    let status = response.status().as_u16();
    if span.is_none() {
        debug!(status, ?latency, "answered a health check");
    } else {
        info!(status, ?latency, "answered");
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::StatusCode};
    use tokio::time::sleep;
    use tower::ServiceExt;

    use super::*;

    async fn status_of(routes: Router) -> anyhow::Result<StatusCode> {
        let app = with_middleware(routes, Duration::from_millis(50));
        let response = app.oneshot(Request::new(Body::empty())).await?;
        assert_eq!(response.headers()["content-type"], "application/json");
        assert!(response.headers().contains_key("x-request-id"));
        Ok(response.status())
    }

    #[tokio::test]
    async fn a_slow_handler_is_cut_off() -> anyhow::Result<()> {
        let slow = || async { sleep(Duration::from_secs(60)).await };
        let status = status_of(Router::new().route("/", get(slow))).await?;
        assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
        Ok(())
    }

    #[tokio::test]
    async fn a_panic_becomes_a_json_error() -> anyhow::Result<()> {
        async fn broken() {
            panic!("on purpose");
        }
        let status = status_of(Router::new().route("/", get(broken))).await?;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        Ok(())
    }
}
