//! kube-state-metrics: metrics of the objects of a cluster.

use super::frame::{ContainerDefaults, Defaults, Frame, Installation, Program, Service, Tag, http_get, rule};
use platform_core::{Result, component::ComponentScope};
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
pub type KubeStateMetrics = Installation<KubeStateMetricsSettings>;

/// kube-state-metrics has no settings of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct KubeStateMetricsSettings {}

impl Program for KubeStateMetricsSettings {
    const DEFAULTS: &'static Defaults = &Defaults {
        name: "kube-state-metrics",
        version: "2.19.1",
        scope: ComponentScope::EveryCluster,
        containers: &[ContainerDefaults {
            name: "kube-state-metrics",
            repository: "registry.k8s.io/kube-state-metrics/kube-state-metrics",
            tag: Tag::V,
            cpu: "10m",
            memory: "64Mi",
            memory_limit: "256Mi",
        }],
        replicas: None,
        storage: None,
    };

    fn objects(&self, frame: &Frame<'_>) -> Result<Vec<Value>> {
        let resources: Vec<&str> = WATCHED.iter().flat_map(|(_, resources)| *resources).copied().collect();
        let container = frame
            .container("kube-state-metrics")?
            .args([format!("--resources={}", resources.join(","))])
            .port("metrics", 8080)
            .port("telemetry", 8081)
            .alive_when(http_get("/livez", "metrics"))
            .ready_when(http_get("/readyz", "telemetry"));
        let pod = frame.pod().user(65534).api_access().container(container);
        let rules = WATCHED.map(|(group, resources)| rule(&[group], resources, &["list", "watch"]));
        let [role, binding] = frame.cluster_role(&rules);
        Ok(vec![
            frame.service_account(),
            role,
            binding,
            frame.deployment(pod).into(),
            Service::new(frame).port("metrics", 8080).port("telemetry", 8081).into(),
        ])
    }
}
