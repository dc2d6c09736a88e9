//! The provider of EKS clusters.

mod address;
mod connection;
mod recent;
mod support;

use crate::{
    access::{EksTokens, Kubeconfig},
    adoption::{self, Inspection},
    api::Aws,
    cost::{ClusterCost, CostEstimate, Expectations, PriceTable},
    lifecycle::{
        changes::Changes,
        job::{Deadlines, Job, Reservations, all},
        observe::{self, Observed},
    },
    ownership::{self, CLUSTER_TAG, PLATFORM_TAG},
    partition,
    permissions::{IamPolicy, PermissionScope},
    settings::EksSettings,
    stack::{self, cluster_stack_name},
    wait::Polling,
};
pub use address::{ApiServerAddress, ApiServers};
use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_eks::types as eks;
use aws_smithy_runtime_api::client::http::HttpClient;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use base64::{Engine, engine::general_purpose::STANDARD};
use connection::Connection;
use futures::FutureExt;
use jiff::Timestamp;
use platform_core::{
    Error, ErrorKind, Result,
    cluster::{
        ClusterAccess, ClusterChange, ClusterPhase, ClusterProvider, ClusterRole, ClusterSpec, ClusterStatus,
        Clusters, Deletion, ProviderCapabilities,
    },
    event::Progress,
    name::{ClusterName, PlatformName},
};
use recent::Recent;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use support::Versions;

/// How many clusters are asked for at the same time.
const CONCURRENCY: usize = 8;

/// Makes clusters at Amazon EKS. Cheap to clone.
///
/// There is no state file. What is made bears the tag `platform.dev/platform`; by that it is found again, changed and deleted, and what does not bear
/// it is never touched. A cluster is a stack of CloudFormation for its network and roles, and direct calls of EKS for everything else; each step
/// finds out what there is before it makes anything, so that a run that was killed anywhere is completed by running it again.
///
/// ```no_run
/// use platform_aws::{EksProvider, settings::EksSettings};
/// use platform_core::cluster::{ClusterProvider, Clusters};
///
/// # async fn example() -> platform_core::Result<()> {
/// let eks = EksProvider::builder()
///     .region("eu-west-1")
///     .assume_role("arn:aws:iam::111122223333:role/platform")
///     .settings(Clusters::ControlPlane, EksSettings::from_yaml("autoMode: {}\nnodeGroups: []")?)
///     .connect()
///     .await?;
/// eks.preflight().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct EksProvider(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    aws: Aws,
    sdk: SdkConfig,
    region: String,
    settings: Vec<(Clusters, EksSettings)>,
    polling: Polling,
    deadlines: Deadlines,
    parallel_creates: usize,
    api_servers: Option<Arc<dyn ApiServers>>,
    reservations: Reservations,
    recent: Recent,
    versions: Versions,
    /// Clusters that were planned, whose permissions a preflight asks about.
    planned: Mutex<BTreeMap<ClusterName, ClusterSpec>>,
}

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

    /// Checks the settings and reads the configuration of the environment. AWS is not called; [`preflight`](ClusterProvider::preflight) does.
    ///
    /// Fails with [`Invalid`](ErrorKind::Invalid) for settings that cannot be, or without a region.
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
            parallel_creates: self.parallel_creates.unwrap_or(CONCURRENCY),
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

impl EksProvider {
    /// Begins a provider.
    pub fn builder() -> EksProviderBuilder {
        EksProviderBuilder::default()
    }

    /// The region that it makes clusters in.
    pub fn region(&self) -> &str {
        &self.0.region
    }

    /// The calls that it makes.
    pub fn aws(&self) -> &Aws {
        &self.0.aws
    }

    /// How a cluster is made.
    pub fn settings_of(&self, spec: &ClusterSpec) -> EksSettings {
        let fitting = self.0.settings.iter().rev().find(|(clusters, _)| clusters.contains(spec));
        fitting.map(|(_, settings)| settings.clone()).unwrap_or_default()
    }

    /// What stands between a cluster and its spec, in detail and in the order in which it would be done; `None`: there is no cluster yet.
    pub async fn changes(&self, spec: &ClusterSpec) -> Result<Option<Changes>> {
        self.0.changes(spec, &self.settings_of(spec)).await.map_err(|e| on("plan", &spec.name, e))
    }

    /// Deletes a cluster once its name has been typed.
    ///
    /// Fails with [`Refused`](ErrorKind::Refused) if `confirmation` is not the cluster's name. [`delete`](ClusterProvider::delete) asks nothing: it
    /// is for callers that have had a confirmation of their own, as [`Platform::destroy`](platform_core::Platform::destroy).
    pub async fn delete_confirmed(
        &self,
        platform: &PlatformName,
        name: &ClusterName,
        confirmation: &str,
        progress: &Progress,
    ) -> Result<Deletion> {
        if confirmation.trim() != name.as_str() {
            let error = Error::new(ErrorKind::Refused, "the confirmation does not name the cluster");
            return Err(on("delete", name, error.help(format!("confirm with {:?}", name.as_str()))));
        }
        self.delete(platform, name, progress).await
    }

    /// The ARNs of the roles that service accounts of a cluster get by IRSA, by namespace and name: what their annotation
    /// `eks.amazonaws.com/role-arn` must say.
    pub async fn service_account_roles(
        &self,
        spec: &ClusterSpec,
    ) -> Result<BTreeMap<(String, String), String>> {
        let name = stack::service_accounts_stack_name(&spec.name);
        let Some(stack) = observe::our_stack(&self.0.aws, &spec.platform, &name)
            .await
            .map_err(|e| on("read", &spec.name, e))?
        else {
            return Ok(BTreeMap::new());
        };
        let mechanism = crate::settings::IdentityMechanism::Irsa;
        stack::service_account_roles(&stack.outputs, &self.settings_of(spec), mechanism)
            .map_err(|e| on("read", &spec.name, e))
    }

    /// The policy of IAM that a caller needs for these clusters, as small as it can be.
    pub async fn iam_policy(&self, specs: &[ClusterSpec]) -> Result<IamPolicy> {
        let caller = self
            .0
            .aws
            .account
            .caller()
            .await
            .map_err(|e| Error::from(e).operation("write").subject("the IAM policy"))?;
        let mut alike: Vec<(EksSettings, Vec<ClusterName>)> = Vec::new();
        for spec in specs {
            let settings = self.settings_of(spec);
            match alike.iter_mut().find(|(other, _)| *other == settings) {
                Some((_, names)) => names.push(spec.name.clone()),
                None => alike.push((settings, vec![spec.name.clone()])),
            }
        }
        let scope = |settings, clusters| PermissionScope {
            partition: partition::name(&self.0.region),
            account: &caller.account,
            region: &self.0.region,
            clusters,
            settings,
        };
        Ok(IamPolicy::joined(alike.iter().map(|(settings, names)| IamPolicy::new(&scope(settings, names)))))
    }

    /// What these clusters would cost in a month, by a table of prices.
    pub fn estimate(
        &self,
        specs: &[ClusterSpec],
        prices: &PriceTable,
        expected: &Expectations,
    ) -> CostEstimate {
        let clusters = specs
            .iter()
            .map(|spec| ClusterCost::new(prices, &self.0.region, spec, &self.settings_of(spec), expected))
            .collect();
        CostEstimate::new(prices, &self.0.region, clusters)
    }

    /// What a cluster is that somebody else made, and what importing it would change. Reads only.
    pub async fn inspect(&self, name: &str) -> Result<Inspection> {
        adoption::inspect(&self.0.aws, name).await
    }

    /// A kubeconfig for a cluster, whose tokens the AWS CLI makes.
    pub async fn kubeconfig(&self, platform: &PlatformName, name: &ClusterName) -> Result<Kubeconfig> {
        let access = self.access(platform, name).await?;
        let kubeconfig = Kubeconfig::new(name.as_str(), &self.0.region, access.server);
        Ok(match access.certificate_authority {
            Some(pem) => kubeconfig.certificate_authority(pem),
            None => kubeconfig,
        })
    }

    /// All settings that were given.
    pub(crate) fn all_settings(&self) -> impl Iterator<Item = &EksSettings> {
        self.0.settings.iter().map(|(_, settings)| settings)
    }

    /// The clusters that were planned so far.
    pub(crate) fn planned(&self) -> Vec<ClusterSpec> {
        self.0.planned().values().cloned().collect()
    }

    fn job<'a>(
        &'a self,
        spec: &'a ClusterSpec,
        settings: &'a EksSettings,
        progress: &'a Progress,
    ) -> Job<'a> {
        self.0.job(spec, settings, progress)
    }
}

impl Inner {
    fn job<'a>(
        &'a self,
        spec: &'a ClusterSpec,
        settings: &'a EksSettings,
        progress: &'a Progress,
    ) -> Job<'a> {
        Job {
            aws: &self.aws,
            spec,
            settings,
            polling: &self.polling,
            deadlines: self.deadlines,
            reservations: &self.reservations,
            partition: partition::name(&self.region),
            run: format!("{:032x}", rand::random::<u128>()),
            progress,
        }
    }

    fn planned(&self) -> MutexGuard<'_, BTreeMap<ClusterName, ClusterSpec>> {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn changes(&self, spec: &ClusterSpec, settings: &EksSettings) -> Result<Option<Changes>> {
        let silent = Progress::silent();
        let job = self.job(spec, settings, &silent);
        let Some(cluster) = job.own_cluster().await? else { return Ok(None) };
        let (stack, observed) = futures::try_join!(job.foundation_stack(), job.observe(cluster))?;
        let changes = job.changes(&observed, stack.as_ref())?;
        self.recent.keep(observed);
        Ok(Some(changes))
    }

    /// What is known of a cluster of this platform, from a moment ago or from now.
    async fn observed(&self, platform: &PlatformName, name: &ClusterName) -> Result<Option<Arc<Observed>>> {
        if let Some(recent) = self.recent.get(name.as_str()) {
            return Ok(Some(recent).filter(|recent| ownership::is_ours(recent.cluster.tags(), platform)));
        }
        let Some(cluster) = observe::cluster(&self.aws, platform, name.as_str()).await? else {
            return Ok(None);
        };
        let node_groups = observe::node_groups(&self.aws, name.as_str()).await?;
        Ok(Some(Arc::new(Observed::of(cluster, node_groups))))
    }

    /// The same of one that may be anybody's: what the caller may not even read is not this platform's.
    async fn observed_among_others(
        &self,
        platform: &PlatformName,
        name: &ClusterName,
    ) -> Result<Option<Arc<Observed>>> {
        match self.observed(platform, name).await {
            Err(error)
                if error.kind() == ErrorKind::Denied
                    && !name.as_str().starts_with(&format!("{platform}-")) =>
            {
                Ok(None)
            }
            observed => observed,
        }
    }

    /// Where the API server of a cluster is, once it has an address.
    async fn address(&self, name: &ClusterName, cluster: &eks::Cluster) -> Result<Option<ApiServerAddress>> {
        let is_running =
            matches!(cluster.status(), Some(eks::ClusterStatus::Active | eks::ClusterStatus::Updating));
        if let Some(api_servers) = self.api_servers.as_ref().filter(|_| is_running)
            && let Some(address) = api_servers.address(name).await?
        {
            return Ok(Some(address));
        }
        let Some(server) = cluster.endpoint().map(str::to_owned) else { return Ok(None) };
        let data = cluster.certificate_authority().and_then(|authority| authority.data());
        let decode = |data: &str| {
            STANDARD.decode(data).map_err(|e| {
                Error::new(ErrorKind::Corrupt, "its certificate authority is not base64").source(e)
            })
        };
        Ok(Some(ApiServerAddress { server, certificate_authority: data.map(decode).transpose()? }))
    }

    async fn status(
        &self,
        platform: &PlatformName,
        name: &ClusterName,
        observed: &Observed,
    ) -> Result<ClusterStatus> {
        let cluster = &observed.cluster;
        let phase = match cluster.status() {
            Some(eks::ClusterStatus::Active | eks::ClusterStatus::Updating) => ClusterPhase::Running,
            Some(eks::ClusterStatus::Deleting) => ClusterPhase::Deleting,
            Some(eks::ClusterStatus::Failed) => ClusterPhase::Broken,
            _ => ClusterPhase::Creating,
        };
        let mut status = ClusterStatus::new(name.clone(), platform.clone(), phase);
        if phase == ClusterPhase::Running {
            status.kubernetes_version = cluster.version().map(|version| format!("v{version}"));
        }
        let sizes = observed.node_groups.iter().filter_map(|group| group.scaling_config()?.desired_size());
        status.nodes = sizes.filter_map(|size| u32::try_from(size).ok()).sum();
        status.server = self.address(name, cluster).await?.map(|address| address.server);
        Ok(status)
    }

    /// The clusters of a platform: those of EKS, and those of which there is only a stack, since their creation or deletion was interrupted.
    async fn list(&self, platform: &PlatformName) -> Result<Vec<ClusterStatus>> {
        let (names, stacks) = futures::try_join!(self.aws.clusters.list(), self.aws.stacks.list())?;
        // A name that is not valid here is not one that a platform gave.
        let names: Vec<ClusterName> =
            names.into_iter().filter_map(|name| ClusterName::new(name).ok()).collect();
        let looks: Vec<_> =
            names.iter().map(|name| self.observed_among_others(platform, name).boxed()).collect();
        let observed = all(looks).await?;
        let mut clusters = BTreeMap::new();
        for (name, observed) in names.into_iter().zip(observed) {
            if let Some(observed) = observed {
                let status = self.status(platform, &name, &observed).await?;
                clusters.insert(name, status);
            }
        }
        for stack in stacks {
            if stack.tags.get(PLATFORM_TAG).map(String::as_str) != Some(platform.as_str()) {
                continue;
            }
            let Some(Ok(name)) = stack.tags.get(CLUSTER_TAG).map(ClusterName::new) else { continue };
            clusters
                .entry(name.clone())
                .or_insert_with(|| ClusterStatus::new(name, platform.clone(), ClusterPhase::Broken));
        }
        Ok(clusters.into_values().collect())
    }

    async fn describe(&self, platform: &PlatformName, name: &ClusterName) -> Result<Option<ClusterStatus>> {
        if let Some(observed) = self.observed(platform, name).await? {
            return self.status(platform, name, &observed).await.map(Some);
        }
        let stack = observe::our_stack(&self.aws, platform, &cluster_stack_name(name)).await?;
        Ok(stack.map(|_| ClusterStatus::new(name.clone(), platform.clone(), ClusterPhase::Broken)))
    }

    async fn access(&self, platform: &PlatformName, name: &ClusterName) -> Result<ClusterAccess> {
        let missing = || {
            Error::not_found(format!("platform {platform} has no such cluster in {}", self.region))
                .help("apply the platform first, or check the region and the account")
        };
        let observed = self.observed(platform, name).await?.ok_or_else(missing)?;
        let Some(address) = self.address(name, &observed.cluster).await? else {
            return Err(
                Error::new(ErrorKind::Unavailable, "its API server has no address yet").retryable(true)
            );
        };
        let mut access = ClusterAccess::new(name.clone(), address.server)
            .credentials(Arc::new(EksTokens::new(&self.sdk, &self.region, name.as_str())?));
        if let Some(pem) = address.certificate_authority {
            access = access.certificate_authority(pem);
        }
        Ok(access)
    }
}

#[async_trait]
impl ClusterProvider for EksProvider {
    fn name(&self) -> &'static str {
        "eks"
    }

    fn capabilities(&self) -> ProviderCapabilities {
        let mut capabilities = ProviderCapabilities::new(self.0.parallel_creates);
        capabilities.external_load_balancers = true;
        capabilities
    }

    async fn preflight(&self) -> Result<()> {
        let report = self.preflight_report().await?;
        report.into_result()
    }

    async fn plan(&self, spec: &ClusterSpec) -> Result<ClusterChange> {
        let settings = self.settings_of(spec);
        self.0.planned().insert(spec.name.clone(), spec.clone());
        if let Some(changes) = self.changes(spec).await? {
            return Ok(changes.summary());
        }
        let silent = Progress::silent();
        let stack = self
            .job(spec, &settings, &silent)
            .foundation_stack()
            .await
            .map_err(|e| on("plan", &spec.name, e))?;
        Ok(match stack {
            // Of this name there is something that costs money.
            Some(stack) => ClusterChange::Update {
                differences: vec![format!(
                    "its creation was interrupted: stack {} is {}, the cluster is not there",
                    stack.name, stack.status
                )],
            },
            None => ClusterChange::Create,
        })
    }

    async fn warnings(&self, spec: &ClusterSpec) -> Result<Vec<String>> {
        let observed = self.0.observed(&spec.platform, &spec.name).await;
        let Some(observed) = observed.map_err(|e| on("read", &spec.name, e))? else { return Ok(Vec::new()) };
        let cluster = &observed.cluster;
        let policy = cluster.upgrade_policy().and_then(|policy| policy.support_type());
        let versions = self.0.versions.get(&self.0.aws).await;
        let warning = support::warning(&spec.name, observed.version(), policy, &versions, Timestamp::now());
        Ok(warning.into_iter().collect())
    }

    async fn create(&self, spec: &ClusterSpec, progress: &Progress) -> Result<ClusterStatus> {
        let settings = self.settings_of(spec);
        self.0.recent.forget(spec.name.as_str());
        let create = async {
            let cluster = self.job(spec, &settings, progress).create().await?;
            let groups = observe::node_groups(&self.0.aws, spec.name.as_str()).await?;
            self.0.status(&spec.platform, &spec.name, &Observed::of(cluster, groups)).await
        };
        create.await.map_err(|e| on("create", &spec.name, e))
    }

    async fn list(&self, platform: &PlatformName) -> Result<Vec<ClusterStatus>> {
        let listed = self.0.list(platform).await;
        listed.map_err(|e: Error| e.operation("list").subject(format!("clusters of {platform}")))
    }

    async fn describe(&self, platform: &PlatformName, name: &ClusterName) -> Result<Option<ClusterStatus>> {
        self.0.describe(platform, name).await.map_err(|e| on("describe", name, e))
    }

    async fn access(&self, platform: &PlatformName, name: &ClusterName) -> Result<ClusterAccess> {
        self.0.access(platform, name).await.map_err(|e| on("reach", name, e))
    }

    async fn delete(
        &self,
        platform: &PlatformName,
        name: &ClusterName,
        progress: &Progress,
    ) -> Result<Deletion> {
        self.0.recent.forget(name.as_str());
        // What was made is found by its tags: nothing of the spec is needed but its name.
        let spec = ClusterSpec::new(platform.clone(), name.clone(), ClusterRole::ControlPlane);
        let settings = EksSettings::default();
        let deleted = self.job(&spec, &settings, progress).delete().await;
        self.0.recent.forget(name.as_str());
        deleted.map_err(|e| on("delete", name, e))
    }
}

fn on(operation: &str, name: &ClusterName, error: Error) -> Error {
    error.operation(operation).subject(format!("cluster {name}"))
}
