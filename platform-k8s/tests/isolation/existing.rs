//! A provider of clusters that are there already.

use async_trait::async_trait;
use platform_core::{
    Error, Result,
    cluster::{
        ClusterAccess, ClusterChange, ClusterPhase, ClusterProvider, ClusterSpec, ClusterStatus, Deletion,
        ProviderCapabilities,
    },
    event::Progress,
    name::{ClusterName, PlatformName},
};
use platform_k8s::access_from_kubeconfig;
use platform_testkit::kubernetes::EmbeddedApi;
use std::{collections::BTreeMap, fmt, path::PathBuf};

/// Clusters by the ends of their names; the control plane is an embedded one, of which nothing is asked but that it is another.
pub(crate) struct Existing {
    kubeconfigs: BTreeMap<&'static str, PathBuf>,
    control_plane: EmbeddedApi,
}

impl Existing {
    pub(crate) async fn of(kubeconfigs: impl IntoIterator<Item = (&'static str, PathBuf)>) -> Self {
        let control_plane = EmbeddedApi::builder().start().await.unwrap();
        Self { kubeconfigs: kubeconfigs.into_iter().collect(), control_plane }
    }
}

impl fmt::Debug for Existing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Existing").field("kubeconfigs", &self.kubeconfigs).finish_non_exhaustive()
    }
}

#[async_trait]
impl ClusterProvider for Existing {
    fn name(&self) -> &'static str {
        "existing"
    }

    fn capabilities(&self) -> ProviderCapabilities {
        ProviderCapabilities::new(1)
    }

    async fn preflight(&self) -> Result<()> {
        Ok(())
    }

    async fn plan(&self, _: &ClusterSpec) -> Result<ClusterChange> {
        Ok(ClusterChange::Unchanged)
    }

    async fn create(&self, spec: &ClusterSpec, _: &Progress) -> Result<ClusterStatus> {
        Ok(ClusterStatus::new(spec.name.clone(), spec.platform.clone(), ClusterPhase::Running))
    }

    async fn list(&self, _: &PlatformName) -> Result<Vec<ClusterStatus>> {
        Ok(Vec::new())
    }

    async fn describe(&self, platform: &PlatformName, name: &ClusterName) -> Result<Option<ClusterStatus>> {
        Ok(Some(ClusterStatus::new(name.clone(), platform.clone(), ClusterPhase::Running)))
    }

    async fn access(&self, _: &PlatformName, name: &ClusterName) -> Result<ClusterAccess> {
        if name.as_str().ends_with("-control-plane") {
            return Ok(ClusterAccess::new(name.clone(), self.control_plane.url()));
        }
        let known = self.kubeconfigs.iter().find(|(end, _)| name.as_str().ends_with(**end));
        let (_, path) = known.ok_or_else(|| Error::not_found("there is no such cluster"))?;
        access_from_kubeconfig(path, None, name.clone())
    }

    async fn delete(&self, _: &PlatformName, _: &ClusterName, _: &Progress) -> Result<Deletion> {
        Ok(Deletion::Absent)
    }
}
