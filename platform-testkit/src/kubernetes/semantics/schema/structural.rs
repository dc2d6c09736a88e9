//! Schemas of custom resources.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Key, ListMerge, Node, Schema, builtin};

/// Deeper schemas are treated as untyped; the API server refuses them as too complex.
const MAX_DEPTH: usize = 64;

pub(super) fn schema(open_api: &Value) -> Schema {
    let mut root = node(open_api, MAX_DEPTH);
    root.fields.insert("metadata".to_owned(), builtin::object_meta());
    root.fields.entry("apiVersion".to_owned()).or_default();
    root.fields.entry("kind".to_owned()).or_default();
    Schema::from(root)
}

fn node(open_api: &Value, depth: usize) -> Node {
    let Some(depth) = depth.checked_sub(1) else { return Node::default() };
    let child = |value: &Value| Schema::from(node(value, depth));
    let mut fields: BTreeMap<String, Schema> = open_api
        .get("properties")
        .and_then(Value::as_object)
        .map(|properties| properties.iter().map(|(name, value)| (name.clone(), child(value))).collect())
        .unwrap_or_default();
    if flag(open_api, "x-kubernetes-embedded-resource") {
        fields.insert("metadata".to_owned(), builtin::object_meta());
    }
    Node {
        fields,
        values: open_api.get("additionalProperties").filter(|value| value.is_object()).map(child),
        items: open_api.get("items").filter(|value| value.is_object()).map(child),
        atomic: open_api.get("x-kubernetes-map-type").and_then(Value::as_str) == Some("atomic"),
        list: list_merge(open_api),
        ..Node::default()
    }
}

fn list_merge(open_api: &Value) -> ListMerge {
    match open_api.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => ListMerge::Set,
        Some("map") => {
            let names = open_api.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
            let keys = names.into_iter().flatten().filter_map(Value::as_str).map(|name| Key {
                name: name.to_owned(),
                default: open_api.pointer(&format!("/items/properties/{name}/default")).cloned(),
            });
            ListMerge::Map(keys.collect())
        }
        _ => ListMerge::Atomic,
    }
}

fn flag(open_api: &Value, name: &str) -> bool {
    open_api.get(name).and_then(Value::as_bool).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn list_and_map_types_are_read() {
        let schema = schema(&json!({
            "type": "object",
            "properties": {
                "spec": {
                    "type": "object",
                    "properties": {
                        "ports": {
                            "type": "array",
                            "x-kubernetes-list-type": "map",
                            "x-kubernetes-list-map-keys": ["port", "protocol"],
                            "items": {"type": "object", "properties": {"protocol": {"type": "string", "default": "TCP"}}}
                        },
                        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                        "labels": {"type": "object", "x-kubernetes-map-type": "atomic"}
                    }
                }
            }
        }));
        let spec = schema.field("spec").0;
        let ListMerge::Map(keys) = spec.field("ports").0.list() else { panic!("ports merge by key") };
        assert_eq!(keys[0].default, None);
        assert_eq!(keys[1].default, Some(json!("TCP")));
        assert_eq!(*spec.field("tags").0.list(), ListMerge::Set);
        assert!(spec.field("labels").0.is_atomic());
        assert_eq!(*schema.field("metadata").0.field("finalizers").0.list(), ListMerge::Set);
    }
}
