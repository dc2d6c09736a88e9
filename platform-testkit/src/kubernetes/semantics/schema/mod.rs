//! How the fields of an object merge: what a list or a map is to server-side apply and to a strategic merge patch.
//!
//! The built-in kinds come from a table derived from the OpenAPI document of Kubernetes, custom resources from
//! the `openAPIV3Schema` of their definition.

mod builtin;
mod structural;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value};

/// How an object merges, field by field. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Schema(Arc<Node>);

/// How the items of a list merge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListMerge {
    /// The list is one value: whoever sets it owns all of it.
    #[default]
    Atomic,
    /// Each distinct item is a value of its own.
    Set,
    /// Items are objects, told apart by these keys.
    Map(Vec<Key>),
}

/// A key of a list of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The field of the item.
    pub name: String,
    /// What an item without that field counts as having.
    pub default: Option<Value>,
}

/// What a strategic merge patch does to a field, where it differs from merging maps and replacing lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum PatchStrategy {
    #[default]
    Usual,
    /// Replaces a map instead of merging it.
    Replace,
    /// Merges a list of scalars as a set.
    MergeSet,
    /// Merges a list of objects by this key.
    MergeBy(String),
}

#[derive(Clone, Debug, Default)]
struct Node {
    fields: BTreeMap<String, Schema>,
    /// What a field that is not in `fields` is.
    undeclared: Undeclared,
    /// The schema of undeclared fields, if there is one.
    values: Option<Schema>,
    items: Option<Schema>,
    atomic: bool,
    list: ListMerge,
    patch: PatchStrategy,
    /// Never absent while its parent is there, be it empty: nobody adds it.
    present: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Undeclared {
    /// A key of a map.
    #[default]
    MapKey,
    /// A field that merges as usual: built-in types list only their unusual fields.
    Field,
}

static UNTYPED: LazyLock<Schema> = LazyLock::new(Schema::default);
static PLAIN: LazyLock<Schema> =
    LazyLock::new(|| Schema::from(Node { undeclared: Undeclared::Field, ..Node::default() }));

impl From<Node> for Schema {
    fn from(node: Node) -> Self {
        Self(Arc::new(node))
    }
}

impl Schema {
    /// The schema of a built-in kind; the core group is `""`. A kind that the table does not list has nothing
    /// unusual but its metadata.
    pub fn builtin(group: &str, version: &str, kind: &str) -> Self {
        builtin::schema(group, version, kind)
    }

    /// The schema of a custom resource, from the `openAPIV3Schema` of its version.
    pub fn structural(open_api_v3_schema: &Value) -> Self {
        structural::schema(open_api_v3_schema)
    }

    /// Maps merge key by key, lists as a whole; metadata is typed.
    pub fn untyped() -> Self {
        structural::schema(&Value::Null)
    }

    /// Whether the fields of this object are those of a Go struct, so that `null` means absent.
    pub(crate) fn is_builtin(&self) -> bool {
        self.0.undeclared == Undeclared::Field
    }

    /// The schema of a field, and whether that is a declared field (and not a key of a map).
    pub(crate) fn field(&self, name: &str) -> (&Schema, bool) {
        if let Some(field) = self.0.fields.get(name) {
            return (field, true);
        }
        match self.0.undeclared {
            Undeclared::Field => (self.0.values.as_ref().unwrap_or(&PLAIN), true),
            Undeclared::MapKey => (self.0.values.as_ref().unwrap_or(&UNTYPED), false),
        }
    }

    /// What a field is that is never absent while nothing sets it: an empty struct, or a null list.
    pub(crate) fn present_field(&self, name: &str) -> Option<Value> {
        let field = self.0.fields.get(name).filter(|field| field.0.present)?;
        Some(if field.0.list == ListMerge::Atomic { Value::Object(Map::new()) } else { Value::Null })
    }

    pub(crate) fn items(&self) -> &Schema {
        self.0.items.as_ref().unwrap_or(match self.0.undeclared {
            Undeclared::Field => &PLAIN,
            Undeclared::MapKey => &UNTYPED,
        })
    }

    pub(crate) fn list(&self) -> &ListMerge {
        &self.0.list
    }

    /// Whether an object here is replaced as a whole.
    pub(crate) fn is_atomic(&self) -> bool {
        self.0.atomic
    }

    pub(crate) fn patch_strategy(&self) -> &PatchStrategy {
        &self.0.patch
    }
}

/// The values of an item's keys, or the name of a key that it lacks.
pub(crate) fn item_keys(item: &Value, keys: &[Key]) -> Result<Map<String, Value>, String> {
    let mut values = Map::new();
    for key in keys {
        let value = item.get(&key.name).filter(|value| !value.is_null()).or(key.default.as_ref());
        values.insert(key.name.clone(), value.ok_or_else(|| key.name.clone())?.clone());
    }
    Ok(values)
}
