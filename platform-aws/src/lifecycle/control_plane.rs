//! The cluster itself: its creation, its configuration and its version.

use super::{
    changes::{self, Change},
    foundation::Foundation,
    job::{Job, all},
    observe::Observed,
};
use crate::{
    api::{ApiError, ApiErrorKind},
    ownership,
    settings::{Endpoint, Network, NodePool, SupportType},
    wait::{State, is_role_not_known_yet},
};
use aws_sdk_eks::{
    operation::{
        create_cluster::builders::CreateClusterInputBuilder,
        update_cluster_config::builders::UpdateClusterConfigInputBuilder,
        update_cluster_version::builders::UpdateClusterVersionInputBuilder,
    },
    types as eks,
};
use futures::FutureExt;
use platform_core::{Error, ErrorKind, Result};

/// How often a cluster is looked at anew.
const ROUNDS: usize = 6;

impl Job<'_> {
    /// The cluster, active; made if it is not there, waited for if it is being made.
    pub(crate) async fn ensure_cluster(&self, foundation: &Foundation) -> Result<eks::Cluster> {
        let what = format!("cluster {}", self.name());
        for _ in 0..ROUNDS {
            let Some(cluster) = self.own_cluster().await? else {
                self.progress.report(format!("creating cluster {}", self.name()));
                let request = self.create_request(foundation)?;
                let created = self
                    .waiter(self.deadlines.settle)
                    .settle(&what, is_role_not_known_yet, || self.aws.clusters.create(request.clone()))
                    .await;
                match created {
                    Ok(cluster) if cluster.status() == Some(&eks::ClusterStatus::Active) => {
                        return Ok(cluster);
                    }
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(creation_refused(error)),
                }
                self.await_cluster().await?;
                continue;
            };
            match cluster.status() {
                Some(eks::ClusterStatus::Active) => return Ok(cluster),
                Some(eks::ClusterStatus::Failed) => return Err(failed(&cluster)),
                Some(eks::ClusterStatus::Deleting) => self.await_cluster_gone().await?,
                _ => self.await_cluster().await?,
            }
        }
        Err(Error::new(
            ErrorKind::Conflict,
            format!("cluster {} changed {ROUNDS} times while it was worked on", self.name()),
        )
        .help("see who else works on it, then run it again"))
    }

    async fn await_cluster(&self) -> Result<()> {
        let read = || async {
            Ok(match self.own_cluster().await? {
                Some(cluster) => match cluster.status() {
                    Some(eks::ClusterStatus::Active | eks::ClusterStatus::Failed) => State::Done(()),
                    status => State::Pending(status.map_or("UNKNOWN", eks::ClusterStatus::as_str).to_owned()),
                },
                None => State::Pending("NOT FOUND".to_owned()),
            })
        };
        self.waiter(self.deadlines.cluster).until(&format!("cluster {}", self.name()), read).await
    }

    pub(crate) async fn await_cluster_gone(&self) -> Result<()> {
        let read = || async {
            Ok(match self.own_cluster().await? {
                None => State::Done(()),
                Some(cluster) if cluster.status() == Some(&eks::ClusterStatus::Failed) => {
                    return Err(failed(&cluster));
                }
                Some(cluster) => {
                    State::Pending(cluster.status().map_or("UNKNOWN", eks::ClusterStatus::as_str).to_owned())
                }
            })
        };
        if let Ok(State::Done(())) = read().await {
            return Ok(());
        }
        self.waiter(self.deadlines.cluster).until(&format!("deletion of cluster {}", self.name()), read).await
    }

    fn create_request(&self, foundation: &Foundation) -> Result<CreateClusterInputBuilder> {
        let settings = self.settings;
        let outputs = &foundation.outputs;
        let role = match &settings.roles {
            Some(roles) => roles.cluster.clone(),
            None => outputs.cluster_role()?.to_owned(),
        };
        let mut network = eks::KubernetesNetworkConfigRequest::builder();
        if let Some(cidr) = settings.service_cidr {
            network = network.service_ipv4_cidr(cidr.to_string());
        }
        let mut request = CreateClusterInputBuilder::default()
            .name(self.name())
            .role_arn(role)
            .set_version(self.spec.kubernetes_version.clone())
            .resources_vpc_config(self.vpc_config(foundation)?)
            .logging(self.logging())
            .access_config(
                // The creator's own entry comes with the cluster, in one call: there is no moment in which nobody may use it.
                eks::CreateAccessConfigRequest::builder()
                    .authentication_mode(eks::AuthenticationMode::Api)
                    .bootstrap_cluster_creator_admin_permissions(true)
                    .build(),
            )
            .bootstrap_self_managed_addons(false)
            .upgrade_policy(
                eks::UpgradePolicyRequest::builder()
                    .support_type(support_type(settings.upgrade_policy))
                    .build(),
            )
            .deletion_protection(self.deletion_protection())
            .client_request_token(self.token(foundation.incarnation(), "CreateCluster", ""));
        let mut tags = self.tags();
        if self.deletion_protection() {
            tags.insert(ownership::PROTECTED_TAG.to_owned(), "true".to_owned());
        }
        request = request.set_tags(Some(ownership::for_eks(&tags)));
        if let Some(key) = &settings.secrets_encryption_key {
            request = request.encryption_config(encryption(key));
        }
        if let Some(auto) = &settings.auto_mode {
            // EKS takes the three of them together or not at all.
            let pools = auto.node_pools.iter().map(|pool| match pool {
                NodePool::GeneralPurpose => "general-purpose".to_owned(),
                NodePool::System => "system".to_owned(),
            });
            let compute = eks::ComputeConfigRequest::builder()
                .enabled(true)
                .set_node_pools(Some(pools.collect()))
                .node_role_arn(self.node_role(foundation)?);
            network =
                network.elastic_load_balancing(eks::ElasticLoadBalancing::builder().enabled(true).build());
            request = request.compute_config(compute.build()).storage_config(
                eks::StorageConfigRequest::builder()
                    .block_storage(eks::BlockStorage::builder().enabled(true).build())
                    .build(),
            );
        }
        Ok(request.kubernetes_network_config(network.build()))
    }

    pub(crate) fn node_role(&self, foundation: &Foundation) -> Result<String> {
        match self.settings.roles.as_ref().and_then(|roles| roles.node.clone()) {
            Some(role) => Ok(role),
            None => Ok(foundation.outputs.node_role()?.to_owned()),
        }
    }

    fn vpc_config(&self, foundation: &Foundation) -> Result<eks::VpcConfigRequest> {
        let config = match &self.settings.network {
            Network::New(_) => {
                let outputs = &foundation.outputs;
                let subnets = outputs.private_subnets.iter().chain(&outputs.public_subnets).cloned();
                eks::VpcConfigRequest::builder()
                    .set_subnet_ids(Some(subnets.collect()))
                    .security_group_ids(outputs.security_group()?)
            }
            Network::Existing(existing) => {
                let subnets = existing.subnets.iter().chain(&existing.control_plane_subnets).cloned();
                let groups = (!existing.security_groups.is_empty()).then(|| existing.security_groups.clone());
                eks::VpcConfigRequest::builder()
                    .set_subnet_ids(Some(subnets.collect()))
                    .set_security_group_ids(groups)
            }
        };
        Ok(self.endpoint(config).build())
    }

    fn endpoint(
        &self,
        config: eks::builders::VpcConfigRequestBuilder,
    ) -> eks::builders::VpcConfigRequestBuilder {
        let endpoint = &self.settings.endpoint;
        let config = config.endpoint_public_access(endpoint.public).endpoint_private_access(endpoint.private);
        if endpoint.public {
            config.set_public_access_cidrs(Some(public_access_cidrs(endpoint)))
        } else {
            config
        }
    }

    fn logging(&self) -> eks::Logging {
        let all = [
            eks::LogType::Api,
            eks::LogType::Audit,
            eks::LogType::Authenticator,
            eks::LogType::ControllerManager,
            eks::LogType::Scheduler,
        ];
        let wanted: Vec<eks::LogType> =
            self.settings.logging.iter().map(|log| changes::log_type(*log)).collect();
        let (on, off): (Vec<_>, Vec<_>) = all.into_iter().partition(|log| wanted.contains(log));
        let mut logging = eks::Logging::builder();
        for (types, enabled) in [(on, true), (off, false)] {
            if !types.is_empty() {
                logging = logging.cluster_logging(
                    eks::LogSetup::builder().set_types(Some(types)).enabled(enabled).build(),
                );
            }
        }
        logging.build()
    }

    /// Makes one change of the control plane.
    pub(crate) async fn change_control_plane(
        &self,
        change: &Change,
        observed: &Observed,
        foundation: &Foundation,
    ) -> Result<()> {
        let request = UpdateClusterConfigInputBuilder::default().name(self.name());
        let request = match change {
            Change::SetEndpoint(_) => {
                request.resources_vpc_config(self.endpoint(eks::VpcConfigRequest::builder()).build())
            }
            Change::SetLogging { .. } => request.logging(self.logging()),
            Change::SetUpgradePolicy(policy) => request.upgrade_policy(
                eks::UpgradePolicyRequest::builder().support_type(support_type(*policy)).build(),
            ),
            Change::SetDeletionProtection(on) => request.deletion_protection(*on),
            Change::SetTags(_) => return self.set_tags(&observed.cluster, &self.tags()).await,
            Change::Upgrade { from, to } => return self.upgrade(from, to, observed, foundation).await,
            _ => return Ok(()),
        };
        self.progress.report(change.to_string());
        let Change::SetDeletionProtection(on) = change else {
            return self.configure(request, &change.to_string()).await;
        };
        // The tag stands as long as there is a protection of ours: one without it would be somebody else's.
        let tags = [(ownership::PROTECTED_TAG.to_owned(), on.to_string())].into();
        if *on {
            self.set_tags(&observed.cluster, &tags).await?;
        }
        self.configure(request, &change.to_string()).await?;
        if !*on {
            self.set_tags(&observed.cluster, &tags).await?;
        }
        Ok(())
    }

    /// Has the cluster's configuration changed and waits for it. EKS takes one update at a time.
    pub(crate) async fn configure(&self, request: UpdateClusterConfigInputBuilder, what: &str) -> Result<()> {
        let is_done = |error: &ApiError| {
            error.kind == ApiErrorKind::Invalid && error.message.contains("already at the desired")
        };
        let updated = self
            .waiter(self.deadlines.settle)
            .settle(
                what,
                |_| false,
                || async {
                    match self.aws.clusters.update_config(request.clone()).await {
                        Ok(update) => Ok(Some(update)),
                        Err(error) if is_done(&error) => Ok(None),
                        Err(error) => Err(error),
                    }
                },
            )
            .await?;
        match updated {
            Some(update) => {
                self.finish_update(what, &update, |request| request, self.deadlines.cluster).await
            }
            None => Ok(()),
        }
    }

    pub(crate) async fn set_tags(
        &self,
        cluster: &eks::Cluster,
        tags: &std::collections::BTreeMap<String, String>,
    ) -> Result<()> {
        let Some(arn) = cluster.arn() else { return Ok(()) };
        Ok(self.aws.clusters.tag(arn, tags).await?)
    }

    /// Upgrades by one minor version. Node groups that lag come first, so that no kubelet is ever more than one version behind by our doing.
    async fn upgrade(
        &self,
        from: &str,
        to: &str,
        observed: &Observed,
        foundation: &Foundation,
    ) -> Result<()> {
        self.upgrade_node_groups(from).await?;
        // Of a run that ends on the way, the next one sees the versions of the control plane and of nodes, but not what addons lack.
        self.set_tags(&observed.cluster, &[(ownership::UPGRADE_TAG.to_owned(), to.to_owned())].into())
            .await?;
        self.progress.report(format!("upgrading the control plane from {from} to {to}"));
        let request = UpdateClusterVersionInputBuilder::default()
            .name(self.name())
            .version(to)
            .client_request_token(self.token(foundation.incarnation(), "UpdateClusterVersion", to));
        let what = format!("upgrade of cluster {} to {to}", self.name());
        let update = self
            .waiter(self.deadlines.settle)
            .settle(&what, |_| false, || self.aws.clusters.update_version(request.clone()))
            .await?;
        self.finish_update(&what, &update, |request| request, self.deadlines.cluster).await?;
        self.finish_upgrade(to, observed).await?;
        self.upgrade_node_groups(to).await
    }

    /// Brings addons along with the control plane, and notes that they are.
    pub(crate) async fn finish_upgrade(&self, version: &str, observed: &Observed) -> Result<()> {
        self.upgrade_addons(version).await?;
        let done = [(ownership::UPGRADE_TAG.to_owned(), "done".to_owned())].into();
        self.set_tags(&observed.cluster, &done).await
    }

    /// Brings all node groups of ours that are behind to a version, at the same time.
    async fn upgrade_node_groups(&self, version: &str) -> Result<()> {
        let groups = self.observe_node_groups().await?;
        let mut upgrades = Vec::new();
        for group in &groups {
            let lags = changes::minor(group.version().unwrap_or_default()) < changes::minor(version);
            if let Some(name) = group.nodegroup_name()
                && lags
                && ownership::is_ours(group.tags(), &self.spec.platform)
            {
                upgrades.push(self.upgrade_node_group(name, version).boxed());
            }
        }
        all(upgrades).await.map(drop)
    }
}

/// Why a creation is refused, with what can be done.
fn creation_refused(error: Error) -> Error {
    let message = error.message().to_ascii_lowercase();
    if message.contains("unsupported kubernetes version") || message.contains("kubernetes version") {
        return error.help("take a version that EKS has: `aws eks describe-cluster-versions` lists them");
    }
    if message.contains("availability zone") || message.contains("unsupportedavailabilityzone") {
        return error.help(
            "EKS is not in one of the subnets' zones: name subnets of other zones, or take another region",
        );
    }
    error
}

/// Secrets are the only thing that a key can be for; EKS still wants them named.
#[allow(deprecated, reason = "newer versions of Kubernetes do not need it named, older ones do")]
fn encryption(key: &str) -> eks::EncryptionConfig {
    let provider = eks::Provider::builder().key_arn(key).build();
    eks::EncryptionConfig::builder().resources("secrets").provider(provider).build()
}

/// From where the endpoint is reached, as EKS says it.
pub(crate) fn public_access_cidrs(endpoint: &Endpoint) -> Vec<String> {
    if endpoint.public_access_cidrs.is_empty() {
        return vec!["0.0.0.0/0".to_owned()];
    }
    endpoint.public_access_cidrs.iter().map(ToString::to_string).collect()
}

pub(crate) fn support_type(policy: SupportType) -> eks::SupportType {
    match policy {
        SupportType::Standard => eks::SupportType::Standard,
        SupportType::Extended => eks::SupportType::Extended,
    }
}

fn failed(cluster: &eks::Cluster) -> Error {
    let issues: Vec<String> = cluster
        .health()
        .map(aws_sdk_eks::types::ClusterHealth::issues)
        .unwrap_or_default()
        .iter()
        .map(|issue| {
            let code = issue.code().map(aws_sdk_eks::types::ClusterIssueCode::as_str).unwrap_or_default();
            format!("{code}: {}", issue.message().unwrap_or_default())
        })
        .collect();
    let why = if issues.is_empty() { "EKS does not say why".to_owned() } else { issues.join("; ") };
    Error::new(ErrorKind::Failed, format!("cluster {} is FAILED: {why}", cluster.name().unwrap_or_default()))
        .help("delete it, mend what it names, then create it again")
}
