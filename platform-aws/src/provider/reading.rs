//! What clusters there are, how they are, and how they are reached.

use super::{ApiServerAddress, Inner};
use crate::{
    access::EksTokens,
    lifecycle::{
        job::all,
        observe::{self, Observed},
    },
    ownership::{self, CLUSTER_TAG},
    stack::cluster_stack_name,
};
use aws_sdk_eks::types as eks;
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::FutureExt;
use platform_core::{
    Error, ErrorKind, Result,
    cluster::{ClusterAccess, ClusterPhase, ClusterStatus},
    name::{ClusterName, PlatformName},
};
use std::{collections::BTreeMap, sync::Arc};

impl Inner {
    /// What is known of a cluster of this platform, from a moment ago or from now.
    pub(super) async fn observed(
        &self,
        platform: &PlatformName,
        name: &ClusterName,
    ) -> Result<Option<Arc<Observed>>> {
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

    pub(super) async fn status(
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
    pub(super) async fn list(&self, platform: &PlatformName) -> Result<Vec<ClusterStatus>> {
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
            if !ownership::is_our_stack(&stack, platform) {
                continue;
            }
            let Some(Ok(name)) = stack.tags.get(CLUSTER_TAG).map(ClusterName::new) else { continue };
            clusters
                .entry(name.clone())
                .or_insert_with(|| ClusterStatus::new(name, platform.clone(), ClusterPhase::Broken));
        }
        Ok(clusters.into_values().collect())
    }

    pub(super) async fn describe(
        &self,
        platform: &PlatformName,
        name: &ClusterName,
    ) -> Result<Option<ClusterStatus>> {
        if let Some(observed) = self.observed(platform, name).await? {
            return self.status(platform, name, &observed).await.map(Some);
        }
        let stack = observe::our_stack(&self.aws, platform, &cluster_stack_name(name)).await?;
        Ok(stack.map(|_| ClusterStatus::new(name.clone(), platform.clone(), ClusterPhase::Broken)))
    }

    pub(super) async fn access(&self, platform: &PlatformName, name: &ClusterName) -> Result<ClusterAccess> {
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
