//! Tokens by which EKS knows who asks: a presigned question to STS, "who am I?", that the cluster asks in the caller's stead.

use crate::{encoding::encoded, partition::domain};
use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_credential_types::provider::{
    ProvideCredentials, SharedCredentialsProvider, error::CredentialsError,
};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign},
    sign::v4,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use platform_core::{
    Error, ErrorKind, Result,
    clock::{Clock, SystemClock, Timestamp},
    cluster::{Credential, CredentialSource},
};
use secrecy::SecretString;
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How long clusters take a token, from the time at which it was signed.
const HONOURED: Duration = Duration::from_secs(15 * 60);
/// How long before its end a token is no longer handed out.
const MARGIN: Duration = Duration::from_secs(60);
/// What the question itself says of how long it is good. Clusters want it so, and take it for longer.
const EXPIRES: Duration = Duration::from_secs(60);
const PREFIX: &str = "k8s-aws-v1.";
const CLUSTER_HEADER: &str = "x-k8s-aws-id";

/// Gives tokens for one cluster of EKS, signed with the credentials that are good when they are made.
///
/// A token is kept for 14 minutes, or until a minute before its credentials end; those who ask at the same time share the making of the next one. It
/// is nowhere but in memory.
pub struct EksTokens {
    signer: Arc<Signer>,
    state: Mutex<State>,
}

/// What makes tokens.
struct Signer {
    credentials: SharedCredentialsProvider,
    region: String,
    cluster: String,
    clock: Arc<dyn Clock>,
}

type Signing = Shared<BoxFuture<'static, Result<Token, Failure>>>;

#[derive(Default)]
struct State {
    token: Option<Token>,
    signing: Option<Signing>,
}

#[derive(Clone)]
struct Token {
    text: SecretString,
    expires: Timestamp,
}

/// Why there is no token, for all who wait for it.
#[derive(Clone)]
struct Failure {
    kind: ErrorKind,
    why: String,
}

impl EksTokens {
    /// Tokens for the cluster `cluster` of `region`, by the credentials of `configuration`. Its endpoint is of no account: clusters ask STS itself.
    pub fn new(
        configuration: &SdkConfig,
        region: impl Into<String>,
        cluster: impl Into<String>,
    ) -> Result<Self> {
        let cluster = cluster.into();
        let credentials = configuration.credentials_provider().ok_or_else(|| {
            Error::new(ErrorKind::Denied, "the configuration of AWS has no credentials")
                .operation("make tokens for")
                .subject(format!("cluster {cluster}"))
                .help("log in, or set a profile or the environment")
        })?;
        let (region, clock) = (region.into(), Arc::new(SystemClock));
        let signer = Signer { credentials, region, cluster, clock };
        Ok(Self { signer: Arc::new(signer), state: Mutex::default() })
    }

    /// Takes the time from `clock`.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        let Signer { credentials, region, cluster, .. } = &*self.signer;
        let (credentials, region, cluster) = (credentials.clone(), region.clone(), cluster.clone());
        let signer = Signer { credentials, region, cluster, clock };
        Self { signer: Arc::new(signer), state: Mutex::default() }
    }

    /// The token that is good for another minute, or the signing of one to wait for.
    fn current(&self) -> std::result::Result<Token, Signing> {
        let mut state = self.state();
        let now = self.signer.clock.now();
        match &state.token {
            // A clock that was set back must not keep a token alive for longer than clusters take it.
            Some(token) if now + MARGIN < token.expires && token.expires <= now + HONOURED => {
                return Ok(token.clone());
            }
            _ => {}
        }
        let signer = self.signer.clone();
        let signing = || async move { signer.token().await }.boxed().shared();
        Err(state.signing.get_or_insert_with(signing).clone())
    }

    /// Keeps what came of `signing`, once.
    fn keep(&self, signing: &Signing, token: &std::result::Result<Token, Failure>) {
        let mut state = self.state();
        if state.signing.as_ref().is_some_and(|running| running.ptr_eq(signing)) {
            state.signing = None;
            state.token = token.as_ref().ok().cloned();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl CredentialSource for EksTokens {
    async fn credential(&self) -> Result<Credential> {
        let mut made = None;
        // A signing that all who waited for it gave up may have ended long ago; then another follows.
        for _ in 0..2 {
            let token = match self.current() {
                Ok(token) => Ok(token),
                Err(signing) => {
                    let token = signing.clone().await;
                    self.keep(&signing, &token);
                    token
                }
            };
            let stale = token.as_ref().is_ok_and(|token| token.expires <= self.signer.clock.now());
            made = Some(token);
            if !stale {
                break;
            }
        }
        match made {
            Some(Ok(token)) => {
                Ok(Credential::Bearer { token: token.text, expires: Some(moment(token.expires)) })
            }
            Some(Err(failure)) => Err(self.signer.error(failure)),
            None => Err(Error::internal("no token was made")),
        }
    }
}

impl Signer {
    async fn token(&self) -> std::result::Result<Token, Failure> {
        let credentials =
            self.credentials.provide_credentials().await.map_err(|error| Failure::of(&error))?;
        // Signatures know whole seconds.
        let at = Timestamp::from_millis(self.clock.now().as_millis().div_euclid(1000) * 1000);
        let mut expires = at + HONOURED;
        if let Some(end) = credentials.expiry().map(Timestamp::from) {
            if end <= at {
                let why = format!("the credentials of AWS expired at {end}");
                return Err(Failure { kind: ErrorKind::Denied, why });
            }
            expires = expires.min(end);
        }
        let url = self.presigned(&credentials.into(), moment(at)).map_err(|error| Failure {
            kind: ErrorKind::Internal,
            why: format!("the question to STS cannot be signed: {error}"),
        })?;
        let text = SecretString::from(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(url)));
        Ok(Token { text, expires })
    }

    fn presigned(
        &self,
        identity: &aws_smithy_runtime_api::client::identity::Identity,
        at: SystemTime,
    ) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        let host = format!("sts.{}.{}", self.region, domain(&self.region));
        let url = format!("https://{host}/?Action=GetCallerIdentity&Version=2011-06-15");
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(EXPIRES);
        let parameters = v4::SigningParams::builder()
            .identity(identity)
            .region(&self.region)
            .name("sts")
            .time(at)
            .settings(settings)
            .build()?
            .into();
        let headers = [("host", host.as_str()), (CLUSTER_HEADER, self.cluster.as_str())];
        let request = SignableRequest::new("GET", &url, headers.into_iter(), SignableBody::Bytes(b""))?;
        let (instructions, _) = sign(request, &parameters)?.into_parts();
        let (_, mut added) = instructions.into_parts();
        // Last, as the AWS CLI has it.
        added.sort_by_key(|(name, _)| *name == "X-Amz-Signature");
        let added = added.iter().map(|(name, value)| format!("&{name}={}", encoded(value)));
        Ok(url + &added.collect::<String>())
    }

    fn error(&self, failure: Failure) -> Error {
        let error = Error::new(failure.kind, failure.why)
            .operation("make a token for")
            .subject(format!("cluster {} in {}", self.cluster, self.region));
        match failure.kind {
            ErrorKind::Denied => {
                error.help("log in again, or check the profile, the role and the environment of AWS")
            }
            _ => error,
        }
    }
}

impl Failure {
    fn of(error: &CredentialsError) -> Self {
        let kind = match error {
            CredentialsError::ProviderTimedOut(_) => ErrorKind::Unavailable,
            _ => ErrorKind::Denied,
        };
        let mut why = format!("the credentials of AWS cannot be had: {error}");
        let mut source = std::error::Error::source(error);
        while let Some(error) = source {
            let text = error.to_string();
            if !why.contains(&text) {
                why = format!("{why}: {text}");
            }
            source = error.source();
        }
        Self { kind, why }
    }
}

/// Without tokens and credentials.
impl fmt::Debug for EksTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EksTokens")
            .field("cluster", &self.signer.cluster)
            .field("region", &self.signer.region)
            .finish_non_exhaustive()
    }
}

fn moment(time: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or_default())
}

#[cfg(test)]
mod tests;
