//! kind's configuration file, v1alpha4. It is written as JSON, which is YAML as well, and read strictly by kind.

use serde::Serialize;
use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cluster {
    pub(super) kind: &'static str,
    pub(super) api_version: &'static str,
    pub(super) nodes: Vec<Node>,
    pub(super) networking: Networking,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) feature_gates: BTreeMap<String, bool>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) runtime_config: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) kubeadm_config_patches: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) containerd_config_patches: Vec<String>,
}

impl Cluster {
    pub(super) fn new(nodes: Vec<Node>) -> Self {
        Self {
            kind: "Cluster",
            api_version: "kind.x-k8s.io/v1alpha4",
            nodes,
            networking: Networking::default(),
            feature_gates: BTreeMap::new(),
            runtime_config: BTreeMap::new(),
            kubeadm_config_patches: Vec::new(),
            containerd_config_patches: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Role {
    ControlPlane,
    Worker,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Node {
    pub(super) role: Role,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) image: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) labels: BTreeMap<String, String>,
    pub(super) extra_mounts: Vec<Mount>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) extra_port_mappings: Vec<PortMapping>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Mount {
    pub(super) host_path: PathBuf,
    pub(super) container_path: PathBuf,
    pub(super) read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PortMapping {
    pub(super) container_port: u16,
    /// Left out: kind chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) host_port: Option<u16>,
    pub(super) listen_address: IpAddr,
    pub(super) protocol: &'static str,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Networking {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pod_subnet: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service_subnet: Option<String>,
    #[serde(rename = "disableDefaultCNI", skip_serializing_if = "std::ops::Not::not")]
    pub(super) disable_default_cni: bool,
}
