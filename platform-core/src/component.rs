//! Components: what is installed into clusters beside the applications.

use crate::{
    cluster::ClusterRole,
    error::Result,
    image::Image,
    manifest::Manifest,
    name::{ClusterName, ComponentName, Namespace, PlatformName},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// The namespace of components in every cluster.
pub const SYSTEM_NAMESPACE: &str = "platform-system";

/// Into which clusters a component goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ComponentScope {
    /// Into every cluster.
    #[default]
    EveryCluster,
    /// Into those of environments.
    Environments,
    /// Into the control plane.
    ControlPlane,
}

impl ComponentScope {
    /// Whether a component of this scope goes into a cluster of `role`.
    pub fn includes(self, role: &ClusterRole) -> bool {
        match self {
            Self::EveryCluster => true,
            Self::Environments => matches!(role, ClusterRole::Environments(_)),
            Self::ControlPlane => matches!(role, ClusterRole::ControlPlane),
        }
    }
}

/// Where a component is rendered for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ComponentTarget {
    /// The platform.
    pub platform: PlatformName,
    /// The cluster.
    pub cluster: ClusterName,
    /// What the cluster is for.
    pub role: ClusterRole,
    /// The namespace for namespaced objects; it is created before the component is applied.
    pub namespace: Namespace,
}

impl ComponentTarget {
    /// A target.
    pub fn new(
        platform: PlatformName,
        cluster: ClusterName,
        role: ClusterRole,
        namespace: Namespace,
    ) -> Self {
        Self { platform, cluster, role, namespace }
    }
}

/// Something that is installed into clusters: an ingress, an exporter.
///
/// Implemented by the catalogue of `platform-k8s` and by users; rendered by [`Platform`](crate::Platform) when it plans.
///
/// # Behavior
/// Rendering is pure: equal targets give equal manifests, and nothing is read from outside.
pub trait Component: Send + Sync + fmt::Debug {
    /// Its name, unique in a platform.
    fn name(&self) -> &ComponentName;

    /// The version of what it installs.
    fn version(&self) -> &str;

    /// Into which clusters it goes.
    fn scope(&self) -> ComponentScope;

    /// Components that must be ready before it is applied in the same cluster.
    fn depends_on(&self) -> Vec<ComponentName> {
        Vec::new()
    }

    /// Its objects in one cluster.
    fn manifests(&self, target: &ComponentTarget) -> Result<Vec<Manifest>>;
}

/// A component as a document names it: by its name in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct ComponentSpec {
    /// Its name in the catalogue: `node-exporter`.
    pub name: ComponentName,
    /// The version. Default: the catalogue's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The scope. Default: the component's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<ComponentScope>,
    /// Images by the name of their container. Default: the catalogue's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, Image>,
}

impl ComponentSpec {
    /// The catalogue's component of this name with its defaults.
    pub fn new(name: ComponentName) -> Self {
        Self { name, version: None, scope: None, images: BTreeMap::new() }
    }
}
