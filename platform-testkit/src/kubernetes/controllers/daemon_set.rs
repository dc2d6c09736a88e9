//! DaemonSets: one pod on each node that suits.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::deletion::DeleteOptions;
use super::super::error::ApiError;
use super::super::store::{Key, Stored};
use super::cluster::Cluster;
use super::object::{
    CONTROLLER_MANAGER, DAEMON_SETS, NODES, PODS, has_ended, is_being_deleted, is_ready, items, name, number,
    pod_from, scaled, text, until_available,
};
use super::revision::{REVISION_LABEL, Revisions, revision_of};
use super::scheduler;

const COMPONENT: &str = "daemonset-controller";

/// Taints that the pods of a DaemonSet always tolerate.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

impl Cluster {
    pub(super) fn daemon_set(&mut self, key: &Key, set: &Stored) -> Result<(), ApiError> {
        let pods = self.controlled(&PODS, set);
        let used: Vec<String> = pods.iter().filter_map(|pod| revision_of(pod, set)).collect();
        let used: Vec<&str> = used.iter().map(String::as_str).collect();
        let revisions = self.revisions(set, &used)?;
        let example = daemon_pod(set, "", &revisions);
        let nodes = self.store.list(&NODES, None).items;
        let suitable: Vec<&str> =
            nodes.iter().filter(|node| scheduler::suits(&example, node)).map(|node| name(node)).collect();
        let result = if is_being_deleted(set) {
            Ok(())
        } else {
            self.place(set, &suitable, &revisions)
                .and_then(|()| self.roll_daemons(set, &suitable, &revisions))
        };
        self.daemon_set_status(key, set, &suitable, &revisions)?;
        result
    }

    /// One pod on each suitable node, none elsewhere.
    fn place(&self, set: &Stored, suitable: &[&str], revisions: &Revisions) -> Result<(), ApiError> {
        let pods = self.controlled(&PODS, set);
        for pod in &pods {
            let doubled = pods
                .iter()
                .take_while(|other| name(other) != name(pod))
                .any(|other| target(other) == target(pod));
            if has_ended(pod) || doubled || !suitable.contains(&target(pod)) {
                self.delete_daemon(set, pod)?;
            }
        }
        for node in suitable {
            if pods.iter().any(|pod| target(pod) == *node && !has_ended(pod)) {
                continue;
            }
            let mut pod = daemon_pod(set, node, revisions);
            pod["metadata"]["labels"][REVISION_LABEL] =
                json!(revisions.update.strip_prefix(&format!("{}-", name(set))).unwrap_or(&revisions.update));
            match self.store.create(&PODS, pod, CONTROLLER_MANAGER) {
                Ok(pod) => {
                    let message = format!("Created pod: {}", name(&pod));
                    self.events.normal(set, COMPONENT, "SuccessfulCreate", &message);
                }
                Err(error) => {
                    self.events.warning(set, COMPONENT, "FailedCreate", &format!("Error creating: {error}"));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Deletes pods of older revisions, as many at once as may be unavailable; new ones take their place.
    fn roll_daemons(&self, set: &Stored, suitable: &[&str], revisions: &Revisions) -> Result<(), ApiError> {
        if text(set, "/spec/updateStrategy/type") == "OnDelete" {
            return Ok(());
        }
        let wanted = i64::try_from(suitable.len()).unwrap_or(i64::MAX);
        let limit =
            scaled(set.pointer("/spec/updateStrategy/rollingUpdate/maxUnavailable"), wanted, true).max(1);
        let pods = self.controlled(&PODS, set);
        let ready = i64::try_from(pods.iter().filter(|pod| is_ready(pod)).count()).unwrap_or(i64::MAX);
        let mut room = limit - (wanted - ready);
        for pod in pods.iter().filter(|pod| revision_of(pod, set).as_deref() != Some(&revisions.update)) {
            if !is_ready(pod) {
                self.delete_daemon(set, pod)?;
            } else if room > 0 {
                room -= 1;
                self.delete_daemon(set, pod)?;
            }
        }
        Ok(())
    }

    fn delete_daemon(&self, set: &Stored, pod: &Stored) -> Result<(), ApiError> {
        if is_being_deleted(pod) {
            return Ok(());
        }
        self.store.delete(&Key::of(&PODS, pod), &DeleteOptions::default())?;
        self.events.normal(set, COMPONENT, "SuccessfulDelete", &format!("Deleted pod: {}", name(pod)));
        Ok(())
    }

    fn daemon_set_status(
        &mut self,
        key: &Key,
        set: &Stored,
        suitable: &[&str],
        revisions: &Revisions,
    ) -> Result<(), ApiError> {
        let Some(found) = self.store.find(key) else { return Ok(()) };
        let now = Timestamp::now();
        let pods = self.controlled(&PODS, set);
        let placed: Vec<&Arc<Stored>> = pods.iter().filter(|pod| suitable.contains(&target(pod))).collect();
        let min_ready = number(set, "/spec/minReadySeconds");
        let waits: Vec<_> = placed.iter().filter_map(|pod| until_available(pod, min_ready, now)).collect();
        if let Some(wait) = waits.iter().filter(|wait| !wait.is_zero()).min() {
            self.again(key, Instant::now() + *wait);
        }
        let updated = |pod: &&&Arc<Stored>| revision_of(pod, set).as_deref() == Some(&revisions.update);
        let available = waits.iter().filter(|wait| wait.is_zero()).count();
        let mut status = json!({
            "observedGeneration": number(set, "/metadata/generation"),
            "currentNumberScheduled": placed.len(),
            "desiredNumberScheduled": suitable.len(),
            "numberMisscheduled": pods.len() - placed.len(),
            "numberReady": placed.iter().filter(|pod| is_ready(pod)).count(),
        });
        for (field, count) in [
            ("updatedNumberScheduled", placed.iter().filter(updated).count()),
            ("numberAvailable", available),
            ("numberUnavailable", suitable.len().saturating_sub(available)),
        ] {
            if count > 0 {
                status[field] = json!(count);
            }
        }
        self.put_status(&DAEMON_SETS, &found, status, CONTROLLER_MANAGER)
    }
}

/// A pod for one node; for any node when `node` is empty.
fn daemon_pod(set: &Stored, node: &str, revisions: &Revisions) -> Value {
    let template = revisions.template(&revisions.update).cloned().unwrap_or_default();
    let mut pod = pod_from(&template, set);
    let mut tolerations = items(&pod, "/spec/tolerations").to_vec();
    tolerations
        .extend(TOLERATED.map(|(key, effect)| json!({"key": key, "operator": "Exists", "effect": effect})));
    pod["spec"]["tolerations"] = Value::Array(tolerations);
    if !node.is_empty() {
        let wanted = json!([{"key": "metadata.name", "operator": "In", "values": [node]}]);
        pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
            json!({"nodeSelectorTerms": [{"matchFields": wanted}]});
    }
    pod
}

/// The node that a pod is on or meant for.
fn target(pod: &Value) -> &str {
    const MEANT_FOR: &str = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields/0/values/0";
    match text(pod, "/spec/nodeName") {
        "" => text(pod, MEANT_FOR),
        node => node,
    }
}
