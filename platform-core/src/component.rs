//! Components: what is installed into clusters beside the applications.

use crate::{
    application::Resources,
    cluster::ClusterRole,
    error::Result,
    image::Image,
    image_overrides::ImageOverrides,
    manifest::Manifest,
    name::{ClusterName, ComponentName, Namespace, PlatformName},
    quantity::Quantity,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
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
    /// What images are replaced by that the component chose by itself: what the orchestrator says.
    pub images: ImageOverrides,
}

impl ComponentTarget {
    /// A target where no image is replaced.
    pub fn new(
        platform: PlatformName,
        cluster: ClusterName,
        role: ClusterRole,
        namespace: Namespace,
    ) -> Self {
        Self { platform, cluster, role, namespace, images: ImageOverrides::default() }
    }

    /// Sets what images are replaced by.
    #[must_use]
    pub fn images(mut self, images: ImageOverrides) -> Self {
        self.images = images;
        self
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

/// Where a component keeps its data. In a document: `{size: 20Gi, class: fast}` or `{ephemeral: true}`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Storage {
    /// How much each replica gets. Default: the component's own size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Quantity>,
    /// The storage class of its volumes. Default: the cluster's default class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Keeps the data on the pod's node, where it is lost with the pod, instead of in a volume. Default: false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ephemeral: bool,
}

impl Storage {
    /// Volumes of this size, which outlive their pods.
    pub fn persistent(size: Quantity) -> Self {
        Self { size: Some(size), ..Self::default() }
    }

    /// Room on the pod's node, of the component's own size, which is lost with the pod.
    pub fn ephemeral() -> Self {
        Self { ephemeral: true, ..Self::default() }
    }

    /// Sets the size.
    #[must_use]
    pub fn size(mut self, size: Quantity) -> Self {
        self.size = Some(size);
        self
    }

    /// Sets the storage class.
    #[must_use]
    pub fn class(mut self, class: impl Into<String>) -> Self {
        self.class = Some(class.into());
        self
    }
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
    /// Images by the name of their container. Default: what the orchestrator says, else the catalogue's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, Image>,
    /// How many pods of it there are, where that can be chosen. Default: the catalogue's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// What containers request and are limited to, by the container's name. Default: the catalogue's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<String, Resources>,
    /// Where its data is, if it has any. Default: volumes of the catalogue's size and the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// What only this component knows; the catalogue checks it. Default: nothing.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub settings: Map<String, Value>,
}

impl ComponentSpec {
    /// The catalogue's component of this name with its defaults.
    pub fn new(name: ComponentName) -> Self {
        Self {
            name,
            version: None,
            scope: None,
            images: BTreeMap::new(),
            replicas: None,
            resources: BTreeMap::new(),
            storage: None,
            settings: Map::new(),
        }
    }
}
