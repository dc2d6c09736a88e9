//! How a cluster's API server is reached, with credentials that stay fresh.

use crate::{error::Result, name::ClusterName};
use async_trait::async_trait;
use secrecy::SecretString;
use std::{fmt, sync::Arc, time::SystemTime};

/// The address of an API server, whom to trust there, and where credentials come from.
///
/// Handed out by a [`ClusterProvider`](super::ClusterProvider); nothing of it is written to disk.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClusterAccess {
    /// The cluster.
    pub cluster: ClusterName,
    /// The URL of its API server, `https://…` or, on loopback, `http://…`.
    pub server: String,
    /// The certificate authority in PEM that signed the server's certificate; `None`: the machine's own trust, or plain http.
    pub certificate_authority: Option<Vec<u8>>,
    /// Where credentials come from.
    pub credentials: Arc<dyn CredentialSource>,
}

impl ClusterAccess {
    /// Access without credentials and without a certificate authority of its own.
    pub fn new(cluster: ClusterName, server: impl Into<String>) -> Self {
        Self {
            cluster,
            server: server.into(),
            certificate_authority: None,
            credentials: Arc::new(NoCredential),
        }
    }

    /// Trusts servers whose certificates `pem` signed.
    #[must_use]
    pub fn certificate_authority(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificate_authority = Some(pem.into());
        self
    }

    /// Takes credentials from `source`.
    #[must_use]
    pub fn credentials(mut self, source: Arc<dyn CredentialSource>) -> Self {
        self.credentials = source;
        self
    }
}

/// What a client shows to an API server. Secrets are redacted in `Debug`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Credential {
    /// Nothing: the embedded API, or a proxy that authenticates.
    None,
    /// A bearer token, and until when it is good.
    Bearer {
        /// The token.
        token: SecretString,
        /// When it ends; `None`: not known to end.
        expires: Option<SystemTime>,
    },
    /// A client certificate.
    ClientCertificate {
        /// The certificate chain in PEM.
        certificate: Vec<u8>,
        /// The private key in PEM.
        key: SecretString,
    },
}

/// Gives the credential that is good now.
///
/// Asked before a request whenever the former credential is about to expire, so that a client that is held for hours
/// keeps working; implementations cache.
#[async_trait]
pub trait CredentialSource: Send + Sync + fmt::Debug {
    /// A credential that is good for at least another minute where that can be known.
    async fn credential(&self) -> Result<Credential>;
}

/// No credential at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCredential;

#[async_trait]
impl CredentialSource for NoCredential {
    async fn credential(&self) -> Result<Credential> {
        Ok(Credential::None)
    }
}
