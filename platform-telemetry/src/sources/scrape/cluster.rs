//! The pods of a cluster that ask to be scraped.

use super::{
    fetch::{self, ACCEPT_TEXT},
    history::{self, History, Reading},
    pod::PodTarget,
    selector::{PodSelector, ServiceSelector},
};
use crate::{
    exposition::{Format, Limits},
    http,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    FutureExt,
    future::BoxFuture,
    stream::{FuturesUnordered, StreamExt},
};
use platform_core::{
    Error, ErrorKind, Result,
    clock::{Clock, SystemClock},
    cluster::{Cluster, ListOptions},
    telemetry::{Batch, Emitter, Labels, Sample, TelemetrySource},
};
use reqwest::Client;
use serde_json::Value;
use std::{
    cell::RefCell,
    collections::{HashMap, hash_map::Entry},
    fmt,
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

type NamespaceLabels = dyn Fn(&str) -> Option<Labels> + Send + Sync;

/// How long looking for pods may take.
const LIST_DEADLINE: Duration = Duration::from_secs(30);
/// How long a pod may take for its answer at most.
const LONGEST: Duration = Duration::from_secs(10);
/// How many pods are scraped at once.
const CONCURRENCY: usize = 16;

/// Scrapes the pods of a cluster that are annotated or chosen for it, through the proxy of its API server: no route into the cluster's network is
/// needed, and no port is opened. Policies of the network may keep the API server out, as those of environments do where it is on another node;
/// a program that runs in the cluster asks pods [`directly`](ClusterScrapeSourceBuilder::directly).
///
/// # Behavior
/// - A running pod with the annotation `prometheus.io/scrape: "true"` is a target, and so are the platform's node exporter and
///   kube-state-metrics, which bear none. `prometheus.io/port` is its port (default: the one that a
///   container calls `metrics`), `prometheus.io/path` its path (`/metrics`), `prometheus.io/scheme` `http` or `https`.
/// - Pods and Services can be chosen besides, by namespace and labels: [`pods`](ClusterScrapeSourceBuilder::pods),
///   [`services`](ClusterScrapeSourceBuilder::services). What is chosen twice is scraped once, as the first says; annotations come last.
/// - Each pod is scraped at its own moment within the interval, chosen by a hash of its address. One that is slow holds up no other.
/// - Samples bear `job` (the pod's `app.kubernetes.io/name`, or its first container's name), `instance` (address and port), `namespace`,
///   `pod`, `node`, `cluster` and the labels given; those of the platform's exporters only `job` and `instance` (the node, the Service) besides; labels in conflict become `exported_NAME`. Those of kube-state-metrics win, since it
///   speaks for others. What a sample's `namespace` says is then labelled as [`namespace_labels`](ClusterScrapeSourceBuilder::namespace_labels) says.
/// - Reports (`up` and others), limits, malformed lines and stale series are as with [`ScrapeSource`](super::ScrapeSource). A pod that is gone
///   ends all its series.
/// - While pods cannot be looked for, those that are known are scraped on.
///
/// The principal of the cluster's handle needs `list` on pods, `get` on `pods/proxy` unless pods are asked directly, and `list` on services where
/// they are chosen.
pub struct ClusterScrapeSource {
    name: String,
    cluster: Arc<dyn Cluster>,
    interval: Duration,
    discovery_interval: Duration,
    timeout: Duration,
    labels: Labels,
    namespace_labels: Arc<NamespaceLabels>,
    limits: Limits,
    node: Option<String>,
    /// What asks pods without the API server.
    direct: Option<Client>,
    pods: Vec<PodSelector>,
    services: Vec<ServiceSelector>,
    clock: Arc<dyn Clock>,
}

/// What is known while the source runs.
#[derive(Default)]
struct State {
    targets: HashMap<String, Tracked>,
    problem: Option<String>,
}

/// A target, and when it is scraped next.
struct Tracked {
    target: Arc<PodTarget>,
    due: Instant,
    /// Away while it is scraped.
    history: Option<Box<History>>,
    /// It is no more, or is something else now.
    gone: bool,
}

/// What has been waited for.
enum Done {
    Listed(Result<(Vec<Value>, Vec<Value>)>),
    Scraped { key: String, history: Box<History>, samples: Vec<Sample> },
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
            node: None,
            direct: None,
            pods: Vec::new(),
            services: Vec::new(),
            clock: Arc::new(SystemClock),
        }
    }

    async fn follow(&self, out: &Emitter) -> Result<()> {
        let mut state = State::default();
        let mut waiting: FuturesUnordered<BoxFuture<'_, Done>> = FuturesUnordered::new();
        waiting.push(self.list().boxed());
        let (mut listing, mut next_listing, mut scraping) = (true, Instant::now(), 0);
        loop {
            let now = Instant::now();
            if !listing && next_listing <= now {
                waiting.push(self.list().boxed());
                listing = true;
            }
            for (key, tracked) in &mut state.targets {
                if scraping >= CONCURRENCY {
                    break;
                }
                if tracked.due <= now
                    && let Some(history) = tracked.history.take()
                {
                    let target = Arc::clone(&tracked.target);
                    tracked.due = self.next(&target, tracked.due, now);
                    waiting.push(self.scrape(key.clone(), target, history).boxed());
                    scraping += 1;
                }
            }
            let idle =
                state.targets.values().filter(|tracked| tracked.history.is_some()).map(|tracked| tracked.due);
            let listing_due = (!listing).then_some(next_listing);
            // With all turns taken the next thing is that one ends.
            let wake = idle.filter(|_| scraping < CONCURRENCY).chain(listing_due).min();
            let done = tokio::select! {
                Some(done) = waiting.next() => done,
                () = sleep_until(wake.unwrap_or(now + self.discovery_interval)) => continue,
            };
            let samples = match done {
                Done::Listed(listed) => {
                    (listing, next_listing) = (false, Instant::now() + self.discovery_interval);
                    self.discovered(&mut state, listed)
                }
                Done::Scraped { key, history, mut samples } => {
                    scraping -= 1;
                    let tracked = state.targets.get_mut(&key);
                    match tracked {
                        Some(tracked) if !tracked.gone => tracked.history = Some(history),
                        _ => {
                            state.targets.remove(&key);
                            samples.extend(history.end(self.clock.now()));
                        }
                    }
                    samples
                }
            };
            // The next scrape reads anew: whether this one became durable changes nothing here.
            drop(out.emit(Batch::samples(samples)).await?);
        }
    }

    /// Its next moment after `due`, skipping those that were missed.
    fn next(&self, target: &PodTarget, due: Instant, now: Instant) -> Instant {
        let interval = target.interval.unwrap_or(self.interval);
        let next = due + interval;
        if next > now { next } else { now + interval }
    }

    /// Looks for pods, and for Services if any are asked for.
    async fn list(&self) -> Done {
        let listing = async {
            let all = ListOptions::all();
            let pods = match &self.node {
                Some(node) => {
                    self.cluster.list("v1", "Pod", &ListOptions::all().field("spec.nodeName", node)).await?
                }
                None => self.cluster.list("v1", "Pod", &all).await?,
            };
            let services = if self.services.is_empty() {
                Vec::new()
            } else {
                self.cluster.list("v1", "Service", &all).await?
            };
            Ok((pods, services))
        };
        Done::Listed(timeout(LIST_DEADLINE, listing).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Timeout, format!("no answer within {LIST_DEADLINE:?}"))
                .operation("list pods"))
        }))
    }

    /// Takes note of what is there; answers with the ends of what is gone.
    fn discovered(&self, state: &mut State, listed: Result<(Vec<Value>, Vec<Value>)>) -> Vec<Sample> {
        let (pods, services) = match listed {
            Ok(listed) => listed,
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
        let by_services = self.services.iter().flat_map(|selector| {
            services.iter().flat_map(|service| selector.targets(service, &pods, &self.labels))
        });
        let by_pods = self
            .pods
            .iter()
            .flat_map(|selector| pods.iter().filter_map(|pod| selector.target(pod, &self.labels)));
        let annotated = pods.iter().filter_map(|pod| PodTarget::of(pod, &self.labels));
        let mut found: HashMap<String, PodTarget> = HashMap::new();
        for target in by_services.chain(by_pods).chain(annotated) {
            found.entry(target.to_string()).or_insert(target);
        }
        let (at, now) = (self.clock.now(), Instant::now());
        let mut ends = Vec::new();
        state.targets.retain(|key, tracked| {
            if found.get(key) == Some(&*tracked.target) {
                found.remove(key);
                // It may have been away for a moment.
                tracked.gone = false;
                return true;
            }
            tracked.gone = true;
            match tracked.history.take() {
                Some(history) => {
                    ends.extend(history.end(at));
                    false
                }
                None => true,
            }
        });
        for (key, target) in found {
            // What is something else now begins when the scrape under way has ended.
            if let Entry::Vacant(place) = state.targets.entry(key) {
                let interval = target.interval.unwrap_or(self.interval);
                let history = Box::new(History::new(Reading {
                    limits: self.limits,
                    strict: false,
                    labels: target.labels.clone(),
                    honor_labels: target.honor_labels,
                }));
                let due = now + history::delay(place.key(), interval, at);
                place.insert(Tracked { target: Arc::new(target), due, history: Some(history), gone: false });
            }
        }
        ends
    }

    /// The answer of a pod.
    async fn ask(&self, target: &PodTarget) -> Result<(Format, Bytes)> {
        if let Some(client) = &self.direct {
            return fetch::fetch(client, &target.url()?, None, self.timeout, target.request.limit).await;
        }
        let request = target.request.clone().accept(ACCEPT_TEXT);
        let body = self.cluster.proxy(&request).await?;
        Ok((Format::Prometheus, body.into()))
    }

    async fn scrape(&self, key: String, target: Arc<PodTarget>, mut history: Box<History>) -> Done {
        let at = self.clock.now();
        let started = std::time::Instant::now();
        let answer = timeout(self.timeout, self.ask(&target)).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Timeout, format!("no answer within {:?}", self.timeout)))
        });
        let samples = {
            // Each namespace is asked for once.
            let known: RefCell<HashMap<String, Option<Labels>>> = RefCell::default();
            history.samples(&*target, answer, at, started, |labels| {
                let namespace = labels.get("namespace")?;
                if let Some(labels) = known.borrow().get(namespace) {
                    return labels.clone();
                }
                let labels = (self.namespace_labels)(namespace);
                known.borrow_mut().insert(namespace.to_owned(), labels.clone());
                labels
            })
        };
        Done::Scraped { key, history, samples }
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
        shutdown.run_until_cancelled(self.follow(out)).await.unwrap_or(Ok(()))
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
    node: Option<String>,
    direct: Option<Client>,
    pods: Vec<PodSelector>,
    services: Vec<ServiceSelector>,
    clock: Arc<dyn Clock>,
}

impl ClusterScrapeSourceBuilder {
    /// Scrapes only the pods of this node. Default: all pods of the cluster.
    pub fn node(mut self, name: impl Into<String>) -> Self {
        self.node = Some(name.into());
        self
    }

    /// Asks pods at their own addresses and not through the API server: for programs that run in the cluster, whom the policies of its network let
    /// in. OpenMetrics is asked for too; certificates are not checked, redirects are not followed. Fails with [`Internal`](ErrorKind::Internal)
    /// where TLS cannot be set up.
    pub fn directly(mut self) -> Result<Self> {
        self.direct = Some(http::client_of_addresses(LONGEST)?);
        Ok(self)
    }

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

    /// Chooses pods besides those that are annotated.
    pub fn pods(mut self, selector: PodSelector) -> Self {
        self.pods.push(selector);
        self
    }

    /// Chooses the pods behind Services.
    pub fn services(mut self, selector: ServiceSelector) -> Self {
        self.services.push(selector);
        self
    }

    /// Labels of everything besides those of the pod, which win.
    pub fn labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }

    /// More labels for what is about a namespace, samples and reports: whose environment it is, for example.
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
            timeout: self.interval.clamp(Duration::from_secs(1), LONGEST),
            namespace_labels: self.namespace_labels,
            limits: Limits::default().samples(200_000),
            node: self.node,
            direct: self.direct,
            pods: self.pods,
            services: self.services,
            clock: self.clock,
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
