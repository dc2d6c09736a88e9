//! The three patch formats: JSON Patch (RFC 6902), JSON Merge Patch (RFC 7386) and Kubernetes' strategic merge
//! patch.

use serde_json::{Map, Value};

use super::schema::{PatchStrategy, Schema};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";

/// How many operations a JSON Patch may have, as in the API server.
const MAX_OPERATIONS: usize = 10_000;

/// Applies the operations of a JSON Patch in order; one that fails, such as a `test`, fails them all.
pub fn json_patch(live: &Value, patch: &Value) -> Result<Value, String> {
    let operations: json_patch::Patch = serde_json::from_value(patch.clone())
        .map_err(|error| format!("the body is not a JSON Patch: {error}"))?;
    if operations.len() > MAX_OPERATIONS {
        return Err(format!(
            "the allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        ));
    }
    let mut patched = live.clone();
    json_patch::patch(&mut patched, &operations).map_err(|error| error.to_string())?;
    Ok(patched)
}

/// Merges maps key by key; `null` deletes, lists are replaced.
pub fn merge_patch(live: &Value, patch: &Value) -> Result<Value, String> {
    if !patch.is_object() {
        return Err("a merge patch must be a JSON object".to_owned());
    }
    let mut patched = live.clone();
    json_patch::merge(&mut patched, patch);
    Ok(patched)
}

/// Merges maps key by key and lists by the merge keys of `schema`, and follows the directives `$patch`,
/// `$retainKeys`, `$setElementOrder` and `$deleteFromPrimitiveList`.
pub fn strategic_merge_patch(schema: &Schema, live: &Value, patch: &Value) -> Result<Value, String> {
    match (live, patch) {
        (Value::Object(live), Value::Object(patch)) => {
            merge_objects(live, patch, schema, "").map(Value::Object)
        }
        (_, Value::Object(_)) => Err("only objects can be patched".to_owned()),
        _ => Err("a strategic merge patch must be a JSON object".to_owned()),
    }
}

type Object = Map<String, Value>;

fn merge_objects(live: &Object, patch: &Object, schema: &Schema, at: &str) -> Result<Object, String> {
    match patch.get(DIRECTIVE).map(|directive| directive.as_str().unwrap_or_default()) {
        None | Some("merge") => {}
        Some("replace") => {
            let mut replaced = patch.clone();
            replaced.remove(DIRECTIVE);
            return Ok(replaced);
        }
        Some("delete") => return Ok(Object::new()),
        Some(other) => return Err(format!("{at}: unknown patch directive {other:?}")),
    }
    let mut merged = live.clone();
    if let Some(retained) = patch.get(RETAIN_KEYS) {
        retain_keys(&mut merged, patch, retained, at)?;
    }
    for (name, values) in patch {
        if let Some(field) = name.strip_prefix(DELETE_PRIMITIVES) {
            let values = list(values, at, name)?;
            if let Some(Value::Array(items)) = merged.get_mut(field) {
                items.retain(|item| !values.contains(item));
            }
        }
    }
    for (name, value) in patch.iter().filter(|(name, _)| !is_directive(name)) {
        if value.is_null() {
            merged.remove(name);
            continue;
        }
        let at = format!("{at}.{name}");
        let field = schema.field(name).0;
        let order = match patch.get(&format!("{SET_ORDER}{name}")) {
            Some(order) => Some(list(order, &at, SET_ORDER)?),
            None => None,
        };
        let value = merge_field(merged.get(name), value, field, order, &at)?;
        merged.insert(name.clone(), value);
    }
    for (name, order) in patch {
        if let Some(field) = name.strip_prefix(SET_ORDER)
            && !patch.contains_key(field)
            && let Some(Value::Array(items)) = merged.get(field)
        {
            let at = format!("{at}.{field}");
            let items = ordered(items.clone(), items, list(order, &at, name)?, schema.field(field).0, &at)?;
            merged.insert(field.to_owned(), Value::Array(items));
        }
    }
    Ok(merged)
}

fn merge_field(
    live: Option<&Value>,
    patch: &Value,
    schema: &Schema,
    order: Option<&[Value]>,
    at: &str,
) -> Result<Value, String> {
    match (live, patch) {
        (Some(Value::Object(live)), Value::Object(patch)) => {
            if *schema.patch_strategy() == PatchStrategy::Replace {
                return merge_objects(&Object::new(), patch, schema, at).map(Value::Object);
            }
            merge_objects(live, patch, schema, at).map(Value::Object)
        }
        (_, Value::Object(patch)) => merge_objects(&Object::new(), patch, schema, at).map(Value::Object),
        (live, Value::Array(items)) => {
            let old = live.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let merged = match schema.patch_strategy() {
                PatchStrategy::MergeBy(key) => merge_items(old, items, key, schema, at)?,
                PatchStrategy::MergeSet => merge_set(old, items),
                PatchStrategy::Usual | PatchStrategy::Replace => {
                    items.iter().map(without_directives).collect()
                }
            };
            let merged = match order {
                Some(order) => ordered(merged, old, order, schema, at)?,
                None => merged,
            };
            Ok(Value::Array(merged))
        }
        _ => Ok(patch.clone()),
    }
}

fn merge_items(
    live: &[Value],
    patch: &[Value],
    key: &str,
    schema: &Schema,
    at: &str,
) -> Result<Vec<Value>, String> {
    let directive = |item: &Value| item.get(DIRECTIVE).and_then(Value::as_str).map(str::to_owned);
    if patch.iter().any(|item| directive(item).as_deref() == Some("replace")) {
        let rest = patch.iter().filter(|item| directive(item).is_none());
        return Ok(rest.map(without_directives).collect());
    }
    let mut merged = live.to_vec();
    for item in patch {
        let Some(fields) = item.as_object() else {
            return Err(format!("{at}: items must be objects with the merge key {key:?}"));
        };
        let Some(value) = fields.get(key) else {
            return Err(format!("{at}: an item does not contain the declared merge key {key:?}"));
        };
        let same = |other: &Value| other.get(key) == Some(value);
        match directive(item).as_deref() {
            Some("delete") => merged.retain(|other| !same(other)),
            None | Some("merge") => {
                let found = merged.iter_mut().find(|other| same(other));
                let live = found.as_deref().and_then(Value::as_object).cloned().unwrap_or_default();
                let value = Value::Object(merge_objects(&live, fields, schema.items(), at)?);
                match found {
                    Some(slot) => *slot = value,
                    None => merged.push(value),
                }
            }
            Some(other) => return Err(format!("{at}: unknown patch directive {other:?}")),
        }
    }
    for item in &mut merged {
        if let Some(fields) = item.as_object_mut() {
            fields.remove(DIRECTIVE);
        }
    }
    Ok(merged)
}

fn merge_set(live: &[Value], patch: &[Value]) -> Vec<Value> {
    let mut merged = live.to_vec();
    for item in patch {
        if !merged.contains(item) {
            merged.push(item.clone());
        }
    }
    merged
}

fn retain_keys(merged: &mut Object, patch: &Object, retained: &Value, at: &str) -> Result<(), String> {
    let retained: Vec<&str> = list(retained, at, RETAIN_KEYS)?.iter().filter_map(Value::as_str).collect();
    let stray = patch
        .iter()
        .find(|(name, value)| !is_directive(name) && !value.is_null() && !retained.contains(&name.as_str()));
    if let Some((name, _)) = stray {
        return Err(format!("{at}: {name:?} is in the patch but not in its {RETAIN_KEYS}"));
    }
    merged.retain(|name, _| retained.contains(&name.as_str()));
    Ok(())
}

/// Puts the items that `order` names in its order; the others keep their place relative to the live list.
fn ordered(
    merged: Vec<Value>,
    live: &[Value],
    order: &[Value],
    schema: &Schema,
    at: &str,
) -> Result<Vec<Value>, String> {
    let identity = |item: &Value| -> Result<Value, String> {
        match schema.patch_strategy() {
            PatchStrategy::MergeBy(key) => item
                .get(key)
                .cloned()
                .ok_or_else(|| format!("{at}: an item of {SET_ORDER} lacks the merge key {key:?}")),
            _ => Ok(item.clone()),
        }
    };
    let order = order.iter().map(identity).collect::<Result<Vec<_>, _>>()?;
    let mut live_ids = Vec::new();
    for item in live {
        live_ids.push(identity(item)?);
    }
    let mut named = Vec::new();
    let mut others = Vec::new();
    for item in merged {
        let id = identity(&item)?;
        let live_place = live_ids.iter().position(|live| *live == id);
        match order.iter().position(|wanted| *wanted == id) {
            Some(place) => named.push((place, live_place, item)),
            None => others.push((live_place, item)),
        }
    }
    named.sort_by_key(|(place, ..)| *place);
    let mut others = others.into_iter().peekable();
    let mut result = Vec::new();
    for (_, live_place, item) in named {
        while let Some((_, other)) = others.next_if(|(place, _)| place.is_some() && *place < live_place) {
            result.push(other);
        }
        result.push(item);
    }
    result.extend(others.map(|(_, item)| item));
    Ok(result)
}

/// What a patch adds where there was nothing: its values without directives and deletions.
fn without_directives(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .filter(|(name, value)| !is_directive(name) && !value.is_null())
                .map(|(name, value)| (name.clone(), without_directives(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(without_directives).collect()),
        other => other.clone(),
    }
}

fn is_directive(name: &str) -> bool {
    name == DIRECTIVE
        || name == RETAIN_KEYS
        || name.starts_with(SET_ORDER)
        || name.starts_with(DELETE_PRIMITIVES)
}

fn list<'a>(value: &'a Value, at: &str, name: &str) -> Result<&'a [Value], String> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| format!("{at}: {name} must be a list"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn pod() -> Schema {
        Schema::builtin("", "v1", "Pod")
    }

    fn strategic(live: &Value, patch: &Value) -> Value {
        strategic_merge_patch(&pod(), live, patch).unwrap()
    }

    #[test]
    fn json_patches_apply_whole_or_not_at_all() {
        let live = json!({"a": 1});
        let patch =
            json!([{"op": "add", "path": "/b", "value": 2}, {"op": "test", "path": "/a", "value": 1}]);
        assert_eq!(json_patch(&live, &patch).unwrap(), json!({"a": 1, "b": 2}));
        assert!(json_patch(&live, &json!([{"op": "test", "path": "/a", "value": 2}])).is_err());
        assert!(json_patch(&live, &json!({"op": "add"})).is_err());
    }

    #[test]
    fn merge_patches_delete_with_null() {
        let live = json!({"a": {"b": 1, "c": 2}, "l": [1]});
        let patch = json!({"a": {"b": null}, "l": [2]});
        assert_eq!(merge_patch(&live, &patch).unwrap(), json!({"a": {"c": 2}, "l": [2]}));
    }

    #[test]
    fn containers_merge_by_name() {
        let live =
            json!({"spec": {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]}});
        let patch =
            json!({"spec": {"containers": [{"name": "b", "image": "b:2"}, {"name": "c", "image": "c:1"}]}});
        assert_eq!(
            strategic(&live, &patch)["spec"]["containers"],
            json!([{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:2"}, {"name": "c", "image": "c:1"}])
        );
    }

    #[test]
    fn items_are_deleted_and_lists_replaced_by_directive() {
        let live = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
        let delete = json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}});
        assert_eq!(strategic(&live, &delete)["spec"]["containers"], json!([{"name": "b"}]));
        let replace = json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "c"}]}});
        assert_eq!(strategic(&live, &replace)["spec"]["containers"], json!([{"name": "c"}]));
        let whole = json!({"spec": {"$patch": "replace", "nodeName": "n"}});
        assert_eq!(strategic(&live, &whole)["spec"], json!({"nodeName": "n"}));
    }

    #[test]
    fn scalar_lists_merge_and_lose_named_items() {
        let live = json!({"metadata": {"finalizers": ["a", "b"]}});
        let patch =
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c", "b"]}});
        assert_eq!(strategic(&live, &patch)["metadata"], json!({"finalizers": ["b", "c"]}));
    }

    #[test]
    fn retain_keys_clears_the_other_members_of_a_union() {
        let live = json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}});
        let patch = json!({"spec": {"volumes": [
            {"name": "v", "hostPath": {"path": "/x"}, "$retainKeys": ["name", "hostPath"]}]}});
        assert_eq!(
            strategic(&live, &patch)["spec"]["volumes"],
            json!([{"name": "v", "hostPath": {"path": "/x"}}])
        );
        let stray = json!({"spec": {"$retainKeys": ["a"], "b": 1}});
        assert!(strategic_merge_patch(&pod(), &live, &stray).is_err());
    }

    #[test]
    fn set_element_order_reorders_and_keeps_the_servers_items_in_place() {
        let live = json!({"spec": {"containers": [{"name": "sidecar"}, {"name": "a"}, {"name": "b"}]}});
        let patch = json!({"spec": {
            "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}, {"name": "c"}],
            "containers": [{"name": "c"}]
        }});
        assert_eq!(
            strategic(&live, &patch)["spec"]["containers"],
            json!([{"name": "sidecar"}, {"name": "b"}, {"name": "a"}, {"name": "c"}])
        );
    }

    #[test]
    fn maps_that_apply_replaces_whole_still_merge_here() {
        let live = json!({"spec": {"nodeSelector": {"a": "1"}}});
        let patch = json!({"spec": {"nodeSelector": {"b": "2"}}});
        assert_eq!(strategic(&live, &patch)["spec"]["nodeSelector"], json!({"a": "1", "b": "2"}));
    }

    #[test]
    fn an_item_without_its_merge_key_is_refused() {
        let live = json!({"spec": {"containers": [{"name": "a"}]}});
        let error = strategic_merge_patch(&pod(), &live, &json!({"spec": {"containers": [{"image": "x"}]}}));
        assert!(error.unwrap_err().contains("merge key \"name\""));
    }

    proptest! {
        #[test]
        fn patches_of_any_shape_are_answered(
            live in super::super::validate::arbitrary_json(),
            patch in super::super::validate::arbitrary_json(),
        ) {
            let _ = json_patch(&live, &patch);
            let _ = merge_patch(&live, &patch);
            let _ = strategic_merge_patch(&pod(), &live, &patch);
        }

        #[test]
        fn a_merged_pod_stays_merged(names in prop::collection::vec("[a-c]", 0..4), image in "[a-z]{1,4}") {
            let containers: Vec<Value> = names.iter().map(|name| json!({"name": name, "image": image})).collect();
            let patch = json!({"spec": {"containers": containers}});
            let once = strategic(&json!({"spec": {"containers": [{"name": "b", "tty": true}]}}), &patch);
            prop_assert_eq!(&strategic(&once, &patch), &once);
        }
    }
}
