//! Who may do what: people and programs in the cluster, and pods at AWS.

use serde::{Deserialize, Serialize};

/// Lets an IAM principal into the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct AccessEntry {
    /// The ARN of a role or user.
    pub principal: String,
    /// Groups of Kubernetes that it is in, for RBAC of one's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Policies of EKS that it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<AccessScope>,
}

impl AccessEntry {
    /// An administrator of the whole cluster.
    pub fn administrator(principal: impl Into<String>) -> Self {
        let policies = vec![AccessScope { policy: AccessPolicy::ClusterAdmin, namespaces: Vec::new() }];
        Self { principal: principal.into(), groups: Vec::new(), policies }
    }
}

/// A policy and where it holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessScope {
    /// The policy.
    pub policy: AccessPolicy,
    /// In these namespaces. Default: in the whole cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
}

/// A policy of EKS for access entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AccessPolicy {
    /// Everything.
    ClusterAdmin,
    /// Most of what is in namespaces, roles included.
    Admin,
    /// What is in namespaces, without roles.
    Edit,
    /// Reading what is in namespaces, without Secrets.
    View,
}

impl AccessPolicy {
    /// Its ARN, in the partition `aws`, `aws-cn` or `aws-us-gov`.
    pub fn arn(self, partition: &str) -> String {
        let name = match self {
            Self::ClusterAdmin => "AmazonEKSClusterAdminPolicy",
            Self::Admin => "AmazonEKSAdminPolicy",
            Self::Edit => "AmazonEKSEditPolicy",
            Self::View => "AmazonEKSViewPolicy",
        };
        format!("arn:{partition}:eks::aws:cluster-access-policy/{name}")
    }
}

/// A role that pods of a service account get, made with the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceAccountRole {
    /// The namespace of the service account.
    pub namespace: String,
    /// Its name.
    pub service_account: String,
    /// ARNs of the managed policies that the role has.
    pub policies: Vec<String>,
    /// How pods get it. Default: Pod Identity.
    #[serde(default)]
    pub mechanism: IdentityMechanism,
}

/// How pods get a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum IdentityMechanism {
    /// EKS' agent on the nodes hands it out; the addon `eks-pod-identity-agent` must be there.
    #[default]
    PodIdentity,
    /// IAM roles for service accounts: IAM trusts the cluster's OIDC issuer. The service account needs the annotation
    /// `eks.amazonaws.com/role-arn`, whose value the provider tells.
    Irsa,
}
