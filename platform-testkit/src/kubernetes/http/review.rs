//! Reviews: who somebody is, and what they may do. They are answered and stored nowhere.

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::TokenReview;
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, NonResourceAttributes, ResourceAttributes, SelfSubjectAccessReview,
    SelfSubjectRulesReview, SubjectAccessReview, SubjectAccessReviewSpec,
};
use serde_json::{Value, json};

use super::Server;
use super::request::typed;
use crate::kubernetes::auth::token::ISSUER;
use crate::kubernetes::auth::{self, Access, ResourceAccess, User};
use crate::kubernetes::deletion::timestamp;
use crate::kubernetes::error::{ApiError, Cause};

/// The answer to a review of this kind, in a namespace if the kind has one.
pub(super) async fn answer(
    server: &Server,
    user: &User,
    (api_version, kind): (&str, &str),
    namespace: Option<&str>,
    review: &Value,
) -> Result<Value, ApiError> {
    let mut metadata = json!({});
    let mut spec = Some(review["spec"].clone());
    let status = match kind {
        "SelfSubjectReview" => {
            metadata["creationTimestamp"] = json!(timestamp(Timestamp::now()));
            spec = None;
            json!({"userInfo": user.info()})
        }
        "TokenReview" => token(server, &typed(kind, review)?).await?,
        "SelfSubjectRulesReview" => {
            let review: SelfSubjectRulesReview = typed(kind, review)?;
            spec = Some(json!({}));
            rules(server, user, review.spec.namespace.as_deref().unwrap_or_default())?
        }
        "SelfSubjectAccessReview" => {
            let asked: SelfSubjectAccessReview = typed(kind, review)?;
            let attributes =
                (asked.spec.resource_attributes.as_ref(), asked.spec.non_resource_attributes.as_ref());
            let access = access(attributes).map_err(invalid)?;
            check_metadata(review, false)?;
            decided(server, user, &access)
        }
        "LocalSubjectAccessReview" => {
            let asked: LocalSubjectAccessReview = typed(kind, review)?;
            let namespace = namespace.unwrap_or_default();
            metadata["namespace"] = json!(namespace);
            check_metadata(review, true)?;
            check_local(&asked, namespace)?;
            of_subject(server, &asked.spec)?
        }
        _ => {
            let asked: SubjectAccessReview = typed(kind, review)?;
            check_metadata(review, false)?;
            of_subject(server, &asked.spec)?
        }
    };
    let mut answered =
        json!({"kind": kind, "apiVersion": api_version, "metadata": metadata, "status": status});
    if let Some(spec) = spec {
        answered["spec"] = spec;
    }
    Ok(answered)
}

async fn token(server: &Server, review: &TokenReview) -> Result<Value, ApiError> {
    let token = review.spec.token.as_str();
    if token.is_empty() {
        return Err(ApiError::bad_request("token is required for TokenReview in authentication"));
    }
    let own = [ISSUER.to_owned()];
    let audiences = match review.spec.audiences.as_deref() {
        None | Some([]) => own.as_slice(),
        Some(audiences) => audiences,
    };
    let authenticator = server.authenticator();
    Ok(match auth::user_of(&server.store, &server.tokens, authenticator, token, audiences).await {
        Ok((user, audiences)) => {
            json!({"authenticated": true, "user": user.info(), "audiences": audiences})
        }
        Err(why) => json!({"user": {}, "error": why}),
    })
}

fn rules(server: &Server, user: &User, namespace: &str) -> Result<Value, ApiError> {
    if namespace.is_empty() {
        return Err(ApiError::bad_request("no namespace on request"));
    }
    let (rules, missing) = auth::rules_of(&server.store, user, namespace);
    let some = |rule: &Value, field: &str| rule[field].as_array().is_some_and(|list| !list.is_empty());
    let part = |rule: &Value, fields: &[&str]| {
        let kept = fields.iter().filter(|field| some(rule, field));
        kept.map(|field| ((*field).to_owned(), rule[*field].clone())).collect::<Value>()
    };
    let of = |marker: &str, fields: &[&str]| {
        rules.iter().filter(|rule| some(rule, marker)).map(|rule| part(rule, fields)).collect::<Vec<_>>()
    };
    let mut status = json!({
        "resourceRules": of("resources", &["verbs", "apiGroups", "resources", "resourceNames"]),
        "nonResourceRules": of("nonResourceURLs", &["verbs", "nonResourceURLs"]),
        "incomplete": false,
    });
    let missing = missing.iter().map(auth::MissingRole::singular).collect();
    if let Some(error) = auth::summed_up(missing) {
        status["evaluationError"] = json!(error);
    }
    Ok(status)
}

fn of_subject(server: &Server, spec: &SubjectAccessReviewSpec) -> Result<Value, ApiError> {
    let access = access((spec.resource_attributes.as_ref(), spec.non_resource_attributes.as_ref()));
    let access = access.map_err(invalid)?;
    let user = User {
        name: spec.user.clone().unwrap_or_default(),
        uid: spec.uid.clone().unwrap_or_default(),
        groups: spec.groups.clone().unwrap_or_default(),
        extra: spec.extra.clone().unwrap_or_default(),
    };
    if user.name.is_empty() && user.groups.is_empty() {
        let why = "at least one of user or group must be specified";
        return Err(invalid(Cause::invalid("spec.user", &json!(""), why)));
    }
    Ok(decided(server, &user, &access))
}

fn decided(server: &Server, user: &User, access: &Access) -> Value {
    let decision = auth::authorize(&server.store, user, access);
    let mut status = json!({"allowed": decision.allowed});
    if !decision.reason.is_empty() {
        status["reason"] = json!(decision.reason);
    }
    status
}

/// What the review asks about: exactly one of both.
fn access(
    (resource, path): (Option<&ResourceAttributes>, Option<&NonResourceAttributes>),
) -> Result<Access, Cause> {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    match (resource, path) {
        (Some(_), Some(path)) => {
            let value = path_value(path);
            let why = "cannot be specified in combination with resourceAttributes";
            Err(Cause::invalid("spec.nonResourceAttributes", &value, why))
        }
        (None, None) => {
            let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            Err(Cause::invalid("spec.resourceAttributes", &Value::Null, why))
        }
        (None, Some(path)) => Ok(Access::Path { verb: text(&path.verb), path: text(&path.path) }),
        (Some(asked), None) => Ok(Access::Resource(ResourceAccess {
            verb: text(&asked.verb),
            group: text(&asked.group),
            resource: text(&asked.resource),
            subresource: text(&asked.subresource),
            namespace: text(&asked.namespace),
            name: text(&asked.name),
        })),
    }
}

/// A local review is about resources of its own namespace.
fn check_local(review: &LocalSubjectAccessReview, namespace: &str) -> Result<(), ApiError> {
    if review.metadata.namespace.as_deref().is_some_and(|given| !given.is_empty() && given != namespace) {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(ApiError::bad_request(why));
    }
    if let Some(path) = &review.spec.non_resource_attributes {
        let why = "disallowed on this kind of request";
        return Err(invalid(Cause::invalid("spec.nonResourceAttributes", &path_value(path), why)));
    }
    let asked = review.spec.resource_attributes.as_ref().and_then(|asked| asked.namespace.as_deref());
    let asked = asked.unwrap_or_default();
    if review.spec.resource_attributes.is_some() && asked != namespace {
        let why = "must match metadata.namespace";
        return Err(invalid(Cause::invalid("spec.resourceAttributes.namespace", &json!(asked), why)));
    }
    Ok(())
}

/// Reviews have no name, no labels and nothing else that would be kept.
fn check_metadata(review: &Value, namespaced: bool) -> Result<(), ApiError> {
    let mut fields = review["metadata"].as_object().into_iter().flatten();
    let kept = |name: &str| name == "managedFields" || namespaced && name == "namespace";
    match fields.find(|(name, value)| !kept(name) && !value.is_null()) {
        Some(_) => Err(invalid(Cause::invalid("metadata", &review["metadata"], "must be empty"))),
        None => Ok(()),
    }
}

fn path_value(path: &NonResourceAttributes) -> Value {
    json!({"Path": path.path.as_deref().unwrap_or_default(), "Verb": path.verb.as_deref().unwrap_or_default()})
}

/// kube-apiserver names no kind.
fn invalid(cause: Cause) -> ApiError {
    ApiError::invalid_kind("authorization.k8s.io", "", "", vec![cause])
}
