//! The orchestrator: connects to clusters and renders the platform's words to Kubernetes objects.

use crate::{cluster::KubeCluster, components, connection, isolation, labels, render};
use async_trait::async_trait;
use platform_core::{
    Application, Image, ImageOverrides, Result,
    cluster::{Cluster, ClusterAccess},
    component::{Component, ComponentSpec},
    event::Progress,
    isolation::{Attempt, Contents},
    manifest::Manifest,
    name::{Namespace, PlatformName},
    orchestrator::{IsolatedCluster, IsolationScope, Orchestrator, Placement},
};
use serde_json::Value;
use std::sync::Arc;

/// The name of the container that tries the network.
const PROBE: &str = "probe";
const PROBE_IMAGE: &str = "docker.io/library/busybox:1.37.0";

/// Kubernetes as the platform's orchestrator.
///
/// ```
/// use platform_k8s::Kubernetes;
///
/// let kubernetes = Kubernetes::default().concurrency(16).ingress_class("traefik");
/// # let _ = kubernetes;
/// ```
#[derive(Debug, Clone)]
pub struct Kubernetes {
    field_manager: String,
    concurrency: usize,
    images: ImageOverrides,
    ingress_class: Option<String>,
    ingress_namespace: Option<String>,
    break_glass_group: String,
}

impl Default for Kubernetes {
    fn default() -> Self {
        Self {
            field_manager: labels::MANAGER.to_owned(),
            concurrency: Self::DEFAULT_CONCURRENCY,
            images: ImageOverrides::default(),
            ingress_class: None,
            ingress_namespace: None,
            break_glass_group: Self::BREAK_GLASS_GROUP.to_owned(),
        }
    }
}

impl Kubernetes {
    /// How many requests to one API server are under way at once unless told otherwise.
    pub const DEFAULT_CONCURRENCY: usize = 32;

    /// The group of those whom no deletion guard stops, unless told otherwise. It has no members until somebody gives it some.
    pub const BREAK_GLASS_GROUP: &str = "platform:break-glass";

    /// Sets the field manager of server-side apply. Default: `platform`. Two programs that manage the same platform must
    /// use the same one, or each is a stranger to the other's fields.
    #[must_use]
    pub fn field_manager(mut self, name: impl Into<String>) -> Self {
        self.field_manager = name.into();
        self
    }

    /// Sets how many requests to one API server are under way at once, at least 1.
    #[must_use]
    pub fn concurrency(mut self, requests: usize) -> Self {
        self.concurrency = requests.max(1);
        self
    }

    /// Takes the images of the catalogue's components from a mirror: `HOST[:PORT][/PATH]` stands in place of the registry's host.
    /// Images that are named by a component itself, by [`image`](Self::image) or by an application are left as they are.
    #[must_use]
    pub fn registry_mirror(mut self, mirror: impl Into<String>) -> Self {
        self.images = self.images.mirror(mirror);
        self
    }

    /// Sets the image of all containers of this name in the catalogue's components: `prometheus`. Components that name theirs themselves
    /// are left as they are.
    #[must_use]
    pub fn image(mut self, container: impl Into<String>, image: Image) -> Self {
        self.images = self.images.image(container, image);
        self
    }

    /// Sets many images at once, as [`ImageOverrides::from_file`] reads them, beside those that are set already.
    #[must_use]
    pub fn images(mut self, images: ImageOverrides) -> Self {
        self.images = self.images.and(images);
        self
    }

    /// Sets the class of the ingresses of applications. Default: none, which leaves it to the cluster's default class.
    #[must_use]
    pub fn ingress_class(mut self, class: impl Into<String>) -> Self {
        self.ingress_class = Some(class.into());
        self
    }

    /// Sets the namespace in which the ingress controller runs, from which applications with routes may then be reached. Default:
    /// the platform's own, which may always reach them.
    #[must_use]
    pub fn ingress_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.ingress_namespace = Some(namespace.into());
        self
    }

    /// Sets the group of those whom no deletion guard stops. Default: [`BREAK_GLASS_GROUP`](Self::BREAK_GLASS_GROUP).
    #[must_use]
    pub fn break_glass_group(mut self, group: impl Into<String>) -> Self {
        self.break_glass_group = group.into();
        self
    }

    /// Sets the image of the pods by which [`Platform::verify`](platform_core::Platform::verify) tries the network, as [`image`](Self::image) does for
    /// `probe`. It must have `sh`, `timeout`, `wget` and `httpd` as BusyBox has them. Default: `docker.io/library/busybox:1.37.0`.
    #[must_use]
    pub fn probe_image(self, image: Image) -> Self {
        self.image(PROBE, image)
    }

    /// Like [`Orchestrator::connect`], with the type that has kube's client inside.
    pub fn connect_kube(&self, access: &ClusterAccess) -> Result<KubeCluster> {
        let client = connection::client::client(access)?;
        let api = connection::api::Api::new(client, &self.field_manager, self.concurrency);
        Ok(KubeCluster::new(access.cluster.clone(), api))
    }

    fn image_of_probes(&self) -> Result<Image> {
        self.images.resolve(PROBE, &Image::parse(PROBE_IMAGE)?)
    }
}

#[async_trait]
impl Orchestrator for Kubernetes {
    async fn connect(&self, access: &ClusterAccess) -> Result<Arc<dyn Cluster>> {
        Ok(Arc::new(self.connect_kube(access)?))
    }

    fn isolation(&self, scope: &IsolationScope) -> Result<Vec<Manifest>> {
        render::isolation(scope, &self.break_glass_group)
    }

    async fn try_isolation(&self, clusters: &[IsolatedCluster], progress: &Progress) -> Result<Vec<Attempt>> {
        isolation::verify(self, &self.image_of_probes()?, clusters, progress).await
    }

    async fn contents(
        &self,
        cluster: &dyn Cluster,
        platform: &PlatformName,
        namespace: Option<&Namespace>,
    ) -> Result<Contents> {
        isolation::contents(cluster, platform, namespace).await
    }

    fn application(
        &self,
        application: &Application,
        image: &Image,
        placement: &Placement,
    ) -> Result<Vec<Manifest>> {
        let ingress = render::Ingress {
            class: self.ingress_class.as_deref(),
            namespace: self.ingress_namespace.as_deref(),
        };
        render::application(application, image, placement, ingress)
    }

    fn running_image(&self, application: &Application, object: &Value) -> Option<Image> {
        render::running_image(application, object)
    }

    fn image_overrides(&self) -> ImageOverrides {
        self.images.clone()
    }

    fn component(&self, spec: &ComponentSpec) -> Result<Arc<dyn Component>> {
        components::find(spec)
    }
}
