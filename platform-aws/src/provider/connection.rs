//! With whose credentials, in which region, and how AWS is called.

use aws_config::{
    BehaviorVersion, Region, SdkConfig, profile::ProfileFileCredentialsProvider,
    provider_config::ProviderConfig, retry::RetryConfig, sts::AssumeRoleProvider, timeout::TimeoutConfig,
};
use aws_credential_types::provider::{
    ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future,
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use platform_core::{Error, Result};
use std::{fmt, time::Duration};

/// The name that sessions of assumed roles have in CloudTrail.
const SESSION: &str = "platform";

/// How AWS is connected to.
#[derive(Clone, Default)]
pub(super) struct Connection {
    pub(super) region: Option<String>,
    pub(super) profile: Option<String>,
    pub(super) role: Option<(String, Option<String>)>,
    pub(super) credentials: Option<SharedCredentialsProvider>,
    pub(super) endpoint: Option<String>,
    pub(super) http_client: Option<SharedHttpClient>,
    pub(super) retries: Option<(u32, Duration)>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("region", &self.region)
            .field("profile", &self.profile)
            .field("role", &self.role.as_ref().map(|(role, _)| role))
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// The configuration of AWS' clients. The environment, profiles and, on an instance, its metadata are read where nothing was said.
    pub(super) async fn load(&self) -> Result<SdkConfig> {
        let client = self.http_client.clone().unwrap_or_else(|| {
            // The default would bring a second crypto provider.
            Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
        });
        let named = client.clone();
        let (attempts, first_wait) = self.retries.unwrap_or((5, Duration::from_secs(1)));
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(client)
            .retry_config(
                RetryConfig::standard().with_max_attempts(attempts.max(1)).with_initial_backoff(first_wait),
            )
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(5))
                    .operation_attempt_timeout(Duration::from_secs(30))
                    .operation_timeout(Duration::from_secs(150))
                    .build(),
            );
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(endpoint) = &self.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        if let Some(credentials) = &self.credentials {
            loader = loader.credentials_provider(credentials.clone());
        }
        let mut configuration = loader.load().await;
        if let (Some(profile), None) = (&self.profile, &self.credentials) {
            // The usual chain takes the environment's keys before those of a profile, also of one that was named.
            let conditions = ProviderConfig::without_region()
                .with_region(configuration.region().cloned())
                .with_http_client(named);
            let provider =
                ProfileFileCredentialsProvider::builder().profile_name(profile).configure(&conditions);
            let inner = provider.build();
            let credentials = SharedCredentialsProvider::new(NamedProfile { name: profile.clone(), inner });
            configuration = configuration.into_builder().credentials_provider(credentials).build();
        }
        let region = configuration.region().map(ToString::to_string).unwrap_or_default();
        check_region(&region)?;
        let Some((role, external_id)) = &self.role else { return Ok(configuration) };
        let mut assumed = AssumeRoleProvider::builder(role).session_name(SESSION).configure(&configuration);
        if let Some(id) = external_id {
            assumed = assumed.external_id(id);
        }
        let provider = SharedCredentialsProvider::new(assumed.build().await);
        Ok(configuration.into_builder().credentials_provider(provider).build())
    }
}

/// A profile that says its name where it has no credentials.
#[derive(Debug)]
struct NamedProfile {
    name: String,
    inner: ProfileFileCredentialsProvider,
}

impl ProvideCredentials for NamedProfile {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            self.inner.provide_credentials().await.map_err(|error| match error {
                CredentialsError::CredentialsNotLoaded(_) => CredentialsError::not_loaded(format!(
                    "the profile {:?} does not exist, or has no credentials",
                    self.name
                )),
                error => error,
            })
        })
    }
}

fn check_region(region: &str) -> Result<()> {
    let mut parts = region.split('-');
    let (area, number) = (parts.next().unwrap_or_default(), parts.next_back().unwrap_or_default());
    let is_region = area.len() == 2
        && area.chars().all(|c| c.is_ascii_lowercase())
        && number.parse::<u8>().is_ok()
        && parts.clone().next().is_some()
        && parts.all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase()));
    if is_region {
        return Ok(());
    }
    let message = if region.is_empty() {
        "no region is set".to_owned()
    } else {
        format!("{region:?} is not a region of AWS")
    };
    Err(Error::invalid(message)
        .operation("connect to")
        .subject("AWS")
        .help("set it with `EksProviderBuilder::region` or the variable AWS_REGION, like eu-west-1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_checked_before_anybody_is_asked() {
        for region in ["eu-west-1", "us-gov-east-1", "ap-southeast-2", "cn-north-1"] {
            check_region(region).unwrap();
        }
        for region in ["", "eu-west", "EU-WEST-1", "eu west 1", "eu-west-1a", "https://eu-west-1", "eu--1"] {
            assert!(check_region(region).is_err(), "{region}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let credentials = aws_credential_types::Credentials::new("id", "very secret", None, None, "test");
        let connection = Connection {
            credentials: Some(SharedCredentialsProvider::new(credentials)),
            ..Connection::default()
        };
        assert!(!format!("{connection:?}").contains("very secret"));
    }
}
