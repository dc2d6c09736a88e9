//! `metadata.managedFields`: who owns which fields.

use serde_json::{Map, Value, json};

use super::fields::FieldSet;

pub(crate) const APPLY: &str = "Apply";
pub(crate) const UPDATE: &str = "Update";

/// How many managers with operation `Update` an object remembers one by one.
const MAX_UPDATE_MANAGERS: usize = 10;
const ANCIENT_CHANGES: &str = "ancient-changes";

/// Fields that nobody owns.
const UNOWNED: [&[&str]; 12] = [
    &["f:apiVersion"],
    &["f:kind"],
    &["f:metadata"],
    &["f:metadata", "f:name"],
    &["f:metadata", "f:namespace"],
    &["f:metadata", "f:creationTimestamp"],
    &["f:metadata", "f:selfLink"],
    &["f:metadata", "f:uid"],
    &["f:metadata", "f:clusterName"],
    &["f:metadata", "f:generation"],
    &["f:metadata", "f:managedFields"],
    &["f:metadata", "f:resourceVersion"],
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manager {
    pub(crate) name: String,
    pub(crate) operation: String,
    pub(crate) api_version: String,
    pub(crate) subresource: String,
    pub(crate) time: String,
    pub(crate) fields: FieldSet,
}

impl Manager {
    /// Whether both are the same entry. Appliers keep theirs across API versions.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.name == other.name
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == APPLY || self.api_version == other.api_version)
    }

    fn from_json(entry: &Value) -> Option<Self> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let operation = text("operation");
        let known = operation == APPLY || operation == UPDATE;
        known.then(|| Self {
            name: text("manager"),
            operation,
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: text("time"),
            fields: FieldSet::from_json(entry.get("fieldsV1").unwrap_or(&Value::Null)),
        })
    }

    fn to_json(&self) -> Value {
        let mut entry = json!({
            "manager": self.name,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.fields.to_json(),
        });
        if let Some(entry) = entry.as_object_mut() {
            for (name, value) in [("time", &self.time), ("subresource", &self.subresource)] {
                if !value.is_empty() {
                    entry.insert(name.to_owned(), Value::from(value.as_str()));
                }
            }
        }
        entry
    }
}

pub(crate) fn read(object: &Value) -> Vec<Manager> {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    entries.into_iter().flatten().filter_map(Manager::from_json).collect()
}

/// What `manager` owns, as written, if it owned it in the same API version.
pub(crate) fn fields_of<'a>(object: &'a Value, manager: &Manager) -> Option<&'a Value> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    let is = |entry: &Value, name: &str, wanted: &str| {
        entry.get(name).and_then(Value::as_str).unwrap_or_default() == wanted
    };
    let mine = entries.iter().find(|entry| {
        is(entry, "manager", &manager.name)
            && is(entry, "operation", &manager.operation)
            && is(entry, "subresource", &manager.subresource)
    })?;
    if is(mine, "apiVersion", &manager.api_version) { mine.get("fieldsV1") } else { None }
}

/// Whether a request asks to forget all managers, with `managedFields: [{}]`.
pub(crate) fn is_reset(object: &Value) -> bool {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    entries.is_some_and(|entries| matches!(entries.as_slice(), [Value::Object(entry)] if entry.is_empty()))
}

/// Writes the managers that own something, ordered as the API server orders them.
pub(crate) fn write(object: &mut Value, mut managers: Vec<Manager>) {
    for manager in &mut managers {
        strip_unowned(&mut manager.fields);
    }
    managers.retain(|manager| !manager.fields.is_empty());
    managers.sort_by(|a, b| {
        let order = |manager: &Manager| {
            let Manager { operation, time, name, api_version, subresource, .. } = manager.clone();
            (operation, time, name, api_version, subresource)
        };
        order(a).cmp(&order(b))
    });
    fold_ancient(&mut managers);
    let Some(object) = object.as_object_mut() else { return };
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    let Some(metadata) = metadata.as_object_mut() else { return };
    if managers.is_empty() {
        metadata.remove("managedFields");
    } else {
        let entries = managers.iter().map(Manager::to_json).collect();
        metadata.insert("managedFields".to_owned(), Value::Array(entries));
    }
}

pub(crate) fn strip_unowned(fields: &mut FieldSet) {
    for path in UNOWNED {
        fields.remove(path);
    }
}

/// Folds the oldest updaters into one entry once there are too many.
fn fold_ancient(managers: &mut Vec<Manager>) {
    let updaters = managers.iter().filter(|manager| manager.operation == UPDATE).count();
    if updaters <= MAX_UPDATE_MANAGERS {
        return;
    }
    let mut folded: Vec<Manager> = Vec::new();
    let mut excess = updaters - MAX_UPDATE_MANAGERS + 1;
    managers.retain_mut(|manager| {
        if manager.operation != UPDATE || excess == 0 {
            return true;
        }
        excess -= 1;
        match folded.iter_mut().find(|bucket| bucket.api_version == manager.api_version) {
            Some(bucket) => {
                bucket.fields.extend(&manager.fields);
                bucket.time = std::mem::take(&mut manager.time);
            }
            None => folded.push(Manager {
                name: ANCIENT_CHANGES.to_owned(),
                subresource: String::new(),
                ..manager.clone()
            }),
        }
        false
    });
    let appliers = managers.iter().take_while(|manager| manager.operation == APPLY).count();
    managers.splice(appliers..appliers, folded);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_updaters_fold_into_one() {
        let mut object = json!({"metadata": {}});
        let updater = |index: usize| Manager {
            name: format!("manager-{index}"),
            operation: UPDATE.into(),
            api_version: "v1".into(),
            subresource: String::new(),
            time: format!("2026-01-01T00:00:{index:02}Z"),
            fields: FieldSet::from_json(&json!({format!("f:{index}"): {}})),
        };
        write(&mut object, (0..13).map(updater).collect());
        let managers = read(&object);
        assert_eq!(managers.len(), 10);
        assert_eq!(managers[0].name, ANCIENT_CHANGES);
        assert_eq!(managers[0].fields.children.len(), 4);
        assert_eq!(managers[9].name, "manager-12");
    }

    #[test]
    fn only_one_empty_entry_resets() {
        assert!(is_reset(&json!({"metadata": {"managedFields": [{}]}})));
        for kept in [json!([]), json!([{}, {}]), json!(null)] {
            assert!(!is_reset(&json!({"metadata": {"managedFields": kept}})));
        }
    }
}
