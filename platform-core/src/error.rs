//! The one error of every boundary: what failed, on what, why, and whether trying again can help.
//!
//! Crates keep their own error types inside and turn them into [`Error`] where a trait of this crate
//! is implemented, so that the executor and the caller decide by [`ErrorKind`] and never by downcasting.

use std::{fmt, time::Duration};

/// What a fallible function of the platform returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What went wrong, in the terms of the platform and not of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input is wrong and will stay wrong: a name, a field, a value. Nothing was changed.
    Invalid,
    /// The subject does not exist.
    NotFound,
    /// The subject exists already and is not ours, or a name is taken.
    AlreadyExists,
    /// Somebody else owns or changed what was to be written: a field, a resource version, a lock.
    Conflict,
    /// The caller may not do this, or its credentials are missing or expired.
    Denied,
    /// A guard of the platform refused: a protected environment, a missing confirmation.
    Refused,
    /// The backend is unreachable, overloaded or restarting. Trying again is expected to help.
    Unavailable,
    /// A limit was reached: quota, disk, ports, the size of a request.
    Exhausted,
    /// The deadline passed before the subject reached the wanted state.
    Timeout,
    /// The work was cancelled by its owner. What was done stays; running again resumes.
    Cancelled,
    /// The subject reached a state from which it will not become ready by waiting.
    Failed,
    /// Stored data or an answer is damaged or not in the expected format.
    Corrupt,
    /// The implementation cannot do this.
    Unsupported,
    /// Anything else; a bug, if it is seen.
    Internal,
}

impl ErrorKind {
    /// Whether an error of this kind is worth a second try unless it says otherwise.
    pub const fn is_retryable_by_default(self) -> bool {
        matches!(self, Self::Unavailable)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid => "invalid",
            Self::NotFound => "not found",
            Self::AlreadyExists => "already exists",
            Self::Conflict => "conflict",
            Self::Denied => "denied",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Exhausted => "exhausted",
            Self::Timeout => "timed out",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Corrupt => "corrupt",
            Self::Unsupported => "unsupported",
            Self::Internal => "internal",
        })
    }
}

/// A failure at a boundary of the platform.
///
/// It prints as one sentence, `cannot OPERATION SUBJECT: MESSAGE`, then the chain of sources and,
/// where there is one, what to do about it:
///
/// ```
/// use platform_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Conflict, "field .spec.replicas is owned by \"kubectl\"")
///     .operation("apply")
///     .subject("Deployment api1/api1")
///     .help("remove the field from the manifest or take it over with `force`");
/// assert_eq!(
///     error.to_string(),
///     "cannot apply Deployment api1/api1: field .spec.replicas is owned by \"kubectl\" \
///      (remove the field from the manifest or take it over with `force`)"
/// );
/// assert!(!error.is_retryable());
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    operation: Option<String>,
    subject: Option<String>,
    help: Option<String>,
    retryable: bool,
    retry_after: Option<Duration>,
    source: Option<Source>,
}

impl Error {
    /// An error of `kind` that says why in `message`, without a final full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            operation: None,
            subject: None,
            help: None,
            retryable: kind.is_retryable_by_default(),
            retry_after: None,
            source: None,
        }))
    }

    /// Shorthand for [`ErrorKind::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Shorthand for [`ErrorKind::NotFound`].
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// Shorthand for [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// What was being done, as a verb: `create`, `apply`. The innermost one given is kept, since it is the most precise.
    #[must_use]
    pub fn operation(mut self, operation: impl Into<String>) -> Self {
        self.0.operation.get_or_insert_with(|| operation.into());
        self
    }

    /// What it was done to: `cluster shop-testing`. The innermost one given is kept.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.0.subject.get_or_insert_with(|| subject.into());
        self
    }

    /// What the reader can do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help.get_or_insert_with(|| help.into());
        self
    }

    /// The error underneath.
    #[must_use]
    pub fn source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Overrides what the kind says about trying again.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// The backend asked not to be tried again before this has passed (`Retry-After`). Makes the error retryable.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self.0.retryable = true;
        self
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// How long the backend asked to be left alone.
    pub fn requested_wait(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Why, without operation, subject, help and sources.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The operation, when it is known.
    pub fn failed_operation(&self) -> Option<&str> {
        self.0.operation.as_deref()
    }

    /// The subject, when it is known.
    pub fn failed_subject(&self) -> Option<&str> {
        self.0.subject.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        match (&inner.operation, &inner.subject) {
            (Some(operation), Some(subject)) => write!(f, "cannot {operation} {subject}: ")?,
            (Some(operation), None) => write!(f, "cannot {operation}: ")?,
            (None, Some(subject)) => write!(f, "{subject}: ")?,
            (None, None) => {}
        }
        f.write_str(&inner.message)?;
        let mut printed = inner.message.clone();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            let text = cause.to_string();
            // Some errors print those underneath them, as this one does.
            if !printed.ends_with(&text) {
                write!(f, ": {text}")?;
                printed = text;
            }
            source = if cause.is::<Self>() { None } else { cause.source() };
        }
        if let Some(help) = &inner.help {
            write!(f, " ({help})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_context_wins_and_sources_are_printed() {
        let error = Error::new(ErrorKind::Unavailable, "the API server did not answer")
            .operation("list")
            .subject("pods")
            .source(std::io::Error::other("connection refused"))
            .operation("plan");
        assert_eq!(error.to_string(), "cannot list pods: the API server did not answer: connection refused");
        assert!(error.is_retryable());
    }

    #[test]
    fn no_source_is_printed_twice() {
        let refused = || std::io::Error::other("connection refused");
        let inner = Error::new(ErrorKind::Unavailable, "no answer").source(refused()).help("start it");
        let outer = Error::new(ErrorKind::Timeout, "not done after 60s").source(inner);
        assert_eq!(outer.to_string(), "not done after 60s: no answer: connection refused (start it)");
        let repeated = Error::new(ErrorKind::Unavailable, "no answer: connection refused").source(refused());
        assert_eq!(repeated.to_string(), "no answer: connection refused");
    }

    #[test]
    fn an_error_can_overrule_its_kind() {
        assert!(Error::new(ErrorKind::Conflict, "changed meanwhile").retryable(true).is_retryable());
        let throttled = Error::new(ErrorKind::Exhausted, "throttled").retry_after(Duration::from_secs(2));
        assert!(throttled.is_retryable());
        assert_eq!(throttled.requested_wait(), Some(Duration::from_secs(2)));
    }
}
