//! Which requests a policy or a binding is for.

use serde_json::Value;

use super::super::Request;
use super::super::pod::items;
use crate::kubernetes::semantics::selector::LabelSelector;
use crate::kubernetes::state::Key;
use crate::kubernetes::store::{NAMESPACES, Store};

/// Whether `matchConstraints` or `matchResources` select a request. Without rules they select every resource.
pub(super) fn matches(store: &Store, constraints: &Value, request: &Request<'_>) -> bool {
    let equivalent = constraints["matchPolicy"] != "Exact";
    let named = |rule: &&Value| matches_rule(store, rule, request, equivalent);
    let rules = items(constraints, "resourceRules");
    (rules.is_empty() || rules.iter().any(|rule| named(&rule)))
        && !items(constraints, "excludeResourceRules").iter().any(|rule| named(&rule))
        && in_namespaces(store, &constraints["namespaceSelector"], request)
        && of_objects(&constraints["objectSelector"], request)
}

fn matches_rule(store: &Store, rule: &Value, request: &Request<'_>, equivalent: bool) -> bool {
    let texts = |field: &str| items(rule, field).iter().filter_map(Value::as_str);
    let has = |field: &str, value: &str| texts(field).any(|one| one == "*" || one == value);
    let resource = request.resource;
    let version = has("apiVersions", &resource.version)
        || equivalent && {
            let catalog = store.registry().catalog();
            let others = catalog.resources().iter().filter(|other| other.id == resource.id);
            others.into_iter().any(|other| has("apiVersions", &other.version))
        };
    let scope = match rule["scope"].as_str() {
        Some("Namespaced") => resource.namespaced,
        Some("Cluster") => !resource.namespaced,
        _ => true,
    };
    let names = items(rule, "resourceNames");
    let (plural, subresource) = (resource.id.plural(), request.subresource.unwrap_or_default());
    has("apiGroups", &resource.group)
        && version
        && scope
        && has("operations", request.operation.as_str())
        && texts("resources").any(|one| {
            let (of, sub) = one.split_once('/').unwrap_or((one, ""));
            (of == "*" || of == plural) && (sub == "*" || sub == subresource)
        })
        && (names.is_empty() || names.iter().any(|name| name == request.key.name.as_str()))
}

/// Whether the namespace of a request is selected; of a namespace itself, its own labels count.
fn in_namespaces(store: &Store, selector: &Value, request: &Request<'_>) -> bool {
    let Some(selector) = selected(selector) else { return true };
    if request.key.resource == NAMESPACES {
        let labels = request.subject().and_then(|object| object["metadata"]["labels"].as_object());
        return selector.matches(labels);
    }
    if request.key.namespace.is_empty() {
        return true;
    }
    let namespace = store.find(&Key::new(&NAMESPACES, "", request.key.namespace.clone()));
    namespace.is_some_and(|namespace| selector.matches(namespace["metadata"]["labels"].as_object()))
}

/// Whether the object is selected, as it will be or as it was.
fn of_objects(selector: &Value, request: &Request<'_>) -> bool {
    let Some(selector) = selected(selector) else { return true };
    let objects = [request.object, request.old].into_iter().flatten();
    objects.into_iter().any(|object| selector.matches(object["metadata"]["labels"].as_object()))
}

/// A selector that leaves something out.
fn selected(selector: &Value) -> Option<LabelSelector> {
    LabelSelector::from_json(selector).ok().filter(|selector| !selector.is_empty())
}
