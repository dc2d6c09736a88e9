//! Why a request is refused.

use platform_core::clock::Timestamp;

/// Why a request is refused. No secret is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It has no signature.
    #[error("the request has neither the header Authorization nor X-Amz-Signature in its query")]
    Unsigned,
    /// Its signature cannot be read.
    #[error("the signature cannot be read: {0}")]
    Malformed(String),
    /// Nobody is known by its access key.
    #[error("the access key {0} is not known")]
    UnknownKey(String),
    /// Its session token is missing, not that of the key, or given for a key that has none.
    #[error("the session token is not that of the access key {0}")]
    WrongSessionToken(String),
    /// It is signed for another day, region or service.
    #[error("the request is signed for {signed} and not for {expected}")]
    WrongScope {
        /// What it is signed for.
        signed: String,
        /// What it should be signed for.
        expected: String,
    },
    /// Something that must be signed is not.
    #[error("the header {0} is not signed")]
    UnsignedHeader(String),
    /// The body is not the one that was signed.
    #[error("the body is not what x-amz-content-sha256 says")]
    WrongBody,
    /// It was signed too long ago.
    #[error("the signature ended at {until}, and it is {now}")]
    Expired {
        /// Until when it was good.
        until: Timestamp,
        /// The time of who verifies.
        now: Timestamp,
    },
    /// It is signed in the future.
    #[error("the request is signed at {from}, and it is {now}")]
    NotYet {
        /// From when on it is good.
        from: Timestamp,
        /// The time of who verifies.
        now: Timestamp,
    },
    /// The signature is not that of the request with the key's secret.
    #[error("the signature is not that of the request; its canonical form is {canonical:?}")]
    WrongSignature {
        /// What should have been signed.
        canonical: String,
    },
}

impl Refusal {
    /// The code that AWS would answer with.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unsigned => "MissingAuthenticationToken",
            Self::Malformed(_) | Self::UnsignedHeader(_) => "IncompleteSignature",
            Self::UnknownKey(_) | Self::WrongSessionToken(_) => "InvalidClientTokenId",
            Self::WrongScope { .. } | Self::WrongBody | Self::WrongSignature { .. } => {
                "SignatureDoesNotMatch"
            }
            Self::Expired { .. } | Self::NotYet { .. } => "RequestExpired",
        }
    }
}
