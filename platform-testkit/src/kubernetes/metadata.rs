//! `metadata`: what the system sets, what writers may not change, and the rules for names, labels and finalizers.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::deletion::timestamp;
use super::error::{ApiError, Cause};
use super::resource::Resource;
use super::semantics::validate::names;
use super::state::Stored;

/// Set by the system: a writer's value is replaced by the stored one.
const SYSTEM: [&str; 7] = [
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "resourceVersion",
    "generateName",
];

/// Names the object, puts it into its namespace and sets what the system sets.
pub(super) fn for_create(
    resource: &Resource,
    namespace: &str,
    object: &mut Value,
    now: Timestamp,
) -> Result<(), ApiError> {
    let metadata = part(object)?;
    let text = |metadata: &Map<String, Value>, field: &str| {
        metadata.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    if !text(metadata, "resourceVersion").is_empty() {
        return Err(ApiError::new(500, "", "resourceVersion should not be set on objects to be created"));
    }
    let given = text(metadata, "namespace");
    if resource.namespaced {
        if !given.is_empty() && given != namespace {
            let why = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(ApiError::bad_request(why));
        }
        metadata.insert("namespace".to_owned(), json!(namespace));
    } else {
        metadata.remove("namespace");
    }
    let prefix = text(metadata, "generateName");
    if text(metadata, "name").is_empty() {
        if prefix.is_empty() {
            let cause = Cause::required("metadata.name", "name or generateName is required");
            return Err(ApiError::invalid(resource, "", vec![cause]));
        }
        metadata.insert("name".to_owned(), json!(generated(&prefix)));
    }
    for field in
        ["resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"]
    {
        metadata.remove(field);
    }
    metadata.insert("uid".to_owned(), json!(Uuid::new_v4().to_string()));
    metadata.insert("creationTimestamp".to_owned(), json!(timestamp(now)));
    if resource.generation {
        metadata.insert("generation".to_owned(), json!(1));
    }
    object["apiVersion"] = json!(resource.api_version());
    object["kind"] = json!(resource.kind);
    Ok(())
}

/// 409 when the writer saw another object or an older version.
pub(super) fn check_versions(resource: &Resource, live: &Stored, object: &Value) -> Result<(), ApiError> {
    let name = live["metadata"]["name"].as_str().unwrap_or_default();
    let given = |field: &str| object["metadata"][field].as_str().filter(|text| !text.is_empty());
    if let Some(uid) = given("uid")
        && live["metadata"]["uid"] != uid
    {
        let stored = live["metadata"]["uid"].as_str().unwrap_or_default();
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {stored}");
        return Err(ApiError::conflict(&resource.id, name, &why));
    }
    if let Some(version) = given("resourceVersion")
        && live["metadata"]["resourceVersion"] != version
    {
        return Err(ApiError::modified(&resource.id, name));
    }
    Ok(())
}

/// Restores what only the system sets.
pub(super) fn for_update(resource: &Resource, live: &Stored, object: &mut Value) -> Result<(), ApiError> {
    let metadata = part(object)?;
    for field in SYSTEM.into_iter().chain(["name", "namespace"]) {
        match live["metadata"].get(field) {
            Some(value) => metadata.insert(field.to_owned(), value.clone()),
            None => metadata.remove(field),
        };
    }
    object["apiVersion"] = json!(resource.api_version());
    object["kind"] = json!(resource.kind);
    if live["metadata"]["deletionTimestamp"].is_null() {
        return Ok(());
    }
    let kept = live["metadata"]["finalizers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let wanted = object["metadata"]["finalizers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let added: Vec<_> = wanted.iter().filter(|one| !kept.contains(one)).map(Value::to_string).collect();
    if added.is_empty() {
        return Ok(());
    }
    let why = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        added.join(", ")
    );
    let name = live["metadata"]["name"].as_str().unwrap_or_default();
    Err(ApiError::invalid(resource, name, vec![Cause::forbidden("metadata.finalizers", &why)]))
}

/// Removes empty and null parts, which the typed objects of kube-apiserver do not show either.
pub(super) fn tidy(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|_, value| match value {
            Value::Null => false,
            Value::Object(map) => !map.is_empty(),
            Value::Array(list) => !list.is_empty(),
            _ => true,
        });
    }
}

/// How many bytes the keys and values of an object's annotations may have together.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// The rules of `k8s.io/apimachinery/pkg/api/validation` for object metadata.
pub(super) fn validate(resource: &Resource, object: &Value) -> Result<(), ApiError> {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    let mut causes = Vec::new();
    if let Some(why) = name_rule(resource, name) {
        causes.push(Cause::invalid("metadata.name", &json!(name), &why));
    }
    check_labels(&metadata["labels"], &mut causes);
    for key in metadata["annotations"].as_object().into_iter().flat_map(|map| map.keys()) {
        // Keys of annotations may have capital letters in their domain.
        if let Some(why) = names::qualified_name(&key.to_lowercase()) {
            causes.push(Cause::invalid("metadata.annotations", &json!(key), &why));
        }
    }
    let annotations = metadata["annotations"].as_object().into_iter().flatten();
    let size: usize = annotations.map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if size > MAX_ANNOTATIONS {
        let why = format!("Too long: may not be more than {MAX_ANNOTATIONS} bytes");
        causes.push(Cause::field("FieldValueTooLong", "metadata.annotations", why));
    }
    for finalizer in metadata["finalizers"].as_array().into_iter().flatten() {
        if let Some(why) = names::qualified_name(finalizer.as_str().unwrap_or_default()) {
            causes.push(Cause::invalid("metadata.finalizers", finalizer, &why));
        }
    }
    for (index, owner) in metadata["ownerReferences"].as_array().into_iter().flatten().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().is_none_or(str::is_empty) {
                let path = format!("metadata.ownerReferences[{index}].{field}");
                causes.push(Cause::invalid(path, &json!(""), "must not be empty"));
            }
        }
    }
    if causes.is_empty() { Ok(()) } else { Err(ApiError::invalid(resource, name, causes)) }
}

/// The rule for names of this resource; `None` when the name keeps it.
fn name_rule(resource: &Resource, name: &str) -> Option<String> {
    match (resource.group.as_str(), resource.id.plural()) {
        ("", "namespaces") => names::dns_label(name),
        ("", "services") => {
            let why = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
                       alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', \
                       regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
            let digit = name.starts_with(|c: char| c.is_ascii_digit());
            (digit || names::dns_label(name).is_some()).then(|| why.to_owned())
        }
        ("rbac.authorization.k8s.io", _) => match name {
            "." | ".." => Some(format!("may not be '{name}'")),
            _ => ['/', '%'].into_iter().find(|c| name.contains(*c)).map(|c| format!("may not contain '{c}'")),
        },
        _ => names::dns_subdomain(name),
    }
}

fn check_labels(labels: &Value, causes: &mut Vec<Cause>) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        if let Some(why) = names::qualified_name(key) {
            causes.push(Cause::invalid("metadata.labels", &json!(key), &why));
        }
        if let Some(why) = names::label_value(value.as_str().unwrap_or_default()) {
            causes.push(Cause::invalid("metadata.labels", value, &why));
        }
    }
}

/// A name from a prefix, with five random characters from the alphabet that Kubernetes uses.
fn generated(prefix: &str) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let bytes = *Uuid::new_v4().as_bytes();
    let pick = |byte: &u8| ALPHABET.get(usize::from(*byte) % ALPHABET.len()).copied().map_or('x', char::from);
    let kept: String = prefix.chars().take(58).collect();
    kept.chars().chain(bytes.iter().take(5).map(pick)).collect()
}

fn part(object: &mut Value) -> Result<&mut Map<String, Value>, ApiError> {
    let wrong = || ApiError::bad_request("metadata must be an object");
    let fields = object.as_object_mut().ok_or_else(wrong)?;
    let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
    if metadata.is_null() {
        *metadata = json!({});
    }
    metadata.as_object_mut().ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::resource::Registry;

    #[test]
    fn names_follow_the_rule_of_their_kind() {
        let registry = Registry::builtin();
        let fits = |group: &str, plural: &str, name: &str| {
            registry.find(group, "v1", plural).is_some_and(|resource| name_rule(&resource, name).is_none())
        };
        assert!(fits("", "configmaps", "a.b-c.0"));
        assert!(!fits("", "configmaps", "a..b"));
        assert!(!fits("", "configmaps", &"a".repeat(254)));
        assert!(!fits("", "namespaces", "a.b"));
        assert!(!fits("", "services", "0a"));
        assert!(fits("rbac.authorization.k8s.io", "roles", "system:Node"));
        assert!(!fits("rbac.authorization.k8s.io", "roles", "a/b"));
    }

    #[test]
    fn generated_names_begin_with_their_prefix() {
        assert!(generated("job-").starts_with("job-"));
        assert_ne!(generated("job-"), generated("job-"));
        assert_eq!(generated(&"x".repeat(80)).len(), 63);
    }
}
