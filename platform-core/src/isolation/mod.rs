//! Where an application of an environment lives, and whether environments are really kept apart.

mod contents;
mod report;

pub use contents::{Contents, DataFate, Exposure, Holder, LiveVolume, LiveWorkload, NamespaceContents};
pub use report::{Action, Attempt, Barrier, Expectation, IsolationReport, NotTried, Principal, Verdict};

use serde::{Deserialize, Serialize};
use std::fmt;

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

/// `cluster per environment`.
impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NamespacePerEnvironment => "namespace per environment",
            Self::NamespacePerApplication => "namespace per application",
            Self::ClusterPerEnvironment => "cluster per environment",
        })
    }
}
