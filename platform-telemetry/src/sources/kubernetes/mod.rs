//! The state of a cluster, in the names of kube-state-metrics, and its Events.

mod events;
mod metadata;
mod object;
mod pods;
mod resources;
mod workloads;

pub use metadata::{PodMetadata, PodMetadataBuilder};

use super::{
    every,
    samples::{SampleSet, fan_out},
    staleness::Staleness,
};
use async_trait::async_trait;
use events::Events;
use object::Object;
use platform_core::{
    Error, ErrorKind, Result,
    clock::{Clock, SystemClock, Timestamp},
    cluster::{Cluster, ListOptions},
    telemetry::{Batch, Emitter, Labels, MetricKind, Sample, TelemetrySource},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

type NamespaceLabels = dyn Fn(&str) -> Option<Labels> + Send + Sync;
type Describe = fn(Object<'_>, &mut SampleSet);

/// How long a list may take before the reading goes on without it.
const LIST_DEADLINE: Duration = Duration::from_secs(30);

/// What is listed, and what is said of each object.
const KINDS: [(&str, &str, Describe); 11] = [
    ("v1", "Node", resources::node),
    ("v1", "Namespace", resources::namespace),
    ("v1", "Service", resources::service),
    ("v1", "ResourceQuota", resources::resource_quota),
    ("v1", "PersistentVolumeClaim", resources::persistent_volume_claim),
    ("v1", "Pod", pods::pod),
    ("apps/v1", "Deployment", workloads::deployment),
    ("apps/v1", "StatefulSet", workloads::stateful_set),
    ("apps/v1", "DaemonSet", workloads::daemon_set),
    ("apps/v1", "ReplicaSet", workloads::replica_set),
    ("batch/v1", "Job", workloads::job),
];

/// Lists a cluster's objects and says how they are with the metric names and labels of [kube-state-metrics]; its Events become
/// log records.
///
/// # Behavior
/// - Every sample has the labels `cluster` and `job="kube-state-metrics"`, those given, and for objects of a namespace those that
///   [`namespace_labels`](ClusterStateSourceBuilder::namespace_labels) says.
/// - `up` is 1 when the API server answered, `kube_state_metrics_list_total{resource,result}` counts lists. A kind that cannot be
///   listed is told once and left out; its series are not ended, since nothing is known of them.
/// - Series of objects that are gone are ended with [`STALE`](super::STALE).
/// - An Event becomes a record once, and again each time its count grows; `source="kubernetes-events"`, `namespace`, `kind`, `name`,
///   `reason`, `type` and `component` are its labels. Its time is when it was last seen, so that a sink that can tell a repeat
///   keeps one copy after a restart. An Event whose record was not stored is emitted again, unless the sink refused it for good.
///
/// [kube-state-metrics]: https://github.com/kubernetes/kube-state-metrics/tree/main/docs/metrics
pub struct ClusterStateSource {
    name: String,
    cluster: Arc<dyn Cluster>,
    interval: Duration,
    labels: Labels,
    namespace_labels: Arc<NamespaceLabels>,
    metrics: bool,
    clock: Arc<dyn Clock>,
    state: tokio::sync::Mutex<State>,
    lists: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
}

/// What is remembered between readings.
#[derive(Default)]
struct State {
    staleness: BTreeMap<&'static str, Staleness>,
    failing: BTreeMap<&'static str, String>,
    events: Events,
}

impl ClusterStateSource {
    /// A source of `cluster`, to be configured.
    pub fn builder(cluster: Arc<dyn Cluster>) -> ClusterStateSourceBuilder {
        ClusterStateSourceBuilder {
            cluster,
            interval: Duration::from_secs(15),
            labels: Labels::empty(),
            namespace_labels: Arc::new(|_| None),
            metrics: true,
            clock: Arc::new(SystemClock),
        }
    }

    /// Reads everything once and emits it.
    async fn tick(&self, out: &Emitter) -> Result<()> {
        let mut state = self.state.lock().await;
        let at = self.clock.now();
        let kinds: &[_] = if self.metrics { &KINDS } else { &[] };
        let lists = kinds.iter().map(|(api_version, kind, _)| self.list(api_version, kind));
        let (lists, events) = futures::join!(futures::future::join_all(lists), self.list("v1", "Event"));
        let mut samples = Vec::new();
        let mut up = false;
        for ((_, kind, describe), objects) in kinds.iter().zip(lists) {
            if let Some(objects) = self.note(kind, objects, &mut state) {
                up = true;
                let present = self.describe(kind, &objects, *describe, at);
                let ended = state.staleness.entry(kind).or_default().advance(&present, at);
                samples.extend(present.into_iter().chain(ended));
            }
        }
        let events = self.note("Event", events, &mut state);
        if self.metrics {
            samples.extend(self.about_lists(up, at));
        }
        // The next reading says the same anew: nobody has to wait for this one.
        drop(out.emit(Batch::samples(samples)).await?);
        if let Some(events) = events {
            let label = |namespace: &str| self.of_namespace(namespace);
            state.events.emit(&events, at, &label, out).await?;
        }
        Ok(())
    }

    async fn list(&self, api_version: &str, kind: &str) -> Result<Vec<Value>> {
        let options = ListOptions::all();
        let list = self.cluster.list(api_version, kind, &options);
        tokio::time::timeout(LIST_DEADLINE, list).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Timeout, format!("no answer within {LIST_DEADLINE:?}"))
                .operation("list"))
        })
    }

    /// Counts a list, and tells when it fails otherwise than before.
    fn note(&self, kind: &'static str, list: Result<Vec<Value>>, state: &mut State) -> Option<Vec<Value>> {
        let result = if list.is_ok() { "success" } else { "error" };
        *self.lists.lock().unwrap_or_else(PoisonError::into_inner).entry((kind, result)).or_default() += 1;
        match list {
            Ok(objects) => {
                if state.failing.remove(kind).is_some() {
                    tracing::info!(cluster = %self.cluster.name(), kind, "the state of a cluster can be read again");
                }
                Some(objects)
            }
            Err(error) => {
                let error = error.to_string();
                if state.failing.get(kind) != Some(&error) {
                    tracing::warn!(cluster = %self.cluster.name(), kind, error, "the state of a cluster cannot be read");
                    state.failing.insert(kind, error);
                }
                None
            }
        }
    }

    fn describe(&self, kind: &str, objects: &[Value], describe: Describe, at: Timestamp) -> Vec<Sample> {
        let mut by_namespace: BTreeMap<&str, SampleSet> = BTreeMap::new();
        for object in objects {
            let object = Object::new(object);
            let namespace = if kind == "Namespace" { object.name() } else { object.namespace() };
            let set = by_namespace.entry(namespace).or_insert_with(|| SampleSet::new(at));
            describe(object, set);
        }
        let labelled = by_namespace.into_iter().flat_map(|(namespace, set)| {
            fan_out(&set.into_samples(), std::slice::from_ref(&self.of_namespace(namespace)))
        });
        labelled.collect()
    }

    fn of_namespace(&self, namespace: &str) -> Labels {
        if namespace.is_empty() {
            return self.labels.clone();
        }
        (self.namespace_labels)(namespace).map_or_else(|| self.labels.clone(), |more| self.labels.with(&more))
    }

    fn about_lists(&self, up: bool, at: Timestamp) -> Vec<Sample> {
        let mut set = SampleSet::new(at);
        set.push("up", MetricKind::Gauge, Labels::empty(), f64::from(u8::from(up)));
        for ((kind, result), count) in self.lists.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let labels = [("resource", *kind), ("result", result)];
            set.counter("kube_state_metrics_list_total", &labels, *count as f64);
        }
        fan_out(&set.into_samples(), std::slice::from_ref(&self.labels))
    }
}

impl fmt::Debug for ClusterStateSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterStateSource")
            .field("cluster", &self.cluster)
            .field("interval", &self.interval)
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl TelemetrySource for ClusterStateSource {
    fn name(&self) -> &str {
        &self.name
    }

    async fn run(&self, out: &Emitter, shutdown: &CancellationToken) -> Result<()> {
        every(self.interval, shutdown, || self.tick(out)).await
    }
}

/// Configures a [`ClusterStateSource`].
#[must_use = "nothing is listed before it is built and run"]
pub struct ClusterStateSourceBuilder {
    cluster: Arc<dyn Cluster>,
    interval: Duration,
    labels: Labels,
    namespace_labels: Arc<NamespaceLabels>,
    metrics: bool,
    clock: Arc<dyn Clock>,
}

impl ClusterStateSourceBuilder {
    /// How often. Default: 15 s; at least 10 ms.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_millis(10));
        self
    }

    /// Labels of everything, besides `cluster` and `job`, which they may override.
    pub fn labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }

    /// More labels for what is in a namespace, and for the namespace itself: whose environment it is, for example.
    pub fn namespace_labels(
        mut self,
        labels: impl Fn(&str) -> Option<Labels> + Send + Sync + 'static,
    ) -> Self {
        self.namespace_labels = Arc::new(labels);
        self
    }

    /// Reads Events alone: for clusters in which kube-state-metrics itself runs and is scraped.
    pub fn events_only(mut self) -> Self {
        self.metrics = false;
        self
    }

    /// The clock that stamps the samples. Default: the machine's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The source, called `cluster:NAME`.
    pub fn build(self) -> ClusterStateSource {
        let name = self.cluster.name().as_str().to_owned();
        let own = Labels::from_iter([("job", "kube-state-metrics"), ("cluster", name.as_str())]);
        ClusterStateSource {
            name: format!("cluster:{name}"),
            labels: own.with(&self.labels),
            cluster: self.cluster,
            interval: self.interval,
            namespace_labels: self.namespace_labels,
            metrics: self.metrics,
            clock: self.clock,
            state: tokio::sync::Mutex::default(),
            lists: Mutex::default(),
        }
    }
}

impl fmt::Debug for ClusterStateSourceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterStateSourceBuilder")
            .field("cluster", &self.cluster)
            .field("interval", &self.interval)
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}
