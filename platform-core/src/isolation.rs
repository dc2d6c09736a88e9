//! Where an application of an environment lives, and what is lost when something is deleted.

use serde::{Deserialize, Serialize};

/// How environments are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// All environments share a cluster, each has one namespace: `production`.
    NamespacePerEnvironment,
    /// All environments share a cluster, each application of each has a namespace: `production-api1`.
    NamespacePerApplication,
    /// Each environment has a cluster of its own, so that no mistake in one reaches another; in it, each application has a namespace.
    #[default]
    ClusterPerEnvironment,
}
