//! Decoding, defaulting, pruning and checking objects.
//!
//! Built-in kinds are decoded by a round trip through their `k8s-openapi` type and checked by the rules of the
//! API server that matter to workloads; custom resources are held to the schema of their definition. The rules for
//! an object's own metadata and for what may change in an update are not here.

mod builtin;
mod defaults;
pub mod names;
pub mod quantity;
mod structural;
mod typed;

use serde_json::Value;

pub use self::defaults::default_builtin;
pub use self::structural::{default_structural, prune_unknown, structural};
pub use self::typed::{decode_builtin, prune_builtin, prune_metadata};

/// The reason of a [`Finding`] about a value of a type that the field cannot hold. For a built-in kind the API
/// server answers it with 400, since it cannot decode the object, and every other reason with 422.
pub const TYPE_INVALID: &str = "FieldValueTypeInvalid";

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The path, such as `spec.containers[0].image`.
    pub field: String,
    /// The reason as in the causes of a `Status`: `FieldValueRequired`, `FieldValueInvalid` and so on.
    pub reason: &'static str,
    /// What is wrong, such as `Required value: must not be empty`.
    pub message: String,
    /// The kind has no such field: refused, warned of or dropped, as the request's `fieldValidation` says.
    pub unknown: bool,
}

/// Everything that is wrong with an object of a built-in kind: types, unknown fields and, where it can be decoded,
/// rules. Expects defaults to be filled in.
pub fn builtin(group: &str, version: &str, kind: &str, object: &Value) -> Vec<Finding> {
    let mut findings = decode_builtin(group, version, kind, object);
    if findings.iter().all(|finding| finding.unknown) {
        findings.extend(check_builtin(group, version, kind, object));
    }
    findings
}

/// The rules that an object of a built-in kind breaks, without its metadata. Expects defaults to be filled in.
pub fn check_builtin(group: &str, _version: &str, kind: &str, object: &Value) -> Vec<Finding> {
    builtin::check(group, kind, object)
}

/// Findings as they come up.
#[derive(Debug, Default)]
pub(crate) struct Report(pub(crate) Vec<Finding>);

impl Report {
    pub(crate) fn required(&mut self, field: impl Into<String>, why: &str) {
        let message =
            if why.is_empty() { "Required value".to_owned() } else { format!("Required value: {why}") };
        self.add("FieldValueRequired", field, message);
    }

    pub(crate) fn invalid(&mut self, field: impl Into<String>, value: &Value, why: &str) {
        self.add("FieldValueInvalid", field, format!("Invalid value: {value}: {why}"));
    }

    pub(crate) fn unsupported(&mut self, field: impl Into<String>, value: &Value, supported: &[&str]) {
        let supported: Vec<String> = supported.iter().map(|one| format!("{one:?}")).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", supported.join(", "));
        self.add("FieldValueNotSupported", field, message);
    }

    pub(crate) fn duplicate(&mut self, field: impl Into<String>, value: &Value) {
        self.add("FieldValueDuplicate", field, format!("Duplicate value: {value}"));
    }

    pub(crate) fn not_found(&mut self, field: impl Into<String>, value: &Value) {
        self.add("FieldValueNotFound", field, format!("Not found: {value}"));
    }

    pub(crate) fn forbidden(&mut self, field: impl Into<String>, why: &str) {
        self.add("FieldValueForbidden", field, format!("Forbidden: {why}"));
    }

    pub(crate) fn add(&mut self, reason: &'static str, field: impl Into<String>, message: String) {
        self.0.push(Finding { field: field.into(), reason, message, unknown: false });
    }
}

/// Any JSON, with field names that the kinds have among others.
#[cfg(test)]
pub(crate) fn arbitrary_json() -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::prelude::*;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9:/.%-]{0,8}".prop_map(Value::from),
        Just(Value::from("$patch")),
    ];
    leaf.prop_recursive(6, 48, 5, |inner| {
        let name = prop_oneof![
            prop::sample::select(vec![
                "metadata",
                "labels",
                "finalizers",
                "ownerReferences",
                "managedFields",
                "spec",
                "status",
                "template",
                "containers",
                "initContainers",
                "name",
                "image",
                "env",
                "ports",
                "containerPort",
                "protocol",
                "port",
                "volumes",
                "volumeMounts",
                "resources",
                "limits",
                "requests",
                "selector",
                "matchLabels",
                "replicas",
                "strategy",
                "rollingUpdate",
                "conditions",
                "type",
                "data",
                "rules",
                "roleRef",
                "subjects",
                "$patch",
                "$retainKeys",
                "$setElementOrder/containers",
                "fieldsV1",
                "f:spec",
                "k:{",
                "properties",
                "items",
                "default",
                "pattern",
                "enum",
                "additionalProperties",
                "required",
            ])
            .prop_map(str::to_owned),
            "[a-z]{1,6}",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map(name, inner, 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}
