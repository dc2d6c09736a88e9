//! From what a writer sent to an object of its kind: unknown fields, types, defaults, validation.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize as _;
use serde_json::Value;

use super::admission;
use super::error::{ApiError, Cause};
use super::http::Repeated;
use super::resource::Resource;
use super::semantics::validate::{self, Finding, TYPE_INVALID, quantity};

/// What happens to fields that the kind does not have (`fieldValidation` of KEP-2885).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum FieldValidation {
    /// They are dropped.
    Ignore,
    /// They are dropped, and a `Warning` header names them.
    #[default]
    Warn,
    /// The request is refused.
    Strict,
    /// The request is refused as server-side apply refuses it: it can own only fields that the schema declares.
    Declared,
}

/// What reading a request found out about its fields.
#[derive(Debug, Clone, Default)]
pub(super) struct Complaints {
    /// Fields that are given again.
    pub(super) repeated: Vec<Repeated>,
    /// Whether the object is what a patch made of the stored one: that is refused in other words.
    pub(super) is_patched: bool,
}

/// Checks the fields against the kind, drops unknown ones and fills in defaults. Returns warnings.
pub(super) fn accept(
    resource: &Resource,
    object: &mut Value,
    validation: FieldValidation,
    complaints: &Complaints,
) -> Result<Vec<String>, ApiError> {
    let patched =
        (validation == FieldValidation::Strict && complaints.is_patched).then(|| object.to_string());
    let (group, version, kind) = (&resource.group, &resource.version, &resource.kind);
    let unknown = if let Some(custom) = &resource.custom {
        if let Err(why) = ObjectMeta::deserialize(&object["metadata"]) {
            let message = format!(
                "{kind} in version \"{version}\" cannot be handled as a {kind}: json: metadata: {why}"
            );
            return Err(ApiError::bad_request(message));
        }
        let mut pruned = validate::prune_metadata(object);
        pruned.extend(validate::prune_unknown(&custom.schema, object));
        pruned.sort();
        validate::default_structural(&custom.schema, object);
        pruned
    } else {
        let findings = validate::decode_builtin(group, version, kind, object);
        if let Some(wrong) = findings.iter().find(|finding| finding.reason == TYPE_INVALID) {
            return Err(match validation {
                FieldValidation::Declared => undeclared(resource, object, &wrong.field, &wrong.message),
                _ => ApiError::bad_request(&wrong.message),
            });
        }
        let unknown: Vec<String> =
            findings.into_iter().filter(|one| one.unknown).map(|one| one.field).collect();
        if !unknown.is_empty() {
            validate::prune_builtin(group, version, kind, object);
        }
        validate::default_builtin(group, version, kind, object);
        unknown
    };
    if let (FieldValidation::Declared, Some(field)) = (validation, unknown.first()) {
        return Err(undeclared(resource, object, field, "field not declared in schema"));
    }
    let unknown: Vec<String> =
        unknown.iter().map(|field| format!("unknown field \"{}\"", field.trim_start_matches('.'))).collect();
    // kube-apiserver decodes what is custom without its schema first.
    let listed = |repeated: Vec<String>| match &resource.custom {
        Some(_) => repeated.into_iter().chain(unknown.iter().cloned()).collect::<Vec<_>>(),
        None => unknown.iter().cloned().chain(repeated).collect(),
    };
    match validation {
        FieldValidation::Strict => {
            let errors = listed(complaints.repeated.iter().map(|field| field.error.clone()).collect());
            if errors.is_empty() {
                return Ok(Vec::new());
            }
            let why = format!("strict decoding error: {}", errors.join(", "));
            Err(match patched {
                Some(text) => {
                    let cause = Cause::invalid("patch", &Value::String(text), &why);
                    ApiError::invalid_kind("", "", "", vec![cause])
                }
                None => ApiError::bad_request(format!(
                    "{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"
                )),
            })
        }
        FieldValidation::Warn => {
            Ok(listed(complaints.repeated.iter().map(|field| field.warning.clone()).collect()))
        }
        // Whoever reads the document of an apply has refused it already, if it is to be refused.
        FieldValidation::Declared => {
            Ok(complaints.repeated.iter().map(|field| field.warning.clone()).collect())
        }
        FieldValidation::Ignore => Ok(Vec::new()),
    }
}

/// The rules that an object of this kind must keep, after defaulting.
pub(super) fn validate(resource: &Resource, object: &Value) -> Result<(), ApiError> {
    let findings = match &resource.custom {
        Some(custom) => validate::structural(&custom.schema, object),
        None => validate::check_builtin(&resource.group, &resource.version, &resource.kind, object),
    };
    if resource.custom.is_none()
        && let Some(amount) = findings.iter().find(|one| one.message.contains(quantity::MUST_MATCH))
    {
        // Such an object cannot even be decoded.
        let (kind, version) = (&resource.kind, &resource.version);
        let (_, why) = amount.message.rsplit_once(": ").unwrap_or(("", &amount.message));
        return Err(ApiError::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"
        )));
    }
    let mut causes: Vec<Cause> = findings.into_iter().filter(|finding| !finding.unknown).map(cause).collect();
    causes.extend(admission::check_policy(&resource.group, &resource.kind, object));
    if causes.is_empty() {
        return Ok(());
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    Err(ApiError::invalid(resource, name, causes))
}

/// kube-apiserver answers this with 500 and no reason.
fn undeclared(resource: &Resource, object: &Value, field: &str, why: &str) -> ApiError {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let (version, kind, field) = (resource.api_version(), &resource.kind, field.trim_start_matches('.'));
    let message =
        format!("failed to create typed patch object (/{name}; {version}, Kind={kind}): .{field}: {why}");
    ApiError::new(500, "", message)
}

fn cause(finding: Finding) -> Cause {
    Cause::field(finding.reason, finding.field.trim_start_matches('.'), finding.message)
}
