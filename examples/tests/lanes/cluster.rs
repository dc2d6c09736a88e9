//! An embedded cluster with namespaces and pods.

use crate::{CLUSTER, PATIENCE};
use platform_core::{cluster::Cluster, name::ClusterName};
use platform_k8s::{KubeCluster, Kubernetes, access_from_kubeconfig};
use platform_testkit::kubernetes::EmbeddedApi;
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) struct Shop {
    api: EmbeddedApi,
    client: reqwest::Client,
    pub(crate) cluster: Arc<KubeCluster>,
}

impl Shop {
    pub(crate) async fn start() -> Self {
        // Another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let api = EmbeddedApi::builder().name(CLUSTER).nodes(2).start().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, api.kubeconfig()).unwrap();
        let access = access_from_kubeconfig(&kubeconfig, None, ClusterName::new(CLUSTER).unwrap()).unwrap();
        let cluster = Arc::new(Kubernetes::default().connect_kube(&access).unwrap());
        Self { api, client: reqwest::Client::builder().no_proxy().build().unwrap(), cluster }
    }

    /// How many requests the server has had that only read.
    pub(crate) fn reads(&self) -> u64 {
        let counts = self.api.requests();
        ["get", "list", "watch"].into_iter().map(|verb| counts.of(verb)).sum()
    }

    pub(crate) fn handle(&self) -> Arc<dyn Cluster> {
        self.cluster.clone()
    }

    /// A namespace, labelled as one of an environment.
    pub(crate) async fn namespace(&self, name: &str, environment: Option<&str>) {
        let mut object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        if let Some(environment) = environment {
            object["metadata"]["labels"] = json!({"platform.dev/environment": environment});
        }
        self.create("api/v1/namespaces", &object).await;
    }

    /// A pod on a node, as the server has it.
    pub(crate) async fn pod(&self, namespace: &str, name: &str, node: &str, labels: Value) -> Value {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
            "spec": {"nodeName": node, "containers": [{"name": "main", "image": "web:1"}]},
        });
        self.create(&format!("api/v1/namespaces/{namespace}/pods"), &pod).await
    }

    pub(crate) async fn delete_pod(&self, namespace: &str, name: &str) {
        let url =
            format!("{}/api/v1/namespaces/{namespace}/pods/{name}?gracePeriodSeconds=0", self.api.url());
        let answer = self.client.delete(url).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }

    /// The names of its nodes.
    pub(crate) async fn nodes(&self) -> Vec<String> {
        let nodes =
            self.cluster.list("v1", "Node", &platform_core::cluster::ListOptions::all()).await.unwrap();
        nodes.iter().map(|node| node["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    async fn create(&self, path: &str, object: &Value) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let url = format!("{}/{path}", self.api.url());
            let answer = self.client.post(url).json(object).send().await.unwrap();
            let (status, text) = (answer.status(), answer.text().await.unwrap());
            if status.is_success() {
                return serde_json::from_str(&text).unwrap();
            }
            // The account of a new namespace comes a moment later.
            assert!(status.as_u16() == 403 && tokio::time::Instant::now() < deadline, "{path}: {text}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}
