//! Putting a provider together.

use super::{ApiServers, EksProvider, Inner, connection::Connection, recent::Recent, support::Versions};
use crate::{
    api::Aws,
    lifecycle::job::{Deadlines, Reservations},
    settings::EksSettings,
    wait::Polling,
};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::{HttpClient, SharedHttpClient};
use platform_core::{Result, cluster::Clusters};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// How many clusters are made at the same time, unless something else is said.
const PARALLEL_CREATES: usize = 8;

/// Puts an [`EksProvider`] together.
#[derive(Debug, Default)]
pub struct EksProviderBuilder {
    connection: Connection,
    aws: Option<Aws>,
    settings: Vec<(Clusters, EksSettings)>,
    polling: Polling,
    deadlines: Deadlines,
    parallel_creates: Option<usize>,
    api_servers: Option<Arc<dyn ApiServers>>,
}

impl EksProviderBuilder {
    /// Sets the region. Default: that of the environment or of the profile.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.connection.region = Some(region.into());
        self
    }

    /// Takes credentials from a profile of AWS' configuration files. Default: the usual chain: environment, profile, SSO, web identity, container,
    /// instance.
    #[must_use]
    pub fn profile(mut self, profile: impl Into<String>) -> Self {
        self.connection.profile = Some(profile.into());
        self
    }

    /// Takes the role of this ARN with these credentials, and again before each session's end.
    #[must_use]
    pub fn assume_role(mut self, arn: impl Into<String>) -> Self {
        self.connection.role = Some((arn.into(), None));
        self
    }

    /// Takes a role of another account that demands an external id.
    #[must_use]
    pub fn assume_role_with_external_id(mut self, arn: impl Into<String>, id: impl Into<String>) -> Self {
        self.connection.role = Some((arn.into(), Some(id.into())));
        self
    }

    /// Takes credentials from a provider of one's own. It is asked whenever they are about to expire.
    #[must_use]
    pub fn credentials(mut self, provider: impl ProvideCredentials + 'static) -> Self {
        self.connection.credentials = Some(SharedCredentialsProvider::new(provider));
        self
    }

    /// Calls another endpoint than AWS' own, for all services: an emulator. Default: the variable `AWS_ENDPOINT_URL`, or else AWS.
    #[must_use]
    pub fn endpoint_url(mut self, url: impl Into<String>) -> Self {
        self.connection.endpoint = Some(url.into());
        self
    }

    /// Sends requests through a client of one's own, for a proxy or to watch them.
    #[must_use]
    pub fn http_client(mut self, client: impl HttpClient + 'static) -> Self {
        self.connection.http_client = Some(SharedHttpClient::new(client));
        self
    }

    /// Sets how often a call is tried that AWS throttles or does not answer, at least once, and how long is waited before the second time; then
    /// longer each time. Default: 5 times, a second.
    #[must_use]
    pub fn retries(mut self, attempts: u32, first_wait: Duration) -> Self {
        self.connection.retries = Some((attempts, first_wait));
        self
    }

    /// Makes calls through this instead of AWS' own clients, for tests against a fake or to change single answers.
    #[must_use]
    pub fn aws(mut self, aws: Aws) -> Self {
        self.aws = Some(aws);
        self
    }

    /// Sets how some clusters are made. Where several fit, the last one counts, as a whole. Default: [`EksSettings::default`] for all.
    #[must_use]
    pub fn settings(mut self, clusters: Clusters, settings: EksSettings) -> Self {
        self.settings.push((clusters, settings));
        self
    }

    /// Sets how often AWS is asked whether something is done.
    #[must_use]
    pub fn polling(mut self, polling: Polling) -> Self {
        self.polling = polling;
        self
    }

    /// Sets how long a stack, a cluster and a node group may each take. Defaults: 20, 40 and 40 minutes.
    #[must_use]
    pub fn deadlines(mut self, stack: Duration, cluster: Duration, nodes: Duration) -> Self {
        self.deadlines = Deadlines { stack, cluster, nodes, ..self.deadlines };
        self
    }

    /// Sets how long a call is repeated that AWS does not take yet: a role that is not known everywhere, a cluster that is being updated. Default: 5
    /// minutes.
    #[must_use]
    pub fn settle_deadline(mut self, deadline: Duration) -> Self {
        self.deadlines.settle = deadline;
        self
    }

    /// Sets how many clusters are made at the same time, at least 1. Default: 8.
    #[must_use]
    pub fn parallel_creates(mut self, clusters: usize) -> Self {
        self.parallel_creates = Some(clusters.max(1));
        self
    }

    /// Sets where API servers are reached from here. Default: where EKS says.
    #[must_use]
    pub fn api_servers(mut self, api_servers: Arc<dyn ApiServers>) -> Self {
        self.api_servers = Some(api_servers);
        self
    }

    /// Checks the settings and reads the configuration of the environment. AWS is not called; [`preflight`](platform_core::cluster::ClusterProvider::preflight) does.
    ///
    /// Fails with [`Invalid`](platform_core::ErrorKind::Invalid) for settings that cannot be, or without a region.
    pub async fn connect(self) -> Result<EksProvider> {
        for (_, settings) in &self.settings {
            settings.validate()?;
        }
        let sdk = self.connection.load().await?;
        let region = sdk.region().map(ToString::to_string).unwrap_or_default();
        Ok(EksProvider(Arc::new(Inner {
            aws: self.aws.unwrap_or_else(|| Aws::new(&sdk)),
            sdk,
            region,
            settings: self.settings,
            polling: self.polling,
            deadlines: self.deadlines,
            parallel_creates: self.parallel_creates.unwrap_or(PARALLEL_CREATES),
            api_servers: self.api_servers,
            reservations: Reservations::default(),
            recent: Recent::default(),
            versions: Versions::default(),
            planned: Mutex::default(),
        })))
    }

    /// The seam as [`connect`](Self::connect) would make it, to put something before single parts of it.
    pub async fn connect_aws(&self) -> Result<Aws> {
        Ok(Aws::new(&self.connection.load().await?))
    }
}
