//! The pods of a cluster that ask to be scraped.

use super::{
    fetch::ACCEPT,
    history::{self, History},
    pod::PodTarget,
};
use crate::{exposition::Limits, sources::every};
use async_trait::async_trait;
use futures::{
    FutureExt,
    stream::{self, StreamExt},
};
use platform_core::{
    Error, ErrorKind, Result,
    clock::{Clock, SystemClock},
    cluster::{Cluster, ListOptions},
    telemetry::{Batch, Emitter, Labels, Sample, TelemetrySource},
};
use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

type NamespaceLabels = dyn Fn(&str) -> Option<Labels> + Send + Sync;

/// How long looking for pods may take.
const LIST_DEADLINE: Duration = Duration::from_secs(30);
/// How many pods are scraped at once.
const CONCURRENCY: usize = 16;

/// Scrapes the pods of a cluster that are annotated for it, through the proxy of its API server: no route into the cluster's network is
/// needed, and no port is opened.
///
/// # Behavior
/// - A running pod with the annotation `prometheus.io/scrape: "true"` is a target, and so are the platform's node exporter and
///   kube-state-metrics, which bear none. `prometheus.io/port` is its port (default: the one that a
///   container calls `metrics`), `prometheus.io/path` its path (`/metrics`), `prometheus.io/scheme` `http` or `https`.
/// - Samples bear `job` (the pod's `app.kubernetes.io/name`, or its first container's name), `instance` (address and port), `namespace`,
///   `pod`, `node`, `cluster` and the labels given; those of the platform's exporters only `job` and `instance` (the node, the Service) besides; labels in conflict become `exported_NAME`. Those of kube-state-metrics win, since it
///   speaks for others. What a sample's `namespace` says is then labelled as [`namespace_labels`](ClusterScrapeSourceBuilder::namespace_labels) says.
/// - Reports (`up` and others), limits, malformed lines and stale series are as with [`ScrapeSource`](super::ScrapeSource). A pod that is gone
///   ends all its series.
/// - While pods cannot be looked for, those that are known are scraped on.
///
/// The principal of the cluster's handle needs `list` on pods and `get` on `pods/proxy`.
pub struct ClusterScrapeSource {
    name: String,
    cluster: Arc<dyn Cluster>,
    interval: Duration,
    discovery_interval: Duration,
    timeout: Duration,
    labels: Labels,
    namespace_labels: Arc<NamespaceLabels>,
    limits: Limits,
    clock: Arc<dyn Clock>,
    state: tokio::sync::Mutex<State>,
}

/// What is remembered between scrapes.
#[derive(Default)]
struct State {
    discovered: Option<Instant>,
    targets: HashMap<String, (PodTarget, History)>,
    problem: Option<String>,
}

impl ClusterScrapeSource {
    /// A source of `cluster`, to be configured.
    pub fn builder(cluster: Arc<dyn Cluster>) -> ClusterScrapeSourceBuilder {
        ClusterScrapeSourceBuilder {
            cluster,
            interval: Duration::from_secs(15),
            discovery_interval: Duration::from_secs(10),
            labels: Labels::empty(),
            namespace_labels: Arc::new(|_| None),
            clock: Arc::new(SystemClock),
        }
    }

    async fn tick(&self, out: &Emitter) -> Result<()> {
        let mut state = self.state.lock().await;
        if state.discovered.is_none_or(|last| last.elapsed() >= self.discovery_interval) {
            let ended = self.discover(&mut state).await;
            drop(out.emit(Batch::samples(ended)).await?);
        }
        let targets = state.targets.values_mut();
        let scrapes: Vec<_> = targets.map(|(target, history)| self.scrape(target, history).boxed()).collect();
        let mut scrapes = stream::iter(scrapes).buffer_unordered(CONCURRENCY);
        while let Some(samples) = scrapes.next().await {
            // The next scrape reads anew: whether this one became durable changes nothing here.
            drop(out.emit(Batch::samples(samples)).await?);
        }
        Ok(())
    }

    /// Looks for pods; answers with the ends of those that are gone.
    async fn discover(&self, state: &mut State) -> Vec<Sample> {
        let options = ListOptions::all();
        let listing = self.cluster.list("v1", "Pod", &options);
        let pods = tokio::time::timeout(LIST_DEADLINE, listing).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Timeout, format!("no answer within {LIST_DEADLINE:?}"))
                .operation("list pods"))
        });
        let pods = match pods {
            Ok(pods) => pods,
            Err(error) => {
                let problem = error.to_string();
                if state.problem.as_ref() != Some(&problem) {
                    tracing::warn!(cluster = %self.cluster.name(), error = problem, "pods to scrape cannot be looked for");
                    state.problem = Some(problem);
                }
                return Vec::new();
            }
        };
        state.problem = None;
        state.discovered = Some(Instant::now());
        let mut former = std::mem::take(&mut state.targets);
        for target in pods.iter().filter_map(|pod| PodTarget::of(pod, &self.labels)) {
            let key = target.to_string();
            let known = former.remove(&key).filter(|(before, _)| *before == target);
            let history =
                known.map_or_else(|| History::new(target.labels.clone(), target.honor_labels), |(_, h)| h);
            state.targets.insert(key, (target, history));
        }
        let at = self.clock.now();
        former.into_values().flat_map(|(_, history)| history.end(at)).collect()
    }

    async fn scrape(&self, target: &PodTarget, history: &mut History) -> Vec<Sample> {
        let at = self.clock.now();
        let started = Instant::now();
        let request = target.request.clone().accept(ACCEPT);
        let reading = tokio::time::timeout(self.timeout, self.cluster.proxy(&request)).await;
        let outcome = reading
            .unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Timeout, format!("no answer within {:?}", self.timeout)))
            })
            .and_then(|body| history::read(&body, at, &self.limits));
        history.samples(target, outcome, at, started.elapsed(), |sample| self.of_namespace(sample))
    }

    fn of_namespace(&self, mut sample: Sample) -> Sample {
        if let Some(labels) = sample.labels.get("namespace").and_then(|n| (self.namespace_labels)(n)) {
            sample.labels = sample.labels.with(&labels);
        }
        sample
    }
}

impl fmt::Debug for ClusterScrapeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterScrapeSource")
            .field("cluster", &self.cluster)
            .field("interval", &self.interval)
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl TelemetrySource for ClusterScrapeSource {
    fn name(&self) -> &str {
        &self.name
    }

    async fn run(&self, out: &Emitter, shutdown: &CancellationToken) -> Result<()> {
        every(self.interval, shutdown, || self.tick(out)).await
    }
}

/// Configures a [`ClusterScrapeSource`].
#[must_use = "nothing is scraped before it is built and run"]
pub struct ClusterScrapeSourceBuilder {
    cluster: Arc<dyn Cluster>,
    interval: Duration,
    discovery_interval: Duration,
    labels: Labels,
    namespace_labels: Arc<NamespaceLabels>,
    clock: Arc<dyn Clock>,
}

impl ClusterScrapeSourceBuilder {
    /// How often. Default: 15 s; at least 10 ms. A pod may take as long for its answer, but at most 10 s.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_millis(10));
        self
    }

    /// How often pods are looked for. Default: 10 s.
    pub fn discovery_interval(mut self, interval: Duration) -> Self {
        self.discovery_interval = interval;
        self
    }

    /// Labels of everything besides those of the pod, which win.
    pub fn labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }

    /// More labels for what is about a namespace: whose environment it is, for example.
    pub fn namespace_labels(
        mut self,
        labels: impl Fn(&str) -> Option<Labels> + Send + Sync + 'static,
    ) -> Self {
        self.namespace_labels = Arc::new(labels);
        self
    }

    /// The clock that stamps the samples. Default: the machine's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The source, called `scrape:cluster:NAME`.
    pub fn build(self) -> ClusterScrapeSource {
        let own = Labels::from_iter([("cluster", self.cluster.name().as_str())]);
        ClusterScrapeSource {
            name: format!("scrape:cluster:{}", self.cluster.name()),
            labels: own.with(&self.labels),
            cluster: self.cluster,
            interval: self.interval,
            discovery_interval: self.discovery_interval,
            timeout: self.interval.clamp(Duration::from_secs(1), Duration::from_secs(10)),
            namespace_labels: self.namespace_labels,
            limits: Limits::default().samples(200_000),
            clock: self.clock,
            state: tokio::sync::Mutex::default(),
        }
    }
}

impl fmt::Debug for ClusterScrapeSourceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterScrapeSourceBuilder")
            .field("cluster", &self.cluster)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}
