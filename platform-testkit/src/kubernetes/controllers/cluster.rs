//! The loop that follows the store and does the work.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::admission::{QUOTAS, quota_status};
use super::super::error::ApiError;
use super::super::resource::GroupResource;
use super::super::store::{Change, Event, Key, Store, Stored, Watch};
use super::behaviour::Behaviour;
use super::events::Recorder;
use super::kubelet::Runtime;
use super::object::{
    AUTOSCALERS, CLAIMS, CONFIG_MAPS, CONTROLLER_MANAGER, DAEMON_SETS, DEPLOYMENTS, DISRUPTION_BUDGETS,
    ENDPOINT_SLICES, INGRESSES, JOBS, NODES, PODS, REPLICA_SETS, REPLICATION_CONTROLLERS, SECRETS, SERVICES,
    STATEFUL_SETS, STORAGE_CLASSES, VOLUMES, controller_of, namespace, text, uid,
};
use super::queue::Queue;
use super::scheduler::Usage;
use super::service;

/// After this many pieces of work others get their turn, and changes meanwhile are read.
const BATCH: usize = 32;

/// Collections whose objects each are a piece of work of their own.
const RECONCILED: [GroupResource; 14] = [
    NODES,
    PODS,
    DEPLOYMENTS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    STATEFUL_SETS,
    DAEMON_SETS,
    JOBS,
    SERVICES,
    INGRESSES,
    CLAIMS,
    VOLUMES,
    AUTOSCALERS,
    QUOTAS,
];

/// The object to look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Work {
    /// Bring it into the state that it asks for.
    Object(Key),
    /// Forget old events.
    ForgetEvents,
}

/// What the controllers know beside the store, all of which they can find out again.
pub(super) struct Cluster {
    pub(super) store: Arc<Store>,
    pub(super) behaviour: Arc<Behaviour>,
    pub(super) events: Recorder,
    pub(super) queue: Queue<Work>,
    pub(super) usage: Usage,
    /// The containers of each pod, by its UID.
    pub(super) runtimes: HashMap<String, Runtime>,
    /// When the containers of a pod that is being deleted have ended, by its UID.
    pub(super) ending: HashMap<String, Instant>,
    /// Pods that wait for a node.
    pub(super) unscheduled: HashSet<Key>,
    /// Pods that wait for a ConfigMap, a Secret or a claim.
    pub(super) unconfigured: HashSet<Key>,
}

impl Cluster {
    pub(super) fn new(store: Arc<Store>, behaviour: Arc<Behaviour>) -> Self {
        Self {
            events: Recorder::new(store.clone()),
            store,
            behaviour,
            // What sums up pods is done once for all of the pods that changed.
            queue: Queue::new(|work| matches!(work, Work::Object(key) if key.resource == PODS)),
            usage: Usage::default(),
            runtimes: HashMap::new(),
            ending: HashMap::new(),
            unscheduled: HashSet::new(),
            unconfigured: HashSet::new(),
        }
    }

    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let mut watch = self.store.watch(None, None, self.store.revision());
            self.look_at_everything();
            if let Err(expired) = self.follow(&mut watch, &shutdown).await {
                tracing::debug!(%expired, "the controllers fell behind and start over");
            } else {
                return;
            }
        }
    }

    /// `Ok` when the cluster shuts down; an error when changes were missed.
    async fn follow(&mut self, watch: &mut Watch, shutdown: &CancellationToken) -> Result<(), ApiError> {
        loop {
            for _ in 0..BATCH {
                while let Some(event) = watch.try_next()? {
                    self.notice(&event);
                }
                let Some(work) = self.queue.pop(Instant::now()) else { break };
                self.perform(work);
            }
            if shutdown.is_cancelled() {
                return Ok(());
            }
            if self.queue.has_ready() {
                tokio::task::yield_now().await;
                continue;
            }
            let due = self.queue.next_due();
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                event = watch.next() => self.notice(&*event?),
                () = sleep_until(due) => {}
            }
        }
    }

    /// Takes up every object as if it were new.
    fn look_at_everything(&mut self) {
        self.usage = Usage::default();
        self.unscheduled.clear();
        self.unconfigured.clear();
        for pod in self.store.list(&PODS, None).items {
            self.usage.observe(&pod);
        }
        for resource in RECONCILED.iter().chain([&DISRUPTION_BUDGETS]) {
            for object in self.store.list(resource, None).items {
                self.queue.push(Work::Object(Key::of(resource, &object)));
            }
        }
        self.queue.push(Work::ForgetEvents);
    }

    /// Finds out what a change gives to do.
    fn notice(&mut self, event: &Event) {
        let (key, object) = (&event.key, event.object.value());
        let resource = &key.resource;
        if let Some(owner) = controller_of(object).and_then(|owner| owner_key(owner, namespace(object))) {
            self.queue.push(Work::Object(owner));
        }
        if event.change != Change::Deleted && RECONCILED.contains(resource) {
            self.queue.push(Work::Object(key.clone()));
        }
        if !key.namespace.is_empty() && *resource != QUOTAS {
            // What comes, goes or ends may be counted.
            self.push_all(&QUOTAS, Some(&key.namespace));
        }
        if *resource == PODS {
            self.notice_pod(event);
        } else if *resource == NODES {
            if event.change == Change::Deleted {
                self.push_all(&PODS, None);
            }
            self.retry_unscheduled();
            self.push_all(&DAEMON_SETS, None);
        } else if *resource == CONFIG_MAPS || *resource == SECRETS || *resource == CLAIMS {
            if *resource == CLAIMS && event.change == Change::Deleted {
                self.release_volume(object);
                self.queue.push(Work::Object(Key::new(&VOLUMES, "", text(object, "/spec/volumeName"))));
            }
            let waiting: Vec<Key> =
                self.unconfigured.iter().filter(|pod| pod.namespace == key.namespace).cloned().collect();
            for pod in waiting {
                self.queue.push(Work::Object(pod));
            }
        } else if *resource == SERVICES && event.change == Change::Deleted {
            self.forget_service(object);
        } else if *resource == STORAGE_CLASSES || *resource == VOLUMES {
            self.push_all(&CLAIMS, None);
        } else if *resource == ENDPOINT_SLICES && event.change == Change::Deleted {
            let service = text(object, "/metadata/labels/kubernetes.io~1service-name");
            self.queue.push(Work::Object(Key::new(&SERVICES, key.namespace.clone(), service)));
        } else if *resource == DISRUPTION_BUDGETS && event.change != Change::Deleted {
            self.queue.push(Work::Object(key.clone()));
        } else if *resource == DEPLOYMENTS || *resource == STATEFUL_SETS {
            self.push_all(&AUTOSCALERS, Some(&key.namespace));
        }
    }

    fn notice_pod(&mut self, event: &Event) {
        let pod = event.object.value();
        if event.change == Change::Deleted {
            self.usage.release(uid(pod));
            self.runtimes.remove(uid(pod));
            self.ending.remove(uid(pod));
            self.unscheduled.remove(&event.key);
            self.unconfigured.remove(&event.key);
            self.retry_unscheduled();
            // A Deployment that recreates its pods waits for this.
            let set = controller_of(pod).and_then(|set| owner_key(set, namespace(pod)));
            let set = set.and_then(|set| self.store.find(&set));
            if let Some(owner) = set.as_deref().and_then(|set| owner_key(controller_of(set)?, namespace(set)))
            {
                self.queue.push(Work::Object(owner));
            }
        } else {
            self.usage.observe(pod);
        }
        if event.change == Change::Deleted || super::object::has_ended(pod) {
            for claim in super::claim::claims_of(pod) {
                self.queue.push(Work::Object(claim));
            }
        }
        let previous = event.previous.as_deref().map(Stored::value);
        if previous
            .is_none_or(|previous| event.change == Change::Deleted || service::concerned(previous, pod))
        {
            let seen: Vec<&Value> = previous.into_iter().chain([pod]).collect();
            for service in self.store.list(&SERVICES, Some(&event.key.namespace)).items {
                if seen.iter().any(|pod| service::selects(&service, pod)) {
                    self.queue.push(Work::Object(Key::of(&SERVICES, &service)));
                }
            }
            self.push_all(&DISRUPTION_BUDGETS, Some(&event.key.namespace));
        }
    }

    fn retry_unscheduled(&mut self) {
        for pod in self.unscheduled.clone() {
            self.queue.push(Work::Object(pod));
        }
    }

    fn push_all(&mut self, resource: &GroupResource, namespace: Option<&str>) {
        for object in self.store.list(resource, namespace).items {
            self.queue.push(Work::Object(Key::of(resource, &object)));
        }
    }

    fn perform(&mut self, work: Work) {
        let outcome = match &work {
            Work::ForgetEvents => {
                self.events.forget_old(Timestamp::now());
                self.queue.push_at(Work::ForgetEvents, Instant::now() + super::events::FORGET_EVERY);
                Ok(())
            }
            Work::Object(key) => match self.store.find(key) {
                Some(object) => self.reconcile(key, &object),
                None => Ok(()),
            },
        };
        match outcome {
            Ok(()) => self.queue.succeeded(&work),
            // What a controller read was changed or deleted under its hands: that change brings the work back.
            Err(error) if error.code == 404 => self.queue.succeeded(&work),
            Err(error) => {
                tracing::debug!(?work, %error, "will be tried again");
                self.queue.retry(work, Instant::now());
            }
        }
    }

    fn reconcile(&mut self, key: &Key, object: &Stored) -> Result<(), ApiError> {
        let resource = &key.resource;
        if *resource == PODS {
            self.pod(key, object)
        } else if *resource == REPLICA_SETS || *resource == REPLICATION_CONTROLLERS {
            self.replica_set(key, object)
        } else if *resource == DEPLOYMENTS {
            self.deployment(key, object)
        } else if *resource == STATEFUL_SETS {
            self.stateful_set(key, object)
        } else if *resource == DAEMON_SETS {
            self.daemon_set(key, object)
        } else if *resource == JOBS {
            self.job(key, object)
        } else if *resource == SERVICES {
            self.service(object)
        } else if *resource == INGRESSES {
            self.ingress(object)
        } else if *resource == CLAIMS {
            self.claim(object)
        } else if *resource == VOLUMES {
            self.volume(object)
        } else if *resource == AUTOSCALERS {
            self.autoscaler(object)
        } else if *resource == DISRUPTION_BUDGETS {
            self.disruption_budget(object)
        } else if *resource == QUOTAS {
            quota_status(&self.store, key)
        } else {
            Ok(())
        }
    }

    /// Does `work` again after some time.
    pub(super) fn again(&mut self, key: &Key, at: Instant) {
        self.queue.push_at(Work::Object(key.clone()), at);
    }

    /// The objects of a collection that `owner` controls, oldest first.
    pub(super) fn controlled(&self, resource: &GroupResource, owner: &Value) -> Vec<Arc<Stored>> {
        let keys = self.store.dependents(uid(owner)).into_iter().filter(|key| key.resource == *resource);
        let mut objects: Vec<Arc<Stored>> = keys.filter_map(|key| self.store.find(&key)).collect();
        objects.retain(|object| super::object::is_controlled_by(object, owner));
        objects.sort_by_cached_key(|object| {
            (text(object, "/metadata/creationTimestamp").to_owned(), super::object::name(object).to_owned())
        });
        objects
    }

    /// Writes a status, if it is another one.
    pub(super) fn put_status(
        &self,
        resource: &GroupResource,
        object: &Stored,
        status: Value,
        manager: &str,
    ) -> Result<(), ApiError> {
        if object.get("status") == Some(&status) {
            return Ok(());
        }
        let mut changed = object.value().clone();
        if let Some(fields) = changed.as_object_mut() {
            fields.insert("status".to_owned(), status);
        }
        self.store.update_status(resource, changed, manager)?;
        Ok(())
    }

    /// Sets `spec.replicas`.
    pub(super) fn scale(
        &self,
        resource: &GroupResource,
        object: &Stored,
        replicas: i64,
    ) -> Result<(), ApiError> {
        let mut changed = object.value().clone();
        changed["spec"]["replicas"] = Value::from(replicas);
        self.store.update(resource, changed, CONTROLLER_MANAGER)?;
        Ok(())
    }
}

/// The key of an owner that one of the controllers looks after.
fn owner_key(owner: &Value, namespace: &str) -> Option<Key> {
    let resource = match text(owner, "/kind") {
        "ReplicaSet" => REPLICA_SETS,
        "ReplicationController" => REPLICATION_CONTROLLERS,
        "Deployment" => DEPLOYMENTS,
        "StatefulSet" => STATEFUL_SETS,
        "DaemonSet" => DAEMON_SETS,
        "Job" => JOBS,
        _ => return None,
    };
    Some(Key::new(&resource, namespace, text(owner, "/name")))
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
