//! Which clusters a setting of a provider is for.

use super::{ClusterRole, ClusterSpec};
use crate::name::{ClusterName, EnvironmentName};

/// Which clusters a setting is for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Clusters {
    /// Every cluster.
    All,
    /// The one that gathers the telemetry of the others.
    ControlPlane,
    /// Those that run this environment.
    Environment(EnvironmentName),
    /// The one of this name.
    Named(ClusterName),
}

impl Clusters {
    /// Whether the cluster of this spec is one of them.
    pub fn contains(&self, spec: &ClusterSpec) -> bool {
        match self {
            Self::All => true,
            Self::ControlPlane => spec.role == ClusterRole::ControlPlane,
            Self::Environment(name) => {
                matches!(&spec.role, ClusterRole::Environments(names) if names.contains(name))
            }
            Self::Named(name) => *name == spec.name,
        }
    }
}
