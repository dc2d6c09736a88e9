//! What only EKS knows of a cluster, as a document: network, nodes, addons, access, encryption, logging.
//!
//! ```text
//! network      the VPC and the endpoint
//! compute      node groups, Auto Mode, Fargate profiles
//! access       who may do what: access entries, roles of service accounts
//! validation   what cannot be
//! ```

mod access;
mod compute;
mod network;
mod validation;

pub use access::{AccessEntry, AccessPolicy, AccessScope, IdentityMechanism, ServiceAccountRole};
pub use compute::{
    AmiType, AutoMode, CapacityType, FargateProfile, FargateSelector, NodeGroup, NodePool, Scaling, Taint,
    TaintEffect,
};
pub use network::{Endpoint, ExistingNetwork, NatGateways, Network, NewNetwork};

use platform_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How clusters are made at EKS. The default is a cluster of its own network in two zones with one NAT gateway, a public and private endpoint, and
/// one group of `m7i.large` nodes as large as the platform's spec says.
///
/// ```
/// use platform_aws::settings::EksSettings;
///
/// let settings = EksSettings::from_yaml(
///     "
///     network: { new: { zones: 3, natGateways: per-zone } }
///     endpoint: { public: true, private: true, publicAccessCidrs: [203.0.113.0/24] }
///     nodeGroups:
///       - name: workers
///         instanceTypes: [m7i.large, m6i.large]
///       - name: batch
///         instanceTypes: [c7i.xlarge]
///         capacityType: spot
///         scaling: { min: 0, max: 10, desired: 0 }
///         taints: [{ key: batch, effect: no-schedule }]
///     ",
/// )?;
/// assert_eq!(settings.node_groups.len(), 2);
/// # Ok::<(), platform_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct EksSettings {
    /// Where nodes and the endpoint are. Default: a new VPC.
    pub network: Network,
    /// How the API server is reached.
    pub endpoint: Endpoint,
    /// The addresses of services, a private network of /12 to /24. Default: EKS chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_cidr: Option<ipnet::Ipv4Net>,
    /// The roles of the control plane and of nodes, where they are not to be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<ExistingRoles>,
    /// Groups of nodes. Default: one group, `workers`. With Auto Mode or Fargate there may be none.
    pub node_groups: Vec<NodeGroup>,
    /// Lets EKS choose and run nodes. Default: it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_mode: Option<AutoMode>,
    /// Pods that run without nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fargate_profiles: Vec<FargateProfile>,
    /// Addons. Default: those that a cluster with nodes needs: `vpc-cni`, `kube-proxy`, `eks-pod-identity-agent`, `coredns` and `metrics-server`;
    /// with Auto Mode, which brings the others, `metrics-server`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addons: Option<Vec<Addon>>,
    /// Who else may use the cluster. The caller's own role is its administrator in any case.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub access_entries: Vec<AccessEntry>,
    /// Roles that pods of a service account get.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub service_account_roles: Vec<ServiceAccountRole>,
    /// The ARN of the KMS key that Secrets are encrypted with, beside EKS' own. It cannot be changed or taken away later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets_encryption_key: Option<String>,
    /// What of the control plane is logged to CloudWatch. Default: `api`, `audit` and `authenticator`.
    pub logging: BTreeSet<LogType>,
    /// What happens at the end of a version's standard support. Default: EKS upgrades it.
    pub upgrade_policy: SupportType,
    /// Whether EKS refuses a deletion. Default: where the spec protects an environment of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_protection: Option<bool>,
    /// Tags on everything that is made, beside the platform's own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

impl Default for EksSettings {
    fn default() -> Self {
        Self {
            network: Network::default(),
            endpoint: Endpoint::default(),
            service_cidr: None,
            roles: None,
            node_groups: vec![NodeGroup::new("workers")],
            auto_mode: None,
            fargate_profiles: Vec::new(),
            addons: None,
            access_entries: Vec::new(),
            service_account_roles: Vec::new(),
            secrets_encryption_key: None,
            logging: [LogType::Api, LogType::Audit, LogType::Authenticator].into(),
            upgrade_policy: SupportType::default(),
            deletion_protection: None,
            tags: BTreeMap::new(),
        }
    }
}

impl EksSettings {
    /// Reads YAML. Errors are [`Invalid`](platform_core::ErrorKind::Invalid) and name what is wrong.
    pub fn from_yaml(text: &str) -> Result<Self> {
        let settings: Self = serde_saphyr::from_str(text)
            .map_err(|e| Error::invalid(e.to_string()).operation("read").subject("the settings of EKS"))?;
        settings.validate()?;
        Ok(settings)
    }

    /// Checks everything that can be checked without asking AWS, and answers with all problems in one error.
    pub fn validate(&self) -> Result<()> {
        let problems = validation::problems(self);
        match problems.as_slice() {
            [] => Ok(()),
            [one] => Err(Error::invalid(one.clone())),
            many => Err(Error::invalid(format!("{} problems: {}", many.len(), many.join("; ")))),
        }
        .map_err(|e| e.operation("check").subject("the settings of EKS"))
    }

    /// The addons that are wanted, defaults included.
    pub fn wanted_addons(&self) -> Vec<Addon> {
        if let Some(addons) = &self.addons {
            return addons.clone();
        }
        let names: &[&str] = match (&self.auto_mode, self.node_groups.is_empty()) {
            (Some(_), true) => &["metrics-server"],
            _ => &["vpc-cni", "kube-proxy", "eks-pod-identity-agent", "coredns", "metrics-server"],
        };
        names.iter().map(|name| Addon::new(*name)).collect()
    }
}

/// Roles that exist already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExistingRoles {
    /// The ARN of the role that the control plane takes.
    pub cluster: String,
    /// The ARN of the role that nodes take; needed by node groups and by Auto Mode's node pools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The ARN of the role that Fargate takes to run pods; needed by Fargate profiles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fargate: Option<String>,
}

/// An addon that EKS installs and keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Addon {
    /// Its name, as in `aws eks describe-addon-versions`.
    pub name: String,
    /// Its version, `v1.20.4-eksbuild.2`. Default: the one that EKS has as default for the cluster's version when it is installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its configuration, by the schema of the addon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<serde_json::Value>,
}

impl Addon {
    /// An addon of the default version, without configuration.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), version: None, configuration: None }
    }

    /// Whether nodes do not become ready without it, so that it comes before them.
    pub fn is_needed_by_nodes(&self) -> bool {
        matches!(self.name.as_str(), "vpc-cni" | "kube-proxy" | "eks-pod-identity-agent")
    }
}

/// What of the control plane can be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum LogType {
    /// Requests to the API server and its own log.
    Api,
    /// Who did what.
    Audit,
    /// Who was let in by IAM.
    Authenticator,
    /// The controller manager.
    ControllerManager,
    /// The scheduler.
    Scheduler,
}

/// How long a Kubernetes version is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SupportType {
    /// 14 months; EKS upgrades the control plane at their end.
    #[default]
    Standard,
    /// 12 months more, at six times the price.
    Extended,
}
