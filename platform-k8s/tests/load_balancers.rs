//! Clusters whose load balancers are outside of them: what made these goes before the cluster.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where it fails")]

use async_trait::async_trait;
use futures::StreamExt;
use platform_core::{
    Confirmation, Environment, Error, ErrorKind, Platform, Result,
    cluster::{
        ApplyOptions, Cluster, ClusterAccess, ClusterChange, ClusterProvider, ClusterSpec, ClusterStatus,
        Deletion, ListOptions, ProviderCapabilities,
    },
    event::{Event, Progress},
    manifest::{Manifest, ManifestSet},
    name::{ClusterName, PlatformName},
    orchestrator::Orchestrator,
};
use platform_k8s::Kubernetes;
use platform_testkit::EmbeddedProvider;
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// Embedded clusters with load balancers outside. It sees what is in a cluster at the moment of its deletion, or has lost the way to it.
#[derive(Debug, Clone)]
struct Outside {
    provider: EmbeddedProvider,
    unreachable: Arc<AtomicBool>,
    seen: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
}

impl Outside {
    fn new() -> Self {
        Self { provider: EmbeddedProvider::in_memory(), unreachable: Arc::default(), seen: Arc::default() }
    }

    async fn connect(&self, platform: &PlatformName, name: &ClusterName) -> Arc<dyn Cluster> {
        let access = self.provider.access(platform, name).await.unwrap();
        Kubernetes::default().connect(&access).await.unwrap()
    }
}

#[async_trait]
impl ClusterProvider for Outside {
    fn name(&self) -> &str {
        self.provider.name()
    }
    fn capabilities(&self) -> ProviderCapabilities {
        let mut capabilities = self.provider.capabilities();
        capabilities.external_load_balancers = true;
        capabilities
    }
    async fn preflight(&self) -> Result<()> {
        self.provider.preflight().await
    }
    async fn plan(&self, spec: &ClusterSpec) -> Result<ClusterChange> {
        self.provider.plan(spec).await
    }
    async fn create(&self, spec: &ClusterSpec, progress: &Progress) -> Result<ClusterStatus> {
        self.provider.create(spec, progress).await
    }
    async fn list(&self, platform: &PlatformName) -> Result<Vec<ClusterStatus>> {
        self.provider.list(platform).await
    }
    async fn describe(&self, platform: &PlatformName, name: &ClusterName) -> Result<Option<ClusterStatus>> {
        self.provider.describe(platform, name).await
    }
    async fn access(&self, platform: &PlatformName, name: &ClusterName) -> Result<ClusterAccess> {
        if self.unreachable.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "its endpoint is private"));
        }
        self.provider.access(platform, name).await
    }
    async fn delete(
        &self,
        platform: &PlatformName,
        name: &ClusterName,
        progress: &Progress,
    ) -> Result<Deletion> {
        let cluster = self.connect(platform, name).await;
        let mut names = Vec::new();
        for (api_version, kind) in [("v1", "Service"), ("networking.k8s.io/v1", "Ingress")] {
            let objects = cluster.list(api_version, kind, &ListOptions::all()).await.unwrap();
            names.extend(
                objects.iter().map(|o| format!("{kind} {}", o["metadata"]["name"].as_str().unwrap())),
            );
        }
        self.seen.lock().unwrap().insert(name.to_string(), names);
        self.provider.delete(platform, name, progress).await
    }
}

/// A platform in whose testing somebody has a Service with a load balancer, one without, and an Ingress.
async fn shop(provider: &Outside) -> Platform {
    let platform = Platform::builder("shop")
        .unwrap()
        .environment(Environment::new("testing").unwrap())
        .environment(Environment::new("production").unwrap().protected(true))
        .provider(provider.clone())
        .orchestrator(Kubernetes::default())
        .build()
        .unwrap();
    let plan = platform.plan().await.unwrap();
    platform.apply(&plan).unwrap().await.unwrap();
    for name in ["shop-testing", "shop-production"] {
        let cluster = platform.cluster(&ClusterName::new(name).unwrap()).await.unwrap();
        let service = |name: &str, kind: &str| {
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
                "spec": {"type": kind, "selector": {"app": "web"}, "ports": [{"port": 80}]},
            })
        };
        let ingress = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"defaultBackend": {"service": {"name": "inside", "port": {"number": 80}}}},
        });
        let objects = [service("outside", "LoadBalancer"), service("inside", "ClusterIP"), ingress];
        let manifests = objects.map(|object| Manifest::new(object).unwrap()).to_vec();
        let options = ApplyOptions::new(PlatformName::new("somebody").unwrap());
        cluster.apply(&ManifestSet::new("web", manifests).unwrap(), &options).await.unwrap();
    }
    platform
}

/// Takes the platform down; what each step said.
async fn destroy(platform: &Platform) -> BTreeMap<String, String> {
    let mut destroying = platform.destroy(&Confirmation::parse("shop production")).await.unwrap();
    let events: Vec<Event> = destroying.events().collect().await;
    destroying.await.unwrap();
    let said = events.into_iter().filter_map(|event| match event {
        Event::StepFinished { step, message, .. } => Some((step.to_string(), message)),
        _ => None,
    });
    said.collect()
}

#[tokio::test]
async fn services_and_ingresses_go_before_their_cluster_whoever_made_them() {
    let provider = Outside::new();
    let platform = shop(&provider).await;
    let said = destroy(&platform).await;
    for name in ["shop-testing", "shop-production"] {
        assert_eq!(said[&format!("load-balancers/{name}")], "deleted 2 objects");
        assert_eq!(provider.seen.lock().unwrap()[name], ["Service inside", "Service kubernetes"]);
    }
    assert_eq!(said["load-balancers/shop-control-plane"], "nothing has load balancers");
    assert!(provider.list(&platform.spec().name).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_cluster_that_cannot_be_reached_is_deleted_and_what_may_be_left_is_told() {
    let provider = Outside::new();
    let platform = shop(&provider).await;
    provider.unreachable.store(true, Ordering::SeqCst);
    let said = destroy(&platform).await;
    let told = &said["load-balancers/shop-testing"];
    assert!(told.contains("may be left") && told.contains("its endpoint is private"), "{told}");
    assert!(provider.seen.lock().unwrap()["shop-testing"].contains(&"Service outside".to_owned()));
    assert!(provider.list(&platform.spec().name).await.unwrap().is_empty());
}
