//! What each kind adds to the common rules: fields that the server fills in and fields that may not change.
//!
//! The rules and their wording are those of the strategies and validations in `k8s.io/kubernetes/pkg/registry` and
//! `pkg/apis`.

mod address;
mod definition;
mod immutable;
mod rules;
mod storage;

use jiff::Timestamp;
use serde_json::{Value, json};

pub(super) use self::definition::{set_condition, validate_create};
pub(super) use self::immutable::validate_update;
pub(super) use self::rules::check_rules;
pub(super) use self::storage::{CLAIM_PROTECTION, VOLUME_PROTECTION, default_class};
use super::error::ApiError;
use super::resource::Resource;
use super::state::Stored;
use super::store::Store;

/// Takes away a status that a creator may not set.
pub(super) fn drop_status(resource: &Resource, object: &mut Value) {
    // Whoever adds a node reports its state with it.
    let kept = resource.group.is_empty() && resource.id.plural() == "nodes";
    if resource.serves("status")
        && !kept
        && let Some(fields) = object.as_object_mut()
    {
        fields.remove("status");
    }
}

/// Fills in what the server decides on creation.
pub(super) fn prepare_create(
    store: &Store,
    resource: &Resource,
    object: &mut Value,
    now: Timestamp,
) -> Result<(), ApiError> {
    if resource.serves("status")
        && resource.custom.is_none()
        && let Some(fields) = object.as_object_mut()
    {
        fields.entry("status").or_insert_with(|| json!({}));
    }
    match (resource.group.as_str(), resource.id.plural()) {
        ("", "namespaces") => {
            object["spec"] = json!({"finalizers": ["kubernetes"]});
            object["status"] = json!({"phase": "Active"});
        }
        ("", "pods") => {
            object["status"] = json!({"phase": "Pending", "qosClass": quality_of_service(&object["spec"])});
            tolerate_trouble(object);
        }
        ("", "persistentvolumeclaims") => {
            object["status"] = json!({"phase": "Pending"});
            storage::choose_class(store, object);
            storage::protect(object, storage::CLAIM_PROTECTION);
        }
        ("", "persistentvolumes") => {
            object["status"] = json!({"phase": "Pending"});
            storage::protect(object, storage::VOLUME_PROTECTION);
        }
        ("", "services") => {
            object["status"] = json!({"loadBalancer": {}});
            address::allocate(store, resource, object)?;
        }
        ("batch", "jobs") => select_own_pods(object),
        ("apiextensions.k8s.io", "customresourcedefinitions") => definition::define(object, now),
        _ => {}
    }
    Ok(())
}

/// Carries over what the server decided before.
pub(super) fn prepare_update(
    store: &Store,
    resource: &Resource,
    live: &Stored,
    object: &mut Value,
) -> Result<(), ApiError> {
    match (resource.group.as_str(), resource.id.plural()) {
        ("", "services") => {
            address::keep(live, object);
            address::allocate(store, resource, object)?;
        }
        ("batch", "jobs") if object["spec"]["selector"].is_null() => {
            object["spec"]["selector"] = live["spec"]["selector"].clone();
            if object["spec"]["template"]["metadata"]["labels"].is_null() {
                object["spec"]["template"]["metadata"]["labels"] =
                    live["spec"]["template"]["metadata"]["labels"].clone();
            }
        }
        ("apiextensions.k8s.io", "customresourcedefinitions") => definition::define(object, Timestamp::now()),
        _ => {}
    }
    Ok(())
}

/// Leaves of a write only what its subresource may change.
pub(super) fn restrict(resource: &Resource, subresource: Option<&str>, live: &Stored, object: &mut Value) {
    let put = |object: &mut Value, field: &str, value: Option<Value>| {
        let Some(fields) = object.as_object_mut() else { return };
        match value {
            Some(value) => fields.insert(field.to_owned(), value),
            None => fields.remove(field),
        };
    };
    match subresource {
        Some("status") => {
            let status = object.get("status").cloned();
            let managers = object["metadata"].get("managedFields").cloned();
            *object = live.value().clone();
            put(object, "status", status);
            if let Some(metadata) = object.get_mut("metadata") {
                put(metadata, "managedFields", managers);
            }
        }
        // Who binds has changed nothing but the node and the condition that tells of it.
        Some("binding") => {}
        Some("ephemeralcontainers") => {
            let containers = object["spec"].get("ephemeralContainers").cloned();
            let managers = object["metadata"].get("managedFields").cloned();
            *object = live.value().clone();
            if let Some(spec) = object.get_mut("spec") {
                put(spec, "ephemeralContainers", containers);
            }
            if let Some(metadata) = object.get_mut("metadata") {
                put(metadata, "managedFields", managers);
            }
        }
        Some("finalize") => {
            let finalizers = object["spec"].get("finalizers").cloned();
            let meta = object["metadata"].get("finalizers").cloned();
            *object = live.value().clone();
            object["spec"]["finalizers"] = finalizers.unwrap_or_else(|| json!([]));
            if let Some(metadata) = object.get_mut("metadata") {
                put(metadata, "finalizers", meta);
            }
        }
        _ => {
            if resource.serves("status") {
                put(object, "status", live.get("status").cloned());
            }
            if resource.group.is_empty() && resource.id.plural() == "namespaces" {
                put(object, "spec", live.get("spec").cloned());
            }
        }
    }
}

/// Counts a change of anything but metadata and status.
pub(super) fn count_generation(resource: &Resource, live: &Stored, object: &mut Value) {
    if !resource.generation {
        return;
    }
    let status_counts = resource.custom.is_some() && !resource.serves("status");
    let counted = |value: &Value| {
        let fields = value.as_object().cloned().unwrap_or_default();
        let keep = |name: &str| name != "metadata" && (status_counts || name != "status");
        fields.into_iter().filter(|(name, value)| keep(name) && !value.is_null()).collect::<Vec<_>>()
    };
    if counted(live.value()) != counted(object) {
        let generation = live["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        object["metadata"]["generation"] = json!(generation);
    }
}

/// A pod stays for five minutes on a node that is not ready or not reachable, unless it says otherwise.
fn tolerate_trouble(pod: &mut Value) {
    let mut tolerations = pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
    for taint in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let covers = |one: &Value| {
            let (key, effect) = (one["key"].as_str().unwrap_or_default(), &one["effect"]);
            (key == taint || key.is_empty()) && (effect.is_null() || effect == "" || effect == "NoExecute")
        };
        if !tolerations.iter().any(covers) {
            tolerations.push(json!({
                "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300,
            }));
        }
    }
    pod["spec"]["tolerations"] = Value::Array(tolerations);
}

fn quality_of_service(spec: &Value) -> &'static str {
    let containers =
        || ["containers", "initContainers"].into_iter().filter_map(|list| spec[list].as_array()).flatten();
    let amount = |container: &Value, part: &str, name: &str| container["resources"][part].get(name).cloned();
    let guaranteed = |container: &Value| {
        ["cpu", "memory"].into_iter().all(|name| {
            let limit = amount(container, "limits", name);
            limit.is_some()
                && (amount(container, "requests", name).is_none_or(|request| Some(request) == limit))
        })
    };
    let any = |container: &Value| {
        ["limits", "requests"]
            .into_iter()
            .any(|part| ["cpu", "memory"].into_iter().any(|name| amount(container, part, name).is_some()))
    };
    if !containers().any(any) {
        "BestEffort"
    } else if containers().all(guaranteed) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

/// A Job selects its pods by its own UID, unless its author manages that.
fn select_own_pods(object: &mut Value) {
    if object["spec"]["manualSelector"] == true {
        return;
    }
    let uid = object["metadata"]["uid"].clone();
    let name = object["metadata"]["name"].clone();
    object["spec"]["selector"] = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
    // The Job's own labels are those of its pods where its author gave it none.
    let (own, of_pods) = (&object["metadata"]["labels"], &object["spec"]["template"]["metadata"]["labels"]);
    let shared = own.as_object().is_none_or(serde_json::Map::is_empty) || own == of_pods;
    let labels = &mut object["spec"]["template"]["metadata"]["labels"];
    for (key, value) in [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ] {
        labels[key] = value.clone();
    }
    if shared {
        object["metadata"]["labels"] = labels.clone();
    }
}
