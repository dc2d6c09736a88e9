//! The rules of each kind.

use super::{Verdict, pod};
use platform_core::{cluster::Readiness, manifest::ObjectRef};
use serde_json::Value;

pub(super) fn judge(reference: &ObjectRef, live: &Value) -> Verdict {
    if live.pointer("/metadata/deletionTimestamp").is_some() {
        let finalizers = live.pointer("/metadata/finalizers").and_then(Value::as_array).map_or(0, Vec::len);
        let message = match finalizers {
            0 => "it is being deleted".to_owned(),
            _ => format!("it is being deleted and held by {finalizers} finalizers"),
        };
        return Verdict { readiness: Readiness::Terminating, message };
    }
    if let Some((generation, observed)) = generations(live)
        && observed != generation
    {
        return Verdict::in_progress(format!(
            "its controller has seen generation {observed} of {generation}"
        ));
    }
    match (reference.group(), reference.kind.as_str()) {
        ("apps", "Deployment") => deployment(live),
        ("apps", "StatefulSet") => stateful_set(live),
        ("apps", "DaemonSet") => daemon_set(live),
        ("apps", "ReplicaSet") => replica_set(live),
        ("", "Pod") => pod::judge(live),
        ("batch", "Job") => job(live),
        ("", "PersistentVolumeClaim") => phase(live, "Bound"),
        ("", "Namespace") => phase(live, "Active"),
        ("", "Service") => service(live),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(live),
        ("apiregistration.k8s.io", "APIService") => required(live, "Available"),
        _ => conditions(live),
    }
}

/// Whether the status is about the spec as it is now, as far as it tells.
pub(super) fn is_observed(live: &Value) -> bool {
    generations(live).is_none_or(|(generation, observed)| generation == observed)
}

/// The generation of the spec, and the one that its controller has seen.
fn generations(live: &Value) -> Option<(i64, i64)> {
    let number = |path: &str| live.pointer(path).and_then(Value::as_i64);
    Some((number("/metadata/generation")?, number("/status/observedGeneration")?))
}

/// An object of which only the conventional conditions are known.
fn conditions(live: &Value) -> Verdict {
    if let Some(stalled) = Condition::find(live, "Stalled").filter(|c| c.status == "True") {
        return Verdict::failed(stalled.says());
    }
    if let Some(reconciling) = Condition::find(live, "Reconciling").filter(|c| c.status == "True") {
        return Verdict::in_progress(reconciling.says());
    }
    match Condition::find(live, "Ready") {
        Some(ready) if ready.status != "True" => Verdict::in_progress(ready.says()),
        _ => Verdict::current(),
    }
}

fn required(live: &Value, kind: &str) -> Verdict {
    match Condition::find(live, kind) {
        Some(condition) if condition.status == "True" => Verdict::current(),
        Some(condition) => Verdict::in_progress(condition.says()),
        None => Verdict::in_progress(format!("its condition {kind} is not known yet")),
    }
}

fn deployment(live: &Value) -> Verdict {
    let progressing = Condition::find(live, "Progressing");
    if let Some(exceeded) = progressing.as_ref().filter(|c| c.reason == "ProgressDeadlineExceeded") {
        return Verdict::failed(exceeded.says());
    }
    let wanted = wanted_replicas(live);
    let [replicas, updated, ready, available] =
        ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"].map(|field| count(live, field));
    let waiting = if updated < wanted {
        format!("{updated} of {wanted} replicas are updated")
    } else if replicas > updated {
        format!("{} old replicas are still to end", replicas - updated)
    } else if ready < wanted {
        format!("{ready} of {wanted} replicas are ready")
    } else if available < wanted {
        format!("{available} of {wanted} replicas are available")
    } else {
        return match Condition::find(live, "Available") {
            Some(available) if available.status == "True" => Verdict::current(),
            Some(available) => Verdict::in_progress(available.says()),
            None => Verdict::in_progress("its controller has not looked at it yet"),
        };
    };
    // What keeps replicas from being made, such as a quota, is said by the controller alone.
    match Condition::find(live, "ReplicaFailure").filter(|c| c.status == "True") {
        Some(failure) => Verdict::in_progress(format!("{waiting}: {}", failure.says())),
        None => Verdict::in_progress(waiting),
    }
}

fn replica_set(live: &Value) -> Verdict {
    let wanted = wanted_replicas(live);
    let available = count(live, "availableReplicas");
    let waiting = if live.pointer("/status/observedGeneration").is_none() {
        "its controller has not looked at it yet".to_owned()
    } else if available < wanted {
        format!("{available} of {wanted} replicas are available")
    } else if count(live, "replicas") > wanted {
        format!("{} replicas are still to end", count(live, "replicas") - wanted)
    } else {
        return Verdict::current();
    };
    match Condition::find(live, "ReplicaFailure").filter(|c| c.status == "True") {
        Some(failure) => Verdict::in_progress(format!("{waiting}: {}", failure.says())),
        None => Verdict::in_progress(waiting),
    }
}

fn stateful_set(live: &Value) -> Verdict {
    let text = |path: &str| live.pointer(path).and_then(Value::as_str).unwrap_or_default();
    if text("/spec/updateStrategy/type") == "OnDelete" {
        return Verdict::current();
    }
    if live.pointer("/status/observedGeneration").is_none() {
        return Verdict::in_progress("its controller has not looked at it yet");
    }
    let wanted = wanted_replicas(live);
    let [replicas, ready, updated] =
        ["replicas", "readyReplicas", "updatedReplicas"].map(|field| count(live, field));
    if replicas > wanted {
        return Verdict::in_progress(format!("{} replicas are still to end", replicas - wanted));
    }
    if ready < wanted {
        return Verdict::in_progress(format!("{ready} of {wanted} replicas are ready"));
    }
    let partition =
        live.pointer("/spec/updateStrategy/rollingUpdate/partition").and_then(Value::as_i64).unwrap_or(0);
    let to_update = (wanted - partition).max(0);
    let same_revision = text("/status/currentRevision") == text("/status/updateRevision");
    if (partition > 0 || !same_revision) && updated < to_update {
        return Verdict::in_progress(format!("{updated} of {to_update} replicas are updated"));
    }
    if partition == 0 && !same_revision {
        return Verdict::in_progress("the update is not finished");
    }
    Verdict::current()
}

fn daemon_set(live: &Value) -> Verdict {
    if live.pointer("/status/observedGeneration").is_none() {
        return Verdict::in_progress("its controller has not looked at it yet");
    }
    let wanted = count(live, "desiredNumberScheduled");
    // Then pods are replaced when somebody deletes them, whenever that is.
    let on_delete = live.pointer("/spec/updateStrategy/type").and_then(Value::as_str) == Some("OnDelete");
    for (field, state) in [
        ("currentNumberScheduled", "scheduled"),
        ("updatedNumberScheduled", "updated"),
        ("numberReady", "ready"),
        ("numberAvailable", "available"),
    ] {
        let have = count(live, field);
        if have < wanted && !(on_delete && field == "updatedNumberScheduled") {
            return Verdict::in_progress(format!("{have} of {wanted} pods are {state}"));
        }
    }
    Verdict::current()
}

fn job(live: &Value) -> Verdict {
    if let Some(failed) = Condition::find(live, "Failed").filter(|c| c.status == "True") {
        return Verdict::failed(failed.says());
    }
    let is_true = |kind: &str| Condition::find(live, kind).is_some_and(|c| c.status == "True");
    // A job that is suspended is as it was wanted.
    if is_true("Complete") || is_true("Suspended") {
        return Verdict::current();
    }
    let completions = live.pointer("/spec/completions").and_then(Value::as_i64).unwrap_or(1);
    Verdict::in_progress(format!("{} of {completions} pods have succeeded", count(live, "succeeded")))
}

fn service(live: &Value) -> Verdict {
    let is_load_balancer = live.pointer("/spec/type").and_then(Value::as_str) == Some("LoadBalancer");
    let addresses =
        live.pointer("/status/loadBalancer/ingress").and_then(Value::as_array).map_or(0, Vec::len);
    if is_load_balancer && addresses == 0 {
        return Verdict::in_progress("its load balancer has no address yet");
    }
    Verdict::current()
}

fn definition(live: &Value) -> Verdict {
    if let Some(refused) = Condition::find(live, "NamesAccepted").filter(|c| c.status == "False") {
        return Verdict::failed(refused.says());
    }
    required(live, "Established")
}

fn phase(live: &Value, wanted: &str) -> Verdict {
    match live.pointer("/status/phase").and_then(Value::as_str) {
        Some(phase) if phase == wanted => Verdict::current(),
        Some("Lost") => Verdict::failed("its volume is lost"),
        Some(phase) => Verdict::in_progress(format!("its phase is {phase}, not {wanted} yet")),
        None => Verdict::in_progress(format!("its phase is not {wanted} yet")),
    }
}

fn wanted_replicas(live: &Value) -> i64 {
    live.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1)
}

fn count(live: &Value, field: &str) -> i64 {
    live.get("status").and_then(|status| status.get(field)).and_then(Value::as_i64).unwrap_or(0)
}

/// A condition of a status.
pub(super) struct Condition<'a> {
    kind: &'a str,
    pub(super) status: &'a str,
    pub(super) reason: &'a str,
    pub(super) message: &'a str,
}

impl<'a> Condition<'a> {
    pub(super) fn find(live: &'a Value, kind: &'a str) -> Option<Self> {
        let conditions = live.pointer("/status/conditions")?.as_array()?;
        let found = conditions.iter().find(|c| c.get("type").and_then(Value::as_str) == Some(kind))?;
        let text = |key: &str| found.get(key).and_then(Value::as_str).unwrap_or_default();
        Some(Self { kind, status: text("status"), reason: text("reason"), message: text("message") })
    }

    pub(super) fn says(&self) -> String {
        match (self.reason, self.message) {
            ("", "") => format!("its condition {} is {}", self.kind, self.status),
            (reason, "") => reason.to_owned(),
            ("", message) => message.to_owned(),
            (reason, message) => format!("{reason}: {message}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn judge_kind(api_version: &str, kind: &str, live: &Value) -> (Readiness, String) {
        let verdict = judge(&ObjectRef::new(api_version, kind, "a"), live);
        (verdict.readiness, verdict.message)
    }

    fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({"type": kind, "status": status, "reason": reason, "message": message})
    }

    #[test]
    fn deletion_and_generation_come_before_everything() {
        let going = json!({"metadata": {"deletionTimestamp": "x", "finalizers": ["a"]}});
        assert_eq!(judge_kind("v1", "ConfigMap", &going).0, Readiness::Terminating);
        let behind =
            json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 1, "replicas": 1}});
        let (readiness, message) = judge_kind("apps/v1", "Deployment", &behind);
        assert_eq!(
            (readiness, message.as_str()),
            (Readiness::InProgress, "its controller has seen generation 1 of 2")
        );
    }

    #[test]
    fn a_deployment_is_ready_when_all_its_new_replicas_are_available() {
        let of = |status: Value| {
            judge_kind("apps/v1", "Deployment", &json!({"spec": {"replicas": 3}, "status": status}))
        };
        let available = condition("Available", "True", "MinimumReplicasAvailable", "");
        let full = json!({"replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3, "conditions": [available]});
        assert_eq!(of(full).0, Readiness::Current);
        assert_eq!(of(json!({})), (Readiness::InProgress, "0 of 3 replicas are updated".into()));
        let old = json!({"replicas": 4, "updatedReplicas": 3, "readyReplicas": 4, "availableReplicas": 4});
        assert_eq!(of(old), (Readiness::InProgress, "1 old replicas are still to end".into()));
        let slow = json!({"replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 2});
        assert_eq!(of(slow), (Readiness::InProgress, "2 of 3 replicas are available".into()));
        let stuck = json!({"conditions": [condition("Progressing", "False", "ProgressDeadlineExceeded", "timed out")]});
        assert_eq!(of(stuck), (Readiness::Failed, "ProgressDeadlineExceeded: timed out".into()));
        let blocked =
            json!({"conditions": [condition("ReplicaFailure", "True", "FailedCreate", "exceeded quota")]});
        assert_eq!(
            of(blocked),
            (Readiness::InProgress, "0 of 3 replicas are updated: FailedCreate: exceeded quota".into())
        );
    }

    #[test]
    fn a_stateful_set_finishes_its_update() {
        let of = |spec: Value, status: Value| {
            judge_kind("apps/v1", "StatefulSet", &json!({"spec": spec, "status": status})).0
        };
        let status = |current: &str, updated: i64| {
            json!({"observedGeneration": 1, "replicas": 2, "readyReplicas": 2, "updatedReplicas": updated,
                "currentRevision": current, "updateRevision": "b"})
        };
        assert_eq!(of(json!({"replicas": 2}), status("b", 0)), Readiness::Current);
        assert_eq!(of(json!({"replicas": 2}), status("a", 1)), Readiness::InProgress);
        assert_eq!(of(json!({"replicas": 2}), status("a", 2)), Readiness::InProgress);
        let partitioned = json!({"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": 1}}});
        assert_eq!(of(partitioned, status("a", 1)), Readiness::Current);
        assert_eq!(of(json!({"updateStrategy": {"type": "OnDelete"}}), json!({})), Readiness::Current);
        assert_eq!(of(json!({}), json!({})), Readiness::InProgress);
    }

    #[test]
    fn other_workloads() {
        let daemon_set = json!({"status": {"observedGeneration": 1, "desiredNumberScheduled": 2, "currentNumberScheduled": 2,
            "updatedNumberScheduled": 2, "numberReady": 1, "numberAvailable": 1}});
        assert_eq!(
            judge_kind("apps/v1", "DaemonSet", &daemon_set),
            (Readiness::InProgress, "1 of 2 pods are ready".into())
        );
        let on_delete = json!({"spec": {"updateStrategy": {"type": "OnDelete"}}, "status": {"observedGeneration": 1,
            "desiredNumberScheduled": 2, "currentNumberScheduled": 2, "numberReady": 2, "numberAvailable": 2}});
        assert_eq!(judge_kind("apps/v1", "DaemonSet", &on_delete).0, Readiness::Current);
        let failed = json!({"status": {"conditions": [condition("Failed", "True", "BackoffLimitExceeded", "tried 6 times")]}});
        assert_eq!(
            judge_kind("batch/v1", "Job", &failed),
            (Readiness::Failed, "BackoffLimitExceeded: tried 6 times".into())
        );
        let complete = json!({"status": {"conditions": [condition("Complete", "True", "", "")]}});
        assert_eq!(judge_kind("batch/v1", "Job", &complete).0, Readiness::Current);
        assert_eq!(judge_kind("batch/v1", "Job", &json!({"status": {"active": 1}})).0, Readiness::InProgress);
        let replica_set = json!({"spec": {"replicas": 1}, "status": {"observedGeneration": 1, "replicas": 1, "availableReplicas": 1}});
        assert_eq!(judge_kind("apps/v1", "ReplicaSet", &replica_set).0, Readiness::Current);
    }

    #[test]
    fn what_is_no_workload() {
        assert_eq!(
            judge_kind("v1", "PersistentVolumeClaim", &json!({"status": {"phase": "Pending"}})).0,
            Readiness::InProgress
        );
        assert_eq!(
            judge_kind("v1", "Namespace", &json!({"status": {"phase": "Active"}})).0,
            Readiness::Current
        );
        assert_eq!(
            judge_kind("v1", "Service", &json!({"spec": {"type": "LoadBalancer"}})).0,
            Readiness::InProgress
        );
        assert_eq!(
            judge_kind("v1", "Service", &json!({"spec": {"type": "ClusterIP"}})).0,
            Readiness::Current
        );
        let crd = |kind: &str, status: &str| json!({"status": {"conditions": [condition(kind, status, "Why", "")]}});
        let of = |live: Value| judge_kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", &live).0;
        assert_eq!(of(crd("NamesAccepted", "False")), Readiness::Failed);
        assert_eq!(of(crd("Established", "True")), Readiness::Current);
        assert_eq!(of(json!({})), Readiness::InProgress);
        let custom = |kind: &str, status: &str| judge_kind("example.com/v1", "Widget", &crd(kind, status)).0;
        assert_eq!(custom("Ready", "False"), Readiness::InProgress);
        assert_eq!(custom("Ready", "True"), Readiness::Current);
        assert_eq!(custom("Stalled", "True"), Readiness::Failed);
        assert_eq!(custom("Reconciling", "True"), Readiness::InProgress);
        assert_eq!(custom("Other", "False"), Readiness::Current);
        let budget = json!({"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "conditions": [
            condition("DisruptionAllowed", "False", "InsufficientPods", "")]}});
        assert_eq!(judge_kind("policy/v1", "PodDisruptionBudget", &budget).0, Readiness::Current);
    }
}
