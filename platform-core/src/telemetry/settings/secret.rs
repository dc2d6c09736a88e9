//! Where a secret is.

use crate::error::{Error, ErrorKind, Result};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where a secret is: settings name it and never hold it. In a document: `{env: NAME}` or `{file: PATH}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum SecretSource {
    /// In a variable of the program's environment.
    Env(String),
    /// In a file, whose last line end does not count.
    File(PathBuf),
}

impl SecretSource {
    /// Reads it. Blocks while a file is read.
    ///
    /// Fails with [`NotFound`](ErrorKind::NotFound) where there is no such variable or file, with [`Denied`](ErrorKind::Denied) where
    /// the file may not be read, and with [`Invalid`](ErrorKind::Invalid) for a secret that is empty or no UTF-8.
    pub fn read(&self) -> Result<SecretString> {
        let text = match self {
            Self::Env(name) => std::env::var(name).map_err(|error| match error {
                std::env::VarError::NotPresent => Error::new(ErrorKind::NotFound, "the variable is not set"),
                std::env::VarError::NotUnicode(_) => Error::invalid("the variable is no UTF-8"),
            }),
            Self::File(path) => std::fs::read_to_string(path).map_err(|error| {
                let kind = match error.kind() {
                    std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                    std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
                    _ => ErrorKind::Invalid,
                };
                Error::new(kind, "the file is not readable").source(error)
            }),
        };
        text.and_then(|text| match text.trim_end_matches(['\r', '\n']) {
            "" => Err(Error::invalid("it is empty")),
            secret => Ok(SecretString::from(secret)),
        })
        .map_err(|error| {
            error.operation("read").subject(match self {
                Self::Env(name) => format!("the secret in the variable {name}"),
                Self::File(path) => format!("the secret in {}", path.display()),
            })
        })
    }
}
