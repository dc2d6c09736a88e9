//! Reading pods, and the templates of what makes pods.

use serde_json::Value;

use crate::kubernetes::semantics::validate::quantity::Amount;

/// The specification of the pods that an object of this kind makes; `None` for kinds that make none.
pub(super) fn template_spec<'a>(group: &str, plural: &str, object: &'a Value) -> Option<&'a Value> {
    let path = match (group, plural) {
        ("", "podtemplates") => "/template/spec",
        ("", "replicationcontrollers")
        | ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets")
        | ("batch", "jobs") => "/spec/template/spec",
        ("batch", "cronjobs") => "/spec/jobTemplate/spec/template/spec",
        _ => return None,
    };
    object.pointer(path)
}

/// Containers that share the pod's resources, those that run first included.
pub(super) fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    items(spec, "initContainers").iter().chain(items(spec, "containers"))
}

/// Every container, those that were added for debugging included.
pub(super) fn all_containers(spec: &Value) -> impl Iterator<Item = &Value> {
    containers(spec).chain(items(spec, "ephemeralContainers"))
}

pub(super) fn items<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn name(value: &Value) -> &str {
    value["name"].as_str().unwrap_or_default()
}

/// What a container requests (`requests`) or is limited to (`limits`) of a resource.
pub(super) fn amount(container: &Value, part: &str, resource: &str) -> Option<Amount> {
    container["resources"][part].get(resource)?.as_str().and_then(Amount::parse)
}

/// What a whole pod requests or is limited to; `None` when no container says anything.
///
/// Containers that run one after the other before the others count with the largest of them; those that stay, with
/// the others.
pub(super) fn total(spec: &Value, part: &str, resource: &str) -> Option<Amount> {
    let plus = |sum: Option<Amount>, more: Option<Amount>| match (sum, more) {
        (Some(sum), Some(more)) => Some(sum + more),
        (sum, more) => sum.or(more),
    };
    let running = items(spec, "containers").iter().map(|container| amount(container, part, resource));
    let mut running = running.fold(None, plus);
    let (mut beside, mut first) = (None, None);
    for container in items(spec, "initContainers") {
        let own = amount(container, part, resource);
        if container["restartPolicy"] == "Always" {
            beside = plus(beside, own);
            first = first.max(beside);
        } else {
            first = first.max(plus(beside, own));
        }
    }
    running = plus(running, beside).max(first);
    let overhead = spec["overhead"].get(resource).and_then(Value::as_str).and_then(Amount::parse);
    if running.is_some() || part == "requests" { plus(running, overhead) } else { running }
}
