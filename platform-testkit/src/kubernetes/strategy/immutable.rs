//! Fields that may not change.

use serde_json::{Value, json};

use crate::kubernetes::error::{ApiError, Cause};
use crate::kubernetes::resource::Resource;
use crate::kubernetes::state::Stored;

/// Refuses a change of what the kind does not let change.
pub(in crate::kubernetes) fn validate_update(
    resource: &Resource,
    live: &Stored,
    object: &Value,
) -> Result<(), ApiError> {
    let mut causes = Vec::new();
    let mut fixed = |path: &str, why: &str| {
        let at = |value: &Value| {
            value.pointer(&format!("/{}", path.replace('.', "/"))).cloned().unwrap_or_default()
        };
        if at(live.value()) != at(object) {
            causes.push(Cause::invalid(path, &at(object), why));
        }
    };
    const IMMUTABLE: &str = "field is immutable";
    match (resource.group.as_str(), resource.id.plural()) {
        ("apps", "deployments" | "replicasets" | "daemonsets") => fixed("spec.selector", IMMUTABLE),
        ("apps", "statefulsets") => causes.extend(stateful_set(live, object)),
        ("batch", "jobs") => {
            for path in ["spec.selector", "spec.template", "spec.completionMode", "spec.podFailurePolicy"] {
                fixed(path, IMMUTABLE);
            }
            if object["spec"]["completionMode"] != "Indexed" {
                fixed("spec.completions", IMMUTABLE);
            }
        }
        ("", "services") => causes.extend(service(live, object)),
        ("", "configmaps") => causes.extend(immutable_data(live, object, &["data", "binaryData"])),
        ("", "secrets") => {
            fixed("type", IMMUTABLE);
            causes.extend(immutable_data(live, object, &["data"]));
        }
        ("", "resourcequotas") => fixed("spec.scopes", IMMUTABLE),
        ("", "pods") => causes.extend(pod(live, object)),
        ("", "persistentvolumeclaims") => {
            causes.extend(claim(live, object));
        }
        ("storage.k8s.io", "storageclasses") => {
            for field in ["provisioner", "parameters"] {
                if live.get(field) != object.get(field) {
                    causes.push(Cause::forbidden(field, &format!("updates to {field} are forbidden.")));
                }
            }
        }
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => {
            fixed("roleRef", "cannot change roleRef");
        }
        ("scheduling.k8s.io", "priorityclasses") if live["value"] != object["value"] => {
            causes.push(Cause::forbidden("value", "may not be changed in an update."));
        }
        ("apiextensions.k8s.io", "customresourcedefinitions") => {
            for path in ["spec.group", "spec.names.plural", "spec.scope"] {
                fixed(path, IMMUTABLE);
            }
        }
        _ => {}
    }
    if causes.is_empty() {
        return Ok(());
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    Err(ApiError::invalid(resource, name, causes))
}

fn stateful_set(live: &Stored, object: &Value) -> Option<Cause> {
    const CHANGEABLE: [&str; 7] = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    let fixed = |value: &Value| {
        let spec = value["spec"].as_object().cloned().unwrap_or_default();
        spec.into_iter().filter(|(name, _)| !CHANGEABLE.contains(&name.as_str())).collect::<Vec<_>>()
    };
    let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', \
               'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    (fixed(live.value()) != fixed(object)).then(|| Cause::forbidden("spec", why))
}

fn claim(live: &Stored, object: &Value) -> Option<Cause> {
    const FIXED: [&str; 4] = ["accessModes", "storageClassName", "selector", "volumeMode"];
    let changed = FIXED.iter().any(|field| live["spec"][*field] != object["spec"][*field]);
    let why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
    changed.then(|| Cause::forbidden("spec", why))
}

fn service(live: &Stored, object: &Value) -> Option<Cause> {
    let (old, new) = (&live["spec"]["clusterIP"], &object["spec"]["clusterIP"]);
    let set = old.as_str().is_some_and(|ip| !ip.is_empty());
    let external = live["spec"]["type"] == "ExternalName" || object["spec"]["type"] == "ExternalName";
    let why = "may not change once set";
    (set && !external && old != new).then(|| Cause::invalid("spec.clusterIPs[0]", &json!([new]), why))
}

fn immutable_data(live: &Stored, object: &Value, fields: &[&str]) -> Vec<Cause> {
    if live["immutable"] != true {
        return Vec::new();
    }
    let why = "field is immutable when `immutable` is set";
    let changed = fields.iter().filter(|field| live.get(**field) != object.get(**field));
    let unset = (object["immutable"] != true).then_some("immutable");
    unset.into_iter().chain(changed.copied()).map(|field| Cause::forbidden(field, why)).collect()
}

fn pod(live: &Stored, object: &Value) -> Option<Cause> {
    let fixed = |value: &Value| {
        let mut spec = value["spec"].clone();
        for list in ["containers", "initContainers"] {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                container["image"] = Value::Null;
            }
        }
        // They have a subresource of their own, which is the one that can change them.
        for field in
            ["activeDeadlineSeconds", "ephemeralContainers", "tolerations", "terminationGracePeriodSeconds"]
        {
            spec[field] = Value::Null;
        }
        if live["spec"]["nodeName"].is_null() {
            // The scheduler binds a pod by setting its node once.
            spec["nodeName"] = Value::Null;
        }
        spec
    };
    let why = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,\
               `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
               `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
    (fixed(live.value()) != fixed(object)).then(|| Cause::forbidden("spec", why))
}
