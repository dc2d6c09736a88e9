//! Where clusters come from.

use super::ClusterAccess;
use crate::{
    error::Result,
    event::Progress,
    name::{ClusterName, EnvironmentName, PlatformName},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a cluster is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ClusterRole {
    /// Runs the applications of these environments: of one with a cluster per environment, of all otherwise.
    Environments(Vec<EnvironmentName>),
    /// Gathers the telemetry of the others and shows it.
    ControlPlane,
}

impl fmt::Display for ClusterRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ControlPlane => f.write_str("control plane"),
            Self::Environments(environments) => {
                let names: Vec<&str> = environments.iter().map(EnvironmentName::as_str).collect();
                f.write_str(&names.join(", "))
            }
        }
    }
}

/// A cluster as it is wanted, in terms that every provider understands.
///
/// What only one provider knows (instance types, port mappings) is configuration of that provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClusterSpec {
    /// The platform it belongs to: the ownership label or tag that a provider puts on it.
    pub platform: PlatformName,
    /// Its name, unique at the provider.
    pub name: ClusterName,
    /// What it is for.
    pub role: ClusterRole,
    /// Nodes that run workloads, at least 1.
    pub nodes: u32,
    /// The Kubernetes minor version, `1.34`; `None`: the provider's default.
    pub kubernetes_version: Option<String>,
    /// Whether a deletion must be confirmed apart, as for production.
    pub protected: bool,
}

impl ClusterSpec {
    /// A cluster of one node, of the provider's default version, not protected.
    pub fn new(platform: PlatformName, name: ClusterName, role: ClusterRole) -> Self {
        Self { platform, name, role, nodes: 1, kubernetes_version: None, protected: false }
    }
}

/// What stands between a cluster and its spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
#[non_exhaustive]
pub enum ClusterChange {
    /// There is none of this name.
    Create,
    /// It is as wanted.
    Unchanged,
    /// It can be brought there while it runs.
    Update {
        /// What differs, one sentence each: `nodes: 1 -> 3`.
        differences: Vec<String>,
    },
    /// It can only be brought there by deleting and creating it, which the platform does not do on its own account.
    Recreate {
        /// What differs, one sentence each.
        differences: Vec<String>,
    },
}

/// How far a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ClusterPhase {
    /// Being created.
    Creating,
    /// Its API server answers.
    Running,
    /// It exists but does not answer, or its creation failed half-way; creating it again repairs it.
    Broken,
    /// Being deleted.
    Deleting,
}

/// A cluster as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClusterStatus {
    /// Its name.
    pub name: ClusterName,
    /// The platform whose label or tag it bears.
    pub platform: PlatformName,
    /// How far it is.
    pub phase: ClusterPhase,
    /// The version that its API server reports, `v1.34.4`, once it runs.
    pub kubernetes_version: Option<String>,
    /// Nodes that run workloads.
    pub nodes: u32,
    /// The URL of its API server, once there is one.
    pub server: Option<String>,
}

impl ClusterStatus {
    /// A cluster of `phase` of which nothing more is known yet.
    pub fn new(name: ClusterName, platform: PlatformName, phase: ClusterPhase) -> Self {
        Self { name, platform, phase, kubernetes_version: None, nodes: 0, server: None }
    }
}

/// Whether a deletion found anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deletion {
    /// It was there and is gone.
    Deleted,
    /// There was nothing.
    Absent,
}

/// What a provider can and cannot do. Data, so that callers ask instead of downcasting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ProviderCapabilities {
    /// Workloads do not really run: an API server answers, simulated kubelets say what real ones would.
    /// Plans and pages say so.
    pub simulated: bool,
    /// Clusters outlive the process that made them.
    pub persistent: bool,
    /// How many clusters may be created at the same time.
    pub parallel_creates: usize,
    /// Controllers in its clusters make load balancers outside of them, which stay when a cluster is deleted under its controllers. Services and
    /// Ingresses are deleted first, then.
    pub external_load_balancers: bool,
}

impl ProviderCapabilities {
    /// Real workloads, clusters that outlive the process, `parallel_creates` at once, no load balancers outside.
    pub const fn new(parallel_creates: usize) -> Self {
        Self { simulated: false, persistent: true, parallel_creates, external_load_balancers: false }
    }
}

/// Creates, finds and deletes clusters.
///
/// Implemented by the embedded provider of `platform-testkit`, by kind and by EKS; called by [`Platform`](crate::Platform).
/// `platform_testkit::conformance::provider` checks an implementation.
///
/// # Behavior
/// - Clusters of another platform, or of none, are never touched: a provider finds its own by an ownership label or tag.
/// - [`create`](Self::create) is idempotent. It adopts a cluster of the same name that is ours, finishes one whose
///   creation was interrupted, and refuses with [`AlreadyExists`](crate::ErrorKind::AlreadyExists) one that is not ours.
/// - [`delete`](Self::delete) of what does not exist succeeds with [`Deletion::Absent`].
/// - Reading methods have no side effects.
///
/// # Cancel safety
/// Dropping the future of any method leaves what was made so far in a state from which the same call resumes.
#[async_trait]
pub trait ClusterProvider: Send + Sync + fmt::Debug {
    /// A short name for plans and messages: `embedded`, `kind`, `eks`.
    fn name(&self) -> &str;

    /// What it can do.
    fn capabilities(&self) -> ProviderCapabilities;

    /// Checks, without writing, that clusters can be created: programs, credentials, quotas, disk. Called before a cluster is created.
    async fn preflight(&self) -> Result<()>;

    /// What [`create`](Self::create) would have to do. Reads only.
    async fn plan(&self, spec: &ClusterSpec) -> Result<ClusterChange>;

    /// What the reader of a plan should know of a cluster that is there, a sentence each: that its version is no longer supported. Reads only; asked
    /// right after [`plan`](Self::plan). Default: nothing.
    async fn warnings(&self, spec: &ClusterSpec) -> Result<Vec<String>> {
        let _ = spec;
        Ok(Vec::new())
    }

    /// Brings the cluster to `spec` and answers once its API server does. Long waits tell `progress`.
    ///
    /// Fails with [`Unsupported`](crate::ErrorKind::Unsupported) where [`plan`](Self::plan) says `Recreate`.
    async fn create(&self, spec: &ClusterSpec, progress: &Progress) -> Result<ClusterStatus>;

    /// All clusters of `platform`, by name.
    async fn list(&self, platform: &PlatformName) -> Result<Vec<ClusterStatus>>;

    /// One cluster of `platform`; `None` when there is none, or when it is not that platform's.
    async fn describe(&self, platform: &PlatformName, name: &ClusterName) -> Result<Option<ClusterStatus>>;

    /// How to reach a running cluster of `platform`; [`NotFound`](crate::ErrorKind::NotFound) when there is none.
    async fn access(&self, platform: &PlatformName, name: &ClusterName) -> Result<ClusterAccess>;

    /// Deletes a cluster of `platform` and everything the provider made for it, and waits until it is gone.
    async fn delete(
        &self,
        platform: &PlatformName,
        name: &ClusterName,
        progress: &Progress,
    ) -> Result<Deletion>;
}
