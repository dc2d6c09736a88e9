//! What an API server says when it refuses, and what that means to the platform.

use kube::core::Status;
use platform_core::{Error, ErrorKind};
use std::time::Duration;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The server answered with a failure.
    #[error("{}", .status.message)]
    Status { status: Box<Status>, retry_after: Option<Duration> },
    /// No answer came.
    #[error("the API server cannot be reached")]
    Transport(#[source] kube::Error),
    /// No answer came in time.
    #[error("the API server did not answer within {0:?}")]
    TimedOut(Duration),
    /// An answer came that makes no sense.
    #[error("the API server's answer to {request} is not what its API promises")]
    Answer {
        request: String,
        #[source]
        source: serde_json::Error,
    },
    /// The request never went out.
    #[error(transparent)]
    Local(#[from] Error),
}

impl ApiError {
    /// The HTTP status, if the server answered.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(status.code),
            _ => None,
        }
    }

    /// The `Status` object of the answer.
    pub(crate) fn status(&self) -> Option<&Status> {
        match self {
            Self::Status { status, .. } => Some(status),
            _ => None,
        }
    }

    /// Whether the same request may be answered otherwise in a moment.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Status { status, .. } => kind_of(status) == ErrorKind::Unavailable,
            Self::Transport(_) | Self::TimedOut(_) => true,
            Self::Answer { .. } => false,
            Self::Local(error) => error.is_retryable(),
        }
    }
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Status { status, retry_after } => {
                let kind = kind_of(&status);
                let message = if status.message.is_empty() {
                    format!("the API server answered {}", status.code)
                } else {
                    status.message.clone()
                };
                let mut error = Self::new(kind, message);
                if let Some(wait) = retry_after.filter(|_| kind == ErrorKind::Unavailable) {
                    error = error.retry_after(wait);
                }
                match (kind, status.code) {
                    (ErrorKind::Denied, 401) => {
                        error.help("check that the credentials are of this cluster and not expired")
                    }
                    (ErrorKind::Denied, _) => {
                        error.help("grant the principal the verb, or use one that has it")
                    }
                    _ => error,
                }
            }
            ApiError::Transport(source) => transport(source),
            error @ ApiError::TimedOut(_) => Self::new(ErrorKind::Unavailable, error.to_string()),
            ApiError::Answer { ref request, .. } => {
                let message = format!("the answer to {request} is not what the API promises");
                Self::new(ErrorKind::Corrupt, message).source(error)
            }
            ApiError::Local(error) => error,
        }
    }
}

/// An error of kube's client, which hides errors of our own layer inside.
fn transport(error: kube::Error) -> Error {
    match error {
        kube::Error::Service(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(inner) => {
                Error::new(ErrorKind::Unavailable, "the API server cannot be reached").source(inner)
            }
        },
        error => Error::new(ErrorKind::Unavailable, "the API server cannot be reached").source(error),
    }
}

/// An error of kube's client outside of our own requests: of a watch.
pub(crate) fn from_kube(error: kube::Error) -> Error {
    match error {
        kube::Error::Api(status) => {
            let retry_after = retry_after_of(&status);
            ApiError::Status { status, retry_after }.into()
        }
        error => transport(error),
    }
}

/// What the `Status` asks to wait.
pub(crate) fn retry_after_of(status: &Status) -> Option<Duration> {
    let seconds = status.details.as_ref()?.retry_after_seconds;
    (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)))
}

fn kind_of(status: &Status) -> ErrorKind {
    let has_cause =
        |reason: &str| status.details.iter().flat_map(|d| &d.causes).any(|cause| cause.reason == reason);
    match status.code {
        // A namespace that is on its way out takes no new objects until it is gone.
        403 if has_cause("NamespaceTerminating") => ErrorKind::Unavailable,
        // A quota that is new has not been counted yet, and one that others use at the same time is counted again.
        403 if status.message.contains("status unknown for quota") => ErrorKind::Unavailable,
        409 if status.details.as_ref().is_some_and(|d| d.kind == "resourcequotas") => ErrorKind::Unavailable,
        403 if status.message.contains("exceeded quota") => ErrorKind::Exhausted,
        401 | 403 => ErrorKind::Denied,
        404 => ErrorKind::NotFound,
        409 if status.reason == "AlreadyExists" => ErrorKind::AlreadyExists,
        409 => ErrorKind::Conflict,
        413 => ErrorKind::Exhausted,
        // How server-side apply answers to fields that the schema does not have or has of another type.
        500 if status.message.contains("failed to create typed patch object") => ErrorKind::Invalid,
        410 | 429 | 500..=599 => ErrorKind::Unavailable,
        400 | 405 | 406 | 415 | 422 => ErrorKind::Invalid,
        _ => ErrorKind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::response::{StatusCause, StatusDetails};

    fn kind(code: u16, reason: &str, message: &str) -> ErrorKind {
        let status = Status::failure(message, reason).with_code(code).boxed();
        Error::from(ApiError::Status { status, retry_after: None }).kind()
    }

    #[test]
    fn codes_become_kinds() {
        assert_eq!(kind(401, "Unauthorized", "Unauthorized"), ErrorKind::Denied);
        assert_eq!(kind(403, "Forbidden", "pods is forbidden"), ErrorKind::Denied);
        assert_eq!(
            kind(403, "Forbidden", "exceeded quota: default, requested: pods=1"),
            ErrorKind::Exhausted
        );
        assert_eq!(kind(404, "NotFound", ""), ErrorKind::NotFound);
        assert_eq!(kind(409, "AlreadyExists", ""), ErrorKind::AlreadyExists);
        assert_eq!(kind(409, "Conflict", ""), ErrorKind::Conflict);
        assert_eq!(kind(410, "Expired", ""), ErrorKind::Unavailable);
        assert_eq!(kind(422, "Invalid", ""), ErrorKind::Invalid);
        assert_eq!(kind(503, "", ""), ErrorKind::Unavailable);
        let untyped = "failed to create typed patch object (a/web; /v1, Kind=Service): .spec.x: field not declared in schema";
        assert_eq!(kind(500, "", untyped), ErrorKind::Invalid);
    }

    #[test]
    fn a_terminating_namespace_is_waited_for() {
        let cause = StatusCause {
            reason: "NamespaceTerminating".into(),
            message: String::new(),
            field: String::new(),
        };
        let status = Status::failure("namespace a is being terminated", "Forbidden")
            .with_code(403)
            .with_details(StatusDetails {
                name: String::new(),
                group: String::new(),
                kind: String::new(),
                uid: String::new(),
                causes: vec![cause],
                retry_after_seconds: 0,
            });
        assert_eq!(kind_of(&status), ErrorKind::Unavailable);
    }

    #[test]
    fn the_server_says_when_to_come_back() {
        let status = Status::failure("slow down", "TooManyRequests").with_code(429).boxed();
        let error = Error::from(ApiError::Status { status, retry_after: Some(Duration::from_secs(3)) });
        assert_eq!(error.requested_wait(), Some(Duration::from_secs(3)));
        assert!(error.is_retryable());
    }
}
