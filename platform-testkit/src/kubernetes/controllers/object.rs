//! Reading and building objects.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::super::resource::GroupResource;

pub(super) const CLAIMS: GroupResource = GroupResource::new("", "persistentvolumeclaims");
pub(super) const CONFIG_MAPS: GroupResource = GroupResource::new("", "configmaps");
pub(super) const DAEMON_SETS: GroupResource = GroupResource::new("apps", "daemonsets");
pub(super) const DEPLOYMENTS: GroupResource = GroupResource::new("apps", "deployments");
pub(super) const DISRUPTION_BUDGETS: GroupResource = GroupResource::new("policy", "poddisruptionbudgets");
pub(super) const ENDPOINTS: GroupResource = GroupResource::new("", "endpoints");
pub(super) const ENDPOINT_SLICES: GroupResource = GroupResource::new("discovery.k8s.io", "endpointslices");
pub(super) const EVENTS: GroupResource = GroupResource::new("", "events");
pub(super) const AUTOSCALERS: GroupResource = GroupResource::new("autoscaling", "horizontalpodautoscalers");
pub(super) const INGRESSES: GroupResource = GroupResource::new("networking.k8s.io", "ingresses");
pub(super) const JOBS: GroupResource = GroupResource::new("batch", "jobs");
pub(super) const NODES: GroupResource = GroupResource::new("", "nodes");
pub(super) const PODS: GroupResource = GroupResource::new("", "pods");
pub(super) const REPLICATION_CONTROLLERS: GroupResource = GroupResource::new("", "replicationcontrollers");
pub(super) const REPLICA_SETS: GroupResource = GroupResource::new("apps", "replicasets");
pub(super) const REVISIONS: GroupResource = GroupResource::new("apps", "controllerrevisions");
pub(super) const SECRETS: GroupResource = GroupResource::new("", "secrets");
pub(super) const SERVICES: GroupResource = GroupResource::new("", "services");
pub(super) const STATEFUL_SETS: GroupResource = GroupResource::new("apps", "statefulsets");
pub(super) const STORAGE_CLASSES: GroupResource = GroupResource::new("storage.k8s.io", "storageclasses");
pub(super) const VOLUMES: GroupResource = GroupResource::new("", "persistentvolumes");

/// Who the controllers are to `managedFields` and events.
pub(super) const CONTROLLER_MANAGER: &str = "kube-controller-manager";

pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

pub(super) fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

pub(super) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

pub(super) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

pub(super) fn labels(object: &Value) -> Option<&Map<String, Value>> {
    object.pointer("/metadata/labels").and_then(Value::as_object)
}

pub(super) fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(name))
        .and_then(Value::as_str)
}

pub(super) fn is_being_deleted(object: &Value) -> bool {
    !text(object, "/metadata/deletionTimestamp").is_empty()
}

/// The owner reference that controls the object.
pub(super) fn controller_of(object: &Value) -> Option<&Value> {
    items(object, "/metadata/ownerReferences")
        .iter()
        .find(|owner| owner.get("controller") == Some(&Value::Bool(true)))
}

pub(super) fn is_controlled_by(object: &Value, owner: &Value) -> bool {
    controller_of(object).is_some_and(|reference| text(reference, "/uid") == uid(owner))
}

/// A reference by which `owner` controls another object.
pub(super) fn owner_reference(owner: &Value) -> Value {
    json!({
        "apiVersion": text(owner, "/apiVersion"),
        "kind": text(owner, "/kind"),
        "name": name(owner),
        "uid": uid(owner),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// A pod from the template of `owner`.
pub(super) fn pod_from(template: &Value, owner: &Value) -> Value {
    let mut metadata = template
        .get("metadata")
        .filter(|metadata| metadata.is_object())
        .cloned()
        .unwrap_or_else(|| json!({}));
    metadata["namespace"] = json!(namespace(owner));
    metadata["generateName"] = json!(format!("{}-", name(owner)));
    metadata["ownerReferences"] = json!([owner_reference(owner)]);
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": template.get("spec").cloned().unwrap_or_else(|| json!({})),
    })
}

pub(super) fn phase(pod: &Value) -> &str {
    text(pod, "/status/phase")
}

pub(super) fn has_ended(pod: &Value) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether a pod counts as a replica.
pub(super) fn is_active(pod: &Value) -> bool {
    !has_ended(pod) && !is_being_deleted(pod)
}

pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    items(object, "/status/conditions").iter().find(|condition| text(condition, "/type") == kind)
}

pub(super) fn is_true(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|condition| text(condition, "/status") == "True")
}

pub(super) fn is_ready(pod: &Value) -> bool {
    is_true(pod, "Ready")
}

/// How long a pod has to stay ready until it is available; `None` if it is not ready.
pub(super) fn until_available(pod: &Value, min_ready_seconds: i64, now: Timestamp) -> Option<Duration> {
    let ready = condition(pod, "Ready").filter(|condition| text(condition, "/status") == "True")?;
    if min_ready_seconds <= 0 {
        return Some(Duration::ZERO);
    }
    let since: Timestamp = text(ready, "/lastTransitionTime").parse().unwrap_or(now);
    let waited = now.as_millisecond() - since.as_millisecond();
    let left = min_ready_seconds.saturating_mul(1000) - waited;
    Some(u64::try_from(left).map_or(Duration::ZERO, Duration::from_millis))
}

/// A time as Kubernetes writes it.
pub(super) fn written(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A number, or a percentage of `total`.
pub(super) fn scaled(value: Option<&Value>, total: i64, round_up: bool) -> i64 {
    match value {
        Some(Value::String(text)) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            let product = percent.saturating_mul(total);
            if round_up { product.saturating_add(99) / 100 } else { product / 100 }
        }
        Some(value) => value.as_i64().unwrap_or(0),
        None => 0,
    }
}

/// Puts a condition into a list; it keeps the time of its last transition while its status stays the same.
pub(super) fn put_condition(conditions: &mut Vec<Value>, mut condition: Value, now: &str) {
    let kind = text(&condition, "/type").to_owned();
    let old = conditions.iter_mut().find(|one| text(one, "/type") == kind);
    let transition = match &old {
        Some(old) if old.get("status") == condition.get("status") => {
            old.get("lastTransitionTime").cloned().unwrap_or_else(|| json!(now))
        }
        _ => json!(now),
    };
    condition["lastTransitionTime"] = transition;
    match old {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
}

/// A short text that differs where `value` differs, as in `pod-template-hash`.
pub(super) fn fingerprint(value: &Value, collisions: i64) -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    // FNV-1a, 32 bits.
    let mut hash: u32 = 0x811c_9dc5;
    let salt = if collisions == 0 { String::new() } else { collisions.to_string() };
    for byte in value.to_string().bytes().chain(salt.bytes()) {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    let character = |digit: u8| char::from(ALPHABET.get(usize::from(digit - b'0')).copied().unwrap_or(b'b'));
    hash.to_string().bytes().map(character).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_as_asked() {
        assert_eq!(scaled(Some(&json!("25%")), 3, true), 1);
        assert_eq!(scaled(Some(&json!("25%")), 3, false), 0);
        assert_eq!(scaled(Some(&json!(2)), 3, false), 2);
        assert_eq!(scaled(None, 3, true), 0);
    }

    #[test]
    fn availability_waits_for_the_minimal_time() {
        let now: Timestamp = "2026-01-01T00:00:10Z".parse().unwrap();
        let pod = |status: &str| {
            json!({"status": {"conditions": [
                {"type": "Ready", "status": status, "lastTransitionTime": "2026-01-01T00:00:05Z"}]}})
        };
        assert_eq!(until_available(&pod("True"), 0, now), Some(Duration::ZERO));
        assert_eq!(until_available(&pod("True"), 8, now), Some(Duration::from_secs(3)));
        assert_eq!(until_available(&pod("True"), 5, now), Some(Duration::ZERO));
        assert_eq!(until_available(&pod("False"), 0, now), None);
    }

    #[test]
    fn a_condition_keeps_its_time_while_its_status_stays() {
        let mut conditions = Vec::new();
        put_condition(&mut conditions, json!({"type": "A", "status": "True"}), "1");
        put_condition(&mut conditions, json!({"type": "A", "status": "True", "reason": "R"}), "2");
        assert_eq!(
            conditions,
            [json!({"type": "A", "status": "True", "reason": "R", "lastTransitionTime": "1"})]
        );
        put_condition(&mut conditions, json!({"type": "A", "status": "False"}), "3");
        assert_eq!(conditions[0]["lastTransitionTime"], "3");
    }

    #[test]
    fn fingerprints_differ_by_content_and_collision() {
        let one = fingerprint(&json!({"a": 1}), 0);
        assert_eq!(one, fingerprint(&json!({"a": 1}), 0));
        assert_ne!(one, fingerprint(&json!({"a": 2}), 0));
        assert_ne!(one, fingerprint(&json!({"a": 1}), 1));
    }
}
