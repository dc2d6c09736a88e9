//! Errors as the API answers them.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use platform_core::{Error, ErrorKind};
use serde::Serialize;

/// What a handler fails with.
pub(super) struct Problem(Error);

/// `{"kind":"invalid","message":"…"}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Description {
    kind: ErrorKind,
    message: String,
}

#[derive(Serialize)]
struct Body {
    error: Description,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<&Error> for Description {
    fn from(error: &Error) -> Self {
        Self { kind: error.kind(), message: error.to_string() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = status(self.0.kind());
        if status.is_server_error() {
            tracing::warn!(error = %self.0, "a request to the console failed");
        }
        (status, Json(Body { error: Description::from(&self.0) })).into_response()
    }
}

const fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Denied | ErrorKind::Refused => StatusCode::FORBIDDEN,
        ErrorKind::AlreadyExists | ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Unavailable | ErrorKind::Exhausted | ErrorKind::Cancelled => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
