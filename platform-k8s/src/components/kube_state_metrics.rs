//! kube-state-metrics: metrics of the objects of a cluster.

use super::installation::{Defaults, Installation};
use crate::render;
use platform_core::{
    Result,
    component::{Component, ComponentScope, ComponentTarget},
    manifest::Manifest,
    name::ComponentName,
};
use serde_json::{Value, json};

pub(super) const DEFAULTS: Defaults = Defaults {
    name: "kube-state-metrics",
    version: "2.19.1",
    scope: ComponentScope::EveryCluster,
    container: "kube-state-metrics",
    repository: "registry.k8s.io/kube-state-metrics/kube-state-metrics",
};

/// The kinds that it watches, by group. Secrets are left out: nothing on a dashboard is worth the right to read them.
const WATCHED: [(&str, &[&str]); 7] = [
    (
        "",
        &[
            "configmaps",
            "endpoints",
            "limitranges",
            "namespaces",
            "nodes",
            "persistentvolumeclaims",
            "persistentvolumes",
            "pods",
            "replicationcontrollers",
            "resourcequotas",
            "services",
        ],
    ),
    ("apps", &["daemonsets", "deployments", "replicasets", "statefulsets"]),
    ("autoscaling", &["horizontalpodautoscalers"]),
    ("batch", &["cronjobs", "jobs"]),
    ("networking.k8s.io", &["ingresses", "networkpolicies"]),
    ("policy", &["poddisruptionbudgets"]),
    ("storage.k8s.io", &["storageclasses"]),
];

/// [kube-state-metrics](https://github.com/kubernetes/kube-state-metrics): one replica that serves the state of the cluster's objects under
/// `/metrics` on port 8080 of its Service, and its own metrics on port 8081.
#[derive(Debug, Clone)]
pub struct KubeStateMetrics(Installation);

impl KubeStateMetrics {
    /// The catalogue's version.
    pub fn new() -> Result<Self> {
        Ok(Self(Installation::of(&DEFAULTS)?))
    }

    pub(super) fn with(installation: Installation) -> Self {
        Self(installation)
    }

    fn deployment(&self, target: &ComponentTarget) -> Value {
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": self.0.metadata(target),
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": self.0.selector()},
                "template": {
                    "metadata": {"labels": self.0.labels(target)},
                    "spec": {
                        "containers": [self.container()],
                        "nodeSelector": {"kubernetes.io/os": "linux"},
                        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                        "serviceAccountName": self.0.name.as_str(),
                    },
                },
            },
        })
    }

    fn container(&self) -> Value {
        let resources: Vec<&str> = WATCHED.iter().flat_map(|(_, resources)| *resources).copied().collect();
        json!({
            "name": DEFAULTS.container,
            "image": self.0.image.as_str(),
            "args": [format!("--resources={}", resources.join(","))],
            "ports": [
                {"name": "metrics", "containerPort": 8080, "protocol": "TCP"},
                {"name": "telemetry", "containerPort": 8081, "protocol": "TCP"},
            ],
            "livenessProbe": {"httpGet": {"path": "/livez", "port": "metrics"}, "initialDelaySeconds": 5, "timeoutSeconds": 5},
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": "telemetry"}, "timeoutSeconds": 5},
            "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": true,
                "runAsUser": 65534,
            },
        })
    }

    fn rights(&self, target: &ComponentTarget) -> [Value; 2] {
        let rules: Vec<Value> = WATCHED
            .iter()
            .map(|(group, resources)| json!({"apiGroups": [group], "resources": resources, "verbs": ["list", "watch"]}))
            .collect();
        let metadata = self.0.cluster_metadata(target);
        let role = metadata.get("name").cloned();
        [
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "metadata": metadata,
                "rules": rules,
            }),
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": metadata,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{
                    "kind": "ServiceAccount",
                    "name": self.0.name.as_str(),
                    "namespace": target.namespace.as_str(),
                }],
            }),
        ]
    }
}

impl Component for KubeStateMetrics {
    fn name(&self) -> &ComponentName {
        &self.0.name
    }

    fn version(&self) -> &str {
        &self.0.version
    }

    fn scope(&self) -> ComponentScope {
        self.0.scope
    }

    fn manifests(&self, target: &ComponentTarget) -> Result<Vec<Manifest>> {
        let [role, binding] = self.rights(target);
        render::manifests(vec![
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": self.0.metadata(target)}),
            role,
            binding,
            self.deployment(target),
            json!({
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": self.0.metadata(target),
                "spec": {
                    "type": "ClusterIP",
                    "selector": self.0.selector(),
                    "ports": [
                        {"name": "metrics", "port": 8080, "protocol": "TCP", "targetPort": "metrics"},
                        {"name": "telemetry", "port": 8081, "protocol": "TCP", "targetPort": "telemetry"},
                    ],
                },
            }),
        ])
    }
}
