//! What the API answers when it refuses: a `Status` of kind Failure, worded as kube-apiserver words it.

use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

use super::resource::{GroupResource, Resource};

/// A refusal: an HTTP code and the `metav1.Status` that goes with it.
///
/// Reasons and causes are those of `k8s.io/apimachinery/pkg/apis/meta/v1` (`StatusReason`, `CauseType`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason such as `NotFound`; empty where kube-apiserver gives none.
    pub reason: &'static str,
    /// One sentence for people.
    pub message: String,
    /// Which object and which fields, when known.
    pub details: Option<Box<Details>>,
}

/// `metav1.StatusDetails`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// Name of the object concerned.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// API group of the object concerned.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Resource (plural) or kind, whichever kube-apiserver gives for this reason.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// UID of the object concerned.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// One entry for each field or manager at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// After how many seconds to try again; 0 when that would not help.
    #[serde(skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u32,
}

/// `metav1.StatusCause`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// Such as `FieldValueInvalid` or `FieldManagerConflict`; empty where kube-apiserver gives none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What is wrong with the field.
    pub message: String,
    /// The field's path, for example `spec.replicas`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

impl ApiError {
    /// A refusal without details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None }
    }

    /// 404: no such object.
    pub fn not_found(resource: &GroupResource, name: &str) -> Self {
        Self::about(404, "NotFound", resource, name, format!("{resource} \"{name}\" not found"))
    }

    /// 404: no such path or resource type.
    pub fn unknown_resource() -> Self {
        let mut error = Self::new(404, "NotFound", "the server could not find the requested resource");
        error.details = Some(Box::default());
        error
    }

    /// 405: the resource is there, this verb is not.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        let mut error = Self::new(405, "MethodNotAllowed", message);
        error.details = Some(Box::default());
        error
    }

    /// 409: create of what exists.
    pub fn already_exists(resource: &GroupResource, name: &str) -> Self {
        let message = format!("{resource} \"{name}\" already exists");
        Self::about(409, "AlreadyExists", resource, name, message)
    }

    /// 409: the writer saw an older version than the stored one.
    pub fn modified(resource: &GroupResource, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    /// 409 with its own explanation.
    pub fn conflict(resource: &GroupResource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}");
        Self::about(409, "Conflict", resource, name, message)
    }

    /// 409 named by kind, as failed preconditions are.
    pub fn conflict_kind(group: &str, kind: &str, name: &str, why: &str) -> Self {
        Self::conflict(&GroupResource::owned(group, kind), name, why)
    }

    /// 409: server-side apply met fields of other managers.
    pub fn apply_conflict(message: String, causes: Vec<Cause>) -> Self {
        let details = Details { causes, ..Details::default() };
        Self { code: 409, reason: "Conflict", message, details: Some(Box::new(details)) }
    }

    /// 401: the credentials of the request are not good.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403.
    pub fn forbidden(resource: &GroupResource, name: &str, why: &str) -> Self {
        let message = format!("{resource} \"{name}\" is forbidden: {why}");
        Self::about(403, "Forbidden", resource, name, message)
    }

    /// 403: a namespace that is being deleted takes nothing new.
    pub fn terminating(resource: &GroupResource, name: &str, namespace: &str, why: &str) -> Self {
        let mut error = Self::forbidden(resource, name, why);
        if let Some(details) = &mut error.details {
            let message = format!("namespace {namespace} is being terminated");
            details.causes = vec![Cause::field("NamespaceTerminating", "metadata.namespace", message)];
        }
        error
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 410: the version asked for is older than the history kept.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 413: the body is larger than the server reads.
    pub fn too_large(limit: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit}");
        Self::new(413, "RequestEntityTooLarge", message)
    }

    /// 415.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 422: an object of `resource` breaks the rules that `causes` name.
    pub fn invalid(resource: &Resource, name: &str, causes: Vec<Cause>) -> Self {
        Self::invalid_kind(&resource.group, &resource.kind, name, causes)
    }

    /// 422 for any kind, options included.
    pub fn invalid_kind(group: &str, kind: &str, name: &str, causes: Vec<Cause>) -> Self {
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let mut texts: Vec<String> = Vec::new();
        for text in causes.iter().map(Cause::to_string) {
            // A message tells each fault once, however many causes it has.
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let listed = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let details = Details {
            name: name.to_owned(),
            group: group.to_owned(),
            kind: kind.to_owned(),
            causes,
            ..Details::default()
        };
        let message = format!("{qualified} \"{name}\" is invalid: {listed}");
        Self { code: 422, reason: "Invalid", message, details: Some(Box::new(details)) }
    }

    /// The `Status` object of this refusal.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if let Some(details) = &self.details {
            status["details"] = json!(details);
        }
        status
    }

    fn about(code: u16, reason: &'static str, on: &GroupResource, name: &str, message: String) -> Self {
        let details = Details {
            name: name.to_owned(),
            group: on.group().to_owned(),
            kind: on.plural().to_owned(),
            ..Details::default()
        };
        Self { code, reason, message, details: Some(Box::new(details)) }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

impl Cause {
    /// A field whose value breaks a rule.
    pub fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        Self::field("FieldValueInvalid", field, format!("Invalid value: {value}: {why}"))
    }

    /// A field that must be there.
    pub fn required(field: impl Into<String>, why: &str) -> Self {
        let message =
            if why.is_empty() { "Required value".to_owned() } else { format!("Required value: {why}") };
        Self::field("FieldValueRequired", field, message)
    }

    /// A field that must not be set, or not be changed.
    pub fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self::field("FieldValueForbidden", field, format!("Forbidden: {why}"))
    }

    /// A field whose value is not among the allowed ones. `value` is shown as it is.
    pub fn unsupported(field: impl Into<String>, value: &str, supported: &[&str]) -> Self {
        let quoted: Vec<String> = supported.iter().map(|one| format!("\"{one}\"")).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", quoted.join(", "));
        Self::field("FieldValueNotSupported", field, message)
    }

    /// Any reason.
    pub fn field(reason: &str, field: impl Into<String>, message: String) -> Self {
        Self { reason: reason.to_owned(), message, field: field.into() }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.field, self.message)
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde calls
fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_object_is_worded_with_its_group() {
        let error = ApiError::not_found(&GroupResource::new("apps", "deployments"), "web");
        assert_eq!(error.message, "deployments.apps \"web\" not found");
        assert_eq!(error.status()["details"], json!({"name": "web", "group": "apps", "kind": "deployments"}));
    }

    #[test]
    fn several_causes_are_listed_in_brackets() {
        let causes =
            vec![Cause::required("metadata.name", ""), Cause::forbidden("spec", "field is immutable")];
        let error = ApiError::invalid_kind("apps", "Deployment", "web", causes);
        let listed = "[metadata.name: Required value, spec: Forbidden: field is immutable]";
        assert_eq!(error.message, format!("Deployment.apps \"web\" is invalid: {listed}"));
    }
}
