//! StatefulSets: numbered pods, each with its own claims, created and updated in order.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::deletion::DeleteOptions;
use super::super::error::ApiError;
use super::super::store::{Key, Stored};
use super::cluster::Cluster;
use super::object::{
    CLAIMS, CONTROLLER_MANAGER, PODS, STATEFUL_SETS, has_ended, is_being_deleted, is_ready, items, name,
    namespace, number, owner_reference, phase, pod_from, text, until_available,
};
use super::revision::{REVISION_LABEL, Revisions, revision_of};

const COMPONENT: &str = "statefulset-controller";

impl Cluster {
    pub(super) fn stateful_set(&mut self, key: &Key, set: &Stored) -> Result<(), ApiError> {
        let current = text(set, "/status/currentRevision").to_owned();
        let pods = self.controlled(&PODS, set);
        let mut used: Vec<String> = pods.iter().filter_map(|pod| revision_of(pod, set)).collect();
        used.push(current.clone());
        let used: Vec<&str> = used.iter().map(String::as_str).collect();
        let revisions = self.revisions(set, &used)?;
        let current = if revisions.contains(&current) { current } else { revisions.update.clone() };
        let result = if is_being_deleted(set) { Ok(()) } else { self.arrange(set, &current, &revisions) };
        self.stateful_set_status(key, set, &current, &revisions)?;
        result
    }

    /// Makes one step towards the pods that the set asks for, or as many as it allows at once.
    fn arrange(&self, set: &Stored, current: &str, revisions: &Revisions) -> Result<(), ApiError> {
        let start = number(set, "/spec/ordinals/start");
        let end = start + number(set, "/spec/replicas");
        let ordered = text(set, "/spec/podManagementPolicy") != "Parallel";
        let partition = start + number(set, "/spec/updateStrategy/rollingUpdate/partition");
        let rolling = text(set, "/spec/updateStrategy/type") != "OnDelete";
        let pods = self.controlled(&PODS, set);
        let pod_at = |ordinal: i64| pods.iter().find(|pod| ordinal_of(pod, set) == Some(ordinal));
        for ordinal in start..end {
            match pod_at(ordinal) {
                None => {
                    let revision = if rolling && ordinal < partition { current } else { &revisions.update };
                    self.create_member(set, ordinal, revision, revisions)?;
                    if ordered {
                        return Ok(());
                    }
                }
                Some(pod) if has_ended(pod) => {
                    self.delete_member(set, pod)?;
                    return Ok(());
                }
                // A pod of an older revision that does not come up may be replaced below.
                Some(pod)
                    if ordered
                        && !is_healthy(pod)
                        && revision_of(pod, set).as_deref() == Some(&revisions.update) =>
                {
                    return Ok(());
                }
                Some(_) => {}
            }
        }
        let mut surplus: Vec<&Arc<Stored>> = pods
            .iter()
            .filter(|pod| ordinal_of(pod, set).is_none_or(|ordinal| !(start..end).contains(&ordinal)))
            .collect();
        surplus.sort_by_key(|pod| std::cmp::Reverse(ordinal_of(pod, set)));
        for pod in surplus {
            self.delete_member(set, pod)?;
            if text(set, "/spec/persistentVolumeClaimRetentionPolicy/whenScaled") == "Delete" {
                self.delete_claims(set, pod)?;
            }
            if ordered {
                return Ok(());
            }
        }
        if !rolling {
            return Ok(());
        }
        for ordinal in (partition.max(start)..end).rev() {
            let Some(pod) = pod_at(ordinal) else { return Ok(()) };
            if revision_of(pod, set).as_deref() != Some(&revisions.update) {
                return self.delete_member(set, pod);
            }
            if !is_healthy(pod) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn create_member(
        &self,
        set: &Stored,
        ordinal: i64,
        revision: &str,
        revisions: &Revisions,
    ) -> Result<(), ApiError> {
        let pod_name = format!("{}-{ordinal}", name(set));
        let mut template = revisions.template(revision).cloned().unwrap_or_default();
        let mut volumes = items(&template, "/spec/volumes").to_vec();
        for claim in items(set, "/spec/volumeClaimTemplates") {
            let claim_name = format!("{}-{pod_name}", name(claim));
            self.ensure_claim(set, claim, &claim_name)?;
            volumes.retain(|volume| text(volume, "/name") != name(claim));
            volumes.push(json!({"name": name(claim), "persistentVolumeClaim": {"claimName": claim_name}}));
        }
        if !volumes.is_empty() {
            template["spec"]["volumes"] = Value::Array(volumes);
        }
        let mut pod = pod_from(&template, set);
        if let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("generateName");
        }
        pod["metadata"]["name"] = json!(pod_name);
        for (label, value) in [
            (REVISION_LABEL, revision.to_owned()),
            ("statefulset.kubernetes.io/pod-name", pod_name.clone()),
            ("apps.kubernetes.io/pod-index", ordinal.to_string()),
        ] {
            pod["metadata"]["labels"][label] = json!(value);
        }
        pod["spec"]["hostname"] = json!(pod_name);
        if !text(set, "/spec/serviceName").is_empty() {
            pod["spec"]["subdomain"] = json!(text(set, "/spec/serviceName"));
        }
        let about = format!("Pod {pod_name} in StatefulSet {}", name(set));
        match self.store.create(&PODS, pod, CONTROLLER_MANAGER) {
            Ok(_) => {
                self.events.normal(set, COMPONENT, "SuccessfulCreate", &format!("create {about} successful"));
                Ok(())
            }
            Err(error) => {
                let message = format!("create {about} failed error: {error}");
                self.events.warning(set, COMPONENT, "FailedCreate", &message);
                Err(error)
            }
        }
    }

    fn ensure_claim(&self, set: &Stored, template: &Value, claim_name: &str) -> Result<(), ApiError> {
        if self.store.find(&Key::new(&CLAIMS, namespace(set), claim_name)).is_some() {
            return Ok(());
        }
        let mut claim = json!({"metadata": template.get("metadata").cloned().unwrap_or_default()});
        claim["spec"] = template.get("spec").cloned().unwrap_or_default();
        claim["metadata"]["name"] = json!(claim_name);
        claim["metadata"]["namespace"] = json!(namespace(set));
        let labels = set.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
        for (label, value) in labels.into_iter().flatten() {
            claim["metadata"]["labels"][label] = value.clone();
        }
        if text(set, "/spec/persistentVolumeClaimRetentionPolicy/whenDeleted") == "Delete" {
            claim["metadata"]["ownerReferences"] = json!([owner_reference(set)]);
        }
        self.store.create(&CLAIMS, claim, CONTROLLER_MANAGER)?;
        let message = format!("create Claim {claim_name} in StatefulSet {} success", name(set));
        self.events.normal(set, COMPONENT, "SuccessfulCreate", &message);
        Ok(())
    }

    fn delete_member(&self, set: &Stored, pod: &Stored) -> Result<(), ApiError> {
        if is_being_deleted(pod) {
            return Ok(());
        }
        self.store.delete(&Key::of(&PODS, pod), &DeleteOptions::default())?;
        let message = format!("delete Pod {} in StatefulSet {} successful", name(pod), name(set));
        self.events.normal(set, COMPONENT, "SuccessfulDelete", &message);
        Ok(())
    }

    fn delete_claims(&self, set: &Stored, pod: &Stored) -> Result<(), ApiError> {
        for claim in items(set, "/spec/volumeClaimTemplates") {
            let key = Key::new(&CLAIMS, namespace(set), format!("{}-{}", name(claim), name(pod)));
            if self.store.find(&key).is_some() {
                self.store.delete(&key, &DeleteOptions::default())?;
            }
        }
        Ok(())
    }

    fn stateful_set_status(
        &mut self,
        key: &Key,
        set: &Stored,
        current: &str,
        revisions: &Revisions,
    ) -> Result<(), ApiError> {
        let Some(found) = self.store.find(key) else { return Ok(()) };
        let now = Timestamp::now();
        let pods = self.controlled(&PODS, set);
        let count = |test: &dyn Fn(&Stored) -> bool| pods.iter().filter(|pod| test(pod)).count();
        let of_revision = |pod: &Stored, revision: &str| revision_of(pod, set).as_deref() == Some(revision);
        let min_ready = number(set, "/spec/minReadySeconds");
        let waits: Vec<Duration> =
            pods.iter().filter_map(|pod| until_available(pod, min_ready, now)).collect();
        if let Some(wait) = waits.iter().filter(|wait| !wait.is_zero()).min() {
            self.again(key, Instant::now() + *wait);
        }
        let updated = count(&|pod| of_revision(pod, &revisions.update));
        let wanted = usize::try_from(number(set, "/spec/replicas")).unwrap_or(0);
        let ready = count(&|pod| is_ready(pod));
        let rolled = updated == wanted && pods.len() == wanted && ready == wanted;
        let current = if rolled { &revisions.update } else { current };
        let mut status = json!({
            "observedGeneration": number(set, "/metadata/generation"),
            "replicas": pods.len(),
            "currentRevision": current,
            "updateRevision": revisions.update,
            "collisionCount": 0,
            "availableReplicas": waits.iter().filter(|wait| wait.is_zero()).count(),
        });
        for (field, count) in [
            ("readyReplicas", ready),
            ("currentReplicas", count(&|pod| of_revision(pod, current))),
            ("updatedReplicas", updated),
        ] {
            if count > 0 {
                status[field] = json!(count);
            }
        }
        self.put_status(&STATEFUL_SETS, &found, status, CONTROLLER_MANAGER)
    }
}

fn is_healthy(pod: &Value) -> bool {
    phase(pod) == "Running" && is_ready(pod) && !is_being_deleted(pod)
}

fn ordinal_of(pod: &Value, set: &Value) -> Option<i64> {
    name(pod).strip_prefix(name(set))?.strip_prefix('-')?.parse().ok()
}
