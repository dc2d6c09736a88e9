//! Between the platform's words and a cluster's objects.

use crate::{
    application::Application,
    cluster::{Cluster, ClusterAccess},
    component::{Component, ComponentSpec},
    environment::Environment,
    error::Result,
    event::Progress,
    image::Image,
    image_overrides::ImageOverrides,
    isolation::{Attempt, Contents, Isolation},
    manifest::Manifest,
    name::{ApplicationName, ClusterName, Namespace, PlatformName},
};
use async_trait::async_trait;
use serde::Serialize;
use std::{fmt, sync::Arc};

/// Where an application of an environment lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Placement {
    /// The platform.
    pub platform: PlatformName,
    /// The environment.
    pub environment: Environment,
    /// The cluster.
    pub cluster: ClusterName,
    /// The namespace.
    pub namespace: Namespace,
}

impl Placement {
    /// A placement.
    pub fn new(
        platform: PlatformName,
        environment: Environment,
        cluster: ClusterName,
        namespace: Namespace,
    ) -> Self {
        Self { platform, environment, cluster, namespace }
    }
}

/// One environment in its cluster: what has to be isolated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IsolationScope {
    /// The platform.
    pub platform: PlatformName,
    /// The environment.
    pub environment: Environment,
    /// How environments are kept apart.
    pub isolation: Isolation,
    /// The cluster.
    pub cluster: ClusterName,
    /// Its namespaces, each with the applications that live there.
    pub namespaces: Vec<(Namespace, Vec<ApplicationName>)>,
}

impl IsolationScope {
    /// A scope.
    pub fn new(
        platform: PlatformName,
        environment: Environment,
        isolation: Isolation,
        cluster: ClusterName,
        namespaces: Vec<(Namespace, Vec<ApplicationName>)>,
    ) -> Self {
        Self { platform, environment, isolation, cluster, namespaces }
    }
}

/// A running cluster whose isolation is to be tried.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct IsolatedCluster {
    /// How it is reached, with the rights of the platform.
    pub access: ClusterAccess,
    /// The environments in it; none in the control plane.
    pub scopes: Vec<IsolationScope>,
    /// Whether its workloads are simulated, so that there is no network to try.
    pub simulated: bool,
}

impl IsolatedCluster {
    /// A cluster with its environments.
    pub fn new(access: ClusterAccess, scopes: Vec<IsolationScope>, simulated: bool) -> Self {
        Self { access, scopes, simulated }
    }
}

/// Connects to clusters, and renders the platform's words to what a cluster understands.
///
/// Implemented by `platform_k8s::Kubernetes`; called by [`Platform`](crate::Platform). Providers need no client by it, and core no Kubernetes.
///
/// # Behavior
/// The rendering methods are pure: equal arguments give equal manifests.
#[async_trait]
pub trait Orchestrator: Send + Sync + fmt::Debug {
    /// A handle of the cluster behind `access`. Does no more than checking that a client can be made of it.
    async fn connect(&self, access: &ClusterAccess) -> Result<Arc<dyn Cluster>>;

    /// What keeps an environment apart: namespaces, quotas, limits, roles, network policies.
    fn isolation(&self, scope: &IsolationScope) -> Result<Vec<Manifest>>;

    /// Tries to cross every border between the environments of `clusters`, as a principal of each, and says how each attempt ended, in the order of
    /// principals. Attempts are dry runs where that gives the same answer, and otherwise undone: what is left behind when the
    /// future is dropped ends by itself and is removed by the next call.
    ///
    /// What cannot be tried is an attempt that was not made; an error is only what makes the whole impossible, such as a cluster that
    /// does not answer.
    async fn try_isolation(&self, clusters: &[IsolatedCluster], progress: &Progress) -> Result<Vec<Attempt>>;

    /// What a namespace of a cluster, or the whole of it, holds, and whose of `platform` it is. Reads only.
    async fn contents(
        &self,
        cluster: &dyn Cluster,
        platform: &PlatformName,
        namespace: Option<&Namespace>,
    ) -> Result<Contents>;

    /// An application as it runs at a placement with `image`.
    fn application(
        &self,
        application: &Application,
        image: &Image,
        placement: &Placement,
    ) -> Result<Vec<Manifest>>;

    /// The image that `object`, a workload rendered by [`application`](Self::application), runs; `None` for other objects.
    fn running_image(&self, application: &Application, object: &serde_json::Value) -> Option<Image>;

    /// What the images of components are replaced by; components that name theirs themselves are left alone. Default: nothing.
    fn image_overrides(&self) -> ImageOverrides {
        ImageOverrides::default()
    }

    /// The catalogue's component of a spec; [`Invalid`](crate::ErrorKind::Invalid), naming what there is, for an unknown name or version.
    fn component(&self, spec: &ComponentSpec) -> Result<Arc<dyn Component>>;
}
