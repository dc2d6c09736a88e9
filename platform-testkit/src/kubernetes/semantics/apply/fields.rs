//! Sets of field paths, in memory and as `FieldsV1`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::schema::{ListMerge, Schema, item_keys};

/// A tree of field paths. Each edge is a path element as `FieldsV1` writes it: `f:name`, `k:{"key":"value"}`,
/// `v:"value"` or `i:0`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSet {
    /// Whether the path to here is in the set.
    pub(crate) member: bool,
    pub(crate) children: BTreeMap<String, FieldSet>,
}

/// How one object differs from another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Comparison {
    pub(crate) added: FieldSet,
    pub(crate) modified: FieldSet,
    pub(crate) removed: FieldSet,
}

impl FieldSet {
    pub(crate) fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    /// Every field that `value` sets.
    pub(crate) fn of(value: &Value, schema: &Schema) -> Self {
        let mut set = Self::default();
        match value {
            Value::Object(object) if !schema.is_atomic() => {
                for (name, child) in object {
                    let (field, declared) = schema.field(name);
                    let mut below = Self::of(child, field);
                    below.member |= child.is_null() || !declared || is_empty_object(child);
                    set.insert(field_element(name), below);
                }
            }
            Value::Array(items) if *schema.list() != ListMerge::Atomic => {
                for (index, item) in items.iter().enumerate() {
                    let mut below = match schema.list() {
                        ListMerge::Map(_) => Self::of(item, schema.items()),
                        _ => Self::default(),
                    };
                    below.member = true;
                    set.insert(item_element(item, index, schema), below);
                }
            }
            _ => set.member = true,
        }
        set
    }

    /// Reads `FieldsV1`. What is not part of that format is skipped.
    pub(crate) fn from_json(fields: &Value) -> Self {
        let mut set = Self::default();
        for (element, below) in fields.as_object().into_iter().flatten() {
            if element == "." {
                set.member = true;
                continue;
            }
            let mut child = Self::from_json(below);
            if child.is_empty() {
                child.member = true;
            }
            set.insert(canonical(element), child);
        }
        set
    }

    /// Writes `FieldsV1`.
    pub(crate) fn to_json(&self) -> Value {
        let mut fields = Map::new();
        if self.member && !self.children.is_empty() {
            fields.insert(".".to_owned(), json!({}));
        }
        for (element, below) in &self.children {
            fields.insert(element.clone(), below.to_json());
        }
        Value::Object(fields)
    }

    /// Whether `fields` is this set as [`FieldSet::to_json`] writes it.
    pub(crate) fn is_written_as(&self, fields: &Value) -> bool {
        let Some(fields) = fields.as_object() else { return false };
        let dot = self.member && !self.children.is_empty();
        fields.len() == self.children.len() + usize::from(dot)
            && fields.contains_key(".") == dot
            && self
                .children
                .iter()
                .all(|(element, below)| fields.get(element).is_some_and(|fields| below.is_written_as(fields)))
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        let mut result = self.clone();
        result.extend(other);
        result
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        self.member |= other.member;
        for (element, below) in &other.children {
            self.children.entry(element.clone()).or_default().extend(below);
        }
    }

    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let mut result = Self { member: self.member && other.member, ..Self::default() };
        for (element, below) in &self.children {
            if let Some(others) = other.children.get(element) {
                result.insert(element.clone(), below.intersection(others));
            }
        }
        result
    }

    pub(crate) fn difference(&self, other: &Self) -> Self {
        let mut result = Self { member: self.member && !other.member, ..Self::default() };
        for (element, below) in &self.children {
            let rest =
                other.children.get(element).map_or_else(|| below.clone(), |others| below.difference(others));
            result.insert(element.clone(), rest);
        }
        result
    }

    pub(crate) fn remove(&mut self, path: &[&str]) {
        match path {
            [] => self.member = false,
            [first, rest @ ..] => {
                if let Some(child) = self.children.get_mut(*first) {
                    child.remove(rest);
                    if child.is_empty() {
                        self.children.remove(*first);
                    }
                }
            }
        }
    }

    /// The member paths, printed as the API server prints them: `.spec.containers[name="app"].image`.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect_paths(String::new(), &mut paths);
        paths
    }

    fn collect_paths(&self, prefix: String, paths: &mut Vec<String>) {
        for (element, below) in &self.children {
            below.collect_paths(format!("{prefix}{}", printed(element)), paths);
        }
        if self.member {
            paths.push(prefix);
        }
    }

    fn insert(&mut self, element: String, below: Self) {
        if !below.is_empty() {
            self.children.insert(element, below);
        }
    }
}

impl Comparison {
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// Compares two objects.
    pub(crate) fn between(before: &Value, after: &Value, schema: &Schema) -> Self {
        let mut comparison = Self::default();
        comparison.compare(Some(before), Some(after), schema);
        comparison
    }

    fn compare(&mut self, before: Option<&Value>, after: Option<&Value>, schema: &Schema) {
        if before == after {
            return;
        }
        if is_leaf(before, after, schema) {
            match (before, after) {
                (None, _) => self.added.member = true,
                (_, None) => self.removed.member = true,
                _ => self.modified.member = true,
            }
            return;
        }
        match (before, after) {
            (Some(Value::Object(_)) | None, Some(Value::Object(_)) | None) => {
                self.compare_objects(before, after, schema);
            }
            _ => self.compare_lists(before, after, schema),
        }
        if before.is_none() {
            self.added.member = true;
        } else if after.is_none() {
            self.removed.member = true;
        }
    }

    fn compare_objects(&mut self, before: Option<&Value>, after: Option<&Value>, schema: &Schema) {
        let empty = Map::new();
        let [old, new] = [before, after].map(|value| value.and_then(Value::as_object).unwrap_or(&empty));
        let both_present = before.is_some() && after.is_some();
        for name in old.keys().chain(new.keys().filter(|name| !old.contains_key(*name))) {
            let default = schema.present_field(name).filter(|_| both_present);
            let [old, new] = [old, new].map(|object| object.get(name).or(default.as_ref()));
            if old == new {
                continue;
            }
            self.descend(field_element(name), old, new, schema.field(name).0);
        }
    }

    fn compare_lists(&mut self, before: Option<&Value>, after: Option<&Value>, schema: &Schema) {
        let items = |value: Option<&Value>| -> Vec<(String, Value)> {
            let items = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let element = |(index, item): (usize, &Value)| (item_element(item, index, schema), item.clone());
            items.iter().enumerate().map(element).collect()
        };
        let old: BTreeMap<String, Value> = items(before).into_iter().collect();
        let new: BTreeMap<String, Value> = items(after).into_iter().collect();
        for element in old.keys().chain(new.keys().filter(|element| !old.contains_key(*element))) {
            self.descend(element.clone(), old.get(element), new.get(element), schema.items());
        }
    }

    fn descend(&mut self, element: String, before: Option<&Value>, after: Option<&Value>, schema: &Schema) {
        let mut below = Self::default();
        below.compare(before, after, schema);
        self.added.insert(element.clone(), below.added);
        self.modified.insert(element.clone(), below.modified);
        self.removed.insert(element, below.removed);
    }
}

/// Whether the two values are compared as a whole.
fn is_leaf(before: Option<&Value>, after: Option<&Value>, schema: &Schema) -> bool {
    let object = |value: Option<&Value>| value.is_none_or(Value::is_object);
    let list = |value: Option<&Value>| value.is_none_or(|value| value.is_array() || value.is_null());
    let empty =
        |value: Option<&Value>| value.is_none_or(|value| is_empty_object(value) || is_empty_list(value));
    if empty(before) && empty(after) {
        return true;
    }
    if object(before) && object(after) {
        return schema.is_atomic();
    }
    !(list(before) && list(after)) || *schema.list() == ListMerge::Atomic
}

pub(crate) fn field_element(name: &str) -> String {
    format!("f:{name}")
}

/// The path element of a list item. An item without its keys is known by its index.
pub(crate) fn item_element(item: &Value, index: usize, schema: &Schema) -> String {
    match schema.list() {
        ListMerge::Map(keys) => item_keys(item, keys)
            .map_or_else(|_| format!("i:{index}"), |keys| format!("k:{}", Value::Object(keys))),
        _ => format!("v:{item}"),
    }
}

pub(crate) fn is_empty_object(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty)
}

pub(crate) fn is_empty_list(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
}

/// The element with its JSON written as this process writes it.
fn canonical(element: &str) -> String {
    if let Some((kind @ ("k" | "v"), text)) = element.split_once(':')
        && let Ok(value) = serde_json::from_str::<Value>(text)
    {
        return format!("{kind}:{value}");
    }
    element.to_owned()
}

pub(crate) fn printed(element: &str) -> String {
    match element.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("k", text)) => {
            let keys: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
            let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        Some(("v", value)) => format!("[={value}]"),
        Some((_, index)) => format!("[{index}]"),
        None => element.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_v1_survives_a_round_trip() {
        let fields = json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}, "f:finalizers": {"v:\"a\"": {}}},
            "f:spec": {"f:containers": {"k:{\"name\":\"x\"}": {".": {}, "f:ports": {
                "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}
            }}}}
        });
        assert_eq!(FieldSet::from_json(&fields).to_json(), fields);
    }

    #[test]
    fn a_set_knows_itself_as_written() {
        let set = FieldSet::from_json(&json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}}));
        assert!(set.is_written_as(&set.to_json()));
        for other in [
            json!({"f:a": {"f:b": {}}, "f:c": {}}),
            json!({"f:a": {".": {}, "f:b": {}}}),
            json!({"f:a": {".": {}, "f:b": {}}, "f:d": {}}),
            json!({".": {}, "f:a": {".": {}, "f:b": {}}, "f:c": {}}),
        ] {
            assert!(!set.is_written_as(&other), "{other}");
        }
    }

    #[test]
    fn keys_are_compared_whatever_their_spelling() {
        let spaced = FieldSet::from_json(&json!({"k:{ \"protocol\": \"TCP\", \"port\": 1 }": {}}));
        let tight = FieldSet::from_json(&json!({"k:{\"port\":1,\"protocol\":\"TCP\"}": {}}));
        assert_eq!(spaced, tight);
        assert_eq!(tight.paths(), ["[port=1,protocol=\"TCP\"]"]);
    }

    #[test]
    fn what_appears_is_added_with_its_parents() {
        let schema = Schema::builtin("apps", "v1", "Deployment");
        let after = json!({"spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "x", "resources": {}}]}}}});
        let added = Comparison::between(&json!({}), &after, &schema).added.to_json();
        assert_eq!(
            added,
            json!({"f:spec": {"f:replicas": {}, "f:selector": {}, "f:template": {
                "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
                "f:spec": {"f:containers": {"k:{\"name\":\"x\"}": {".": {}, "f:name": {}, "f:resources": {}}}}
            }}})
        );
    }
}
