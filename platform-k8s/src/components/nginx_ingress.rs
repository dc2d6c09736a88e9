//! The NGINX Ingress Controller.

use super::{
    frame::{Configuration, ContainerDefaults, Defaults, Frame, Installation, Program, Tag, rule},
    ingress::{Exposure, ingress_class},
};
use platform_core::{Result, component::ComponentScope};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The user of the image.
const NGINX: u32 = 101;
const METRICS: u16 = 9113;

/// [F5's NGINX Ingress Controller](https://github.com/nginx/kubernetes-ingress): serves the routes of applications on every environment's
/// cluster, with its metrics on port 9113.
///
/// Only Ingress objects are served: its custom resources are turned off, so that it needs no CRDs. Its class is `nginx`, the cluster's default
/// unless told otherwise, so that applications need not name it.
pub type NginxIngress = Installation<NginxIngressSettings>;

/// What only the NGINX Ingress Controller knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct NginxIngressSettings {
    /// The name of its class. Default: `nginx`.
    pub class: String,
    /// Whether it serves ingresses that name no class; at most one controller of a cluster may. Default: true.
    pub default_class: bool,
    /// How it is reached. Default: on node ports that the cluster chooses.
    pub exposure: Exposure,
    /// Keys of its [ConfigMap](https://docs.nginx.com/nginx-ingress-controller/configuration/global-configuration/configmap-resource/), such as
    /// `client-max-body-size: 10m`. Default: none.
    pub config: BTreeMap<String, String>,
}

impl Default for NginxIngressSettings {
    fn default() -> Self {
        Self {
            class: "nginx".to_owned(),
            default_class: true,
            exposure: Exposure::default(),
            config: BTreeMap::new(),
        }
    }
}

impl NginxIngress {
    /// Sets how it is reached.
    #[must_use]
    pub fn exposure(mut self, exposure: Exposure) -> Self {
        self.settings.exposure = exposure;
        self
    }

    /// Sets a key of its ConfigMap.
    #[must_use]
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.config.insert(key.into(), value.into());
        self
    }
}

impl Program for NginxIngressSettings {
    const DEFAULTS: &'static Defaults = &Defaults {
        name: "nginx-ingress",
        version: "5.5.4",
        scope: ComponentScope::Environments,
        containers: &[ContainerDefaults {
            name: "nginx-ingress",
            repository: "docker.io/nginx/nginx-ingress",
            tag: Tag::Plain,
            cpu: "100m",
            memory: "128Mi",
            memory_limit: "512Mi",
        }],
        replicas: Some(1),
        storage: None,
    };

    fn objects(&self, frame: &Frame<'_>) -> Result<Vec<Value>> {
        let configuration = self
            .config
            .iter()
            .fold(Configuration::new(frame.name()), |all, (key, value)| all.text(key, value));
        let (namespace, name) = (frame.namespace(), frame.name());
        let mut args = vec![
            format!("-nginx-configmaps={namespace}/{name}"),
            format!("-ingress-class={}", self.class),
            "-enable-custom-resources=false".to_owned(),
            "-enable-telemetry-reporting=false".to_owned(),
            format!("-leader-election-lock-name={name}-leader"),
            "-enable-prometheus-metrics".to_owned(),
            "-enable-latency-metrics".to_owned(),
            format!("-prometheus-metrics-listen-port={METRICS}"),
        ];
        if self.exposure.is_load_balancer() {
            args.extend(["-report-ingress-status".to_owned(), format!("-external-service={name}")]);
        }
        let container = self
            .exposure
            .ports(frame.container("nginx-ingress")?, 80, 443)
            .port("metrics", METRICS)
            .port("readiness", 8081)
            .args(args)
            .env_from_field("POD_NAMESPACE", "metadata.namespace")
            .env_from_field("POD_NAME", "metadata.name")
            .ready_when(json!({"httpGet": {"path": "/nginx-ready", "port": "readiness"}, "periodSeconds": 2}))
            // The program writes NGINX's configuration where the image has what it starts from.
            .writable()
            .capability("NET_BIND_SERVICE");
        let pod = frame.pod().user(NGINX).api_access().container(container).scraped(METRICS, "/metrics");
        let read = ["get", "list", "watch"];
        let [role, binding] = frame.cluster_role(&[
            rule(&[""], &["configmaps", "namespaces", "pods", "secrets", "services"], &read),
            rule(&[""], &["nodes"], &["list"]),
            rule(&[""], &["events"], &["create", "list", "patch"]),
            rule(&["discovery.k8s.io"], &["endpointslices"], &read),
            rule(&["apps"], &["daemonsets", "replicasets", "statefulsets"], &["get"]),
            rule(&["networking.k8s.io"], &["ingressclasses"], &["get", "list"]),
            rule(&["networking.k8s.io"], &["ingresses"], &read),
            rule(&["networking.k8s.io"], &["ingresses/status"], &["update"]),
        ]);
        // Which replica leads is written down in its own namespace.
        let [own_role, own_binding] = frame.role(&[rule(
            &["coordination.k8s.io"],
            &["leases"],
            &["create", "get", "list", "update", "watch"],
        )]);
        let mut objects = vec![
            frame.service_account(),
            role,
            binding,
            own_role,
            own_binding,
            ingress_class(frame, &self.class, "nginx.org/ingress-controller", self.default_class),
            configuration.object(frame),
            self.exposure.strategy(frame.deployment(pod)).into(),
            self.exposure.service(frame),
        ];
        objects.extend(frame.disruption_budget());
        Ok(objects)
    }
}
