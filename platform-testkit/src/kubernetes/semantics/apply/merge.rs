//! Merging what is applied into what is there, and taking out what is no longer applied.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::super::schema::{Key, ListMerge, Schema, item_keys};
use super::fields::{FieldSet, field_element, is_empty_list, is_empty_object, item_element, printed};

/// `patch` wins; what it leaves out stays.
pub(super) fn merge(live: &Value, patch: &Value, schema: &Schema) -> Value {
    match (live, patch) {
        (Value::Object(old), Value::Object(new)) if !schema.is_atomic() => {
            let mut merged = old.clone();
            for (name, value) in new {
                let value = match old.get(name) {
                    Some(old) => merge(old, value, schema.field(name).0),
                    None => value.clone(),
                };
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (Value::Array(old), Value::Array(new)) if *schema.list() != ListMerge::Atomic => {
            Value::Array(merge_lists(old, new, schema))
        }
        _ => patch.clone(),
    }
}

/// Whether merging `patch` into `live` would leave `live` as it is. `false` for what only the merge can tell.
pub(super) fn holds(live: &Value, patch: &Value, schema: &Schema) -> bool {
    match (live, patch) {
        (Value::Object(old), Value::Object(new)) if !schema.is_atomic() => new.iter().all(|(name, value)| {
            !value.is_null() && old.get(name).is_some_and(|old| holds(old, value, schema.field(name).0))
        }),
        (Value::Array(old), Value::Array(new)) => match schema.list() {
            // Each item after the one before it, so that the merge has nothing to move.
            ListMerge::Map(keys) => {
                let mut left = old.iter();
                new.iter().enumerate().all(|(index, item)| {
                    let same = |other: &Value| same_keys(item, other, keys);
                    !new.iter().take(index).any(same)
                        && left
                            .by_ref()
                            .find(|other| same(other))
                            .is_some_and(|other| holds(other, item, schema.items()))
                })
            }
            _ => old == new,
        },
        _ => live == patch,
    }
}

fn same_keys(one: &Value, other: &Value, keys: &[Key]) -> bool {
    keys.iter().all(|key| {
        let of = |item| Value::get(item, &key.name).filter(|value| !value.is_null()).or(key.default.as_ref());
        of(one).is_some_and(|value| of(other) == Some(value))
    })
}

/// Items in both lists stand in the order of `new`; items of `old` alone keep their place between them.
fn merge_lists(old: &[Value], new: &[Value], schema: &Schema) -> Vec<Value> {
    let keyed = |items: &[Value]| -> Vec<String> {
        items.iter().enumerate().map(|(index, item)| item_element(item, index, schema)).collect()
    };
    let (old_keys, new_keys) = (keyed(old), keyed(new));
    let wanted: HashSet<&String> = new_keys.iter().collect();
    let mut merged = Vec::with_capacity(old.len().max(new.len()));
    let mut left = old_keys.iter().zip(old).peekable();
    for (key, item) in new_keys.iter().zip(new) {
        let before = old_keys.iter().zip(old).find(|(old_key, _)| *old_key == key).map(|(_, value)| value);
        while let Some((_, value)) = left.next_if(|(old_key, _)| !wanted.contains(old_key)) {
            merged.push(value.clone());
        }
        if before.is_some() {
            left.next_if(|(old_key, _)| wanted.contains(old_key));
        }
        merged.push(before.map_or_else(|| item.clone(), |before| merge(before, item, schema.items())));
    }
    merged.extend(left.filter(|(key, _)| !wanted.contains(key)).map(|(_, value)| value.clone()));
    merged
}

/// Takes out of `object` what `last` has and `kept` has not.
pub(super) fn prune(object: &mut Value, last: &FieldSet, kept: &FieldSet, schema: &Schema) {
    let nothing = FieldSet::default();
    match object {
        Value::Object(fields) if !schema.is_atomic() => {
            fields.retain(|name, value| {
                let element = field_element(name);
                let Some(last) = last.children.get(&element) else { return true };
                let kept = kept.children.get(&element).unwrap_or(&nothing);
                let (field, declared) = schema.field(name);
                let has = |set: &FieldSet| set.member || (declared && !set.children.is_empty());
                if has(last) && !has(kept) {
                    return false;
                }
                let was_empty = is_empty_list(value) || is_empty_object(value);
                prune(value, last, kept, field);
                was_empty || !is_empty_list(value)
            });
        }
        Value::Array(items) if *schema.list() != ListMerge::Atomic => {
            let mut index = 0;
            items.retain_mut(|item| {
                let element = item_element(item, index, schema);
                index += 1;
                let Some(last) = last.children.get(&element) else { return true };
                let kept = kept.children.get(&element).unwrap_or(&nothing);
                if last.member && !kept.member {
                    return false;
                }
                prune(item, last, kept, schema.items());
                true
            });
        }
        _ => {}
    }
}

/// Applied lists must have their keys, each once.
pub(super) fn check_keys(value: &Value, schema: &Schema, path: &str) -> Result<(), String> {
    match value {
        Value::Object(fields) if !schema.is_atomic() => fields
            .iter()
            .try_for_each(|(name, value)| check_keys(value, schema.field(name).0, &format!("{path}.{name}"))),
        Value::Array(items) if *schema.list() != ListMerge::Atomic => {
            let mut seen = HashSet::new();
            for (index, item) in items.iter().enumerate() {
                if let ListMerge::Map(keys) = schema.list() {
                    item_keys(item, keys).map_err(|key| {
                        format!(
                            "{path}: element {index}: associative list with keys has an element that omits key field {key:?} (and doesn't have default value)"
                        )
                    })?;
                }
                let element = item_element(item, index, schema);
                let shown = printed(&element);
                check_keys(item, schema.items(), &format!("{path}{shown}"))?;
                if !seen.insert(element) {
                    return Err(format!("{path}: duplicate entries for key {shown}"));
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// For a Go struct, `null` is as good as absent.
pub(super) fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(
                fields.map(|(name, value)| (name.clone(), without_nulls(value))).collect::<Map<_, _>>(),
            )
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}
