//! The telemetry of a whole platform, as one thing that is started and stopped.

use crate::{
    cluster::{Cluster, ClusterRole},
    error::Result,
    event::Progress,
    name::{ClusterName, ComponentName, EnvironmentName, PlatformName},
    status::StatusSource,
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// What a telemetry plane watches.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Topology {
    /// The platform.
    pub platform: PlatformName,
    /// Its environments.
    pub environments: Vec<EnvironmentTopology>,
    /// Its clusters.
    pub clusters: Vec<ClusterTopology>,
    /// Says how the platform is.
    pub status: Arc<dyn StatusSource>,
}

impl Topology {
    /// A topology.
    pub fn new(
        platform: PlatformName,
        environments: Vec<EnvironmentTopology>,
        clusters: Vec<ClusterTopology>,
        status: Arc<dyn StatusSource>,
    ) -> Self {
        Self { platform, environments, clusters, status }
    }
}

/// An environment and where it lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentTopology {
    /// Its name.
    pub name: EnvironmentName,
    /// Its cluster.
    pub cluster: ClusterName,
    /// Its namespaces there.
    pub namespaces: Vec<String>,
}

/// A cluster to watch.
#[derive(Debug, Clone)]
pub struct ClusterTopology {
    /// Its name.
    pub name: ClusterName,
    /// What it is for.
    pub role: ClusterRole,
    /// Whether its workloads, and so its nodes, are simulated by this process: its nodes are this machine then.
    pub simulated: bool,
    /// The components that the platform installs there.
    pub components: Vec<ComponentName>,
    /// A handle of it.
    pub cluster: Arc<dyn Cluster>,
}

/// Something with an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// What it is: `console`.
    pub name: String,
    /// Where.
    pub url: String,
}

/// How an alert stands, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertSummary {
    /// The rule's name.
    pub name: String,
    /// `inactive`, `pending` or `firing`.
    pub state: String,
    /// How many times it began to fire since the plane started.
    pub fired: u64,
}

/// What a telemetry plane did since it started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TelemetrySummary {
    /// Where it can be looked at.
    pub endpoints: Vec<Endpoint>,
    /// Samples that became durable.
    pub samples_stored: u64,
    /// Log records that became durable.
    pub log_lines_stored: u64,
    /// Samples and records that were dropped, by reason; each is also told by `tracing`.
    pub dropped: Vec<(String, u64)>,
    /// Its alerts.
    pub alerts: Vec<AlertSummary>,
    /// Notifications that were delivered.
    pub notifications_sent: u64,
    /// Notifications that could not be delivered, after their retries.
    pub notifications_failed: u64,
}

/// Sources, store, dashboards and alerts of a platform, together.
///
/// Implemented by `platform_telemetry::EmbeddedTelemetry`; started by [`Platform::apply`](crate::Platform::apply) once clusters are there,
/// and stopped by [`Platform::shutdown`](crate::Platform::shutdown) and [`Platform::destroy`](crate::Platform::destroy).
#[async_trait]
pub trait TelemetryPlane: Send + Sync + fmt::Debug {
    /// What it will run, one line each, for the plan: `store: /var/lib/shop/telemetry`, `alert: HighCpu (…)`.
    fn describe(&self) -> Vec<String>;

    /// Whether it runs.
    fn is_running(&self) -> bool;

    /// Starts to watch `topology`. When it runs already, it watches the new topology from now on, and answers `false` if that is the
    /// same as before.
    async fn start(&self, topology: Topology, progress: &Progress) -> Result<bool>;

    /// What it did so far.
    async fn summary(&self) -> Result<TelemetrySummary>;

    /// Stops in order: sources, pipeline, alerts, pages, store; what was acknowledged is durable. Idempotent.
    async fn stop(&self) -> Result<()>;

    /// Stops and deletes everything it stored.
    async fn destroy(&self) -> Result<()>;
}
