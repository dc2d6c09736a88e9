//! CustomResourceDefinitions: names, conditions, stored versions.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::kubernetes::admission::Expression;
use crate::kubernetes::deletion::timestamp;
use crate::kubernetes::error::{ApiError, Cause};
use crate::kubernetes::resource::Resource;

/// Says that a CRD's names are accepted and served.
pub(super) fn define(object: &mut Value, now: Timestamp) {
    let accepted = object["spec"]["names"].clone();
    let versions = object["spec"]["versions"].as_array();
    let storage = versions.into_iter().flatten().find(|version| version["storage"] == true);
    let storage = storage.map(|version| version["name"].clone()).unwrap_or_default();
    object["status"]["acceptedNames"] = accepted;
    let mut stored = object["status"]["storedVersions"].as_array().cloned().unwrap_or_default();
    if !stored.contains(&storage) {
        stored.push(storage);
    }
    object["status"]["storedVersions"] = Value::Array(stored);
    set_condition(object, "NamesAccepted", "True", "NoConflicts", now);
    set_condition(object, "Established", "True", "InitialNamesAccepted", now);
}

/// Rules that only a new object can break.
pub(in crate::kubernetes) fn validate_create(resource: &Resource, object: &Value) -> Result<(), ApiError> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if resource.id.plural() == "customresourcedefinitions" && resource.group == "apiextensions.k8s.io" {
        let spec = &object["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let expected = format!("{}.{}", text(&spec["names"]["plural"]), text(&spec["group"]));
        if name != expected {
            let why = "must be spec.names.plural+\".\"+spec.group";
            return Err(ApiError::invalid(
                resource,
                name,
                vec![Cause::invalid("metadata.name", &json!(name), why)],
            ));
        }
        let faults = faults_of_schemas(spec);
        if !faults.is_empty() {
            return Err(ApiError::invalid(resource, name, faults));
        }
    }
    Ok(())
}

/// What makes a definition's schemas not structural, and its rules not expressions.
fn faults_of_schemas(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, version) in spec["versions"].as_array().into_iter().flatten().enumerate() {
        let path = format!("spec.versions[{index}].schema.openAPIV3Schema");
        faults_of_schema(&version["schema"]["openAPIV3Schema"], &path, "at the root", &mut causes);
    }
    causes
}

fn faults_of_schema(schema: &Value, path: &str, place: &str, causes: &mut Vec<Cause>) {
    let typeless = schema["x-kubernetes-int-or-string"] == true
        || schema["x-kubernetes-preserve-unknown-fields"] == true;
    if schema["type"].as_str().is_none_or(str::is_empty) && !typeless {
        causes.push(Cause::required(format!("{path}.type"), &format!("must not be empty {place}")));
    }
    for (index, rule) in schema["x-kubernetes-validations"].as_array().into_iter().flatten().enumerate() {
        let rule = &rule["rule"];
        if let Err(why) = Expression::compile(rule.as_str().unwrap_or_default()) {
            causes.push(Cause::invalid(format!("{path}.x-kubernetes-validations[{index}].rule"), rule, &why));
        }
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.properties[{name}]");
        faults_of_schema(schema, &path, "for specified object fields", causes);
    }
    if schema["items"].is_object() {
        faults_of_schema(&schema["items"], &format!("{path}.items"), "for specified array items", causes);
    }
    let additional = &schema["additionalProperties"];
    if additional.is_object() {
        let path = format!("{path}.additionalProperties");
        faults_of_schema(additional, &path, "for specified object fields", causes);
    }
}

/// Sets a condition of `status.conditions`; its time stays while its status does.
pub(in crate::kubernetes) fn set_condition(
    object: &mut Value,
    kind: &str,
    status: &str,
    reason: &str,
    now: Timestamp,
) {
    let mut conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let mut condition = json!({
        "type": kind, "status": status, "reason": reason, "message": message(reason), "lastTransitionTime": timestamp(now),
    });
    match conditions.iter_mut().find(|one| one["type"] == kind) {
        Some(old) => {
            if old["status"] == status {
                condition["lastTransitionTime"] = old["lastTransitionTime"].clone();
            }
            *old = condition;
        }
        None => conditions.push(condition),
    }
    object["status"]["conditions"] = Value::Array(conditions);
}

fn message(reason: &str) -> &'static str {
    match reason {
        "NoConflicts" => "no conflicts found",
        "InitialNamesAccepted" => "the initial names have been accepted",
        "InstanceDeletionInProgress" => "CustomResource deletion is in progress",
        _ => "",
    }
}
