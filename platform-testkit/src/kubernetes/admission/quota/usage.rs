//! What objects use of a quota.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::kubernetes::admission::pod::{containers, items, name, total};
use crate::kubernetes::resource::GroupResource;
use crate::kubernetes::semantics::validate::quantity::Amount;
use crate::kubernetes::store::{CLAIMS, PODS};

/// Amounts by the names that a quota gives them.
pub(super) type Usage = BTreeMap<String, Amount>;

const SERVICES: GroupResource = GroupResource::new("", "services");
const STORAGE_CLASS: &str = ".storageclass.storage.k8s.io/";
/// Core resources that a quota counts by their bare names too.
const COUNTED: [&str; 7] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
];
/// What every container of a pod has to say for itself, where a quota limits it.
const COMPUTE: [&str; 6] =
    ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

/// The collection whose objects use what is limited under this name.
pub(super) fn collection(name: &str) -> GroupResource {
    if let Some(counted) = name.strip_prefix("count/") {
        let (plural, group) = counted.split_once('.').unwrap_or((counted, ""));
        return GroupResource::owned(group, plural);
    }
    if name == "requests.storage" || name.contains(STORAGE_CLASS) {
        return CLAIMS;
    }
    if name.starts_with("services.") {
        return SERVICES;
    }
    let core = COUNTED.iter().find(|counted| **counted == name);
    core.map_or(PODS, |counted| GroupResource::new("", counted))
}

/// What one object uses.
pub(super) fn of(resource: &GroupResource, object: &Value) -> Usage {
    let (group, plural) = (resource.group(), resource.plural());
    let one = Amount::count(1);
    let mut usage = Usage::new();
    let counted = if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") };
    usage.insert(format!("count/{counted}"), one);
    let has_ended = || matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if *resource == PODS && has_ended() {
        return usage;
    }
    if group.is_empty() && COUNTED.contains(&plural) {
        usage.insert(plural.to_owned(), one);
    }
    match (group, plural) {
        ("", "pods") => usage.extend(of_pod(&object["spec"])),
        ("", "services") => usage.extend(of_service(&object["spec"])),
        ("", "persistentvolumeclaims") => usage.extend(of_claim(&object["spec"])),
        _ => {}
    }
    usage
}

fn of_pod(spec: &Value) -> Usage {
    let named = |part: &str| -> BTreeSet<String> {
        let maps = containers(spec).filter_map(|container| container["resources"][part].as_object());
        maps.flat_map(|map| map.keys().cloned()).collect()
    };
    let mut usage = Usage::new();
    for part in ["requests", "limits"] {
        for resource in named(part) {
            let Some(amount) = total(spec, part, &resource) else { continue };
            usage.insert(format!("{part}.{resource}"), amount);
            let bare = matches!(resource.as_str(), "cpu" | "memory" | "ephemeral-storage")
                || resource.starts_with("hugepages-");
            if part == "requests" && bare {
                usage.insert(resource, amount);
            }
        }
    }
    usage
}

fn of_service(spec: &Value) -> Usage {
    let mut usage = Usage::new();
    let ports = u32::try_from(items(spec, "ports").len()).unwrap_or(u32::MAX);
    match spec["type"].as_str() {
        Some("NodePort") => {
            usage.insert("services.nodeports".to_owned(), Amount::count(ports));
        }
        Some("LoadBalancer") => {
            usage.insert("services.loadbalancers".to_owned(), Amount::count(1));
            if spec["allocateLoadBalancerNodePorts"] != false {
                usage.insert("services.nodeports".to_owned(), Amount::count(ports));
            }
        }
        _ => {}
    }
    usage
}

fn of_claim(spec: &Value) -> Usage {
    let size = spec["resources"]["requests"]["storage"].as_str().and_then(Amount::parse);
    let class = spec["storageClassName"].as_str().filter(|class| !class.is_empty());
    let mut usage = Usage::new();
    if let Some(size) = size {
        usage.insert("requests.storage".to_owned(), size);
    }
    if let Some(class) = class {
        usage.insert(format!("{class}{STORAGE_CLASS}persistentvolumeclaims"), Amount::count(1));
        if let Some(size) = size {
            usage.insert(format!("{class}{STORAGE_CLASS}requests.storage"), size);
        }
    }
    usage
}

/// Which containers of a pod do not say what a quota limits: `requests.cpu for: web,side; ...`.
pub(super) fn unspecified(spec: &Value, limited: &BTreeSet<&str>) -> Option<String> {
    let says = |container: &Value, name: &str| {
        let (part, resource) = name.split_once('.').unwrap_or(("requests", name));
        container["resources"][part].get(resource).is_some()
    };
    let missing = limited.iter().filter(|name| COMPUTE.contains(*name)).filter_map(|limited| {
        let silent: BTreeSet<&str> =
            containers(spec).filter(|container| !says(container, limited)).map(name).collect();
        let silent: Vec<&str> = silent.into_iter().collect();
        (!silent.is_empty()).then(|| format!("{limited} for: {}", silent.join(",")))
    });
    let missing: Vec<String> = missing.collect();
    (!missing.is_empty()).then(|| missing.join("; "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_uses_what_its_containers_ask_for() {
        let container = json!({"name": "a", "resources": {"requests": {"cpu": "1", "memory": "100Mi"}, "limits": {"memory": "200Mi"}}});
        let first = json!({"name": "i", "resources": {"requests": {"cpu": "1500m"}}});
        let pod =
            json!({"spec": {"containers": [container, container], "initContainers": [first]}, "status": {}});
        let usage = of(&PODS, &pod);
        let told: Vec<String> = usage.iter().map(|(name, amount)| format!("{name}={amount}")).collect();
        assert_eq!(
            told,
            [
                "count/pods=1",
                "cpu=2",
                "limits.memory=400Mi",
                "memory=200Mi",
                "pods=1",
                "requests.cpu=2",
                "requests.memory=200Mi"
            ]
        );
        let ended = json!({"spec": pod["spec"], "status": {"phase": "Succeeded"}});
        assert_eq!(of(&PODS, &ended).keys().collect::<Vec<_>>(), ["count/pods"]);
    }

    #[test]
    fn names_belong_to_collections() {
        assert_eq!(collection("count/deployments.apps"), GroupResource::new("apps", "deployments"));
        assert_eq!(collection("services.loadbalancers"), SERVICES);
        assert_eq!(collection("fast.storageclass.storage.k8s.io/requests.storage"), CLAIMS);
        assert_eq!(collection("limits.memory"), PODS);
        assert_eq!(collection("secrets"), GroupResource::new("", "secrets"));
    }

    #[test]
    fn containers_that_do_not_say_are_named() {
        let spec = json!({"containers": [
            {"name": "web", "resources": {"requests": {"cpu": "1"}}},
            {"name": "side"},
        ]});
        let limited = BTreeSet::from(["limits.memory", "pods", "requests.cpu"]);
        let told = "limits.memory for: side,web; requests.cpu for: side";
        assert_eq!(unspecified(&spec, &limited).as_deref(), Some(told));
    }
}
