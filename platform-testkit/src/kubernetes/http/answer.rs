//! How objects, lists and refusals go over the wire.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::request::{Accept, Form};
use super::{table, view};
use crate::kubernetes::error::ApiError;
use crate::kubernetes::resource::Resource;
use crate::kubernetes::state::{Stored, encode};

/// What goes with the items of a list.
#[derive(Debug, Clone, Default)]
pub(super) struct ListMeta {
    pub(super) revision: u64,
    pub(super) next: Option<String>,
    pub(super) remaining: Option<usize>,
}

pub(super) fn text(code: u16, media_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

pub(super) fn value(code: u16, value: &Value, accept: Accept) -> Response {
    if accept.yaml {
        let yaml = serde_saphyr::to_string(value).unwrap_or_default();
        return text(code, "application/yaml", yaml);
    }
    text(code, "application/json", encode(value))
}

/// A refusal. It is JSON whatever was asked for: a client that cannot read that reads the code.
pub(super) fn refusal(error: &ApiError) -> Response {
    let mut response = text(error.code, "application/json", encode(&error.status()));
    if let Some(details) = error.details.as_ref().filter(|details| details.retry_after_seconds > 0) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(details.retry_after_seconds));
    }
    response
}

/// One object, in the form asked for.
pub(super) fn object(code: u16, resource: &Resource, object: &Stored, accept: Accept) -> Response {
    included(code, resource, object, accept, table::Include::Metadata)
}

/// One object; as a table its row carries what `include` says.
pub(super) fn included(
    code: u16,
    resource: &Resource,
    object: &Stored,
    accept: Accept,
    include: table::Include,
) -> Response {
    match accept {
        Accept { form: Form::Object, yaml: false } => {
            text(code, "application/json", rendered(resource, object))
        }
        Accept { form: Form::Object, yaml: true } => value(code, &versioned(resource, object), accept),
        Accept { form: Form::Metadata, .. } => value(code, &partial(object, "PartialObjectMetadata"), accept),
        Accept { form: Form::Table, .. } => {
            let meta = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
            value(code, &table::of(resource, &[object], &meta, include), accept)
        }
    }
}

/// A list, in the form asked for.
pub(super) fn list(
    resource: &Resource,
    items: &[Arc<Stored>],
    meta: &ListMeta,
    accept: Accept,
    include: table::Include,
) -> Response {
    let mut metadata = json!({"resourceVersion": meta.revision.to_string()});
    if let Some(next) = &meta.next {
        metadata["continue"] = json!(next);
    }
    if let Some(remaining) = meta.remaining {
        metadata["remainingItemCount"] = json!(remaining);
    }
    match accept.form {
        Form::Table => {
            let items: Vec<&Stored> = items.iter().map(AsRef::as_ref).collect();
            value(200, &table::of(resource, &items, &metadata, include), accept)
        }
        Form::Metadata => {
            let items: Vec<Value> =
                items.iter().map(|object| partial(object, "PartialObjectMetadata")).collect();
            let kind = "PartialObjectMetadataList";
            let list =
                json!({"kind": kind, "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items});
            value(200, &list, accept)
        }
        Form::Object if accept.yaml => {
            let items: Vec<Value> = items.iter().map(|object| versioned(resource, object)).collect();
            let (kind, version) = (&resource.list_kind, resource.api_version());
            value(
                200,
                &json!({"kind": kind, "apiVersion": version, "metadata": metadata, "items": items}),
                accept,
            )
        }
        Form::Object => {
            let head = json!({"kind": resource.list_kind, "apiVersion": resource.api_version(), "metadata": metadata});
            text(200, "application/json", joined(&encode(&head), resource, items))
        }
    }
}

/// The JSON text of an object in the version of `resource`.
pub(super) fn rendered(resource: &Resource, object: &Stored) -> Bytes {
    if shows_as_stored(resource, object) { object.json() } else { encode(&versioned(resource, object)) }
}

/// Whether an object is shown as it is stored: built-in resources have one version.
pub(super) fn shows_as_stored(resource: &Resource, object: &Stored) -> bool {
    (resource.custom.is_none() && !resource.is_view())
        || object["apiVersion"] == resource.api_version().as_str()
}

pub(super) fn versioned(resource: &Resource, object: &Stored) -> Value {
    let mut value = view::shown(resource, object).into_owned();
    value["apiVersion"] = json!(resource.api_version());
    value
}

pub(super) fn partial(object: &Value, kind: &str) -> Value {
    json!({"kind": kind, "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// Writes the items, which are text already, into the list that `head` begins.
fn joined(head: &[u8], resource: &Resource, items: &[Arc<Stored>]) -> Vec<u8> {
    let texts: Vec<Bytes> = items.iter().map(|object| rendered(resource, object)).collect();
    let size: usize = texts.iter().map(|text| text.len() + 1).sum();
    let mut out = Vec::with_capacity(head.len() + size + 16);
    out.extend_from_slice(head.strip_suffix(b"}").unwrap_or(head));
    out.extend_from_slice(b",\"items\":[");
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(text);
    }
    out.extend_from_slice(b"]}");
    out
}
