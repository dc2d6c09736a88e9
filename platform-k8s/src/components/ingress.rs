//! What ingress controllers have in common: their class, and how they are reached from outside.

use super::frame::{Container, Frame, Service, Workload};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How an ingress controller is reached from outside its cluster. In a document: `{nodePort: {http: 30080}}`, `{loadBalancer: {}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub enum Exposure {
    /// On a port of every node. The default, for it works everywhere.
    NodePort {
        /// The port for HTTP, 30000 to 32767 unless the cluster says otherwise; `None`: one that the cluster chooses.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        http: Option<u16>,
        /// The port for HTTPS; `None`: one that the cluster chooses.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        https: Option<u16>,
    },
    /// By a load balancer of the cloud. It is ready once it has an address; where nothing gives one it never is.
    LoadBalancer {
        /// Annotations of the Service, by which clouds are told the kind of load balancer.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        annotations: BTreeMap<String, String>,
    },
    /// On ports of the nodes that its pods run on, as with kind's port mappings.
    HostPort {
        /// The port for HTTP.
        #[serde(default = "http")]
        http: u16,
        /// The port for HTTPS.
        #[serde(default = "https")]
        https: u16,
    },
    /// Not at all.
    Internal {},
}

fn http() -> u16 {
    80
}

fn https() -> u16 {
    443
}

impl Default for Exposure {
    fn default() -> Self {
        Self::NodePort { http: None, https: None }
    }
}

impl Exposure {
    /// On a port of every node that the cluster chooses.
    pub fn node_port() -> Self {
        Self::default()
    }

    /// By a load balancer without annotations.
    pub fn load_balancer() -> Self {
        Self::LoadBalancer { annotations: BTreeMap::new() }
    }

    /// On ports 80 and 443 of the nodes that its pods run on.
    pub fn host_port() -> Self {
        Self::HostPort { http: http(), https: https() }
    }

    pub(super) fn is_load_balancer(&self) -> bool {
        matches!(self, Self::LoadBalancer { .. })
    }

    /// A container with its ports `http` and `https`.
    pub(super) fn ports(&self, container: Container, http: u16, https: u16) -> Container {
        match *self {
            Self::HostPort { http: plain, https: secure } => {
                container.host_port("http", http, plain).host_port("https", https, secure)
            }
            _ => container.port("http", http).port("https", https),
        }
    }

    /// The Service in front of it.
    pub(super) fn service(&self, frame: &Frame<'_>) -> Value {
        let port = |name: &str, number: u16, node_port: Option<u16>| {
            let mut port = json!({"name": name, "port": number, "protocol": "TCP", "targetPort": name});
            if let (Some(node_port), Value::Object(port)) = (node_port, &mut port) {
                port.insert("nodePort".to_owned(), node_port.into());
            }
            port
        };
        let (kind, plain, secure) = match *self {
            Self::NodePort { http, https } => ("NodePort", http, https),
            Self::LoadBalancer { .. } => ("LoadBalancer", None, None),
            Self::HostPort { .. } | Self::Internal {} => ("ClusterIP", None, None),
        };
        let service = Service::new(frame)
            .set("type", kind)
            .port_as(port("http", http(), plain))
            .port_as(port("https", https(), secure));
        let mut service = Value::from(service);
        if let Self::LoadBalancer { annotations } = self
            && !annotations.is_empty()
            && let Some(Value::Object(metadata)) = service.get_mut("metadata")
        {
            metadata.insert("annotations".to_owned(), json!(annotations));
        }
        service
    }

    /// How its pods are replaced: those that hold a port of the node leave before their successors come.
    pub(super) fn strategy(&self, deployment: Workload) -> Workload {
        let (surge, unavailable) = match self {
            Self::HostPort { .. } => (0, 1),
            _ => (1, 0),
        };
        deployment.set(
            "strategy",
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}),
        )
    }
}

/// The class by which ingresses choose their controller.
pub(super) fn ingress_class(frame: &Frame<'_>, name: &str, controller: &str, is_default: bool) -> Value {
    let mut metadata = frame.cluster_metadata(name);
    if let (true, Value::Object(metadata)) = (is_default, &mut metadata) {
        metadata
            .insert("annotations".to_owned(), json!({"ingressclass.kubernetes.io/is-default-class": "true"}));
    }
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": metadata,
        "spec": {"controller": controller},
    })
}
