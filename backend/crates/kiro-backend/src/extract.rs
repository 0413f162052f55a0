//! Extractors that report errors as JSON.

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Path, Request},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::ApiError;

/// A JSON object in the request body.
#[derive(Debug, Clone, Copy)]
pub struct ApiJson<T>(pub T);

impl<S, T> FromRequest<S> for ApiJson<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        // Serde would also fill a struct from an array; a body is an object.
        let Json(object) = Json::<Map<String, Value>>::from_request(request, state).await?;
        serde_json::from_value(Value::Object(object))
            .map(Self)
            .map_err(|error| ApiError::invalid_body(format!("the body is not valid: {error}")))
    }
}

/// Parameters in the path of the request.
#[derive(Debug, Clone, Copy, FromRequestParts)]
#[from_request(via(Path), rejection(ApiError))]
pub struct ApiPath<T>(pub T);
