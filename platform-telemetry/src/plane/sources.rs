//! What is watched of a topology.

use crate::sources::{ClusterScrapeSource, ClusterStateSource, HostSource};
use async_trait::async_trait;
use platform_core::{
    Result,
    clock::Clock,
    cluster::ClusterRole,
    status::{PlatformStatus, StatusSource},
    telemetry::{ClusterTopology, Labels, TelemetrySource, Topology},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

/// The component whose series [`ClusterStateSource`] has too.
const KUBE_STATE_METRICS: &str = "kube-state-metrics";

/// The sources of `topology`, with the labels to put on what they emit.
pub(super) fn of_topology(
    topology: &Topology,
    interval: Duration,
    clock: &Arc<dyn Clock>,
) -> Vec<(Arc<dyn TelemetrySource>, Labels)> {
    let mut sources: Vec<(Arc<dyn TelemetrySource>, Labels)> = Vec::new();
    let simulated = topology.clusters.iter().filter(|cluster| cluster.simulated).map(labels);
    let mut machines: Vec<Labels> = simulated.collect();
    if topology.clusters.is_empty() {
        machines.push(Labels::empty());
    }
    if !machines.is_empty() {
        let host = HostSource::builder().interval(interval).clock(clock.clone()).for_each(machines);
        sources.push((Arc::new(host.build()), Labels::empty()));
    }
    for cluster in &topology.clusters {
        let environments: BTreeMap<String, Labels> = topology
            .environments
            .iter()
            .filter(|environment| environment.cluster == cluster.name)
            .flat_map(|environment| {
                let labels = Labels::from_iter([("environment", environment.name.as_str())]);
                environment.namespaces.iter().map(move |namespace| (namespace.clone(), labels.clone()))
            })
            .collect();
        let environments = Arc::new(environments);
        let of_namespace = move |namespace: &str| environments.get(namespace).cloned();
        let mut state = ClusterStateSource::builder(cluster.cluster.clone())
            .interval(interval)
            .clock(clock.clone())
            .labels(labels(cluster))
            .namespace_labels(of_namespace.clone());
        if !cluster.simulated {
            let pods = ClusterScrapeSource::builder(cluster.cluster.clone())
                .interval(interval)
                .clock(clock.clone())
                .labels(labels(cluster))
                .namespace_labels(of_namespace);
            sources.push((Arc::new(pods.build()), Labels::empty()));
            // The same series from two sources would be counted twice.
            if cluster.components.iter().any(|component| *component == KUBE_STATE_METRICS) {
                state = state.events_only();
            }
        }
        sources.push((Arc::new(state.build()), Labels::empty()));
    }
    sources
}

/// Whether both are made of the same parts.
pub(super) fn same(one: &Topology, other: &Topology) -> bool {
    let parts = |cluster: &ClusterTopology| {
        (cluster.name.clone(), cluster.role.clone(), cluster.simulated, cluster.components.clone())
    };
    one.platform == other.platform
        && one.environments == other.environments
        && one.clusters.iter().map(parts).eq(other.clusters.iter().map(parts))
}

/// Whether the handles of the clusters are the same, one by one.
pub(super) fn same_handles(one: &Topology, other: &Topology) -> bool {
    let same = |(a, b): (&ClusterTopology, &ClusterTopology)| Arc::ptr_eq(&a.cluster, &b.cluster);
    one.clusters.len() == other.clusters.len() && one.clusters.iter().zip(&other.clusters).all(same)
}

/// The labels of a cluster's nodes. A node that is shared by environments belongs to none of them.
fn labels(cluster: &ClusterTopology) -> Labels {
    let environments = match &cluster.role {
        ClusterRole::Environments(environments) => environments.as_slice(),
        _ => &[],
    };
    let environment = if let [one] = environments { one.as_str() } else { "" };
    Labels::from_iter([("cluster", cluster.name.as_str()), ("environment", environment)])
}

/// Says how the platform is by the source that was given last.
#[derive(Debug)]
pub(super) struct CurrentStatus(RwLock<Arc<dyn StatusSource>>);

impl CurrentStatus {
    pub(super) fn new(source: Arc<dyn StatusSource>) -> Self {
        Self(RwLock::new(source))
    }

    pub(super) fn replace(&self, source: Arc<dyn StatusSource>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = source;
    }
}

#[async_trait]
impl StatusSource for CurrentStatus {
    async fn status(&self) -> Result<PlatformStatus> {
        let source = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        source.status().await
    }
}
