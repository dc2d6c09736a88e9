//! Who asks.

use platform_core::{Error, ErrorKind, Result};
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use std::{fmt, path::PathBuf};

/// A token that is sent with each request.
#[derive(Clone)]
pub(super) enum Bearer {
    Token(SecretString),
    /// Read again for each request: somebody renews it.
    File(PathBuf),
}

impl Bearer {
    pub(super) async fn sign(&self, request: RequestBuilder) -> Result<RequestBuilder> {
        match self {
            Self::Token(token) => Ok(request.bearer_auth(token.expose_secret())),
            Self::File(path) => {
                let token = tokio::fs::read_to_string(path).await.map(SecretString::from).map_err(|e| {
                    let message = format!("the token in {} cannot be read", path.display());
                    Error::new(ErrorKind::Unavailable, message).source(e)
                })?;
                Ok(request.bearer_auth(token.expose_secret().trim()))
            }
        }
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(_) => f.write_str("a token"),
            Self::File(path) => write!(f, "the token in {}", path.display()),
        }
    }
}
