//! What is expected of answers, and the objects that checks begin with.

use crate::conformance::{Outcome, ensure};
use serde_json::{Value, json};

/// What is at a JSON pointer must be `wanted`.
pub(super) fn equal(object: &Value, pointer: &str, wanted: Value) -> Outcome {
    let found = object.pointer(pointer).unwrap_or(&Value::Null);
    ensure(*found == wanted, || format!("{pointer} is {found}, must be {wanted}"))
}

/// What is at several JSON pointers must be as wanted.
pub(super) fn equal_all<const N: usize>(object: &Value, wanted: [(&str, Value); N]) -> Outcome {
    wanted.into_iter().try_for_each(|(pointer, wanted)| equal(object, pointer, wanted))
}

/// There must be nothing at a JSON pointer.
pub(super) fn absent(object: &Value, pointer: &str) -> Outcome {
    equal(object, pointer, Value::Null)
}

/// A `Status` must say `text` in its message.
pub(super) fn says(status: &Value, text: &str) -> Outcome {
    let message = status["message"].as_str().unwrap_or_default();
    ensure(message.contains(text), || format!("the message is {message:?}, must say {text:?}"))
}

/// A `Status` must name `field` as a cause for `reason`.
pub(super) fn blames(status: &Value, field: &str, reason: &str) -> Outcome {
    let causes = status["details"]["causes"].as_array().cloned().unwrap_or_default();
    let found = causes.iter().any(|cause| cause["field"] == field && cause["reason"] == reason);
    ensure(found, || format!("the causes are {causes:?}, must have {field:?} for {reason}"))
}

/// Two versions of an object must have the same resourceVersion.
pub(super) fn same_version(before: &Value, after: &Value) -> Outcome {
    equal(after, "/metadata/resourceVersion", before["metadata"]["resourceVersion"].clone())
}

/// Two versions of an object must have different resourceVersions.
pub(super) fn other_version(before: &Value, after: &Value) -> Outcome {
    let (before, after) = (&before["metadata"]["resourceVersion"], &after["metadata"]["resourceVersion"]);
    ensure(before != after && after.is_string(), || format!("the resourceVersion stays {before}"))
}

/// The names of a list's items.
pub(super) fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().cloned().unwrap_or_default();
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect()
}

/// A list must have items of these names, in this order.
pub(super) fn lists(list: &Value, wanted: &[&str]) -> Outcome {
    let found = names(list);
    ensure(found == wanted, || format!("the list has {found:?}, must have {wanted:?}"))
}

/// The entry of managedFields of a manager and an operation.
pub(super) fn entry<'a>(object: &'a Value, manager: &str, operation: &str) -> Option<&'a Value> {
    let entries = object["metadata"]["managedFields"].as_array()?;
    entries.iter().find(|entry| entry["manager"] == manager && entry["operation"] == operation)
}

/// Whether a manager has applied the field at a pointer into fieldsV1.
pub(super) fn owns(object: &Value, manager: &str, pointer: &str) -> bool {
    entry(object, manager, "Apply").is_some_and(|entry| entry["fieldsV1"].pointer(pointer).is_some())
}

/// A text that must be there.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> Result<&'a str, String> {
    object.pointer(pointer).and_then(Value::as_str).ok_or_else(|| format!("{pointer} is no text in {object}"))
}

pub(super) fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

/// A config map with labels.
pub(super) fn labelled(name: &str, labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}})
}

/// A deployment of no pods, so that it means the same with nodes and without.
pub(super) fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": template(name)},
    })
}

pub(super) fn template(app: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "main", "image": "registry.example.com/main:1.0"}]},
    })
}

/// A pod that no scheduler looks at.
pub(super) fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "schedulerName": "conformance", "containers": [{"name": "main", "image": "registry.example.com/main:1.0"}],
        },
    })
}

pub(super) fn service(name: &str, ports: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": ports},
    })
}

pub(super) fn account(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
}
