//! The table of built-in kinds.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use serde_json::Value;

use super::{Key, ListMerge, Node, PatchStrategy, Schema, Undeclared};

const TABLE: &str = include_str!("builtin.txt");

static TYPES: LazyLock<HashMap<&'static str, Schema>> = LazyLock::new(|| {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    let rows: HashMap<&str, &str> =
        lines.filter_map(|line| line.split_once(' ')).map(|(name, fields)| (name, fields.trim())).collect();
    let mut types = HashMap::new();
    for name in rows.keys() {
        resolve(name, &rows, &mut types);
    }
    types
});

pub(super) fn schema(group: &str, version: &str, kind: &str) -> Schema {
    let name =
        if group.is_empty() { format!("{version}/{kind}") } else { format!("{group}/{version}/{kind}") };
    TYPES.get(name.as_str()).cloned().unwrap_or_else(|| {
        Schema::from(Node { fields: metadata_field(), undeclared: Undeclared::Field, ..Node::default() })
    })
}

/// The schema of an object's metadata.
pub(super) fn object_meta() -> Schema {
    TYPES.get("ObjectMeta").cloned().unwrap_or_default()
}

fn metadata_field() -> BTreeMap<String, Schema> {
    BTreeMap::from([("metadata".to_owned(), present(&object_meta()))])
}

fn present(schema: &Schema) -> Schema {
    Schema::from(Node { present: true, ..(*schema.0).clone() })
}

fn resolve<'a>(name: &str, rows: &HashMap<&'a str, &'a str>, types: &mut HashMap<&'a str, Schema>) -> Schema {
    if let Some(schema) = types.get(name) {
        return schema.clone();
    }
    let Some((name, row)) = rows.get_key_value(name) else { return super::PLAIN.clone() };
    let mut fields = BTreeMap::new();
    if name.contains('/') {
        let metadata = resolve("ObjectMeta", rows, types);
        fields.insert("metadata".to_owned(), present(&metadata));
    }
    for entry in row.split(' ') {
        if let Some((field, rule)) = entry.split_once('=') {
            let node = field_node(rule, &mut |name| resolve(name, rows, types));
            fields.insert(field.to_owned(), Schema::from(node));
        }
    }
    let schema = Schema::from(Node { fields, undeclared: Undeclared::Field, ..Node::default() });
    types.insert(name, schema.clone());
    schema
}

/// Reads one rule of the table; its head comment is the grammar.
fn field_node(rule: &str, named: &mut dyn FnMut(&str) -> Schema) -> Node {
    let plain = Node { undeclared: Undeclared::Field, ..Node::default() };
    if let Some(list) = rule.strip_prefix('+').filter(|rest| rest.starts_with('[')) {
        return Node { present: true, ..field_node(list, named) };
    }
    if let Some(rest) = rule.strip_prefix('[')
        && let Some((keys, item)) = rest.split_once(']')
    {
        let keys: Vec<Key> = keys.split(',').map(list_key).collect();
        let item = item.strip_prefix('~').unwrap_or(item);
        let (item, patch) = match (item.strip_prefix('!'), keys.first()) {
            (None, Some(key)) => (item, PatchStrategy::MergeBy(key.name.clone())),
            (rest, _) => (rest.unwrap_or(item), PatchStrategy::Usual),
        };
        return Node { list: ListMerge::Map(keys), patch, items: Some(type_of(item, named)), ..plain };
    }
    if let Some(rest) = rule.strip_prefix("<>") {
        let patch = if rest == "!" { PatchStrategy::Usual } else { PatchStrategy::MergeSet };
        return Node { list: ListMerge::Set, patch, ..plain };
    }
    if let Some(rest) = rule.strip_prefix('(')
        && let Some((key, item)) = rest.split_once(')')
    {
        let patch = PatchStrategy::MergeBy(key.to_owned());
        return Node { patch, items: Some(type_of(item, named)), ..plain };
    }
    let replaced = rule.strip_prefix('=');
    let rest = replaced.unwrap_or(rule);
    let rest = rest.strip_prefix('~').unwrap_or(rest);
    let (rest, present) = rest.strip_prefix('+').map_or((rest, false), |rest| (rest, true));
    let patch = if replaced.is_some() { PatchStrategy::Replace } else { PatchStrategy::Usual };
    Node { patch, present, ..(*type_of(rest, named).0).clone() }
}

fn type_of(name: &str, named: &mut dyn FnMut(&str) -> Schema) -> Schema {
    match name {
        "" => super::PLAIN.clone(),
        "{}" => Schema::from(Node { atomic: true, undeclared: Undeclared::Field, ..Node::default() }),
        name => named(name),
    }
}

fn list_key(text: &str) -> Key {
    match text.split_once('=') {
        Some((name, default)) => Key { name: name.to_owned(), default: Some(Value::from(default)) },
        None => Key { name: text.to_owned(), default: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_the_table_names_is_in_it() {
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            for entry in line.split(' ').skip(1) {
                let (_, rule) = entry.split_once('=').unwrap();
                let name: String = rule
                    .rsplit([']', ')', '~', '+', '=', '!', '>'])
                    .next()
                    .unwrap()
                    .chars()
                    .filter(char::is_ascii_alphanumeric)
                    .collect();
                assert!(name.is_empty() || TYPES.contains_key(name.as_str()), "{name} in {line}");
            }
        }
    }

    #[test]
    fn pods_nest_in_the_templates_of_workloads() {
        let deployment = schema("apps", "v1", "Deployment");
        let pod = deployment.field("spec").0.field("template").0.field("spec").0;
        let container = pod.field("containers").0;
        assert!(matches!(container.list(), ListMerge::Map(keys) if keys[0].name == "name"));
        let ports = container.items().field("ports").0;
        let ListMerge::Map(keys) = ports.list() else { panic!("ports merge by key") };
        assert_eq!(keys[1], Key { name: "protocol".into(), default: Some("TCP".into()) });
        assert_eq!(*ports.patch_strategy(), PatchStrategy::MergeBy("containerPort".into()));
        assert!(pod.field("nodeSelector").0.is_atomic());
        assert_eq!(*pod.field("tolerations").0.list(), ListMerge::Atomic);
    }

    #[test]
    fn patches_may_merge_otherwise_than_apply_does() {
        let job = schema("batch", "v1", "Job");
        let conditions = job.field("status").0.field("conditions").0;
        assert_eq!(*conditions.list(), ListMerge::Atomic);
        assert_eq!(*conditions.patch_strategy(), PatchStrategy::MergeBy("type".into()));
        let budget = schema("policy", "v1", "PodDisruptionBudget");
        assert_eq!(*budget.field("spec").0.field("selector").0.patch_strategy(), PatchStrategy::Replace);
    }

    #[test]
    fn a_kind_without_a_row_still_has_metadata() {
        let map = schema("", "v1", "ConfigMap");
        assert_eq!(*map.field("metadata").0.field("finalizers").0.list(), ListMerge::Set);
    }
}
