//! Waiting, driven by watches.

use super::{
    Surroundings, assess, not_ready,
    surroundings::{self, needs_classes, needs_pods, needs_replica_sets},
};
use crate::connection::{
    api::Api,
    resource::{Discovery, Resource},
    watch,
};
use futures::stream::{BoxStream, SelectAll, StreamExt};
use kube::{
    api::{Api as KubeApi, DynamicObject},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use platform_core::{
    Error, ErrorKind, Result,
    cluster::{ObjectHealth, Readiness},
    event::Progress,
    manifest::ObjectRef,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write,
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, timeout_at};

/// Events that come together are looked at together.
const SETTLE: Duration = Duration::from_millis(20);
/// How long events may take that explain a timeout.
const HEARING: Duration = Duration::from_secs(3);
/// How many unready objects an error lists.
const LISTED: usize = 10;
/// Between tries to find a kind whose definition is not established yet.
const DISCOVER_POLL: Duration = Duration::from_millis(500);

/// Waits until all objects are ready, one of them cannot become so, or `deadline` passes.
pub(crate) async fn wait_ready(
    api: &Api,
    discovery: &Discovery,
    objects: &[ObjectRef],
    deadline: Instant,
    progress: &Progress,
) -> Result<()> {
    let mut waiting = Waiting {
        objects,
        seen: HashMap::new(),
        around: Surroundings::default(),
        unsynced: BTreeSet::new(),
        rejected: BTreeSet::new(),
    };
    if let Ok(result) = timeout_at(deadline, waiting.run(api, discovery, progress)).await {
        return result;
    }
    // What was warned of is worth a moment more.
    let _ = tokio::time::timeout(HEARING, waiting.around.hear(api)).await;
    Err(waiting.timed_out())
}

struct Waiting<'a> {
    objects: &'a [ObjectRef],
    seen: HashMap<(String, String, (String, String)), Value>,
    around: Surroundings,
    /// Watches whose first list is not complete.
    unsynced: BTreeSet<usize>,
    /// Watches whose credential was rejected, and that heard nothing since.
    rejected: BTreeSet<usize>,
}

/// What a watch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Target,
    Pods,
    ReplicaSets,
}

/// What is watched: a role, a kind, a namespace.
type Place = (Role, Arc<Resource>, Option<String>);

struct Source {
    role: Role,
    resource: Arc<Resource>,
    namespace: Option<String>,
}

type Watched = (usize, Result<Event<DynamicObject>, watcher::Error>);

impl Waiting<'_> {
    async fn run(&mut self, api: &Api, discovery: &Discovery, progress: &Progress) -> Result<()> {
        if self.objects.is_empty() {
            return Ok(());
        }
        if self.objects.iter().any(needs_classes) {
            self.around.late_classes = surroundings::late_classes(api).await?;
        }
        let (sources, mut events) = self.watch(api, discovery).await?;
        let mut said = String::new();
        loop {
            let Some(first) = events.next().await else {
                return Err(Error::internal("a watch ended").operation("get ready"));
            };
            self.take(&sources, first)?;
            // A short pause joins what arrives together; it also ends what would be a busy loop on a chatty cluster.
            let settled = Instant::now() + SETTLE;
            while let Ok(Some(more)) = timeout_at(settled, events.next()).await {
                self.take(&sources, more)?;
            }
            let missing = self.missing();
            if let Some(failed) = missing.iter().find(|health| health.readiness == Readiness::Failed) {
                let error = Error::new(ErrorKind::Failed, failed.message.clone());
                return Err(error.operation("get ready").subject(failed.object.to_string()));
            }
            if missing.is_empty() && self.unsynced.is_empty() {
                return Ok(());
            }
            if let Some(next) = missing.first().filter(|_| self.unsynced.is_empty()) {
                let ready = self.objects.len() - missing.len();
                let line =
                    format!("{ready} of {} ready; {}: {}", self.objects.len(), next.object, next.message);
                if line != said {
                    progress.report(line.clone());
                    tracing::debug!(%line, "Waiting for readiness");
                    said = line;
                }
            }
        }
    }

    /// One watch for each kind and namespace, and of the pods and ReplicaSets where there are workloads.
    async fn watch(
        &mut self,
        api: &Api,
        discovery: &Discovery,
    ) -> Result<(Vec<Source>, SelectAll<BoxStream<'static, Watched>>)> {
        let mut targets: BTreeMap<Place, Vec<&str>> = BTreeMap::new();
        for object in self.objects {
            let resource = find(api, discovery, object).await?;
            targets.entry((Role::Target, resource, object.namespace.clone())).or_default().push(&object.name);
            if needs_pods(object) {
                let pods = Arc::new(surroundings::pods());
                targets.entry((Role::Pods, pods, object.namespace.clone())).or_default();
            }
            if needs_replica_sets(object) {
                let sets = Arc::new(surroundings::replica_sets());
                targets.entry((Role::ReplicaSets, sets, object.namespace.clone())).or_default();
            }
        }
        let mut sources = Vec::new();
        let mut events = SelectAll::new();
        for ((role, resource, namespace), names) in targets {
            let kind = resource.kube();
            let client = api.client().clone();
            let objects: KubeApi<DynamicObject> = match &namespace {
                Some(namespace) if resource.namespaced => KubeApi::namespaced_with(client, namespace, &kind),
                _ => KubeApi::all_with(client, &kind),
            };
            let mut config = watcher::Config::default();
            if let [only] = names.as_slice() {
                config = config.fields(&format!("metadata.name={only}"));
            }
            let at = sources.len();
            self.unsynced.insert(at);
            sources.push(Source { role, resource, namespace });
            events.push(watcher(objects, config).default_backoff().map(move |event| (at, event)).boxed());
        }
        Ok((sources, events))
    }

    fn take(&mut self, sources: &[Source], (at, event): Watched) -> Result<()> {
        let Some(source) = sources.get(at) else { return Ok(()) };
        // `Init` only says that a list is about to be asked for.
        if matches!(&event, Ok(event) if !matches!(event, Event::Init)) {
            self.rejected.remove(&at);
        }
        match event {
            Ok(Event::Init) => self.forget(source),
            Ok(Event::InitDone) => {
                self.unsynced.remove(&at);
            }
            Ok(Event::InitApply(object) | Event::Apply(object)) => self.put(source, object, true)?,
            Ok(Event::Delete(object)) => self.put(source, object, false)?,
            Err(error) => {
                let unauthorized = matches!(
                    &error,
                    watcher::Error::InitialListFailed(kube::Error::Api(status))
                        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 401
                );
                let error = watch::refused(error);
                // A rejected credential is asked for anew by the client, once.
                let renewed = unauthorized && self.rejected.insert(at);
                // The watch comes back by itself, with back-off; what is refused stays refused.
                if !renewed && matches!(error.kind(), ErrorKind::Denied | ErrorKind::Invalid) {
                    return Err(error.operation("watch").subject(source.resource.plural.clone()));
                }
                tracing::debug!(%error, kind = %source.resource.plural, "A watch was interrupted");
            }
        }
        Ok(())
    }

    /// A list begins: what it does not name is gone.
    fn forget(&mut self, source: &Source) {
        let elsewhere =
            |(namespace, _): &(String, String)| source.namespace.as_ref().is_some_and(|n| n != namespace);
        let Resource { group, kind, .. } = &*source.resource;
        match source.role {
            Role::Target => self.seen.retain(|(g, k, key), _| g != group || k != kind || elsewhere(key)),
            Role::Pods => self.around.pods.retain(|key, _| elsewhere(key)),
            Role::ReplicaSets => self.around.replica_sets.retain(|key, _| elsewhere(key)),
        }
    }

    fn put(&mut self, source: &Source, object: DynamicObject, present: bool) -> Result<()> {
        let value =
            serde_json::to_value(object).map_err(|e| Error::internal("an object is no JSON").source(e))?;
        let key = surroundings::key(&value);
        let slot = match source.role {
            Role::Pods => &mut self.around.pods,
            Role::ReplicaSets => &mut self.around.replica_sets,
            Role::Target => {
                let key = (source.resource.group.clone(), source.resource.kind.clone(), key);
                if present {
                    self.seen.insert(key, value);
                } else {
                    self.seen.remove(&key);
                }
                return Ok(());
            }
        };
        if present {
            slot.insert(key, value);
        } else {
            slot.remove(&key);
        }
        Ok(())
    }

    /// The objects that are not ready, in the order given.
    fn missing(&self) -> Vec<ObjectHealth> {
        let healths = self.objects.iter().map(|object| {
            let key = (object.namespace.clone().unwrap_or_default(), object.name.clone());
            let live = self.seen.get(&(object.group().to_owned(), object.kind.clone(), key));
            assess(object, live, &self.around)
        });
        healths.filter(|health| health.readiness != Readiness::Current).collect()
    }

    fn timed_out(&self) -> Error {
        let missing = self.missing();
        let mut message = match missing.as_slice() {
            [] => "the deadline passed before the API server answered".to_owned(),
            [one] => format!("the deadline passed; {}", one.message),
            _ => "the deadline passed".to_owned(),
        };
        if missing.len() > 1 {
            for health in missing.iter().take(LISTED) {
                // Writing to a string cannot fail.
                let _ = write!(message, "; {}: {}", health.object, health.message);
            }
            if missing.len() > LISTED {
                let _ = write!(message, "; and {} more", missing.len() - LISTED);
            }
        }
        not_ready(Error::new(ErrorKind::Timeout, message), &missing)
    }
}

/// The resource of an object's kind, waiting for its definition.
async fn find(api: &Api, discovery: &Discovery, object: &ObjectRef) -> Result<Arc<Resource>> {
    loop {
        if let Some(resource) = discovery.find(api, &object.api_version, &object.kind).await? {
            return Ok(resource);
        }
        tokio::time::sleep(DISCOVER_POLL).await;
    }
}
