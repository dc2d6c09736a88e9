//! ReplicaSets and ReplicationControllers: as many pods as they ask for.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::deletion::DeleteOptions;
use super::super::error::ApiError;
use super::super::semantics::selector::LabelSelector;
use super::super::store::{Key, Stored};
use super::cluster::Cluster;
use super::object::{
    CONTROLLER_MANAGER, PODS, REPLICATION_CONTROLLERS, condition, controller_of, is_active, is_being_deleted,
    is_ready, items, labels, name, number, owner_reference, phase, pod_from, put_condition, text,
    until_available, written,
};

/// How many pods one round creates or deletes at most.
const BURST: usize = 500;

impl Cluster {
    pub(super) fn replica_set(&mut self, key: &Key, set: &Stored) -> Result<(), ApiError> {
        let component = if key.resource == REPLICATION_CONTROLLERS {
            "replication-controller"
        } else {
            "replicaset-controller"
        };
        let mut pods = self.controlled(&PODS, set);
        pods.retain(|pod| is_active(pod));
        let wanted = usize::try_from(number(set, "/spec/replicas")).unwrap_or(0);
        let mut failure = None;
        if !is_being_deleted(set) {
            if pods.len() < wanted {
                pods.extend(self.adopt_pods(set, wanted - pods.len())?);
            }
            if pods.len() < wanted {
                failure = self.create_pods(set, component, (wanted - pods.len()).min(BURST)).err();
            } else if pods.len() > wanted {
                let surplus = pods.len() - wanted;
                pods.sort_by_key(|pod| deletion_order(pod));
                for pod in pods.iter().take(surplus.min(BURST)) {
                    self.store.delete(&Key::of(&PODS, pod), &DeleteOptions::default())?;
                    let message = format!("Deleted pod: {}", name(pod));
                    self.events.normal(set, component, "SuccessfulDelete", &message);
                }
            }
        }
        self.replica_set_status(key, set, failure.as_ref())?;
        failure.map_or(Ok(()), Err)
    }

    /// Takes over pods that match and that nobody controls.
    fn adopt_pods(&self, set: &Stored, missing: usize) -> Result<Vec<Arc<Stored>>, ApiError> {
        let selector = selector_of(set);
        let orphans =
            self.store.list(&PODS, Some(super::object::namespace(set))).items.into_iter().filter(|pod| {
                controller_of(pod).is_none()
                    && is_active(pod)
                    && selector.matches(labels(pod))
                    && !selector.is_empty()
            });
        let mut adopted = Vec::new();
        for pod in orphans.take(missing) {
            let mut changed = pod.value().clone();
            let mut owners = items(&pod, "/metadata/ownerReferences").to_vec();
            owners.push(owner_reference(set));
            changed["metadata"]["ownerReferences"] = Value::Array(owners);
            adopted.push(self.store.update(&PODS, changed, CONTROLLER_MANAGER)?);
        }
        Ok(adopted)
    }

    fn create_pods(&self, set: &Stored, component: &str, count: usize) -> Result<(), ApiError> {
        let template = set.pointer("/spec/template").cloned().unwrap_or_default();
        for _ in 0..count {
            match self.store.create(&PODS, pod_from(&template, set), CONTROLLER_MANAGER) {
                Ok(pod) => {
                    let message = format!("Created pod: {}", name(&pod));
                    self.events.normal(set, component, "SuccessfulCreate", &message);
                }
                Err(error) => {
                    self.events.warning(set, component, "FailedCreate", &format!("Error creating: {error}"));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn replica_set_status(
        &mut self,
        key: &Key,
        set: &Stored,
        failure: Option<&ApiError>,
    ) -> Result<(), ApiError> {
        let Some(set) =
            self.store.find(key).filter(|found| super::object::uid(found) == super::object::uid(set))
        else {
            return Ok(());
        };
        let now = Timestamp::now();
        let min_ready = number(&set, "/spec/minReadySeconds");
        let template = LabelSelector::from_labels(
            &set.pointer("/spec/template/metadata/labels")
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default(),
        );
        let pods = self.controlled(&PODS, &set);
        let active: Vec<&Arc<Stored>> = pods.iter().filter(|pod| is_active(pod)).collect();
        let waits: Vec<_> = active.iter().filter_map(|pod| until_available(pod, min_ready, now)).collect();
        if let Some(wait) = waits.iter().filter(|wait| !wait.is_zero()).min() {
            self.again(key, Instant::now() + *wait);
        }
        let mut conditions = items(&set, "/status/conditions").to_vec();
        match failure {
            Some(error) => {
                let condition = json!({
                    "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": error.to_string(),
                });
                put_condition(&mut conditions, condition, &written(now));
            }
            None if condition(&set, "ReplicaFailure").is_some() => {
                conditions.retain(|condition| text(condition, "/type") != "ReplicaFailure");
            }
            None => {}
        }
        let mut status = json!({
            "replicas": active.len(),
            "observedGeneration": number(&set, "/metadata/generation"),
        });
        let labelled = active.iter().filter(|pod| template.matches(labels(pod))).count();
        let ready = active.iter().filter(|pod| is_ready(pod)).count();
        let available = waits.iter().filter(|wait| wait.is_zero()).count();
        for (field, count) in
            [("fullyLabeledReplicas", labelled), ("readyReplicas", ready), ("availableReplicas", available)]
        {
            if count > 0 {
                status[field] = json!(count);
            }
        }
        if !conditions.is_empty() {
            status["conditions"] = Value::Array(conditions);
        }
        self.put_status(&key.resource, &set, status, CONTROLLER_MANAGER)
    }
}

/// The selector of a ReplicaSet or a ReplicationController.
fn selector_of(set: &Value) -> LabelSelector {
    match set.pointer("/spec/selector").and_then(Value::as_object) {
        Some(selector) if text(set, "/kind") == "ReplicationController" => {
            LabelSelector::from_labels(selector)
        }
        Some(selector) => LabelSelector::from_json(&Value::Object(selector.clone())).unwrap_or_default(),
        None => LabelSelector::default(),
    }
}

/// Pods that serve least go first, and of those the newest.
fn deletion_order(pod: &Value) -> (bool, bool, bool, std::cmp::Reverse<String>) {
    let created = text(pod, "/metadata/creationTimestamp").to_owned();
    let scheduled = !text(pod, "/spec/nodeName").is_empty();
    (scheduled, phase(pod) == "Running", is_ready(pod), std::cmp::Reverse(created))
}
