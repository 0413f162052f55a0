//! Answers to requests no handler takes.

use std::any::Any;

use axum::{
    BoxError,
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use tracing::error;

use crate::error::ApiError;

/// There is no such route.
pub async fn unknown_route(uri: Uri) -> ApiError {
    ApiError::not_found(format!("there is nothing at {}", uri.path()))
}

/// The route exists, but not for this method.
pub async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let message = format!("{} does not take {method}", uri.path());
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        message,
    )
}

/// The request took too long.
pub async fn timed_out(_: BoxError) -> ApiError {
    let message = "the request took too long";
    ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", message)
}

/// A handler panicked.
pub fn panicked(payload: Box<dyn Any + Send>) -> Response {
    let reason = match payload.downcast_ref::<String>() {
        Some(text) => text.as_str(),
        None => payload.downcast_ref::<&str>().copied().unwrap_or("unknown"),
    };
    error!(reason, "a handler panicked");
    ApiError::internal().into_response()
}
