//! Which objects a quota is for.

use serde_json::Value;

use crate::kubernetes::admission::pod::{containers, items};
use crate::kubernetes::resource::GroupResource;
use crate::kubernetes::store::PODS;

/// Whether a quota counts an object. One with scopes counts only pods, and of those the ones in all of its scopes.
pub(super) fn covers(quota: &Value, resource: &GroupResource, object: &Value) -> bool {
    let plain = items(&quota["spec"], "scopes").iter().filter_map(Value::as_str);
    let plain = plain.map(|scope| (scope, "Exists", &[][..]));
    let chosen = items(&quota["spec"]["scopeSelector"], "matchExpressions").iter().map(|expression| {
        let text = |field: &str| expression[field].as_str().unwrap_or_default();
        (text("scopeName"), text("operator"), items(expression, "values"))
    });
    let mut scopes = plain.chain(chosen).peekable();
    if scopes.peek().is_none() {
        return true;
    }
    *resource == PODS
        && scopes.all(|(scope, operator, values)| in_scope(&object["spec"], scope, operator, values))
}

fn in_scope(spec: &Value, scope: &str, operator: &str, values: &[Value]) -> bool {
    let ends = spec["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| seconds >= 0);
    match scope {
        "Terminating" => ends,
        "NotTerminating" => !ends,
        "BestEffort" => asks_for_nothing(spec),
        "NotBestEffort" => !asks_for_nothing(spec),
        "PriorityClass" => {
            let class = spec["priorityClassName"].as_str().unwrap_or_default();
            let listed = values.iter().any(|value| value == class);
            match operator {
                "In" => listed,
                "NotIn" => !listed,
                "DoesNotExist" => class.is_empty(),
                _ => !class.is_empty(),
            }
        }
        "CrossNamespacePodAffinity" => crosses_namespaces(spec),
        _ => false,
    }
}

fn asks_for_nothing(spec: &Value) -> bool {
    let asks = |container: &Value| {
        ["requests", "limits"].into_iter().any(|part| {
            let map = &container["resources"][part];
            ["cpu", "memory"].into_iter().any(|name| map.get(name).is_some_and(|amount| amount != "0"))
        })
    };
    !containers(spec).any(asks)
}

/// Whether a pod wants to be near pods of other namespaces, or far from them.
fn crosses_namespaces(spec: &Value) -> bool {
    let crosses =
        |term: &Value| !items(term, "namespaces").is_empty() || term["namespaceSelector"].is_object();
    ["podAffinity", "podAntiAffinity"].into_iter().any(|kind| {
        let affinity = &spec["affinity"][kind];
        let required = items(affinity, "requiredDuringSchedulingIgnoredDuringExecution").iter();
        let preferred = items(affinity, "preferredDuringSchedulingIgnoredDuringExecution").iter();
        let mut terms = required.chain(preferred.map(|one| &one["podAffinityTerm"]));
        terms.any(crosses)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn covered(scope: &str, spec: &Value) -> bool {
        covers(&json!({"spec": {"scopes": [scope]}}), &PODS, &json!({"spec": spec}))
    }

    #[test]
    fn scopes_tell_pods_apart() {
        let plain = json!({"containers": [{"name": "a"}]});
        let asking = json!({"containers": [{"name": "a", "resources": {"limits": {"memory": "1Mi"}}}]});
        assert!(covered("BestEffort", &plain) && !covered("NotBestEffort", &plain));
        assert!(covered("NotBestEffort", &asking) && !covered("BestEffort", &asking));
        assert!(
            covered("NotTerminating", &plain) && covered("Terminating", &json!({"activeDeadlineSeconds": 5}))
        );
        let maps = GroupResource::new("", "configmaps");
        assert!(!covers(&json!({"spec": {"scopes": ["BestEffort"]}}), &maps, &json!({})));
        assert!(covers(&json!({"spec": {}}), &maps, &json!({})));
        let selector = json!({"spec": {"scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}}});
        assert!(covers(&selector, &PODS, &json!({"spec": {"priorityClassName": "high"}})));
        assert!(!covers(&selector, &PODS, &json!({"spec": {}})));
    }
}
