//! Environments and the control plane.

use crate::{error::Result, name::EnvironmentName, quantity::Quantity};
use serde::{Deserialize, Serialize};

/// Where applications run: `testing`, `production`. What goes wrong in one must not reach another.
///
/// ```
/// use platform_core::Environment;
///
/// let production = Environment::new("production")?.protected(true).nodes(3);
/// assert!(production.protected);
/// # Ok::<(), platform_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Environment {
    /// Its name.
    pub name: EnvironmentName,
    /// Whether deleting it needs a confirmation that names it. Default: no.
    #[serde(default)]
    pub protected: bool,
    /// Nodes of its cluster; a shared cluster has the sum of its environments'. Default: 1.
    #[serde(default = "one")]
    pub nodes: u32,
    /// The Kubernetes minor version of its cluster, `1.34`; environments that share a cluster must agree. Default: the provider's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes_version: Option<String>,
    /// What the applications of one of its namespaces may request together.
    #[serde(default)]
    pub quota: Quota,
}

impl Environment {
    /// An unprotected environment with one node and the default quota; the name is checked.
    pub fn new(name: impl AsRef<str>) -> Result<Self> {
        Ok(Self {
            name: EnvironmentName::new(name)?,
            protected: false,
            nodes: one(),
            kubernetes_version: None,
            quota: Quota::default(),
        })
    }

    /// Sets whether deleting it needs a confirmation.
    #[must_use]
    pub fn protected(mut self, protected: bool) -> Self {
        self.protected = protected;
        self
    }

    /// Sets the number of nodes.
    #[must_use]
    pub fn nodes(mut self, nodes: u32) -> Self {
        self.nodes = nodes;
        self
    }

    /// Sets the Kubernetes minor version, `1.34`.
    #[must_use]
    pub fn kubernetes_version(mut self, version: impl Into<String>) -> Self {
        self.kubernetes_version = Some(version.into());
        self
    }

    /// Sets the quota.
    #[must_use]
    pub fn quota(mut self, quota: Quota) -> Self {
        self.quota = quota;
        self
    }
}

/// The cluster that gathers the telemetry of the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ControlPlane {
    /// Nodes of its cluster. Default: 1.
    pub nodes: u32,
    /// The Kubernetes minor version. Default: the provider's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes_version: Option<String>,
}

impl Default for ControlPlane {
    fn default() -> Self {
        Self { nodes: one(), kubernetes_version: None }
    }
}

impl ControlPlane {
    /// Sets the number of nodes.
    #[must_use]
    pub fn nodes(mut self, nodes: u32) -> Self {
        self.nodes = nodes;
        self
    }
}

/// What the applications of one namespace may request together; a Kubernetes `ResourceQuota`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Quota {
    /// CPUs. Default: 20.
    pub cpu: Quantity,
    /// Memory. Default: 40Gi.
    pub memory: Quantity,
    /// Pods. Default: 200.
    pub pods: u32,
}

impl Default for Quota {
    fn default() -> Self {
        Self { cpu: Quantity::cores(20), memory: Quantity::gibibytes(40), pods: 200 }
    }
}

impl Quota {
    /// A quota of `cpu`, `memory` and `pods`.
    pub fn new(cpu: Quantity, memory: Quantity, pods: u32) -> Self {
        Self { cpu, memory, pods }
    }
}

fn one() -> u32 {
    1
}
