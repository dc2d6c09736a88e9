//! Which fields differ between an object as it is and as it would be, with paths as the API server writes them.

use crate::{connection::resource::Resource, labels};
use platform_core::cluster::FieldChange;
use serde_json::{Map, Value};
use std::{collections::BTreeSet, fmt::Write};

/// What stands in place of a Secret's values.
const REDACTED: &str = "<redacted>";
/// kubectl's copy of the whole object, Secrets' values included.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The fields that differ, in order of their paths. What servers write by themselves is left out.
///
/// Paths are those of managed fields: `.spec.template.spec.containers[name="web"].image`. Lists that are replaced as a whole
/// are one field.
pub(crate) fn changes(resource: &Resource, before: &Value, after: &Value) -> Vec<FieldChange> {
    let shape = Shape::of(&[before, after]);
    let mut found = Vec::new();
    walk(&mut String::new(), Some(before), Some(after), &shape, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    if resource.group.is_empty() && resource.kind == "Secret" {
        found.iter_mut().for_each(redact);
    }
    found
}

fn redact(change: &mut FieldChange) {
    let secret = [".data", ".stringData"].iter().any(|at| change.path.starts_with(at))
        || change.path.ends_with(LAST_APPLIED);
    if !secret && change.path != ".metadata.annotations" {
        return;
    }
    for value in [&mut change.before, &mut change.after].into_iter().flatten() {
        redact_value(value);
    }
}

fn redact_value(value: &mut Value) {
    match value {
        Value::Object(map) => map.values_mut().for_each(redact_value),
        value => *value = REDACTED.into(),
    }
}

/// Fields of an object that are the server's own.
fn is_servers(path: &str, key: &str) -> bool {
    match path {
        "" => key == "status",
        ".metadata" => matches!(
            key,
            "managedFields" | "resourceVersion" | "generation" | "uid" | "creationTimestamp" | "selfLink"
        ),
        _ => false,
    }
}

fn walk(
    path: &mut String,
    before: Option<&Value>,
    after: Option<&Value>,
    shape: &Shape<'_>,
    found: &mut Vec<FieldChange>,
) {
    if before == after {
        return;
    }
    match (before, after) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let keys: BTreeSet<&String> =
                a.keys().chain(b.keys()).filter(|key| !is_servers(path, key)).collect();
            for key in keys {
                descend(path, &format!(".{key}"), |path| {
                    walk(path, a.get(key), b.get(key), &shape.field(key), found);
                });
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) if shape.is_merged_list() => {
            walk_items(path, a, b, shape, found);
        }
        _ => found.push(FieldChange { path: path.clone(), before: before.cloned(), after: after.cloned() }),
    }
}

fn walk_items(
    path: &mut String,
    before: &[Value],
    after: &[Value],
    shape: &Shape<'_>,
    found: &mut Vec<FieldChange>,
) {
    let names: Vec<Item> = before.iter().chain(after).map(|item| shape.item(item)).collect();
    let (before_names, after_names) = names.split_at(before.len());
    let of = |items: &[Item], values: &[Value], wanted: &Item| {
        items.iter().position(|item| item == wanted).and_then(|at| values.get(at).cloned())
    };
    for item in names.iter().collect::<BTreeSet<_>>() {
        let (a, b) = (of(before_names, before, item), of(after_names, after, item));
        descend(path, &item.text, |path| {
            walk(path, a.as_ref(), b.as_ref(), &shape.entry(&item.entry), found);
        });
    }
    // The same items in another order are a change too.
    let unchanged_members = before_names.iter().collect::<BTreeSet<_>>() == after_names.iter().collect();
    if unchanged_members && before_names != after_names {
        let order = |items: &[Item]| Some(items.iter().map(|item| Value::from(item.text.as_str())).collect());
        found.push(FieldChange {
            path: path.clone(),
            before: order(before_names),
            after: order(after_names),
        });
    }
}

fn descend(path: &mut String, step: &str, then: impl FnOnce(&mut String)) {
    let length = path.len();
    path.push_str(step);
    then(path);
    path.truncate(length);
}

/// An item of a merged list: how paths and managed fields write it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    text: String,
    entry: String,
}

/// What all managers' fields together say about the lists of an object.
struct Shape<'a>(Vec<&'a Map<String, Value>>);

impl<'a> Shape<'a> {
    fn of(objects: &[&'a Value]) -> Self {
        let managers =
            objects.iter().filter_map(|o| o.pointer("/metadata/managedFields")?.as_array()).flatten();
        Self(managers.filter_map(|entry| entry.get("fieldsV1")?.as_object()).collect())
    }

    fn field(&self, key: &str) -> Self {
        self.entry(&format!("f:{key}"))
    }

    fn entry(&self, entry: &str) -> Self {
        Self(self.0.iter().filter_map(|fields| fields.get(entry)?.as_object()).collect())
    }

    fn is_merged_list(&self) -> bool {
        self.0
            .iter()
            .flat_map(|fields| fields.keys())
            .any(|key| key.starts_with("k:") || key.starts_with("v:"))
    }

    fn item(&self, item: &Value) -> Item {
        let keys = self.0.iter().flat_map(|fields| fields.keys()).find_map(|key| key.strip_prefix("k:"));
        let keys: Option<Map<String, Value>> = keys.and_then(|keys| serde_json::from_str(keys).ok());
        let Some(keys) = keys else {
            return Item { text: format!("[={item}]"), entry: format!("v:{item}") };
        };
        let mut text = String::from("[");
        let mut values = Map::new();
        for name in keys.keys() {
            if let Some(value) = item.get(name) {
                let comma = if text.len() > 1 { "," } else { "" };
                // Writing to a string cannot fail.
                let _ = write!(text, "{comma}{name}={value}");
                values.insert(name.clone(), value.clone());
            }
        }
        text.push(']');
        Item { text, entry: format!("k:{}", Value::Object(values)) }
    }
}

/// Whether two versions of an object differ only in what the server writes by itself, and in which fields `manager` applied.
pub(crate) fn same_ownership(before: &Value, after: &Value, manager: &str) -> bool {
    let fields = |object| super::compare::applied_fields(object, manager).map(|(_, fields)| fields.clone());
    fields(before) == fields(after)
}

/// The labels of a live object that say whose it is, in words for people.
pub(crate) fn whose(live: &Value) -> String {
    if let Some(platform) = labels::label(live, labels::PLATFORM) {
        return format!("it belongs to the platform {platform:?}");
    }
    let release = live.pointer("/metadata/annotations/meta.helm.sh~1release-name").and_then(Value::as_str);
    if let Some(release) = release {
        return format!("it belongs to Helm's release {release:?}");
    }
    if let Some(tool) = labels::label(live, labels::MANAGED_BY) {
        return format!("it is managed by {tool:?}");
    }
    let managers: BTreeSet<&str> = live
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.get("manager")?.as_str())
        .collect();
    match managers.first() {
        Some(manager) => format!("it was written by {manager:?}"),
        None => "nobody's label is on it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployments() -> Resource {
        Resource::known("apps/v1", "Deployment", "deployments", true)
    }

    #[test]
    fn paths_are_those_of_managed_fields() {
        let fields = json!([{"fieldsV1": {"f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {
            "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {}},
        }}}, "f:metadata": {"f:finalizers": {"v:\"a\"": {}}}}}]);
        let object = |image: &str, port: u16, finalizers: Value, resource_version: &str| {
            json!({
                "metadata": {"managedFields": fields, "finalizers": finalizers, "resourceVersion": resource_version,
                    "labels": {"app.kubernetes.io/name": image}},
                "spec": {"containers": [
                    {"name": "web", "image": image, "args": [image], "ports": [{"containerPort": port, "protocol": "TCP"}]},
                ]},
                "status": {"x": resource_version},
            })
        };
        let found = changes(
            &deployments(),
            &object("a:1", 80, json!(["a", "b"]), "1"),
            &object("a:2", 81, json!(["a"]), "2"),
        );
        let paths: Vec<&str> = found.iter().map(|change| change.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                ".metadata.finalizers[=\"b\"]",
                ".metadata.labels.app.kubernetes.io/name",
                ".spec.containers[name=\"web\"].args",
                ".spec.containers[name=\"web\"].image",
                ".spec.containers[name=\"web\"].ports[containerPort=80,protocol=\"TCP\"]",
                ".spec.containers[name=\"web\"].ports[containerPort=81,protocol=\"TCP\"]",
            ]
        );
        assert_eq!(found[3].before, Some(json!("a:1")));
        assert_eq!(found[4].after, None);
    }

    #[test]
    fn values_of_secrets_never_show() {
        let secret = |value: &str| {
            json!({
                "data": {"password": value},
                "metadata": {"annotations": {LAST_APPLIED: value}, "labels": {"a": value}},
            })
        };
        let resource = Resource::known("v1", "Secret", "secrets", true);
        let shown = format!("{:?}", changes(&resource, &secret("cGx1bQ=="), &secret("cGVhcg==")));
        let labels_only = shown.matches("cGx1bQ==").count();
        assert_eq!(labels_only, 1, "{shown}");
        let created = format!("{:?}", changes(&resource, &json!({"metadata": {}}), &secret("cGVhcg==")));
        assert!(!created.contains("{\"password\": String(\"cGVhcg==\")"), "{created}");
        assert!(created.contains(REDACTED));
    }

    #[test]
    fn another_order_of_merged_items_is_a_change() {
        let object = |names: [&str; 2]| {
            let items: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
            json!({
                "metadata": {"managedFields": [{"fieldsV1": {"f:items": {"k:{\"name\":\"a\"}": {}}}}]},
                "items": items,
            })
        };
        let found = changes(&deployments(), &object(["a", "b"]), &object(["b", "a"]));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, ".items");
    }
}
