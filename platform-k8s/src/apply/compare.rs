//! Whether applying an object again would change nothing, decided without asking the server.
//!
//! The managed fields of a live object say which fields this field manager applied last, which lists are merged by which
//! keys, and which values are taken as a whole ([server-side apply]). If they are exactly the fields of the manifest,
//! and the live values at these fields are the manifest's, then a server-side apply of the manifest is a no-op.
//! In every doubtful case (defaulted keys, quantities in another notation, another API version) the answer is no
//! and the server is asked by dry run.
//!
//! [server-side apply]: https://kubernetes.io/docs/reference/using-api/server-side-apply/

use serde_json::{Map, Value};

/// Whether applying `wanted` as `manager` is certain to leave `live` as it is.
pub(crate) fn is_applied(wanted: &Value, live: &Value, manager: &str) -> bool {
    let Some(fields) = applied_fields(live, manager) else { return false };
    if wanted.get("apiVersion") != fields.0 || wanted.get("kind") != live.get("kind") {
        return false;
    }
    let (Value::Object(wanted), Value::Object(live)) = (wanted, live) else { return false };
    same_object(wanted, live, fields.1, Level::Root)
}

/// The API version and fields that `manager` applied last; `None` unless there is exactly one entry.
pub(crate) fn applied_fields<'a>(
    live: &'a Value,
    manager: &str,
) -> Option<(Option<&'a Value>, &'a Map<String, Value>)> {
    let mut entries = live.pointer("/metadata/managedFields")?.as_array()?.iter().filter(|entry| {
        entry.get("manager").and_then(Value::as_str) == Some(manager)
            && entry.get("operation").and_then(Value::as_str) == Some("Apply")
            && entry.get("subresource").and_then(Value::as_str).is_none_or(str::is_empty)
    });
    let entry = entries.next()?;
    if entries.next().is_some() {
        return None;
    }
    Some((entry.get("apiVersion"), entry.get("fieldsV1")?.as_object()?))
}

/// Where in an object: its identity is never among managed fields.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Metadata,
    Below,
}

impl Level {
    fn is_identity(self, key: &str) -> bool {
        match self {
            Self::Root => matches!(key, "apiVersion" | "kind"),
            Self::Metadata => matches!(key, "name" | "namespace"),
            Self::Below => false,
        }
    }

    fn child(self, key: &str) -> Self {
        if self == Self::Root && key == "metadata" { Self::Metadata } else { Self::Below }
    }
}

fn same_object(
    wanted: &Map<String, Value>,
    live: &Map<String, Value>,
    fields: &Map<String, Value>,
    level: Level,
) -> bool {
    let mut counted = 0;
    for (key, wanted) in wanted {
        if level.is_identity(key) {
            if live.get(key) != Some(wanted) {
                return false;
            }
            continue;
        }
        // Metadata that has nothing but the identity in it is not among the fields.
        let identity_only = level == Level::Root
            && key == "metadata"
            && wanted.as_object().is_some_and(|m| m.keys().all(|key| Level::Metadata.is_identity(key)));
        if identity_only {
            continue;
        }
        let field = fields.get(&format!("f:{key}")).and_then(Value::as_object);
        let (Some(field), Some(live)) = (field, live.get(key)) else { return false };
        if !same(wanted, live, field, level.child(key)) {
            return false;
        }
        counted += 1;
    }
    counted == fields.keys().filter(|key| *key != ".").count()
}

fn same(wanted: &Value, live: &Value, fields: &Map<String, Value>, level: Level) -> bool {
    if fields.keys().all(|key| key == ".") {
        return wanted == live;
    }
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => same_object(wanted, live, fields, level),
        (Value::Array(wanted), Value::Array(live)) => same_list(wanted, live, fields),
        _ => false,
    }
}

fn same_list(wanted: &[Value], live: &[Value], fields: &Map<String, Value>) -> bool {
    let entries: Vec<(Value, &Value)> = fields
        .iter()
        .filter(|(entry, _)| *entry != ".")
        .filter_map(|(entry, field)| {
            let key = entry.strip_prefix("k:").or_else(|| entry.strip_prefix("v:"))?;
            Some((serde_json::from_str(key).ok()?, field))
        })
        .collect();
    let owned = fields.keys().filter(|key| *key != ".").count();
    if entries.len() != owned || owned != wanted.len() {
        return false;
    }
    // The order of what is ours is part of what was applied: init containers run in it.
    let mut position = 0;
    for wanted in wanted {
        let Some((key, field)) = entries.iter().find(|(key, _)| is_item(wanted, key)) else { return false };
        let Some(found) = live.iter().skip(position).position(|live| is_item(live, key)) else {
            return false;
        };
        position += found;
        let (Some(live), Some(field)) = (live.get(position), field.as_object()) else { return false };
        if !same(wanted, live, field, Level::Below) {
            return false;
        }
        position += 1;
    }
    true
}

/// Whether a list's item is the one of `key`: it has these values at these keys, or is this value.
fn is_item(item: &Value, key: &Value) -> bool {
    match key {
        Value::Object(key) => key.iter().all(|(name, value)| item.get(name) == Some(value)),
        value => item == value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn wanted() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "a", "labels": {"x": "1"}},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"x": "1"}},
                "template": {"spec": {"containers": [
                    {"name": "one", "image": "a:1", "args": ["-v"], "ports": [{"containerPort": 80, "protocol": "TCP"}]},
                    {"name": "two", "image": "b:1"},
                ]}},
            },
        })
    }

    fn live() -> Value {
        let mut live = wanted();
        live["metadata"]["uid"] = json!("u");
        live["metadata"]["labels"]["other"] = json!("2");
        live["spec"]["revisionHistoryLimit"] = json!(10);
        live["spec"]["template"]["spec"]["containers"][1]["imagePullPolicy"] = json!("IfNotPresent");
        live["metadata"]["managedFields"] = json!([{
            "manager": "platform", "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:labels": {"f:x": {}}},
                "f:spec": {
                    "f:replicas": {}, "f:selector": {},
                    "f:template": {"f:spec": {"f:containers": {
                        "k:{\"name\":\"one\"}": {".": {}, "f:name": {}, "f:image": {}, "f:args": {}, "f:ports": {
                            "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}, "f:protocol": {}},
                        }},
                        "k:{\"name\":\"two\"}": {".": {}, "f:name": {}, "f:image": {}},
                    }}},
                },
            },
        }]);
        live
    }

    #[test]
    fn what_was_applied_is_recognised_beside_defaults_and_others_fields() {
        assert!(is_applied(&wanted(), &live(), "platform"));
        assert!(!is_applied(&wanted(), &live(), "somebody"));
    }

    #[test]
    fn drift_of_one_of_our_fields_is_seen() {
        for (path, value) in [
            ("/spec/replicas", json!(3)),
            ("/spec/template/spec/containers/0/image", json!("a:2")),
            ("/spec/template/spec/containers/0/args", json!([])),
            ("/metadata/labels/x", json!("2")),
            ("/spec/selector", json!({"matchLabels": {"x": "1", "y": "2"}})),
        ] {
            let mut live = live();
            *live.pointer_mut(path).unwrap() = value;
            assert!(!is_applied(&wanted(), &live, "platform"), "{path}");
        }
    }

    #[test]
    fn a_changed_manifest_is_seen_whether_it_says_more_less_or_otherwise() {
        let mut more = wanted();
        more["spec"]["paused"] = json!(true);
        let mut less = wanted();
        less["spec"].as_object_mut().unwrap().remove("replicas");
        let mut fewer_items = wanted();
        fewer_items["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().pop();
        let mut other_order = wanted();
        other_order["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().reverse();
        let mut other_version = wanted();
        other_version["apiVersion"] = json!("apps/v1beta1");
        for changed in [more, less, fewer_items, other_order, other_version] {
            assert!(!is_applied(&changed, &live(), "platform"), "{changed}");
        }
    }

    #[test]
    fn a_field_that_somebody_took_from_us_is_seen() {
        let mut live = live();
        let fields = live.pointer_mut("/metadata/managedFields/0/fieldsV1/f:spec").unwrap();
        fields.as_object_mut().unwrap().remove("f:replicas");
        assert!(!is_applied(&wanted(), &live, "platform"));
    }

    /// A tree of maps, whole lists and lists that are merged by their items' names.
    fn trees() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            (0_u32..5).prop_map(Value::from),
            "[a-c]{1,3}".prop_map(Value::from),
            proptest::collection::vec("[a-c]{1,2}", 1..3).prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 4, |inner| {
            let map = proptest::collection::btree_map("[a-d]", inner.clone(), 1..4);
            let items = proptest::collection::btree_map("[w-z]", inner, 1..3);
            prop_oneof![
                map.prop_map(|map| Value::Object(map.into_iter().collect())),
                items.prop_map(|items| items
                    .into_iter()
                    .map(|(name, value)| json!({"name": name, "of": value}))
                    .collect()),
            ]
        })
    }

    /// The managed fields of a tree, as a server records them.
    fn fields_of(tree: &Value) -> Value {
        match tree {
            Value::Object(map) => {
                map.iter().map(|(key, value)| (format!("f:{key}"), fields_of(value))).collect()
            }
            Value::Array(items) if items.iter().all(Value::is_object) => items
                .iter()
                .map(|item| {
                    let mut fields = fields_of(item);
                    fields["."] = json!({});
                    (format!("k:{}", json!({"name": item["name"]})), fields)
                })
                .collect(),
            _ => json!({}),
        }
    }

    /// Every way to change one leaf, to drop one field, and to add one.
    fn mutations(tree: &Value) -> Vec<Value> {
        match tree {
            Value::Object(map) => {
                let mut all = Vec::new();
                for (key, value) in map {
                    if key != "name" {
                        for mutated in mutations(value) {
                            let mut copy = map.clone();
                            copy.insert(key.clone(), mutated);
                            all.push(Value::Object(copy));
                        }
                        let mut less = map.clone();
                        less.remove(key);
                        all.push(Value::Object(less));
                    }
                }
                let mut more = map.clone();
                more.insert("more".to_owned(), json!(1));
                all.push(Value::Object(more));
                all
            }
            Value::Array(items) if items.iter().all(Value::is_object) => {
                let mut all = vec![Value::from(&items[1..])];
                for (at, item) in items.iter().enumerate() {
                    for mutated in mutations(item) {
                        let mut copy = items.clone();
                        copy[at] = mutated;
                        all.push(copy.into());
                    }
                }
                all
            }
            _ => vec![json!("another")],
        }
    }

    proptest! {
        #[test]
        fn only_what_was_applied_is_recognised(spec in trees()) {
            let with = |spec: &Value| json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}, "spec": spec});
            let mut live = with(&spec);
            live["metadata"]["managedFields"] = json!([{
                "manager": "platform", "operation": "Apply", "apiVersion": "v1", "fieldsV1": {"f:spec": fields_of(&spec)},
            }]);
            prop_assert!(is_applied(&with(&spec), &live, "platform"));
            for other in mutations(&spec) {
                prop_assert!(!is_applied(&with(&other), &live, "platform"), "the manifest says {}", other);
                // What somebody added beside our fields is theirs; anything else is drift.
                let mut drifted = with(&other);
                drifted["metadata"]["managedFields"] = live["metadata"]["managedFields"].clone();
                if !other.to_string().contains("\"more\"") {
                    prop_assert!(!is_applied(&with(&spec), &drifted, "platform"), "the live object says {}", other);
                }
            }
        }
    }
}
