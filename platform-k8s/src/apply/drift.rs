//! What others made of a set that was applied, and who they are.
//!
//! A forced dry run says which fields differ from the manifests. A field that this field manager still owns has been changed by nobody:
//! the manifest is newer than the last apply. Each other has drifted, and the managed fields say who owns it now.

use super::{
    compare,
    judge::{Member, Verdict},
    review,
};
use crate::connection::{api::Api, resource::Discovery};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use platform_core::{
    Result,
    clock::Timestamp,
    cluster::{ApplyOptions, Drift, FieldChange, FieldDrift, ObjectChange, ObjectDrift},
    manifest::ManifestSet,
};
use serde_json::{Map, Value};
use std::fmt::Write;

/// What of a set is not as it was applied. A set that never was has not drifted.
pub(crate) async fn drift(
    api: &Api,
    discovery: &Discovery,
    set: &ManifestSet,
    options: &ApplyOptions,
) -> Result<Vec<ObjectDrift>> {
    let forced = options.clone().force(true);
    let review = review::review(api, discovery, set, &forced).await?;
    if !review.set.exists() {
        return Ok(Vec::new());
    }
    let manager = api.field_manager();
    let drifted = review.members.into_iter().filter_map(|member| {
        let object = member.reference.clone();
        of_member(member, manager).map(|drift| ObjectDrift { object, drift })
    });
    Ok(drifted.collect())
}

fn of_member(member: Member, manager: &str) -> Option<Drift> {
    let live = member.live.unwrap_or_default();
    match member.verdict {
        Verdict::Foreign(reason) => Some(Drift::Replaced { reason }),
        Verdict::Change(change) => match change {
            ObjectChange::Create | ObjectChange::KnownAfterApply => Some(Drift::Missing),
            ObjectChange::Update { fields } => {
                let fields: Vec<FieldDrift> =
                    fields.into_iter().filter_map(|field| of_field(field, &live, manager)).collect();
                (!fields.is_empty()).then_some(Drift::Changed { fields })
            }
            // What cannot change was changed by the manifest, unless the object is not the one that was applied.
            ObjectChange::Recreate { reason } if compare::applied_fields(&live, manager).is_none() => {
                Some(Drift::Replaced { reason })
            }
            _ => None,
        },
    }
}

fn of_field(change: FieldChange, live: &Value, manager: &str) -> Option<FieldDrift> {
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
    let owners: Vec<&Value> = entries
        .filter(|entry| {
            entry.get("fieldsV1").and_then(Value::as_object).is_some_and(|f| owns(f, &change.path))
        })
        .collect();
    let text =
        |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    if owners.iter().any(|owner| text(owner, "manager") == manager && text(owner, "operation") == "Apply") {
        return None;
    }
    let drift = FieldDrift::new(change.path, change.after, change.before);
    // Times are written so that their order is that of their texts.
    let Some(last) = owners.into_iter().max_by_key(|owner| text(owner, "time")) else { return Some(drift) };
    let time = last.get("time").cloned().and_then(|time| serde_json::from_value::<Time>(time).ok());
    let at = time.map(|time| Timestamp::from_millis(time.0.as_millisecond()));
    Some(drift.by(text(last, "manager"), at))
}

/// Whether managed fields have a path as a [difference](super::difference) writes it, or a value around it.
fn owns(fields: &Map<String, Value>, path: &str) -> bool {
    fields.iter().any(|(entry, below)| {
        let Some(rest) = step(entry).and_then(|step| path.strip_prefix(step.as_str())) else { return false };
        match below.as_object() {
            _ if rest.is_empty() => true,
            Some(below) if below.keys().any(|key| key != ".") => owns(below, rest),
            _ => rest.starts_with(['.', '[']),
        }
    })
}

/// How a path writes an entry of managed fields.
fn step(entry: &str) -> Option<String> {
    match entry.split_once(':')? {
        ("f", name) => Some(format!(".{name}")),
        ("v", value) => Some(format!("[={value}]")),
        ("k", keys) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).ok()?;
            let mut step = String::from("[");
            for (name, value) in &keys {
                let comma = if step.len() > 1 { "," } else { "" };
                // Writing to a string cannot fail.
                let _ = write!(step, "{comma}{name}={value}");
            }
            step.push(']');
            Some(step)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_is_found_in_the_fields_of_its_owner() {
        let fields = json!({
            "f:metadata": {"f:labels": {"f:app.kubernetes.io/name": {}}, "f:finalizers": {"v:\"a\"": {}}},
            "f:spec": {"f:selector": {}, "f:containers": {"k:{\"name\":\"web\"}": {".": {}, "f:image": {}, "f:ports": {
                "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}}}}}},
        });
        let fields = fields.as_object().unwrap();
        for path in [
            ".metadata.labels.app.kubernetes.io/name",
            ".metadata.finalizers[=\"a\"]",
            ".spec.selector",
            ".spec.selector.matchLabels.app",
            ".spec.containers[name=\"web\"]",
            ".spec.containers[name=\"web\"].image",
            ".spec.containers[name=\"web\"].ports[containerPort=80,protocol=\"TCP\"].name",
        ] {
            assert!(owns(fields, path), "{path}");
        }
        for path in [
            ".metadata.labels.app",
            ".spec.selectors",
            ".spec.replicas",
            ".spec.containers[name=\"web\"].args",
            ".spec.containers[name=\"other\"].image",
        ] {
            assert!(!owns(fields, path), "{path}");
        }
    }

    #[test]
    fn a_field_has_drifted_if_it_is_no_longer_ours() {
        let live = json!({"metadata": {"managedFields": [
            {"manager": "platform", "operation": "Apply", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:spec": {"f:ours": {}}}},
            {"manager": "kubectl-edit", "operation": "Update", "time": "1970-01-01T00:00:01Z",
                "fieldsV1": {"f:spec": {"f:theirs": {}}}},
        ]}});
        let change = |path: &str| FieldChange {
            path: path.to_owned(),
            before: Some(json!("live")),
            after: Some(json!("applied")),
        };
        assert_eq!(of_field(change(".spec.ours"), &live, "platform"), None);
        let drift = FieldDrift::new(".spec.theirs", Some(json!("applied")), Some(json!("live")));
        assert_eq!(
            of_field(change(".spec.theirs"), &live, "platform"),
            Some(drift.by("kubectl-edit", Some(Timestamp::from_millis(1000))))
        );
        let removed = FieldDrift::new(".spec.removed", Some(json!("applied")), Some(json!("live")));
        assert_eq!(of_field(change(".spec.removed"), &live, "platform"), Some(removed));
    }
}
