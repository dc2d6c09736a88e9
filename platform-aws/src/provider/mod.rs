//! The provider of EKS clusters.

mod address;
mod builder;
mod connection;
mod reading;
mod recent;
mod support;

pub use address::{ApiServerAddress, ApiServers};
pub use builder::EksProviderBuilder;

use crate::{
    access::Kubeconfig,
    adoption::{self, Inspection},
    api::Aws,
    cost::{ClusterCost, CostEstimate, Expectations, PriceTable},
    lifecycle::{
        changes::Changes,
        job::{Deadlines, Job, Reservations},
        observe::{self, Observed},
    },
    partition,
    permissions::{IamPolicy, PermissionScope},
    settings::EksSettings,
    stack,
    wait::Polling,
};
use async_trait::async_trait;
use aws_config::SdkConfig;
use jiff::Timestamp;
use platform_core::{
    Error, ErrorKind, Result,
    cluster::{
        ClusterAccess, ClusterChange, ClusterProvider, ClusterRole, ClusterSpec, ClusterStatus, Clusters,
        Deletion, ProviderCapabilities,
    },
    event::Progress,
    name::{ClusterName, PlatformName},
};
use recent::Recent;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use support::Versions;

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
            .0
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
            let cluster = self.0.job(spec, &settings, progress).create().await?;
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
        let deleted = self.0.job(&spec, &settings, progress).delete().await;
        self.0.recent.forget(name.as_str());
        deleted.map_err(|e| on("delete", name, e))
    }
}

fn on(operation: &str, name: &ClusterName, error: Error) -> Error {
    error.operation(operation).subject(format!("cluster {name}"))
}
