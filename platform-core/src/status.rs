//! How a platform is, as its page shows it.

use crate::{
    clock::Timestamp,
    cluster::{ClusterPhase, ClusterRole, Readiness},
    error::Result,
    image::Image,
    isolation::Isolation,
    name::{ApplicationName, ClusterName, ComponentName, EnvironmentName, Namespace, PlatformName},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A platform as it is at a moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PlatformStatus {
    /// When it was looked at.
    pub at: Timestamp,
    /// Its name.
    pub platform: PlatformName,
    /// The provider of its clusters.
    pub provider: String,
    /// Whether workloads are simulated.
    pub simulated: bool,
    /// How environments are kept apart.
    pub isolation: Isolation,
    /// Its environments, in the platform's order.
    pub environments: Vec<EnvironmentStatus>,
    /// Its clusters: those of environments, then the control plane.
    pub clusters: Vec<ClusterReport>,
}

/// An environment as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct EnvironmentStatus {
    /// Its name.
    pub name: EnvironmentName,
    /// Whether deleting it needs a confirmation.
    pub protected: bool,
    /// Its cluster.
    pub cluster: ClusterName,
    /// Its applications.
    pub applications: Vec<ApplicationStatus>,
}

/// An application in an environment as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ApplicationStatus {
    /// Its name.
    pub name: ApplicationName,
    /// Its namespace.
    pub namespace: Namespace,
    /// The image that runs; `None` where it has not been deployed.
    pub image: Option<Image>,
    /// Whether it is ready.
    pub readiness: Readiness,
    /// Why not.
    pub message: String,
}

/// A cluster as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ClusterReport {
    /// Its name.
    pub name: ClusterName,
    /// What it is for.
    pub role: ClusterRole,
    /// How far it is; `None`: it does not exist.
    pub phase: Option<ClusterPhase>,
    /// The version that its API server reports.
    pub kubernetes_version: Option<String>,
    /// Nodes that run workloads.
    pub nodes: u32,
    /// The URL of its API server.
    pub server: Option<String>,
    /// Why nothing more is known of it: the error that asking it gave. Empty when it answers.
    pub message: String,
    /// Its components.
    pub components: Vec<ComponentStatus>,
}

/// A component in a cluster as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ComponentStatus {
    /// Its name.
    pub name: ComponentName,
    /// Its version.
    pub version: String,
    /// Whether it is ready.
    pub readiness: Readiness,
    /// Why not.
    pub message: String,
}

/// Something that can say how a platform is.
///
/// Implemented by [`Platform`](crate::Platform); called by pages and sources that show it.
#[async_trait]
pub trait StatusSource: Send + Sync + fmt::Debug {
    /// The present status. A cluster that does not answer is part of the answer, not an error.
    async fn status(&self) -> Result<PlatformStatus>;
}
