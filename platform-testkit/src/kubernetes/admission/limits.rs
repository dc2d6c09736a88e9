//! LimitRange: what containers get that ask for nothing, and how much containers, pods and claims may ask for.

use serde_json::{Value, json};

use super::pod::{self, items, name};
use super::{Operation, Request, listed};
use crate::kubernetes::error::ApiError;
use crate::kubernetes::resource::GroupResource;
use crate::kubernetes::semantics::validate::quantity::Amount;
use crate::kubernetes::store::{CLAIMS, PODS, Store};

const LIMIT_RANGES: GroupResource = GroupResource::new("", "limitranges");
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Gives the containers of a new pod the requests and limits that they lack.
pub(super) fn set_defaults(store: &Store, namespace: &str, pod: &mut Value) {
    let mut changes = Vec::new();
    for range in store.list(&LIMIT_RANGES, Some(namespace)).items {
        for limit in items(&range["spec"], "limits").iter().filter(|limit| limit["type"] == "Container") {
            for (list, kind) in [("containers", "container"), ("initContainers", "init container")] {
                let containers = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
                for container in containers.into_iter().flatten() {
                    for (part, from) in [("requests", "defaultRequest"), ("limits", "default")] {
                        let set = fill(container, part, &limit[from]);
                        if !set.is_empty() {
                            let part = part.trim_end_matches('s');
                            changes.push(format!("{} {part} for {kind} {}", set.join(", "), name(container)));
                        }
                    }
                }
            }
        }
    }
    if !changes.is_empty() {
        pod["metadata"]["annotations"][ANNOTATION] =
            json!(format!("LimitRanger plugin set: {}", changes.join("; ")));
    }
}

/// Puts into a container what it lacks of `defaults`; returns the names of what it lacked.
fn fill(container: &mut Value, part: &str, defaults: &Value) -> Vec<String> {
    let mut set = Vec::new();
    for (resource, amount) in defaults.as_object().into_iter().flatten() {
        if container["resources"][part].get(resource).is_none() {
            container["resources"][part][resource] = amount.clone();
            set.push(resource.clone());
        }
    }
    set
}

/// Refuses new pods, and new or grown claims, that ask for too little, too much or in too wide a range.
pub(super) fn check(store: &Store, request: &Request<'_>) -> Result<(), ApiError> {
    let is_pod = request.key.resource == PODS;
    let looked_at = match request.operation {
        Operation::Create => is_pod || request.key.resource == CLAIMS,
        Operation::Update => request.key.resource == CLAIMS,
        Operation::Delete => false,
    };
    let Some(object) = request.object.filter(|_| looked_at && request.subresource.is_none()) else {
        return Ok(());
    };
    for range in store.list(&LIMIT_RANGES, Some(&request.key.namespace)).items {
        let mut broken = Vec::new();
        for limit in items(&range["spec"], "limits") {
            match limit["type"].as_str() {
                Some("Container") if is_pod => {
                    for container in items(&object["spec"], "containers")
                        .iter()
                        .chain(items(&object["spec"], "initContainers"))
                    {
                        let of = |part: &str, resource: &str| pod::amount(container, part, resource);
                        bounds(limit, "Container", &of, &mut broken);
                    }
                }
                Some("Pod") if is_pod => {
                    let of = |part: &str, resource: &str| pod::total(&object["spec"], part, resource);
                    bounds(limit, "Pod", &of, &mut broken);
                }
                Some("PersistentVolumeClaim") if !is_pod => claim(limit, &object["spec"], &mut broken),
                _ => {}
            }
        }
        if !broken.is_empty() {
            return Err(request.forbidden(&listed(&broken)));
        }
    }
    Ok(())
}

/// The bounds of a Container or a Pod. `of` tells what it requests and is limited to.
fn bounds(limit: &Value, kind: &str, of: &dyn Fn(&str, &str) -> Option<Amount>, broken: &mut Vec<String>) {
    for (resource, least) in amounts(&limit["min"]) {
        let about = format!("minimum {resource} usage per {kind} is {least}");
        match (of("requests", resource), of("limits", resource)) {
            (None, _) => broken.push(format!("{about}.  No request is specified")),
            (Some(request), _) if request < least => {
                broken.push(format!("{about}, but request is {request}"));
            }
            (_, Some(limit)) if limit < least => broken.push(format!("{about}, but limit is {limit}")),
            _ => {}
        }
    }
    for (resource, most) in amounts(&limit["max"]) {
        let about = format!("maximum {resource} usage per {kind} is {most}");
        match (of("requests", resource), of("limits", resource)) {
            (_, None) => broken.push(format!("{about}.  No limit is specified")),
            (_, Some(limit)) if limit > most => broken.push(format!("{about}, but limit is {limit}")),
            (Some(request), _) if request > most => broken.push(format!("{about}, but request is {request}")),
            _ => {}
        }
    }
    for (resource, widest) in amounts(&limit["maxLimitRequestRatio"]) {
        let about = format!("{resource} max limit to request ratio per {kind} is {widest}");
        let given = |part: &str| of(part, resource).filter(|amount| !amount.is_zero());
        match (given("requests"), given("limits")) {
            (None, _) => broken.push(format!("{about}, but no request is specified or request is 0")),
            (_, None) => broken.push(format!("{about}, but no limit is specified or limit is 0")),
            (Some(request), Some(limit)) => {
                let ratio = limit.ratio(request);
                if ratio > widest.ratio(Amount::count(1)) {
                    broken.push(format!("{about}, but provided ratio is {ratio:.6}"));
                }
            }
        }
    }
}

/// The bounds of a claim, which has requests alone.
fn claim(limit: &Value, spec: &Value, broken: &mut Vec<String>) {
    let requested = |resource: &str| pod::amount(spec, "requests", resource);
    for (field, word) in [("min", "minimum"), ("max", "maximum")] {
        for (resource, bound) in amounts(&limit[field]) {
            let about = format!("{word} {resource} usage per PersistentVolumeClaim is {bound}");
            match requested(resource) {
                None => broken.push(format!("{about}.  No request is specified")),
                Some(request)
                    if (field == "min" && request < bound) || (field == "max" && request > bound) =>
                {
                    broken.push(format!("{about}, but request is {request}"));
                }
                Some(_) => {}
            }
        }
    }
}

fn amounts(map: &Value) -> impl Iterator<Item = (&str, Amount)> {
    let entries = map.as_object().into_iter().flatten();
    entries.filter_map(|(name, amount)| Some((name.as_str(), Amount::parse(amount.as_str()?)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(limit: &Value, container: &Value) -> Vec<String> {
        let mut broken = Vec::new();
        let of = |part: &str, resource: &str| pod::amount(container, part, resource);
        bounds(limit, "Container", &of, &mut broken);
        broken
    }

    #[test]
    fn bounds_are_told_with_what_was_asked_for() {
        let limit = json!({"min": {"cpu": "50m"}, "max": {"cpu": "1", "memory": "1Gi"}, "maxLimitRequestRatio": {"cpu": "6"}});
        let container = json!({"resources": {"requests": {"cpu": "10m"}, "limits": {"cpu": "2"}}});
        assert_eq!(
            broken(&limit, &container),
            [
                "minimum cpu usage per Container is 50m, but request is 10m",
                "maximum cpu usage per Container is 1, but limit is 2",
                "maximum memory usage per Container is 1Gi.  No limit is specified",
                "cpu max limit to request ratio per Container is 6, but provided ratio is 200.000000",
            ]
        );
    }

    #[test]
    fn what_is_within_its_bounds_breaks_none() {
        let limit = json!({"min": {"cpu": "50m"}, "max": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "6"}});
        let container = json!({"resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "600m"}}});
        assert!(broken(&limit, &container).is_empty());
    }
}
