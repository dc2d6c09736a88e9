//! The pods behind a workload, which know why it is not ready.

use super::{Verdict, pod, rules};
use crate::connection::{api::Api, resource::Resource};
use platform_core::{Result, manifest::ObjectRef};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What tells more of an object's state than the object: pods and ReplicaSets by namespace and name, storage classes.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    /// The storage classes whose claims are bound when the first pod that uses them is scheduled.
    pub(super) late_classes: BTreeSet<String>,
    pub(super) pods: BTreeMap<(String, String), Value>,
    pub(super) replica_sets: BTreeMap<(String, String), Value>,
    /// The last warning about a pod.
    pub(super) warnings: BTreeMap<(String, String), String>,
}

/// Whether the kind makes pods.
pub(crate) fn needs_pods(object: &ObjectRef) -> bool {
    matches!(
        (object.group(), object.kind.as_str()),
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") | ("batch", "Job")
    )
}

/// Whether the kind makes its pods through ReplicaSets.
pub(super) fn needs_replica_sets(object: &ObjectRef) -> bool {
    object.group() == "apps" && object.kind == "Deployment"
}

/// Whether the kind is bound to a volume of a class.
pub(super) fn needs_classes(object: &ObjectRef) -> bool {
    object.group().is_empty() && object.kind == "PersistentVolumeClaim"
}

pub(super) fn pods() -> Resource {
    Resource::known("v1", "Pod", "pods", true)
}

pub(super) fn replica_sets() -> Resource {
    Resource::known("apps/v1", "ReplicaSet", "replicasets", true)
}

impl Surroundings {
    /// Reads what is behind one object.
    pub(super) async fn read(api: &Api, object: &ObjectRef, live: &Value) -> Result<Self> {
        let mut around = Self::default();
        if needs_classes(object) {
            around.late_classes = late_classes(api).await?;
            return Ok(around);
        }
        let Some(selector) = live.pointer("/spec/selector").and_then(selector) else { return Ok(around) };
        let namespace = object.namespace.as_deref();
        for found in api.list(&pods(), namespace, Some(&selector)).await? {
            around.pods.insert(key(&found), found);
        }
        if needs_replica_sets(object) {
            for found in api.list(&replica_sets(), namespace, Some(&selector)).await? {
                around.replica_sets.insert(key(&found), found);
            }
        }
        Ok(around)
    }

    /// Reads what was warned of about the pods that are waiting. Events are a help: without them, and without the right to read them, all
    /// else is known.
    pub(super) async fn hear(&mut self, api: &Api) {
        let waiting: BTreeSet<&str> = self
            .pods
            .iter()
            .filter(|(_, pod)| pod::waiting(pod).is_some())
            .map(|((namespace, _), _)| namespace.as_str())
            .collect();
        let mut warnings: BTreeMap<(String, String), (String, String)> = BTreeMap::new();
        for namespace in waiting {
            let events = match api.warnings(namespace).await {
                Ok(events) => events,
                Err(error) => {
                    tracing::debug!(%error, namespace, "The events of a namespace cannot be read");
                    continue;
                }
            };
            for event in events {
                let text = |path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or_default();
                if text("/involvedObject/kind") != "Pod" {
                    continue;
                }
                // Texts of times have the order of the times.
                let at = ["/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"];
                let at = at.into_iter().map(text).find(|at| !at.is_empty()).unwrap_or_default().to_owned();
                let key = (namespace.to_owned(), text("/involvedObject/name").to_owned());
                if warnings.get(&key).is_none_or(|(last, _)| *last <= at) {
                    let said = pod::short(&format!("{}: {}", text("/reason"), text("/message")));
                    warnings.insert(key, (at, said));
                }
            }
        }
        self.warnings = warnings.into_iter().map(|(pod, (_, said))| (pod, said)).collect();
    }

    /// Whether a claim waits for nothing but a pod that uses it. Its readiness is then that of the pod's workload: by itself
    /// such a claim would never be bound.
    pub(super) fn is_for_first_consumer(&self, claim: &Value) -> bool {
        let class = claim.pointer("/spec/storageClassName").and_then(Value::as_str);
        let pending = claim.pointer("/status/phase").and_then(Value::as_str) == Some("Pending");
        let has_consumer =
            claim.pointer("/metadata/annotations/volume.kubernetes.io~1selected-node").is_some();
        pending && !has_consumer && class.is_some_and(|class| self.late_classes.contains(class))
    }

    /// A better word on a workload that is in progress: failed, or what its pods wait for.
    ///
    /// Only pods of the newest revision count. Those of the one before may well be the broken ones that are being replaced.
    pub(super) fn explain(&self, object: &ObjectRef, live: &Value, so_far: &Verdict) -> Option<Verdict> {
        // Until its controller has seen what was written last, the newest revision is the one before.
        if !rules::is_observed(live) {
            return None;
        }
        let mut pods: Vec<&Value> = self.newest_pods(object, live)?;
        pods.retain(|pod| pod.pointer("/metadata/deletionTimestamp").is_none());
        // How many failures a Job outlasts is said by its `backoffLimit`, and that it does not by its condition.
        let fails_fast = |pod: &&Value| object.kind != "Job" || !pod::is_crash_loop(pod);
        if let Some(failure) = pods.iter().copied().filter(fails_fast).find_map(pod::failure) {
            return Some(Verdict::failed(failure));
        }
        let (pod, waiting) = pods.iter().find_map(|pod| Some((pod, pod::waiting(pod)?)))?;
        let waiting = match self.warnings.get(&key(pod)) {
            // What the pod's own condition says is not repeated.
            Some(warning) if !warning.split_once(": ").is_some_and(|(_, said)| waiting.contains(said)) => {
                format!("{waiting}; {warning}")
            }
            _ => waiting,
        };
        Some(Verdict::in_progress(format!("{}: {waiting}", so_far.message)))
    }

    fn newest_pods(&self, object: &ObjectRef, live: &Value) -> Option<Vec<&Value>> {
        let uid = live.pointer("/metadata/uid")?;
        let text =
            |object: &'_ Value, path: &str| object.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let owned_by =
            |uid: &Value| self.pods.values().filter(|pod| owner(pod) == Some(uid)).collect::<Vec<_>>();
        match object.kind.as_str() {
            "Deployment" => {
                let revision = "/metadata/annotations/deployment.kubernetes.io~1revision";
                let wanted = text(live, revision);
                let newest = self
                    .replica_sets
                    .values()
                    .filter(|set| owner(set) == Some(uid))
                    .filter(|set| wanted.is_none() || text(set, revision) == wanted)
                    .max_by_key(|set| text(set, revision).and_then(|r| r.parse::<u64>().ok()))?;
                Some(owned_by(newest.pointer("/metadata/uid")?))
            }
            "StatefulSet" => {
                let wanted = text(live, "/status/updateRevision");
                let mut pods = owned_by(uid);
                pods.retain(|pod| {
                    wanted.is_none() || text(pod, "/metadata/labels/controller-revision-hash") == wanted
                });
                Some(pods)
            }
            "DaemonSet" => {
                let wanted = text(live, "/metadata/annotations/deprecated.daemonset.template.generation");
                let mut pods = owned_by(uid);
                pods.retain(|pod| {
                    let generation = text(pod, "/metadata/labels/pod-template-generation");
                    wanted.is_none() || generation.is_none() || generation == wanted
                });
                Some(pods)
            }
            _ => Some(owned_by(uid)),
        }
    }
}

/// The names of the storage classes that bind late; none if they must not be read.
pub(super) async fn late_classes(api: &Api) -> Result<BTreeSet<String>> {
    let classes = Resource::known("storage.k8s.io/v1", "StorageClass", "storageclasses", false);
    let late = |class: &Value| {
        class.get("volumeBindingMode").and_then(Value::as_str) == Some("WaitForFirstConsumer")
    };
    match api.list(&classes, None, None).await {
        Ok(found) => Ok(found.iter().filter(|class| late(class)).map(|class| key(class).1).collect()),
        Err(error) if matches!(error.code(), Some(403 | 404)) => Ok(BTreeSet::new()),
        Err(error) => Err(error.into()),
    }
}

/// The UID of the controller that made an object.
fn owner(object: &Value) -> Option<&Value> {
    let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
    owners.iter().find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))?.get("uid")
}

pub(super) fn key(object: &Value) -> (String, String) {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    (text("/metadata/namespace"), text("/metadata/name"))
}

/// A `LabelSelector` as a list takes it; `None` if it selects nothing that could be written so.
fn selector(selector: &Value) -> Option<String> {
    let mut parts = Vec::new();
    for (key, value) in selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
        parts.push(format!("{key}={}", value.as_str()?));
    }
    for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
        let key = expression.get("key")?.as_str()?;
        let values: Vec<&str> = expression
            .get("values")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let values = values.join(",");
        parts.push(match expression.get("operator")?.as_str()? {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        });
    }
    (!parts.is_empty()).then(|| parts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::readiness::assess;
    use platform_core::cluster::Readiness;
    use serde_json::json;

    fn owned(kind: &str, name: &str, owner: &str, more: &Value) -> Value {
        let mut object = json!({"kind": kind, "metadata": {"name": name, "namespace": "a", "uid": name,
            "ownerReferences": [{"uid": owner, "controller": true}]}});
        for (path, value) in more.as_object().unwrap() {
            if path == "revision" {
                object["metadata"]["annotations"] = json!({"deployment.kubernetes.io/revision": value});
            } else {
                object[path] = value.clone();
            }
        }
        object
    }

    fn crashing() -> Value {
        json!({"status": {"phase": "Running", "containerStatuses": [
            {"name": "web", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}}]}})
    }

    #[test]
    fn only_pods_of_the_newest_revision_fail_a_rollout() {
        let deployment = json!({
            "metadata": {"uid": "d", "annotations": {"deployment.kubernetes.io/revision": "2"}},
            "spec": {"replicas": 1},
        });
        let reference = ObjectRef::new("apps/v1", "Deployment", "web").in_namespace("a");
        let mut around = Surroundings::default();
        let mut add = |set: &str, revision: &str, pod: &Value| {
            let replica_set = owned("ReplicaSet", set, "d", &json!({"revision": revision}));
            let pod = owned("Pod", &format!("{set}-pod"), set, pod);
            around.replica_sets.insert(key(&replica_set), replica_set);
            around.pods.insert(key(&pod), pod);
        };
        add("old", "1", &crashing());
        add("new", "2", &json!({"status": {"phase": "Pending"}}));
        let health = assess(&reference, Some(&deployment), &around);
        assert_eq!(health.readiness, Readiness::InProgress);
        assert_eq!(health.message, "0 of 1 replicas are updated: pod new-pod is pending");

        let mut pod = owned("Pod", "new-pod", "new", &crashing());
        around.pods.insert(key(&pod), pod.clone());
        let health = assess(&reference, Some(&deployment), &around);
        assert_eq!(health.readiness, Readiness::Failed);
        assert_eq!(health.message, "CrashLoopBackOff in pod new-pod, container web: back-off");

        // The next revision is written, and the controller has not looked yet: the newest one is about to be replaced.
        let mut mended = deployment.clone();
        mended["metadata"]["generation"] = json!(3);
        mended["status"]["observedGeneration"] = json!(2);
        let health = assess(&reference, Some(&mended), &around);
        assert_eq!(health.readiness, Readiness::InProgress);
        assert_eq!(health.message, "its controller has seen generation 2 of 3");

        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        around.pods.insert(key(&pod), pod);
        assert_eq!(assess(&reference, Some(&deployment), &around).readiness, Readiness::InProgress);
    }

    #[test]
    fn a_waiting_pod_is_explained_by_the_last_warning_about_it() {
        let deployment = json!({"metadata": {"uid": "d"}, "spec": {"replicas": 1}});
        let reference = ObjectRef::new("apps/v1", "Deployment", "web").in_namespace("a");
        let mut around = Surroundings::default();
        let set = owned("ReplicaSet", "web-1", "d", &json!({}));
        let starting = json!({"status": {"phase": "Pending", "containerStatuses": [
            {"name": "web", "state": {"waiting": {"reason": "ContainerCreating"}}}]}});
        let pod = owned("Pod", "web-1-a", "web-1", &starting);
        around.replica_sets.insert(key(&set), set);
        around.warnings.insert(key(&pod), "FailedMount: secret \"tls\" not found".to_owned());
        around.pods.insert(key(&pod), pod);
        let health = assess(&reference, Some(&deployment), &around);
        assert_eq!(health.readiness, Readiness::InProgress);
        assert_eq!(
            health.message,
            "0 of 1 replicas are updated: container web of pod web-1-a is ContainerCreating; FailedMount: secret \"tls\" not found"
        );
    }

    #[test]
    fn a_job_says_itself_when_it_has_failed_often_enough() {
        let job = json!({"metadata": {"uid": "j"}, "spec": {"backoffLimit": 6}, "status": {"active": 1}});
        let reference = ObjectRef::new("batch/v1", "Job", "migrate").in_namespace("a");
        let mut around = Surroundings::default();
        let pod = owned("Pod", "migrate-1", "j", &crashing());
        around.pods.insert(key(&pod), pod);
        let health = assess(&reference, Some(&job), &around);
        assert_eq!(health.readiness, Readiness::InProgress);
        assert!(
            health.message.ends_with("container web of pod migrate-1 is CrashLoopBackOff"),
            "{}",
            health.message
        );
    }

    #[test]
    fn a_claim_that_waits_for_a_pod_is_not_waited_for() {
        let claim = json!({"spec": {"storageClassName": "late"}, "status": {"phase": "Pending"}});
        let reference = ObjectRef::new("v1", "PersistentVolumeClaim", "data").in_namespace("a");
        let mut around = Surroundings::default();
        assert_eq!(assess(&reference, Some(&claim), &around).readiness, Readiness::InProgress);
        around.late_classes.insert("late".to_owned());
        assert_eq!(assess(&reference, Some(&claim), &around).readiness, Readiness::Current);
        let mut used = claim.clone();
        used["metadata"]["annotations"] = json!({"volume.kubernetes.io/selected-node": "one"});
        assert_eq!(assess(&reference, Some(&used), &around).readiness, Readiness::InProgress);
        let mut lost = claim;
        lost["status"]["phase"] = json!("Lost");
        assert_eq!(assess(&reference, Some(&lost), &around).readiness, Readiness::Failed);
    }

    #[test]
    fn selectors_are_written_as_lists_take_them() {
        let written = selector(&json!({"matchLabels": {"a": "1"}, "matchExpressions": [
            {"key": "b", "operator": "In", "values": ["1", "2"]}, {"key": "c", "operator": "DoesNotExist"}]}));
        assert_eq!(written.as_deref(), Some("a=1,b in (1,2),!c"));
        assert_eq!(selector(&json!({})), None);
    }
}
