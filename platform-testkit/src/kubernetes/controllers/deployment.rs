//! Deployments: one ReplicaSet for each template, and rolling from one to the next.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::super::deletion::DeleteOptions;
use super::super::error::ApiError;
use super::super::store::{Key, Stored};
use super::cluster::Cluster;
use super::object::{
    CONTROLLER_MANAGER, DEPLOYMENTS, PODS, REPLICA_SETS, annotation, condition, fingerprint, has_ended,
    is_being_deleted, items, name, namespace, number, owner_reference, put_condition, scaled, text, written,
};

const COMPONENT: &str = "deployment-controller";
const HASH_LABEL: &str = "pod-template-hash";
const REVISION: &str = "deployment.kubernetes.io/revision";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";

/// A Deployment's ReplicaSets.
struct Sets {
    /// The one of the template as it is.
    new: Option<Arc<Stored>>,
    /// The others, oldest first.
    old: Vec<Arc<Stored>>,
}

/// How far the numbers of pods may be from what is asked for.
struct Limits {
    replicas: i64,
    max_surge: i64,
    max_unavailable: i64,
}

impl Cluster {
    pub(super) fn deployment(&mut self, key: &Key, deployment: &Stored) -> Result<(), ApiError> {
        let mut sets = self.sets_of(deployment);
        if is_being_deleted(deployment) {
            return self.deployment_status(key, deployment, &sets);
        }
        let limits = Limits::of(deployment);
        let paused = deployment.pointer("/spec/paused") == Some(&Value::Bool(true));
        if !paused || sets.new.is_some() {
            self.ensure_new_set(deployment, &mut sets, &limits)?;
        }
        if paused {
            self.scale_paused(deployment, &sets, &limits)?;
        } else if text(deployment, "/spec/strategy/type") == "Recreate" {
            self.recreate(deployment, &sets, &limits)?;
        } else {
            self.roll(deployment, &sets, &limits)?;
        }
        let sets = self.sets_of(deployment);
        if let Some(current) = self.store.find(key) {
            self.deployment_status(key, &current, &sets)?;
        }
        self.forget_sets(deployment, &sets)
    }

    fn sets_of(&self, deployment: &Stored) -> Sets {
        let mut sets = self.controlled(&REPLICA_SETS, deployment);
        let wanted = deployment.pointer("/spec/template").map(without_hash);
        let new = sets.iter().position(|set| set.pointer("/spec/template").map(without_hash) == wanted);
        let new = new.map(|index| sets.remove(index));
        sets.sort_by_key(|set| revision(set));
        Sets { new, old: sets }
    }

    /// Creates the ReplicaSet of the template, or makes it the newest again after going back to it.
    fn ensure_new_set(&self, deployment: &Stored, sets: &mut Sets, limits: &Limits) -> Result<(), ApiError> {
        let newest_old = sets.old.iter().map(|set| revision(set)).max().unwrap_or(0);
        let set = match &sets.new {
            None => {
                let set = self.create_set(deployment, sets, limits, newest_old + 1)?;
                let message = format!(
                    "Scaled up replica set {} from 0 to {}",
                    name(&set),
                    number(&set, "/spec/replicas")
                );
                if number(&set, "/spec/replicas") > 0 {
                    self.events.normal(deployment, COMPONENT, "ScalingReplicaSet", &message);
                }
                set
            }
            Some(set) => {
                let revision = revision(set).max(newest_old + 1);
                let annotations = set_annotations(deployment, limits, revision);
                let stale = annotations.iter().any(|(key, value)| annotation(set, key) != value.as_str());
                let min_ready = deployment.pointer("/spec/minReadySeconds");
                if stale || set.pointer("/spec/minReadySeconds") != min_ready {
                    let mut changed = set.value().clone();
                    for (key, value) in annotations {
                        changed["metadata"]["annotations"][key] = value;
                    }
                    changed["spec"]["minReadySeconds"] = min_ready.cloned().unwrap_or_default();
                    self.store.update(&REPLICA_SETS, changed, CONTROLLER_MANAGER)?
                } else {
                    set.clone()
                }
            }
        };
        let revision = revision(&set).to_string();
        if annotation(deployment, REVISION) != Some(revision.as_str()) {
            let current = self.store.get(&Key::of(&DEPLOYMENTS, deployment))?;
            let mut changed = current.value().clone();
            changed["metadata"]["annotations"][REVISION] = json!(revision);
            self.store.update(&DEPLOYMENTS, changed, CONTROLLER_MANAGER)?;
        }
        sets.new = Some(set);
        Ok(())
    }

    fn create_set(
        &self,
        deployment: &Stored,
        sets: &Sets,
        limits: &Limits,
        revision: i64,
    ) -> Result<Arc<Stored>, ApiError> {
        let template = deployment.pointer("/spec/template").cloned().unwrap_or_default();
        let recreate = text(deployment, "/spec/strategy/type") == "Recreate";
        let replicas = match recreate {
            true if self.has_pods(&sets.old) => 0,
            true => limits.replicas,
            false => limits.room_to_grow(occupied(&sets.old), 0),
        };
        let mut collisions = number(deployment, "/status/collisionCount");
        loop {
            let hash = fingerprint(&template, collisions);
            let mut template = template.clone();
            template["metadata"]["labels"][HASH_LABEL] = json!(hash);
            let mut selector = deployment.pointer("/spec/selector").cloned().unwrap_or_else(|| json!({}));
            selector["matchLabels"][HASH_LABEL] = json!(hash);
            let set = json!({
                "metadata": {
                    "name": format!("{}-{hash}", name(deployment)),
                    "namespace": namespace(deployment),
                    "labels": template.pointer("/metadata/labels").cloned().unwrap_or_default(),
                    "annotations": set_annotations(deployment, limits, revision),
                    "ownerReferences": [owner_reference(deployment)],
                },
                "spec": {
                    "replicas": replicas,
                    "minReadySeconds": deployment.pointer("/spec/minReadySeconds").cloned().unwrap_or_default(),
                    "selector": selector,
                    "template": template,
                },
            });
            match self.store.create(&REPLICA_SETS, set, CONTROLLER_MANAGER) {
                Err(error) if error.reason == "AlreadyExists" && collisions < 16 => collisions += 1,
                Err(error) => {
                    let message = format!("Failed to create new replica set {:?}: {error}", name(deployment));
                    self.events.warning(deployment, COMPONENT, "ReplicaSetCreateError", &message);
                    return Err(error);
                }
                created => return created,
            }
        }
    }

    /// A paused Deployment is scaled, not rolled.
    fn scale_paused(&self, deployment: &Stored, sets: &Sets, limits: &Limits) -> Result<(), ApiError> {
        let mut all = sets.new.iter().chain(sets.old.iter().rev());
        let active = all.clone().find(|set| number(set, "/spec/replicas") > 0).or_else(|| all.next());
        let Some(active) = active else { return Ok(()) };
        let others = total(&sets.old) + sets.new.as_deref().map_or(0, replicas) - replicas(active);
        self.scale_set(deployment, active, (limits.replicas - others).max(0))
    }

    fn recreate(&self, deployment: &Stored, sets: &Sets, limits: &Limits) -> Result<(), ApiError> {
        for set in &sets.old {
            self.scale_set(deployment, set, 0)?;
        }
        match &sets.new {
            Some(new) if !self.has_pods(&sets.old) => self.scale_set(deployment, new, limits.replicas),
            _ => Ok(()),
        }
    }

    fn roll(&self, deployment: &Stored, sets: &Sets, limits: &Limits) -> Result<(), ApiError> {
        let Some(new) = &sets.new else { return Ok(()) };
        let old_total = total(&sets.old);
        let current = replicas(new);
        if current > limits.replicas {
            return self.scale_set(deployment, new, limits.replicas);
        }
        let grown = current + limits.room_to_grow(occupied(&sets.old) + current, current);
        if grown != current {
            return self.scale_set(deployment, new, grown);
        }
        if old_total == 0 {
            return Ok(());
        }
        // Pods of the new set that are not available yet must not be made up for by old ones that go.
        let min_available = limits.replicas - limits.max_unavailable;
        let new_unavailable = current - number(new, "/status/availableReplicas");
        let mut to_remove = old_total + current - min_available - new_unavailable;
        for set in &sets.old {
            let unavailable = replicas(set) - number(set, "/status/availableReplicas");
            let removed = unavailable.min(to_remove).max(0);
            if removed > 0 {
                self.scale_set(deployment, set, replicas(set) - removed)?;
                to_remove -= removed;
            }
        }
        let old = self.sets_of(deployment).old;
        let available = |set: &Arc<Stored>| number(set, "/status/availableReplicas").min(replicas(set));
        let mut spare =
            old.iter().map(available).sum::<i64>() + number(new, "/status/availableReplicas") - min_available;
        for set in &old {
            let removed = replicas(set).min(spare).max(0);
            if removed > 0 {
                self.scale_set(deployment, set, replicas(set) - removed)?;
                spare -= removed;
            }
        }
        Ok(())
    }

    fn scale_set(&self, deployment: &Stored, set: &Stored, wanted: i64) -> Result<(), ApiError> {
        let current = replicas(set);
        if current == wanted {
            return Ok(());
        }
        self.scale(&REPLICA_SETS, set, wanted)?;
        let direction = if wanted > current { "up" } else { "down" };
        let message = format!("Scaled {direction} replica set {} from {current} to {wanted}", name(set));
        self.events.normal(deployment, COMPONENT, "ScalingReplicaSet", &message);
        Ok(())
    }

    fn has_pods(&self, sets: &[Arc<Stored>]) -> bool {
        sets.iter().any(|set| self.controlled(&PODS, set).iter().any(|pod| !has_ended(pod)))
    }

    /// Deletes ReplicaSets without pods beyond the history limit, the oldest first.
    fn forget_sets(&self, deployment: &Stored, sets: &Sets) -> Result<(), ApiError> {
        let limit = usize::try_from(number(deployment, "/spec/revisionHistoryLimit")).unwrap_or(usize::MAX);
        let surplus = sets.old.len().saturating_sub(limit);
        for set in sets.old.iter().take(surplus) {
            if replicas(set) == 0 && number(set, "/status/replicas") == 0 && !is_being_deleted(set) {
                self.store.delete(&Key::of(&REPLICA_SETS, set), &DeleteOptions::default())?;
            }
        }
        Ok(())
    }

    fn deployment_status(&mut self, key: &Key, deployment: &Stored, sets: &Sets) -> Result<(), ApiError> {
        let now = Timestamp::now();
        let all = || sets.new.iter().chain(&sets.old);
        let sum = |pointer: &str| all().map(|set| number(set, pointer)).sum::<i64>();
        let (pods, available) = (sum("/status/replicas"), sum("/status/availableReplicas"));
        let updated = sets.new.as_deref().map_or(0, |set| number(set, "/status/replicas"));
        let mut status = json!({"observedGeneration": number(deployment, "/metadata/generation")});
        for (field, count) in [
            ("replicas", pods),
            ("updatedReplicas", updated),
            ("readyReplicas", sum("/status/readyReplicas")),
            ("availableReplicas", available),
            ("unavailableReplicas", (all().map(|set| replicas(set)).sum::<i64>() - available).max(0)),
            ("collisionCount", number(deployment, "/status/collisionCount")),
        ] {
            if count > 0 {
                status[field] = json!(count);
            }
        }
        let limits = Limits::of(deployment);
        let mut conditions = items(deployment, "/status/conditions").to_vec();
        let enough = available >= limits.replicas - limits.max_unavailable;
        let (state, reason, message) = if enough {
            ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        };
        let available_condition =
            json!({"type": "Available", "status": state, "reason": reason, "message": message});
        put_dated(&mut conditions, available_condition, now, false);
        match all().find_map(|set| condition(set, "ReplicaFailure")) {
            Some(failure) => put_dated(&mut conditions, failure.clone(), now, false),
            None => conditions.retain(|condition| text(condition, "/type") != "ReplicaFailure"),
        }
        let complete = updated == limits.replicas && pods == limits.replicas && available == limits.replicas;
        let progressed =
            ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"].into_iter().any(|field| {
                number(deployment, &format!("/status/{field}"))
                    != status.get(field).and_then(Value::as_i64).unwrap_or(0)
            });
        if let Some(deadline) = progress(deployment, sets, complete, progressed, &mut conditions, now) {
            self.again(key, Instant::now() + deadline);
        }
        status["conditions"] = Value::Array(conditions);
        self.put_status(&DEPLOYMENTS, deployment, status, CONTROLLER_MANAGER)
    }
}

impl Limits {
    fn of(deployment: &Value) -> Self {
        let replicas = number(deployment, "/spec/replicas");
        if text(deployment, "/spec/strategy/type") == "Recreate" {
            return Self { replicas, max_surge: 0, max_unavailable: replicas };
        }
        let update = |field: &str| deployment.pointer(&format!("/spec/strategy/rollingUpdate/{field}"));
        let max_surge = scaled(update("maxSurge"), replicas, true);
        let max_unavailable = match scaled(update("maxUnavailable"), replicas, false).min(replicas) {
            0 if max_surge == 0 => 1,
            unavailable => unavailable,
        };
        Self { replicas, max_surge, max_unavailable }
    }

    /// How many pods a set of `current` may get more, when there are `total` of all sets.
    fn room_to_grow(&self, total: i64, current: i64) -> i64 {
        (self.replicas + self.max_surge - total).min(self.replicas - current).max(0)
    }
}

/// Keeps the condition `Progressing`; returns after how long to look again whether the deadline has passed.
fn progress(
    deployment: &Value,
    sets: &Sets,
    complete: bool,
    progressed: bool,
    conditions: &mut Vec<Value>,
    now: Timestamp,
) -> Option<Duration> {
    let deadline = deployment.pointer("/spec/progressDeadlineSeconds").and_then(Value::as_i64)?;
    if deadline == i64::from(i32::MAX) {
        return None;
    }
    let set = sets.new.as_deref().map_or_else(|| name(deployment).to_owned(), |set| name(set).to_owned());
    let subject =
        if sets.new.is_some() { format!("ReplicaSet {set:?}") } else { format!("Deployment {set:?}") };
    let old = condition(deployment, "Progressing");
    let reason = old.map_or("", |condition| text(condition, "/reason"));
    let mut put = |status: &str, reason: &str, message: String, fresh: bool| {
        let condition =
            json!({"type": "Progressing", "status": status, "reason": reason, "message": message});
        put_dated(conditions, condition, now, fresh);
    };
    // A rollout that was complete stays so until the next one, whatever becomes of its pods.
    let same_rollout =
        number(deployment, "/status/observedGeneration") == number(deployment, "/metadata/generation");
    if complete || (reason == "NewReplicaSetAvailable" && same_rollout) {
        put("True", "NewReplicaSetAvailable", format!("{subject} has successfully progressed."), false);
        return None;
    }
    if deployment.pointer("/spec/paused") == Some(&Value::Bool(true)) {
        put("Unknown", "DeploymentPaused", "Deployment is paused".to_owned(), false);
        return None;
    }
    if old.is_none() {
        put("True", "NewReplicaSetCreated", format!("Created new replica set {set:?}"), true);
        return u64::try_from(deadline).ok().map(Duration::from_secs);
    }
    if progressed || !same_rollout {
        put("True", "ReplicaSetUpdated", format!("{subject} is progressing."), true);
        return u64::try_from(deadline).ok().map(Duration::from_secs);
    }
    let since: Timestamp = old.and_then(|one| text(one, "/lastUpdateTime").parse().ok()).unwrap_or(now);
    let left = since.as_millisecond() + deadline.saturating_mul(1000) - now.as_millisecond();
    match u64::try_from(left) {
        Ok(left) if left > 0 => Some(Duration::from_millis(left)),
        _ => {
            put("False", "ProgressDeadlineExceeded", format!("{subject} has timed out progressing."), false);
            None
        }
    }
}

/// Puts a condition that also says when it was last touched: on a change, or when it is `fresh`.
fn put_dated(conditions: &mut Vec<Value>, mut condition: Value, now: Timestamp, fresh: bool) {
    let kind = text(&condition, "/type").to_owned();
    let old = conditions.iter().find(|one| text(one, "/type") == kind);
    let same = old.is_some_and(|old| {
        ["status", "reason", "message"].into_iter().all(|field| old.get(field) == condition.get(field))
    });
    condition["lastUpdateTime"] = match old.and_then(|old| old.get("lastUpdateTime")) {
        Some(time) if same && !fresh => time.clone(),
        _ => json!(written(now)),
    };
    put_condition(conditions, condition, &written(now));
}

fn set_annotations(deployment: &Value, limits: &Limits, revision: i64) -> Map<String, Value> {
    let own = ["kubectl.kubernetes.io/last-applied-configuration", REVISION, DESIRED, MAXIMUM];
    let annotations = deployment.pointer("/metadata/annotations").and_then(Value::as_object);
    let inherited = annotations.into_iter().flatten().filter(|(key, _)| !own.contains(&key.as_str()));
    let mut annotations: Map<String, Value> =
        inherited.map(|(key, value)| (key.clone(), value.clone())).collect();
    for (key, value) in
        [(REVISION, revision), (DESIRED, limits.replicas), (MAXIMUM, limits.replicas + limits.max_surge)]
    {
        annotations.insert(key.to_owned(), json!(value.to_string()));
    }
    annotations
}

fn revision(set: &Value) -> i64 {
    annotation(set, REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn replicas(set: &Stored) -> i64 {
    number(set, "/spec/replicas")
}

fn total(sets: &[Arc<Stored>]) -> i64 {
    sets.iter().map(|set| replicas(set)).sum()
}

/// How many pods sets have or are to have: those that are to go count until they have gone.
fn occupied(sets: &[Arc<Stored>]) -> i64 {
    sets.iter().map(|set| replicas(set).max(number(set, "/status/replicas"))).sum()
}

fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH_LABEL);
    }
    template
}
