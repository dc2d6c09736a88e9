//! Server-side apply and the ownership of fields (KEP-555), after the rules of `structured-merge-diff`.

mod fields;
mod managers;
mod merge;

use std::fmt;

use serde_json::{Value, json};

use self::fields::{Comparison, FieldSet};
use self::managers::{APPLY, Manager, UPDATE};
use super::schema::Schema;

/// Who asks for a change, and under which rules.
#[derive(Clone, Debug)]
pub struct ApplyContext<'a> {
    /// How the object's fields merge.
    pub schema: &'a Schema,
    /// The field manager's name.
    pub manager: &'a str,
    /// Whether an apply takes over fields that others own with another value.
    pub force: bool,
    /// The subresource that the request is for, such as `status`.
    pub subresource: Option<&'a str>,
    /// The version that the request is in, such as `apps/v1`.
    pub api_version: &'a str,
    /// The time of the request, RFC 3339 in seconds.
    pub now: &'a str,
}

/// Why an apply was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Others own fields that the apply would change.
    #[error("{}", conflict_message(.0))]
    Conflict(Vec<Conflict>),
    /// The applied object cannot be merged.
    #[error("{0}")]
    Invalid(String),
    /// The applied object is not of its type: a list has two items of one key, or an item without it.
    #[error("{0}")]
    Untyped(String),
}

/// One field that someone else owns with another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The owner's name.
    pub manager: String,
    /// How the owner set it: `Apply` or `Update`.
    pub operation: String,
    /// The version that the owner used.
    pub api_version: String,
    /// The subresource that the owner used; empty for the object itself.
    pub subresource: String,
    /// The path, such as `.spec.containers[name="app"].image`.
    pub field: String,
}

/// Names the owner as the API server does in the causes of a conflict.
impl fmt::Display for Conflict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.manager)?;
        if !self.subresource.is_empty() {
            write!(formatter, " with subresource {:?}", self.subresource)?;
        }
        if self.operation == UPDATE {
            write!(formatter, " using {}", self.api_version)?;
        }
        Ok(())
    }
}

fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [only] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {only}: {}", only.field);
    }
    let mut lines = Vec::new();
    let mut owner = String::new();
    for conflict in conflicts {
        let this = conflict.to_string();
        if this != owner {
            lines.push(format!("conflicts with {this}:"));
            owner = this;
        }
        lines.push(format!("- {}", conflict.field));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

/// Merges `patch`, the whole of what the manager wants, into `live`.
///
/// Fields that the manager applied before and no longer does go away unless someone else owns them. An apply that
/// changes nothing returns `live` as it is, times included. Pass `patch` without what the request may not set
/// (such as `status` on the main resource).
pub fn apply(ctx: &ApplyContext<'_>, live: Option<&Value>, patch: &Value) -> Result<Value, ApplyError> {
    if !patch.is_object() {
        return Err(ApplyError::Invalid("the applied object must be a JSON object".to_owned()));
    }
    if patch
        .pointer("/metadata/managedFields")
        .is_some_and(|entries| !fields::is_empty_list(entries) && !entries.is_null())
    {
        return Err(ApplyError::Invalid("metadata.managedFields must be nil".to_owned()));
    }
    let patch = &if ctx.schema.is_builtin() { merge::without_nulls(patch) } else { patch.clone() };
    merge::check_keys(patch, ctx.schema, "").map_err(ApplyError::Untyped)?;
    let empty = json!({});
    let before = live.unwrap_or(&empty);
    let old_managers = owners(ctx, live);
    let me = identity(ctx, APPLY);
    let applied = FieldSet::of(patch, ctx.schema);
    let last = old_managers.iter().find(|manager| manager.is(&me)).map(|manager| manager.fields.clone());

    let mut after = merge::merge(before, patch, ctx.schema);
    if let Some(last) = &last {
        let others = old_managers.iter().filter(|manager| !manager.is(&me));
        let kept = others.fold(applied.clone(), |kept, manager| kept.union(&manager.fields));
        merge::prune(&mut after, last, &kept, ctx.schema);
    }

    let comparison = Comparison::between(before, &after, ctx.schema);
    // Items may stand in another order though each is as it was.
    let same = after == *before;
    let mut managers = old_managers;
    let conflicts = settle(&mut managers, &me, &comparison);
    if !ctx.force && !conflicts.is_empty() {
        return Err(ApplyError::Conflict(conflicts));
    }
    let mut mine = Manager { fields: applied, ..me };
    managers::strip_unowned(&mut mine.fields);
    let same_fields = last.as_ref() == Some(&mine.fields);
    let owned = managers.iter().position(|manager| manager.is(&mine));
    if let Some(index) = owned {
        let old = managers.remove(index);
        if same_fields && same && old.api_version == mine.api_version {
            return Ok(before.clone());
        }
    }
    managers.push(mine);
    managers::write(&mut after, managers);
    Ok(after)
}

/// Whether [`apply`] would return `live` as it is: the manager owns these fields and no others, and they have these
/// values. It costs a fraction of an apply; `false` may also mean that only an apply can tell.
pub fn changes_nothing(ctx: &ApplyContext<'_>, live: &Value, patch: &Value) -> bool {
    let me = identity(ctx, APPLY);
    let Some(owned) = managers::fields_of(live, &me) else { return false };
    if patch.pointer("/metadata/managedFields").is_some() || !merge::holds(live, patch, ctx.schema) {
        return false;
    }
    let mut applied = FieldSet::of(patch, ctx.schema);
    managers::strip_unowned(&mut applied);
    applied.is_written_as(owned)
}

/// Keeps the books of `metadata.managedFields` for a create, update or patch that turned `live` into `new`.
///
/// Changed and new fields become the manager's; others lose them, and everyone loses removed ones. A request
/// may set `managedFields` itself; `[{}]` forgets all owners.
pub fn track_update(ctx: &ApplyContext<'_>, live: Option<&Value>, new: &mut Value) {
    let empty = json!({});
    let before = live.unwrap_or(&empty);
    let mut managers = if ctx.subresource.is_some() {
        managers::read(before)
    } else if managers::is_reset(new) {
        Vec::new()
    } else {
        let given = managers::read(new);
        if given.is_empty() { managers::read(before) } else { given }
    };
    let comparison = Comparison::between(before, new, ctx.schema);
    let me = identity(ctx, UPDATE);
    settle(&mut managers, &me, &comparison);
    let mut taken = comparison.added.union(&comparison.modified);
    managers::strip_unowned(&mut taken);
    if !taken.is_empty() {
        match managers.iter_mut().find(|manager| manager.is(&me)) {
            Some(manager) => {
                manager.fields.extend(&taken);
                manager.time = me.time;
            }
            None => managers.push(Manager { fields: taken, ..me }),
        }
    }
    managers::write(new, managers);
}

/// The owners of an object's fields. What an object without any holds was set before the first apply.
fn owners(ctx: &ApplyContext<'_>, live: Option<&Value>) -> Vec<Manager> {
    let Some(live) = live else { return Vec::new() };
    let managers = managers::read(live);
    if !managers.is_empty() {
        return managers;
    }
    let mut fields = Comparison::between(&json!({}), &without_managers(live), ctx.schema).added;
    managers::strip_unowned(&mut fields);
    let before = identity(ctx, UPDATE);
    vec![Manager { name: "before-first-apply".to_owned(), subresource: String::new(), fields, ..before }]
}

fn identity(ctx: &ApplyContext<'_>, operation: &str) -> Manager {
    Manager {
        name: ctx.manager.to_owned(),
        operation: operation.to_owned(),
        api_version: ctx.api_version.to_owned(),
        subresource: ctx.subresource.unwrap_or_default().to_owned(),
        time: ctx.now.to_owned(),
        fields: FieldSet::default(),
    }
}

/// Takes changed and removed fields away from everyone but `me`, and says what was taken with force.
fn settle(managers: &mut [Manager], me: &Manager, comparison: &Comparison) -> Vec<Conflict> {
    if comparison.is_empty() {
        return Vec::new();
    }
    let changed = comparison.added.union(&comparison.modified);
    let mut conflicts = Vec::new();
    for manager in managers {
        if !manager.is(me) {
            let lost = manager.fields.intersection(&changed);
            conflicts.extend(lost.paths().into_iter().map(|field| Conflict {
                manager: manager.name.clone(),
                operation: manager.operation.clone(),
                api_version: manager.api_version.clone(),
                subresource: manager.subresource.clone(),
                field,
            }));
            manager.fields = manager.fields.difference(&lost);
        }
        manager.fields = manager.fields.difference(&comparison.removed);
    }
    conflicts.sort_by_cached_key(|conflict| (conflict.to_string(), conflict.field.clone()));
    conflicts
}

fn without_managers(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}

#[cfg(test)]
mod tests;
