//! `serviceaccounts/token`: a TokenRequest, which `kubectl create token` sends.

use axum::response::Response;
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest};
use serde_json::{Value, json};
use uuid::Uuid;

use super::answer;
use super::read::key;
use super::request::{self, Accept, Target};
use crate::kubernetes::auth::Tokens;
use crate::kubernetes::auth::token::{Bound, Claims, ISSUER, Reference};
use crate::kubernetes::deletion::timestamp;
use crate::kubernetes::error::{ApiError, Cause};
use crate::kubernetes::resource::GroupResource;
use crate::kubernetes::state::{Key, Stored};
use crate::kubernetes::store::Store;

const KIND: &str = "TokenRequest";
const GROUP: &str = "authentication.k8s.io";
const DEFAULT_SECONDS: i64 = 3_600;
const LEAST_SECONDS: i64 = 600;
const MOST_SECONDS: i64 = 1 << 32;

pub(super) fn create(
    store: &Store,
    tokens: &Tokens,
    target: &Target,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, ApiError> {
    let accept = Accept::parse(headers)?;
    let body = request::body(headers, body, KIND)?.unwrap_or_else(|| json!({}));
    let asked: TokenRequest = request::typed(KIND, &body)?;
    let key = key(target);
    check_metadata(&asked, &key)?;
    let spec = asked.spec.unwrap_or_default();
    let seconds = spec.expiration_seconds.unwrap_or(DEFAULT_SECONDS);
    check_seconds(seconds)?;
    let account = store.get(&key)?;
    let bound = bound(store, &key, &account, spec.bound_object_ref.as_ref())?;
    let audiences = match spec.audiences {
        Some(audiences) if !audiences.is_empty() => audiences,
        _ => vec![ISSUER.to_owned()],
    };
    let now = Timestamp::now();
    let expires = now + SignedDuration::from_secs(seconds);
    let token = tokens.sign(&Claims {
        aud: audiences.clone(),
        exp: expires.as_second(),
        iat: now.as_second(),
        iss: ISSUER.to_owned(),
        jti: Uuid::new_v4().to_string(),
        sub: format!("system:serviceaccount:{}:{}", key.namespace, key.name),
        bound,
        nbf: now.as_second(),
    })?;
    let answered = json!({
        "kind": KIND,
        "apiVersion": format!("{GROUP}/v1"),
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "uid": account["metadata"]["uid"],
            "creationTimestamp": timestamp(now),
        },
        "spec": {
            "audiences": audiences,
            "expirationSeconds": seconds,
            "boundObjectRef": body["spec"]["boundObjectRef"],
        },
        "status": {"token": token, "expirationTimestamp": timestamp(expires)},
    });
    Ok(answer::value(201, &answered, accept))
}

fn check_metadata(asked: &TokenRequest, key: &Key) -> Result<(), ApiError> {
    let given = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
    if given(&asked.metadata.namespace).is_some_and(|namespace| namespace != key.namespace) {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(ApiError::bad_request(why));
    }
    match given(&asked.metadata.name) {
        Some(name) if name != key.name => {
            let why = "must match the service account name if specified";
            let cause = Cause::invalid("metadata.name", &json!(name), why);
            Err(ApiError::invalid_kind(GROUP, KIND, &key.name, vec![cause]))
        }
        _ => Ok(()),
    }
}

fn check_seconds(seconds: i64) -> Result<(), ApiError> {
    let why = match seconds {
        LEAST_SECONDS..=MOST_SECONDS => return Ok(()),
        ..LEAST_SECONDS => "may not specify a duration less than 10 minutes",
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    let cause = Cause::invalid("spec.expirationSeconds", &json!(seconds), why);
    Err(ApiError::invalid_kind(GROUP, KIND, "", vec![cause]))
}

/// What the token is to live and die with: the account, and the object that the request names.
fn bound(
    store: &Store,
    key: &Key,
    account: &Stored,
    object: Option<&BoundObjectReference>,
) -> Result<Bound, ApiError> {
    let mut bound = Bound {
        namespace: key.namespace.clone(),
        node: None,
        pod: None,
        secret: None,
        serviceaccount: reference(account),
    };
    let Some(object) = object else { return Ok(bound) };
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (version, kind) = (text(&object.api_version), text(&object.kind));
    let (plural, namespace) = match (version.as_str(), kind.as_str()) {
        ("v1", "Pod") => ("pods", key.namespace.as_str()),
        ("v1", "Secret") => ("secrets", key.namespace.as_str()),
        ("v1", "Node") => ("nodes", ""),
        _ => {
            let (group, version) = version.split_once('/').unwrap_or(("", &version));
            let why = format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
            return Err(ApiError::bad_request(why));
        }
    };
    let found = store.get(&Key::new(&GroupResource::new("", plural), namespace, text(&object.name)))?;
    let uid = text(&object.uid);
    if !uid.is_empty() && found["metadata"]["uid"] != uid.as_str() {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have \
             been deleted and then recreated"
        );
        return Err(ApiError::conflict_kind("", &kind, &text(&object.name), &why));
    }
    match plural {
        "pods" => {
            let own = found["spec"]["serviceAccountName"].as_str().unwrap_or("default");
            if own != key.name {
                return Err(ApiError::bad_request(format!(
                    "cannot bind token for serviceaccount \"{}\" to pod running with different serviceaccount name.",
                    key.name
                )));
            }
            let node = found["spec"]["nodeName"].as_str().unwrap_or_default();
            let node = store.find(&Key::new(&GroupResource::new("", "nodes"), "", node));
            bound.node = node.map(|node| reference(&node));
            bound.pod = Some(reference(&found));
        }
        "secrets" => bound.secret = Some(reference(&found)),
        _ => bound.node = Some(reference(&found)),
    }
    Ok(bound)
}

fn reference(object: &Value) -> Reference {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    Reference { name: text("name"), uid: text("uid") }
}
