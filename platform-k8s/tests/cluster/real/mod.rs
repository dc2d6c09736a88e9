//! What a real API server shows: that of `KUBECONFIG`. Each test has a namespace, a platform and sets of its own.

mod faults;
mod ownership;
mod proxy;
mod restart;

use crate::{log, name};
use kube::{
    Client,
    api::{Api, DynamicObject},
    core::ApiResource,
};
use platform_core::{
    cluster::{ApplyOptions, Cluster, ClusterAccess},
    manifest::{Manifest, ManifestSet, ObjectRef},
    name::PlatformName,
};
use platform_k8s::{KubeCluster, Kubernetes, access_from_kubeconfig};
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

/// How long anything may take that is to happen.
const PATIENCE: Duration = Duration::from_secs(120);

fn kubeconfig() -> PathBuf {
    PathBuf::from(std::env::var_os("KUBECONFIG").expect("KUBECONFIG names a cluster"))
}

/// A place of one test.
pub(crate) struct Place {
    access: ClusterAccess,
    pub(crate) cluster: KubeCluster,
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) options: ApplyOptions,
}

impl Place {
    /// On the server of `KUBECONFIG`, with nothing left of a former run.
    async fn new(test: &str) -> Self {
        let access = access_from_kubeconfig(&kubeconfig(), None, name()).unwrap();
        Self::at(access, test).await
    }

    /// On any server.
    pub(crate) async fn at(access: ClusterAccess, test: &str) -> Self {
        log();
        let cluster = Kubernetes::default().connect_kube(&access).unwrap();
        let namespace = format!("real-{test}");
        let options = ApplyOptions::new(PlatformName::new(&namespace).unwrap()).deadline(PATIENCE);
        let place = Self { access, client: cluster.client(), cluster, namespace, options };
        place.clear().await;
        place
    }

    /// Another handle, as another program of the same platform has it.
    pub(crate) fn another(&self) -> KubeCluster {
        Kubernetes::default().connect_kube(&self.access).unwrap()
    }

    /// Deletes the sets and the namespace.
    pub(crate) async fn clear(&self) {
        for set in self.cluster.sets(&self.options.owner).await.unwrap() {
            self.cluster.delete_set(&set, &self.options).await.unwrap();
        }
        let namespaces = self.objects("v1", "Namespace", "namespaces", None);
        let _ = namespaces.delete(&self.namespace, &kube::api::DeleteParams::default()).await;
        let gone = || async { namespaces.get_opt(&self.namespace).await.unwrap().is_none() };
        eventually("the namespace is gone", gone).await;
    }

    pub(crate) fn set(&self, objects: impl IntoIterator<Item = Value>) -> ManifestSet {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}});
        let all = std::iter::once(namespace).chain(objects).map(|o| Manifest::new(o).unwrap());
        ManifestSet::new(self.namespace.as_str(), all.collect()).unwrap()
    }

    pub(crate) fn config(&self, name: &str, value: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": self.metadata(name), "data": {"value": value}})
    }

    pub(crate) fn config_ref(&self, name: &str) -> ObjectRef {
        ObjectRef::new("v1", "ConfigMap", name).in_namespace(&self.namespace)
    }

    pub(crate) fn metadata(&self, name: &str) -> Value {
        json!({"name": name, "namespace": self.namespace})
    }

    pub(crate) fn deployment(&self, name: &str, replicas: u32) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": self.metadata(name),
            "spec": {
                "replicas": replicas, "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"containers": [{"name": name, "image": "registry.example.com/web:1"}]},
                },
            },
        })
    }

    pub(crate) fn maps(&self) -> Api<DynamicObject> {
        self.objects("v1", "ConfigMap", "configmaps", Some(&self.namespace))
    }

    pub(crate) fn objects(
        &self,
        api_version: &str,
        kind: &str,
        plural: &str,
        namespace: Option<&str>,
    ) -> Api<DynamicObject> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let resource = ApiResource {
            group: group.into(),
            version: version.into(),
            api_version: api_version.into(),
            kind: kind.into(),
            plural: plural.into(),
        };
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }
}

pub(crate) fn dynamic(object: Value) -> DynamicObject {
    serde_json::from_value(object).unwrap()
}

/// Waits until something is so.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not after {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
