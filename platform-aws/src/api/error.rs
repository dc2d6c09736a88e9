//! What AWS answered, told apart by its code.

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use platform_core::{Error, ErrorKind};
use std::{fmt, time::Duration};

/// What a call of AWS returns.
pub type ApiResult<T> = Result<T, ApiError>;

/// What kind of answer it is. Codes tell it, never the HTTP status alone: EKS says with 400 that a cluster is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApiErrorKind {
    /// It does not exist.
    NotFound,
    /// It exists already.
    AlreadyExists,
    /// Something else is being done to it; later it will be free.
    InUse,
    /// The request is wrong.
    Invalid,
    /// A quota is reached.
    Quota,
    /// The caller may not do it.
    Denied,
    /// The credentials are missing, wrong or expired.
    Credentials,
    /// Too many requests.
    Throttled,
    /// AWS did not answer, or said that it has a problem of its own. Whether the call was executed is not known.
    Transient,
    /// There is no host of the endpoint's name: the region, or the endpoint that was set, does not exist.
    NoEndpoint,
    /// AWS does not know the call. Emulators say so.
    Unknown,
}

/// A call of AWS that failed.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// What kind of answer it is.
    pub kind: ApiErrorKind,
    /// The call, as IAM names it: `eks:CreateCluster`.
    pub action: &'static str,
    /// The code that AWS gave, if it answered.
    pub code: Option<String>,
    /// What AWS said.
    pub message: String,
}

impl ApiError {
    /// An error of `kind`, as a fake would give it.
    pub fn new(kind: ApiErrorKind, action: &'static str, message: impl Into<String>) -> Self {
        Self { kind, action, code: None, message: message.into() }
    }

    /// What AWS' client says of a call.
    pub(crate) fn of<E>(action: &'static str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        match error {
            SdkError::ServiceError(answer) => {
                let error = answer.err();
                let status = answer.raw().status().as_u16();
                let message = error.message().map_or_else(|| format!("HTTP status {status}"), str::to_owned);
                Self::answered(action, error.code(), message, status)
            }
            SdkError::ConstructionFailure(_) => {
                // Credentials are resolved while the request is constructed.
                let kind = if is_about_credentials(error) {
                    ApiErrorKind::Credentials
                } else {
                    ApiErrorKind::Invalid
                };
                Self::new(kind, action, chain(error))
            }
            SdkError::DispatchFailure(_) => {
                let kind = if names_no_host(error) {
                    ApiErrorKind::NoEndpoint
                } else if is_about_credentials(error) {
                    ApiErrorKind::Credentials
                } else {
                    ApiErrorKind::Transient
                };
                Self::new(kind, action, chain(error))
            }
            _ => Self::new(ApiErrorKind::Transient, action, chain(error)),
        }
    }

    /// What an answer with this code and status says.
    pub(crate) fn answered(
        action: &'static str,
        code: Option<&str>,
        message: impl Into<String>,
        status: u16,
    ) -> Self {
        let message = message.into();
        let kind = kind_of(code, &message, status);
        Self { kind, action, code: code.map(str::to_owned), message }
    }

    /// Whether it is not there.
    pub fn is_not_found(&self) -> bool {
        self.kind == ApiErrorKind::NotFound
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, ApiErrorKind::InUse | ApiErrorKind::Throttled | ApiErrorKind::Transient)
    }
}

/// Whether credentials could not be had. AWS' clients tell it by what is underneath, and some of it only in words.
fn is_about_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    const WORDS: [&str; 4] = [
        "no providers in chain",
        "auth scheme",
        "identity resolver",
        "an error occurred while loading credentials",
    ];
    std::iter::successors(Some(error), |error| error.source()).any(|error| {
        let text = error.to_string();
        error.is::<CredentialsError>() || WORDS.iter().any(|words| text.contains(words))
    })
}

/// Whether a name was looked up and there is none, in the words of Linux, macOS and Windows. A resolver that does not answer says something else.
fn names_no_host(error: &(dyn std::error::Error + 'static)) -> bool {
    let text = chain(error);
    ["Name or service not known", "nodename nor servname provided", "No such host is known"]
        .iter()
        .any(|words| text.contains(words))
}

fn kind_of(code: Option<&str>, message: &str, status: u16) -> ApiErrorKind {
    let Some(code) = code else {
        return match status {
            429 => ApiErrorKind::Throttled,
            500..=599 => ApiErrorKind::Transient,
            _ => ApiErrorKind::Unknown,
        };
    };
    match code {
        "ResourceNotFoundException" | "NotFoundException" | "NoSuchEntity" | "NoSuchResourceException" => {
            ApiErrorKind::NotFound
        }
        "ClientException" if message.contains("No cluster found") => ApiErrorKind::NotFound,
        "ValidationError" if message.contains("does not exist") => ApiErrorKind::NotFound,
        code if code.ends_with(".NotFound") || code.ends_with("NotFound") => ApiErrorKind::NotFound,
        "AlreadyExistsException" | "EntityAlreadyExists" => ApiErrorKind::AlreadyExists,
        "ResourceInUseException" if message.contains("already") => ApiErrorKind::AlreadyExists,
        "ResourceInUseException"
        | "ResourceInUse"
        | "DependencyViolation"
        | "DeleteConflict"
        | "ConcurrentModification"
        | "IncorrectState"
        | "VolumeInUse"
        | "OperationInProgressException" => ApiErrorKind::InUse,
        code if code.ends_with(".InUse") => ApiErrorKind::InUse,
        "InvalidParameterValue" if message.contains("currently in use") => ApiErrorKind::InUse,
        "RequestLimitExceeded" | "BandwidthLimitExceeded" => ApiErrorKind::Throttled,
        "ResourceLimitExceededException" | "LimitExceededException" | "LimitExceeded" => ApiErrorKind::Quota,
        code if code.ends_with("LimitExceeded") => ApiErrorKind::Quota,
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" | "OptInRequired" => {
            ApiErrorKind::Denied
        }
        "UnrecognizedClientException"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidClientTokenId"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "AuthFailure"
        | "MissingAuthenticationToken"
        | "IncompleteSignature"
        | "RequestExpired" => ApiErrorKind::Credentials,
        "ThrottlingException"
        | "Throttling"
        | "ThrottledException"
        | "TooManyRequestsException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "EC2ThrottledException"
        | "PriorRequestNotComplete"
        | "ResourcePropagationDelayException" => ApiErrorKind::Throttled,
        "ServerException"
        | "ServiceUnavailableException"
        | "ServiceUnavailable"
        | "Unavailable"
        | "ServiceFailure"
        | "RequestTimeout"
        | "RequestTimeoutException"
        | "InternalFailure"
        | "InternalError"
        | "InternalServerException" => ApiErrorKind::Transient,
        "UnknownOperationException" | "InvalidAction" | "NotImplemented" => ApiErrorKind::Unknown,
        _ if status >= 500 => ApiErrorKind::Transient,
        _ => ApiErrorKind::Invalid,
    }
}

/// An error and what is beneath it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = error.source();
    }
    text
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{}: {code}: {}", self.action, self.message),
            None => write!(f, "{}: {}", self.action, self.message),
        }
    }
}

impl std::error::Error for ApiError {}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        let (kind, help) = match error.kind {
            ApiErrorKind::NotFound => (ErrorKind::NotFound, None),
            ApiErrorKind::AlreadyExists => (ErrorKind::AlreadyExists, None),
            ApiErrorKind::Invalid => (ErrorKind::Invalid, None),
            ApiErrorKind::Quota => (
                ErrorKind::Exhausted,
                Some("have the quota raised in Service Quotas, or delete what is not needed"),
            ),
            ApiErrorKind::Denied => (
                ErrorKind::Denied,
                Some("give the caller the permission; `EksProvider::iam_policy` prints all that are needed"),
            ),
            ApiErrorKind::Credentials => (
                ErrorKind::Denied,
                Some(
                    "give credentials that are valid now: log in again, or check the profile, the role and the environment",
                ),
            ),
            ApiErrorKind::InUse | ApiErrorKind::Throttled | ApiErrorKind::Transient => {
                (ErrorKind::Unavailable, None)
            }
            ApiErrorKind::NoEndpoint => (
                ErrorKind::Invalid,
                Some("check the region: AWS has no host of this name; or the endpoint, if one is set"),
            ),
            ApiErrorKind::Unknown => (ErrorKind::Unsupported, None),
        };
        let throttled = error.kind == ApiErrorKind::Throttled;
        let converted = Self::new(kind, error.to_string());
        let converted = match help {
            Some(help) => converted.help(help),
            None => converted,
        };
        if throttled { converted.retry_after(Duration::from_secs(5)) } else { converted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use aws_smithy_types::error::metadata::ErrorMetadata;

    #[test]
    fn codes_tell_not_statuses() {
        let kind = |code: &str, message: &str, status| kind_of(Some(code), message, status);
        assert_eq!(kind("ClientException", "No cluster found for name: a.", 400), ApiErrorKind::NotFound);
        assert_eq!(kind("ValidationError", "Stack with id a does not exist", 400), ApiErrorKind::NotFound);
        assert_eq!(
            kind("ResourceInUseException", "Cluster already exists with name: a", 409),
            ApiErrorKind::AlreadyExists
        );
        assert_eq!(kind("ResourceInUseException", "an update is in progress", 409), ApiErrorKind::InUse);
        assert_eq!(kind("ThrottlingException", "", 400), ApiErrorKind::Throttled);
        assert_eq!(kind("RequestLimitExceeded", "", 503), ApiErrorKind::Throttled);
        assert_eq!(kind("VpcLimitExceeded", "", 400), ApiErrorKind::Quota);
        assert_eq!(kind("DependencyViolation", "", 400), ApiErrorKind::InUse);
        assert_eq!(kind("InvalidNetworkInterface.InUse", "", 400), ApiErrorKind::InUse);
        let used = "Network interface 'eni-1' is currently in use.";
        assert_eq!(kind("InvalidParameterValue", used, 400), ApiErrorKind::InUse);
        assert_eq!(kind("InvalidVpcID.NotFound", "", 400), ApiErrorKind::NotFound);
        assert_eq!(kind("SomethingNew", "", 400), ApiErrorKind::Invalid);
        assert_eq!(kind_of(None, "", 404), ApiErrorKind::Unknown);
        assert_eq!(kind_of(None, "", 502), ApiErrorKind::Transient);
    }

    #[test]
    fn what_is_underneath_tells_whether_it_is_about_credentials() {
        let io = |text: &str| {
            SdkError::<ErrorMetadata, HttpResponse>::dispatch_failure(ConnectorError::io(text.into()))
        };
        let kind = |error| ApiError::of("ec2:DescribeVpcs", &error).kind;
        assert_eq!(kind(io("connection refused: association broken")), ApiErrorKind::Transient);
        let none = CredentialsError::not_loaded("nothing in the environment");
        assert_eq!(kind(SdkError::construction_failure(none)), ApiErrorKind::Credentials);
        assert_eq!(kind(SdkError::construction_failure("a bad header")), ApiErrorKind::Invalid);
    }

    #[test]
    fn an_error_says_what_to_do() {
        let denied = ApiError::answered("eks:CreateCluster", Some("AccessDeniedException"), "no", 403);
        let error = Error::from(denied).to_string();
        assert!(
            error.starts_with("eks:CreateCluster: AccessDeniedException: no (give the caller"),
            "{error}"
        );
        assert!(
            Error::from(ApiError::new(ApiErrorKind::Throttled, "eks:ListClusters", "slow")).is_retryable()
        );
    }
}
