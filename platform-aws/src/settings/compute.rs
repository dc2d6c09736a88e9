//! What pods run on.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A managed group of nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct NodeGroup {
    /// Its name.
    pub name: String,
    /// Instance types, the first preferred. Default: `m7i.large`.
    #[serde(default = "default_instance_types")]
    pub instance_types: Vec<String>,
    /// What their machine image is. Default: Amazon Linux 2023 for x86-64.
    #[serde(default)]
    pub ami_type: AmiType,
    /// Whether nodes may be taken away for a lower price. Default: on demand.
    #[serde(default)]
    pub capacity_type: CapacityType,
    /// How many nodes. Default: the number of the platform's spec, fixed, for the first group without a scaling; one for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// The root volume in GiB. Default: 40.
    #[serde(default = "default_disk")]
    pub disk_size: u32,
    /// Labels of its nodes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Taints of its nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
    /// How many nodes an update replaces at a time, in percent of the group. PodDisruptionBudgets are respected. Default: 33.
    #[serde(default = "default_unavailable")]
    pub max_unavailable_percentage: u8,
}

impl NodeGroup {
    /// A group with defaults.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            instance_types: default_instance_types(),
            ami_type: AmiType::default(),
            capacity_type: CapacityType::default(),
            scaling: None,
            disk_size: default_disk(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            max_unavailable_percentage: default_unavailable(),
        }
    }
}

fn default_instance_types() -> Vec<String> {
    vec!["m7i.large".to_owned()]
}

const fn default_disk() -> u32 {
    40
}

const fn default_unavailable() -> u8 {
    33
}

/// How many nodes a group has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scaling {
    /// At least.
    pub min: u32,
    /// At most.
    pub max: u32,
    /// At first. Whatever scales the cluster changes it afterwards; it is not drift.
    pub desired: u32,
}

impl Scaling {
    /// Always as many.
    pub const fn fixed(nodes: u32) -> Self {
        Self { min: nodes, max: nodes, desired: nodes }
    }
}

/// The machine image of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AmiType {
    /// Amazon Linux 2023, x86-64.
    #[default]
    #[serde(rename = "al2023-x86-64")]
    Al2023X86,
    /// Amazon Linux 2023, 64-bit Arm.
    #[serde(rename = "al2023-arm64")]
    Al2023Arm,
    /// Bottlerocket, x86-64.
    #[serde(rename = "bottlerocket-x86-64")]
    BottlerocketX86,
    /// Bottlerocket, 64-bit Arm.
    #[serde(rename = "bottlerocket-arm64")]
    BottlerocketArm,
}

/// How instances are bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CapacityType {
    /// At the list price, for as long as wanted.
    #[default]
    OnDemand,
    /// What is spare, taken back at two minutes' notice.
    Spot,
}

/// What keeps pods away from nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What happens to pods that do not tolerate it.
    pub effect: TaintEffect,
}

/// What happens to pods that do not tolerate a taint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaintEffect {
    /// They are not placed there.
    NoSchedule,
    /// They are placed there last.
    PreferNoSchedule,
    /// They are removed.
    NoExecute,
}

/// Nodes, volumes and load balancers that EKS runs by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct AutoMode {
    /// The built-in pools of nodes. Default: both.
    #[serde(default = "both_pools")]
    pub node_pools: BTreeSet<NodePool>,
}

impl Default for AutoMode {
    fn default() -> Self {
        Self { node_pools: both_pools() }
    }
}

fn both_pools() -> BTreeSet<NodePool> {
    [NodePool::GeneralPurpose, NodePool::System].into()
}

/// A built-in pool of Auto Mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NodePool {
    /// For workloads.
    GeneralPurpose,
    /// For what the cluster itself needs, tainted.
    System,
}

/// Pods that run without nodes of one's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FargateProfile {
    /// Its name.
    pub name: String,
    /// Which pods, 1 to 5 selectors.
    pub selectors: Vec<FargateSelector>,
}

/// Pods of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FargateSelector {
    /// The namespace.
    pub namespace: String,
    /// Labels that the pods must all have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}
