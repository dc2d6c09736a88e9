//! What is known of pods and namespaces, kept up to date by watches.

use futures::StreamExt;
use platform_core::{
    Error, ErrorKind, Result,
    cluster::{Cluster, ListOptions, WatchEvent},
    telemetry::Labels,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// How long a watch or a list may take to begin.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// Between lists, where a cluster tells no changes.
const LIST_INTERVAL: Duration = Duration::from_secs(10);
/// Before a watch that could not begin is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// How long a pod is remembered that is gone: its last lines are still to be read.
const REMEMBERED: Duration = Duration::from_secs(900);
/// How many pods that are gone are remembered at most.
const MANY: usize = 10_000;

/// The annotation by which the kubelet knows a static pod: its uid there is not the API server's.
const STATIC: &str = "kubernetes.io/config.hash";
/// The label of namespaces that names their environment, unless another is named.
const ENVIRONMENT: &str = "platform.dev/environment";
/// The label of pods that names what runs in them.
const SERVICE: &str = "app.kubernetes.io/name";

/// What the pods of a cluster are, for the lines of their logs: fed by watches of pods and namespaces, and asked without a call. Cheap to
/// clone; clones share what they know.
///
/// # Behavior
/// - A pod's labels are `namespace`, `pod`, `pod_uid`, `node`, `service` (its label `app.kubernetes.io/name`), those of its own that were asked for,
///   and `environment` (its namespace's label `platform.dev/environment`), as the Fluent Bit of the catalogue gives them.
/// - Whoever gives it to a [`FileTail`](crate::sources::FileTail) need not run it: the tail does, while it runs.
/// - What cannot be watched is told once, and tried again every few seconds; what is known meanwhile stays known. Where a cluster tells no
///   changes, it is listed every 10 seconds.
/// - A pod that is gone is known for another 15 minutes.
///
/// The principal of the cluster's handle needs `list` and `watch` on pods and namespaces.
#[derive(Clone)]
pub struct PodMetadata(Arc<Inner>);

struct Inner {
    cluster: Arc<dyn Cluster>,
    node: Option<String>,
    environment_label: String,
    environments: HashSet<String>,
    /// From labels of pods to labels of lines.
    pod_labels: BTreeMap<String, String>,
    known: RwLock<Known>,
    /// Only one watches, however many run it.
    running: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    pods: HashMap<String, Pod>,
    /// The last uid of each namespace and name.
    names: HashMap<(String, String), String>,
    /// Pods that are gone, in the order in which they went.
    gone: VecDeque<(Instant, String)>,
    /// The environments of namespaces; empty where there is none.
    namespaces: HashMap<String, String>,
}

#[derive(Debug)]
struct Pod {
    labels: Labels,
    static_uid: Option<String>,
    is_gone: bool,
}

impl PodMetadata {
    /// Metadata of `cluster`, to be configured.
    pub fn builder(cluster: Arc<dyn Cluster>) -> PodMetadataBuilder {
        PodMetadataBuilder {
            cluster,
            node: None,
            environment_label: ENVIRONMENT.to_owned(),
            environments: HashSet::new(),
            pod_labels: BTreeMap::from([(SERVICE.to_owned(), "service".to_owned())]),
        }
    }

    /// The labels of a pod's lines; `None` while it or its namespace is not known. `uid` is the pod's as the kubelet knows it; without one,
    /// the last pod of that name is meant.
    pub fn labels(&self, namespace: &str, pod: &str, uid: Option<&str>) -> Option<Labels> {
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        let by_name = || {
            let found = known.pods.get(known.names.get(&(namespace.to_owned(), pod.to_owned()))?)?;
            uid.is_none_or(|uid| found.static_uid.as_deref() == Some(uid)).then_some(found)
        };
        let found = uid.and_then(|uid| known.pods.get(uid)).or_else(by_name)?;
        let environment = known.namespaces.get(namespace)?;
        Some(match environment.as_str() {
            "" => found.labels.clone(),
            environment => found.labels.with_label("environment", environment),
        })
    }

    /// The labels of what is said of a namespace: its environment. `None` where it is in none, or not known.
    pub fn namespace_labels(&self, namespace: &str) -> Option<Labels> {
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        let environment = known.namespaces.get(namespace).filter(|environment| !environment.is_empty())?;
        Some(Labels::from_iter([("environment", environment.as_str())]))
    }

    /// How many pods are known that are not gone.
    pub fn pods(&self) -> usize {
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        known.pods.values().filter(|pod| !pod.is_gone).count()
    }

    /// Watches until `shutdown` is cancelled. While one call watches, others wait for their turn.
    ///
    /// # Cancel safety
    /// Dropping the future ends the watches; what is known stays known.
    pub async fn run(&self, shutdown: &CancellationToken) {
        let _turn = tokio::select! {
            turn = self.0.running.lock() => turn,
            () = shutdown.cancelled() => return,
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            ((), ()) = self.follow_both() => {}
        }
    }

    async fn follow_both(&self) -> ((), ()) {
        let (pods, namespaces) = (Pods(self), Namespaces(self));
        futures::join!(self.follow(&pods), self.follow(&namespaces))
    }

    async fn follow(&self, kind: &dyn Kind) {
        let mut told: Option<String> = None;
        loop {
            let wait = match self.watch(kind, &mut told).await {
                Ok(()) => RETRY,
                Err(error) if error.kind() == ErrorKind::Unsupported => match self.list(kind).await {
                    Ok(()) => {
                        told = None;
                        LIST_INTERVAL
                    }
                    Err(error) => self.tell(kind, &error, &mut told),
                },
                Err(error) => self.tell(kind, &error, &mut told),
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Takes in what a watch tells, until it ends.
    async fn watch(&self, kind: &dyn Kind, told: &mut Option<String>) -> Result<()> {
        let options = kind.options();
        let mut events = within(self.0.cluster.watch("v1", kind.name(), &options)).await?;
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    *told = None;
                    kind.take(event);
                }
                Err(error) => drop(self.tell(kind, &error, told)),
            }
        }
        Ok(())
    }

    async fn list(&self, kind: &dyn Kind) -> Result<()> {
        let options = kind.options();
        let objects = within(self.0.cluster.list("v1", kind.name(), &options)).await?;
        kind.take(WatchEvent::Snapshot(objects));
        Ok(())
    }

    fn tell(&self, kind: &dyn Kind, error: &Error, told: &mut Option<String>) -> Duration {
        let problem = error.to_string();
        if told.as_ref() != Some(&problem) {
            tracing::warn!(cluster = %self.0.cluster.name(), kind = kind.name(), error = problem, "what logs are of cannot be watched");
            *told = Some(problem);
        }
        RETRY
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.0.known.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl fmt::Debug for PodMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PodMetadata")
            .field("cluster", &self.0.cluster)
            .field("node", &self.0.node)
            .finish_non_exhaustive()
    }
}

async fn within<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(START_DEADLINE, work).await.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Timeout, format!("no answer within {START_DEADLINE:?}")).operation("watch"))
    })
}

/// A kind of object that is followed.
trait Kind: Send + Sync {
    fn name(&self) -> &'static str;
    fn options(&self) -> ListOptions;
    fn take(&self, event: WatchEvent);
}

struct Pods<'a>(&'a PodMetadata);

impl Kind for Pods<'_> {
    fn name(&self) -> &'static str {
        "Pod"
    }

    fn options(&self) -> ListOptions {
        match &self.0.0.node {
            Some(node) => ListOptions::all().field("spec.nodeName", node),
            None => ListOptions::all(),
        }
    }

    fn take(&self, event: WatchEvent) {
        let labels = &self.0.0.pod_labels;
        let now = Instant::now();
        self.0.change(|known| match event {
            WatchEvent::Snapshot(pods) => {
                let present: HashSet<String> = pods.iter().filter_map(|pod| known.put(pod, labels)).collect();
                let missing: Vec<String> =
                    known.pods.keys().filter(|uid| !present.contains(*uid)).cloned().collect();
                for uid in missing {
                    known.bury(uid, now);
                }
            }
            WatchEvent::Applied(pod) => drop(known.put(&pod, labels)),
            WatchEvent::Deleted(pod) => {
                if let Some(uid) = known.put(&pod, labels) {
                    known.bury(uid, now);
                }
            }
            _ => {}
        });
    }
}

struct Namespaces<'a>(&'a PodMetadata);

impl Namespaces<'_> {
    fn environment(&self, namespace: &Value) -> Option<(String, String)> {
        let name = text(namespace, "/metadata/name")?;
        let inner = &self.0.0;
        let label =
            namespace.pointer("/metadata/labels").and_then(|labels| labels.get(&inner.environment_label));
        let environment = label.and_then(Value::as_str).unwrap_or_default();
        let is_believed = inner.environments.is_empty() || inner.environments.contains(environment);
        Some((name.to_owned(), if is_believed { environment.to_owned() } else { String::new() }))
    }
}

impl Kind for Namespaces<'_> {
    fn name(&self) -> &'static str {
        "Namespace"
    }

    fn options(&self) -> ListOptions {
        ListOptions::all()
    }

    fn take(&self, event: WatchEvent) {
        self.0.change(|known| match event {
            // A namespace that is gone stays known for the last lines of its pods: there are few.
            WatchEvent::Snapshot(namespaces) => {
                known.namespaces.extend(namespaces.iter().filter_map(|one| self.environment(one)));
            }
            WatchEvent::Applied(namespace) => known.namespaces.extend(self.environment(&namespace)),
            _ => {}
        });
    }
}

impl Known {
    /// Takes a pod in, and answers with its uid.
    fn put(&mut self, pod: &Value, pod_labels: &BTreeMap<String, String>) -> Option<String> {
        let (namespace, name) = (text(pod, "/metadata/namespace")?, text(pod, "/metadata/name")?);
        let uid = text(pod, "/metadata/uid")?;
        let of_pod = |map: &str, key: &str| pod.pointer(map).and_then(|map| map.get(key)?.as_str());
        let own = pod_labels
            .iter()
            .filter_map(|(key, label)| Some((label.as_str(), of_pod("/metadata/labels", key)?)));
        let fixed = [
            ("namespace", namespace),
            ("pod", name),
            ("pod_uid", uid),
            ("node", text(pod, "/spec/nodeName").unwrap_or_default()),
        ];
        let labels = own.chain(fixed).collect();
        let static_uid = of_pod("/metadata/annotations", STATIC).map(str::to_owned);
        self.pods.insert(uid.to_owned(), Pod { labels, static_uid, is_gone: false });
        self.names.insert((namespace.to_owned(), name.to_owned()), uid.to_owned());
        Some(uid.to_owned())
    }

    /// Notes that a pod is gone, and forgets those that are gone for long.
    fn bury(&mut self, uid: String, now: Instant) {
        if let Some(pod) = self.pods.get_mut(&uid).filter(|pod| !pod.is_gone) {
            pod.is_gone = true;
            self.gone.push_back((now, uid));
        }
        while self.gone.front().is_some_and(|(since, _)| {
            self.gone.len() > MANY || now.saturating_duration_since(*since) > REMEMBERED
        }) {
            let Some((_, uid)) = self.gone.pop_front() else { return };
            // It may have come back, as after a list that missed it.
            if self.pods.get(&uid).is_some_and(|pod| pod.is_gone) {
                self.pods.remove(&uid);
                self.names.retain(|_, last| *last != uid);
            }
        }
    }
}

fn text<'a>(object: &'a Value, path: &str) -> Option<&'a str> {
    object.pointer(path).and_then(Value::as_str)
}

/// Configures [`PodMetadata`].
#[must_use = "nothing is watched before it is built and run"]
pub struct PodMetadataBuilder {
    cluster: Arc<dyn Cluster>,
    node: Option<String>,
    environment_label: String,
    environments: HashSet<String>,
    pod_labels: BTreeMap<String, String>,
}

impl PodMetadataBuilder {
    /// Watches only the pods of this node. Default: all pods of the cluster.
    pub fn node(mut self, name: impl Into<String>) -> Self {
        self.node = Some(name.into());
        self
    }

    /// The label of namespaces that names their environment. Default: `platform.dev/environment`.
    pub fn environment_label(mut self, key: impl Into<String>) -> Self {
        self.environment_label = key.into();
        self
    }

    /// The environments of the cluster: a namespace's label that names none of them is not believed. Default: each is believed.
    pub fn environments<S: Into<String>>(mut self, environments: impl IntoIterator<Item = S>) -> Self {
        self.environments = environments.into_iter().map(Into::into).collect();
        self
    }

    /// Puts the value of one of a pod's labels on its lines, as `label`. Default: `app.kubernetes.io/name` as `service`.
    pub fn pod_label(mut self, key: impl Into<String>, label: impl Into<String>) -> Self {
        self.pod_labels.insert(key.into(), label.into());
        self
    }

    /// The metadata, of which nothing is known before it is run.
    pub fn build(self) -> PodMetadata {
        PodMetadata(Arc::new(Inner {
            cluster: self.cluster,
            node: self.node,
            environment_label: self.environment_label,
            environments: self.environments,
            pod_labels: self.pod_labels,
            known: RwLock::default(),
            running: tokio::sync::Mutex::default(),
        }))
    }
}

impl fmt::Debug for PodMetadataBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PodMetadataBuilder")
            .field("cluster", &self.cluster)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, uid: &str) -> Value {
        json!({
            "metadata": {
                "namespace": "kube-system", "name": name, "uid": uid,
                "labels": {"app.kubernetes.io/name": "dns", "team": "data"}, "annotations": {STATIC: "hash-1"},
            },
            "spec": {"nodeName": "n1"},
        })
    }

    #[test]
    fn pods_that_are_gone_are_remembered_for_a_while() {
        let labels = BTreeMap::from([("team".to_owned(), "owner".to_owned())]);
        let mut known = Known::default();
        let start = Instant::now();
        assert_eq!(known.put(&json!({"metadata": {"name": "x"}}), &labels), None);
        for uid in ["u-1", "u-2"] {
            assert_eq!(known.put(&pod("dns-1", uid), &labels).as_deref(), Some(uid));
        }
        let of_pod = [
            ("namespace", "kube-system"),
            ("node", "n1"),
            ("owner", "data"),
            ("pod", "dns-1"),
            ("pod_uid", "u-1"),
        ];
        assert_eq!(known.pods["u-1"].labels, Labels::from_iter(of_pod));
        known.bury("u-1".to_owned(), start);
        known.bury("u-1".to_owned(), start);
        assert_eq!((known.gone.len(), known.pods.len()), (1, 2));
        known.bury("u-2".to_owned(), start + REMEMBERED + Duration::from_secs(1));
        assert_eq!(known.pods.keys().collect::<Vec<_>>(), ["u-2"]);
        // One that was missed by a list comes back.
        known.put(&pod("dns-1", "u-2"), &labels);
        known.bury("u-3".to_owned(), start + REMEMBERED * 3);
        assert!(!known.pods["u-2"].is_gone && known.gone.is_empty());
        assert_eq!(known.names.len(), 1);
    }

    #[test]
    fn so_many_that_are_gone_are_remembered_and_no_more() {
        let (mut known, now) = (Known::default(), Instant::now());
        for number in 0..=MANY {
            let uid =
                known.put(&pod(&format!("p-{number}"), &format!("u-{number}")), &BTreeMap::new()).unwrap();
            known.bury(uid, now);
        }
        assert_eq!((known.pods.len(), known.names.len()), (MANY, MANY));
    }
}
