//! POST, PUT, PATCH and DELETE.

use std::borrow::Cow;
use std::sync::Arc;

use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::{Value, json};

use super::answer::{self, ListMeta};
use super::document::{Document, Repeated};
use super::read::{Selection, key};
use super::request::{self, Accept, Parameters, Target};
use super::scale;
use super::table::Include;
use super::view;
use crate::kubernetes::auth::{self, ResourceAccess, User};
use crate::kubernetes::decode::{Complaints, FieldValidation};
use crate::kubernetes::deletion::{DeleteOptions, Deleted, Deletion, Propagation, timestamp};
use crate::kubernetes::error::{ApiError, Cause};
use crate::kubernetes::resource::Resource;
use crate::kubernetes::semantics::apply::{self, ApplyContext, ApplyError};
use crate::kubernetes::semantics::patch;
use crate::kubernetes::state::Stored;
use crate::kubernetes::store::Store;
use crate::kubernetes::write::{Write, WriteOptions, Written};

/// What a handler did, and the revision that must be on disk before the client hears of it.
pub(super) struct Done {
    pub(super) response: Response,
    pub(super) revision: u64,
}

impl Done {
    fn of(target: &Target, written: &Written, accept: Accept) -> Self {
        let code = if written.created { 201 } else { 200 };
        let mut response = if target.subresource.as_deref() == Some("scale") {
            answer::value(code, &scale::of(&target.resource, &written.object), accept)
        } else {
            answer::object(code, &target.resource, &written.object, accept)
        };
        warn(&mut response, &written.warnings);
        Self { response, revision: written.object.revision() }
    }
}

/// Tells warnings in headers.
pub(super) fn warn(response: &mut Response, warnings: &[String]) {
    for warning in warnings {
        let text = format!("299 - \"{}\"", warning.replace('\\', "\\\\").replace('"', "\\\""));
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

pub(super) fn create(
    store: &Store,
    user: &Arc<User>,
    target: &Target,
    query: &Parameters,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Done, ApiError> {
    let options = query.write_options(user, headers, "CreateOptions")?;
    let accept = Accept::parse(headers)?;
    let resource = &target.resource;
    let (object, complaints) = object_of(resource, headers, body)?;
    let options = WriteOptions { complaints, ..options };
    let storage = view::storage(store, resource)?;
    let object = view::stored(resource, &storage, object);
    let namespace = target.namespace.as_deref().unwrap_or_default();
    if resource.namespaced && target.namespace.is_none() {
        return Err(ApiError::method_not_allowed());
    }
    let written = store.write_new(&storage, namespace, object, &options)?;
    Ok(Done::of(target, &written, accept))
}

pub(super) fn replace(
    store: &Store,
    user: &Arc<User>,
    target: &Target,
    query: &Parameters,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Done, ApiError> {
    let options = with_subresource(query.write_options(user, headers, "UpdateOptions")?, target);
    let accept = Accept::parse(headers)?;
    let (resource, key) = (&target.resource, key(target));
    if target.subresource.as_deref() == Some("scale") {
        let scale = request::body(headers, body, "Scale")?.unwrap_or_default();
        let written = store.write_over(resource, &key, &options, &|live| {
            let live = live.ok_or_else(|| ApiError::not_found(&key.resource, &key.name))?;
            scale::apply(resource, live, &scale).map(Write::Replace).map(Some)
        })?;
        return Ok(Done::of(target, &written, accept));
    }
    let (object, complaints) = object_of(resource, headers, body)?;
    let options = WriteOptions { complaints, ..options };
    let storage = view::storage(store, resource)?;
    let object = view::stored(resource, &storage, object);
    check_name(&object, &key.name)?;
    check_namespace(&object, target)?;
    let written = store.write_over(&storage, &key, &options, &|live| match live {
        Some(_) => Ok(Some(Write::Replace(object.clone()))),
        None => Err(ApiError::not_found(&key.resource, &key.name)),
    })?;
    Ok(Done::of(target, &written, accept))
}

pub(super) fn patch(
    store: &Store,
    user: &Arc<User>,
    target: &Target,
    query: &Parameters,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Done, ApiError> {
    let options = with_subresource(query.write_options(user, headers, "PatchOptions")?, target);
    let accept = Accept::parse(headers)?;
    let resource = &target.resource;
    let (patch, complaints) = Patch::parse(resource, query, headers, body, options.validation)?;
    let options = WriteOptions { complaints, ..options };
    let key = key(target);
    if let Patch::Apply { object, .. } = &patch {
        match object["metadata"]["name"].as_str() {
            None | Some("") => {
                let name = &key.name;
                let why = format!(
                    "the name of the object ({name} based on URL) was undeterminable: name must be provided"
                );
                return Err(ApiError::bad_request(why));
            }
            Some(_) => check_name(object, &key.name)?,
        }
        check_namespace(object, target)?;
    }
    let storage = view::storage(store, resource)?;
    let is_scale = target.subresource.as_deref() == Some("scale");
    let written = store.write_over(&storage, &key, &options, &|live| {
        let missing = || ApiError::not_found(&key.resource, &key.name);
        match live {
            None if target.subresource.is_some() => Err(missing()),
            Some(live) if is_scale => {
                let scale = patch.patched(resource, &scale::of(resource, live))?;
                scale::apply(resource, live, &scale).map(Write::Replace).map(Some)
            }
            live => match &patch {
                Patch::Apply { object, force } => {
                    if live.is_none() {
                        // Who may patch may not create by it.
                        let create = ResourceAccess::new("create", &resource.group, key.resource.plural());
                        let create = create.within(key.namespace.clone()).named(key.name.clone());
                        auth::require(store, user, &create.into())?;
                    }
                    let mut object = Cow::Borrowed(object);
                    if resource.is_view() {
                        object = Cow::Owned(view::stored(resource, &storage, object.into_owned()));
                    }
                    apply_object(&storage, &options, live, &object, *force)
                }
                other => {
                    let live = live.ok_or_else(missing)?;
                    let patched = other.patched(resource, &view::shown(resource, live))?;
                    check_name(&patched, &key.name)?;
                    check_uid(resource, live, &patched)?;
                    Ok(Some(Write::Replace(view::stored(resource, &storage, patched))))
                }
            },
        }
    })?;
    Ok(Done::of(target, &written, accept))
}

pub(super) fn delete(
    store: &Store,
    user: &Arc<User>,
    target: &Target,
    query: &Parameters,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Done, ApiError> {
    let options = delete_options(query, headers, body)?;
    let accept = Accept::parse(headers)?;
    let key = key(target);
    if target.subresource.is_some() {
        return Err(ApiError::method_not_allowed());
    }
    let Deleted { deletion, warnings } = store.delete_object(&key, &options, user)?;
    let (mut response, revision) = match deletion {
        Deletion::Pending(object) => {
            (answer::object(200, &target.resource, &object, accept), object.revision())
        }
        Deletion::Gone(object) => {
            let mut details =
                json!({"name": key.name, "kind": key.resource.plural(), "uid": object["metadata"]["uid"]});
            if !key.resource.group().is_empty() {
                details["group"] = json!(key.resource.group());
            }
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
            });
            let accept = Accept { form: super::request::Form::Object, ..accept };
            (answer::value(200, &status, accept), object.revision())
        }
    };
    warn(&mut response, &warnings);
    Ok(Done { response, revision })
}

pub(super) fn delete_collection(
    store: &Store,
    user: &Arc<User>,
    target: &Target,
    query: &Parameters,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Done, ApiError> {
    let resource = &target.resource;
    if !resource.verbs().contains(&"deletecollection") || (resource.namespaced && target.namespace.is_none())
    {
        return Err(ApiError::method_not_allowed());
    }
    let options = delete_options(query, headers, body)?;
    let accept = Accept::parse(headers)?;
    let selection = Selection::parse(target, query)?;
    let listing = store.list(&resource.id, target.namespace.as_deref());
    let (mut deleted, mut warnings) = (Vec::new(), Vec::new());
    for object in listing.items.into_iter().filter(|object| selection.selects(object)) {
        let key = crate::kubernetes::state::Key::of(&resource.id, &object);
        match store.delete_object(&key, &options, user) {
            Ok(Deleted { deletion: Deletion::Gone(object) | Deletion::Pending(object), warnings: more }) => {
                deleted.push(object);
                warnings.extend(
                    more.into_iter().filter(|warning| !warnings.contains(warning)).collect::<Vec<_>>(),
                );
            }
            Err(error) if error.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    let revision = store.revision();
    let meta = ListMeta { revision, ..ListMeta::default() };
    let mut response = answer::list(resource, &deleted, &meta, accept, Include::Metadata);
    warn(&mut response, &warnings);
    Ok(Done { response, revision })
}

/// A patch in one of its four forms.
enum Patch {
    Json(Value),
    Merge(Value),
    Strategic(Value),
    Apply { object: Value, force: bool },
}

impl Patch {
    /// The patch, and what is to be said about its fields.
    fn parse(
        resource: &Resource,
        query: &Parameters,
        headers: &HeaderMap,
        body: &[u8],
        validation: FieldValidation,
    ) -> Result<(Self, Complaints), ApiError> {
        let decoding = |why: String| ApiError::bad_request(format!("error decoding patch: {why}"));
        let json = || Document::json(body).map_err(decoding);
        let patched = |repeated| Complaints { repeated, is_patched: true };
        let forced = query.get("force").is_some();
        let invalid = |cause| Err(ApiError::invalid_kind("meta.k8s.io", "PatchOptions", "", vec![cause]));
        let form = request::media_type(headers);
        if form != "application/apply-patch+yaml" && forced {
            return invalid(Cause::forbidden("force", "may not be specified for non-apply patch"));
        }
        match form.as_str() {
            "application/json-patch+json" => {
                let Document { value, repeated } = json()?;
                if !value.is_array() {
                    return Err(decoding("a JSON patch is a list of operations".to_owned()));
                }
                let complaints = patched(about_operations(&value, repeated));
                Ok((Self::Json(value), complaints))
            }
            "application/merge-patch+json" => match json()? {
                Document { value, repeated } if value.is_object() => {
                    Ok((Self::Merge(value), patched(repeated)))
                }
                _ => Err(decoding("a merge patch is an object".to_owned())),
            },
            "application/strategic-merge-patch+json" if resource.custom.is_none() => match json()? {
                Document { value, repeated } if value.is_object() => {
                    Ok((Self::Strategic(value), patched(repeated)))
                }
                _ => Err(decoding("a strategic merge patch is an object".to_owned())),
            },
            "application/apply-patch+yaml" => {
                if query.get("fieldManager").is_none() {
                    return invalid(Cause::required("fieldManager", "is required for apply patch"));
                }
                let Document { value: object, mut repeated } = Document::yaml(body)
                    .map_err(|why| ApiError::bad_request(format!("error decoding YAML: {why}")))?;
                if let (FieldValidation::Strict, Some(first)) = (validation, repeated.first()) {
                    let why = &first.error;
                    return Err(ApiError::bad_request(format!(
                        "error strict decoding YAML: error converting YAML to JSON: {why}"
                    )));
                }
                if validation == FieldValidation::Ignore {
                    repeated.clear();
                }
                check_type(resource, &object)?;
                let apply = Self::Apply { object, force: query.flag("force")? };
                Ok((apply, Complaints { repeated, is_patched: false }))
            }
            "application/strategic-merge-patch+json" => Err(ApiError::unsupported_media_type(
                "the body of the request was in an unknown format - accepted media types include: \
                 application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
            )),
            _ => {
                let mut error = ApiError::unsupported_media_type("415: Unsupported Media Type");
                error.details = Some(Box::default());
                Err(error)
            }
        }
    }

    fn patched(&self, resource: &Resource, live: &Value) -> Result<Value, ApiError> {
        match self {
            Self::Json(operations) => patch::json_patch(live, operations).map_err(|why| {
                tracing::debug!(why, "a JSON patch does not fit its object");
                let message = "the server rejected our request due to an error in our request";
                let mut error = ApiError::new(422, "Invalid", message);
                error.details = Some(Box::default());
                error
            }),
            Self::Merge(object) | Self::Apply { object, .. } => {
                patch::merge_patch(live, object).map_err(ApiError::bad_request)
            }
            Self::Strategic(object) => {
                patch::strategic_merge_patch(&resource.schema, live, object).map_err(ApiError::bad_request)
            }
        }
    }
}

/// What is to be said about the operations of a JSON patch: fields that come again, and fields that mean nothing.
fn about_operations(operations: &Value, repeated: Vec<Repeated>) -> Vec<Repeated> {
    let told = |told: String| Repeated { warning: told.clone(), error: told };
    let operations = operations.as_array().into_iter().flatten().enumerate();
    let unknown = operations.flat_map(|(index, operation)| {
        let fields = operation.as_object().into_iter().flat_map(|fields| fields.keys());
        let unknown = fields.filter(|field| !matches!(field.as_str(), "op" | "path" | "from" | "value"));
        unknown.map(move |field| told(format!("json patch unknown field \"[{index}].{field}\"")))
    });
    let repeated = repeated.into_iter().map(|field| told(format!("json patch {}", field.error)));
    repeated.chain(unknown).collect()
}

fn apply_object(
    resource: &Resource,
    options: &WriteOptions,
    live: Option<&Stored>,
    object: &Value,
    force: bool,
) -> Result<Option<Write>, ApiError> {
    // What the request may not set is not owned by it either.
    let settable = |field: &str| match options.subresource {
        Some("status") => matches!(field, "apiVersion" | "kind" | "metadata" | "status"),
        _ => field != "status" || !resource.serves("status"),
    };
    let mut wanted = Cow::Borrowed(object);
    if let Some(fields) = object.as_object()
        && !fields.keys().all(|field| settable(field))
        && let Some(fields) = wanted.to_mut().as_object_mut()
    {
        fields.retain(|field, _| settable(field));
    }
    if let (Some(live), Some(version)) = (live, wanted["metadata"]["resourceVersion"].as_str())
        && live["metadata"]["resourceVersion"] != version
    {
        return Err(ApiError::modified(&resource.id, live["metadata"]["name"].as_str().unwrap_or_default()));
    }
    let now = timestamp(jiff::Timestamp::now());
    let api_version = resource.api_version();
    let context = ApplyContext {
        schema: &resource.schema,
        manager: &options.manager,
        force,
        subresource: options.subresource,
        api_version: &api_version,
        now: &now,
    };
    if live.is_some_and(|live| apply::changes_nothing(&context, live, &wanted)) {
        return Ok(None);
    }
    match apply::apply(&context, live.map(Stored::value), &wanted) {
        Ok(merged) => Ok(Some(Write::Apply(merged))),
        Err(error @ ApplyError::Conflict(_)) => {
            let message = error.to_string();
            let ApplyError::Conflict(conflicts) = error else { return Err(ApiError::bad_request(message)) };
            let cause = |conflict: &apply::Conflict| {
                Cause::field(
                    "FieldManagerConflict",
                    conflict.field.clone(),
                    format!("conflict with {conflict}"),
                )
            };
            Err(ApiError::apply_conflict(message, conflicts.iter().map(cause).collect()))
        }
        Err(ApplyError::Invalid(why)) => Err(ApiError::bad_request(why)),
        Err(ApplyError::Untyped(why)) => {
            let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
            let (namespace, name, kind) = (text("namespace"), text("name"), &resource.kind);
            let message = format!(
                "failed to create typed patch object ({namespace}/{name}; {api_version}, Kind={kind}): {why}"
            );
            Err(ApiError::new(500, "", message))
        }
    }
}

/// A patch cannot make an object another one.
fn check_uid(resource: &Resource, live: &Stored, patched: &Value) -> Result<(), ApiError> {
    let (old, new) = (&live["metadata"]["uid"], &patched["metadata"]["uid"]);
    if new.is_null() || old == new {
        return Ok(());
    }
    let name = live["metadata"]["name"].as_str().unwrap_or_default();
    Err(ApiError::invalid(resource, name, vec![Cause::invalid("metadata.uid", new, "field is immutable")]))
}

/// The body as an object of the resource's kind.
fn object_of(resource: &Resource, headers: &HeaderMap, body: &[u8]) -> Result<(Value, Complaints), ApiError> {
    let kind = &resource.kind;
    let unrecognised = |why: &str| {
        let message = format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; {why}"
        );
        ApiError::bad_request(message)
    };
    let document = request::document(headers, body, kind)?;
    let Document { value: object, repeated } =
        document.ok_or_else(|| unrecognised("json parse error: unexpected end of JSON input (<empty>)"))?;
    if !object.is_object() {
        return Err(unrecognised("json parse error: the body is not an object"));
    }
    let given =
        (object["apiVersion"].as_str().unwrap_or_default(), object["kind"].as_str().unwrap_or_default());
    if resource.custom.is_some() && (given.0.is_empty() || given.1.is_empty()) {
        return Err(unrecognised("a custom resource must say its apiVersion and kind"));
    }
    let expected = resource.api_version();
    let right = |given: &str, expected: &str| given.is_empty() || given == expected;
    if !right(given.1, kind) || !right(given.0, &expected) {
        let version = &resource.version;
        let (their_kind, their_version) = (given.1, given.0);
        return Err(ApiError::bad_request(format!(
            "{their_kind} in version \"{their_version}\" cannot be handled as a {kind} in version \"{version}\": \
             this path takes {kind} of {expected}"
        )));
    }
    Ok((object, Complaints { repeated, is_patched: false }))
}

fn check_type(resource: &Resource, object: &Value) -> Result<(), ApiError> {
    let (version, kind) = (&object["apiVersion"], &object["kind"]);
    if version == resource.api_version().as_str() && kind == resource.kind.as_str() {
        return Ok(());
    }
    let (group, version) = match version.as_str().unwrap_or_default().split_once('/') {
        Some((group, version)) => (group, version),
        None => ("", version.as_str().unwrap_or_default()),
    };
    let kind = kind.as_str().unwrap_or_default();
    Err(ApiError::bad_request(format!("invalid object type: {group}/{version}, Kind={kind}")))
}

fn check_name(object: &Value, name: &str) -> Result<(), ApiError> {
    match object["metadata"]["name"].as_str() {
        Some(given) if given == name => Ok(()),
        given => {
            let given = given.unwrap_or_default();
            let why = format!("the name of the object ({given}) does not match the name on the URL ({name})");
            Err(ApiError::bad_request(why))
        }
    }
}

fn check_namespace(object: &Value, target: &Target) -> Result<(), ApiError> {
    let Some(given) = object["metadata"]["namespace"].as_str().filter(|given| !given.is_empty()) else {
        return Ok(());
    };
    if !target.resource.namespaced || target.namespace.as_deref() == Some(given) {
        return Ok(());
    }
    Err(ApiError::bad_request(
        "the namespace of the provided object does not match the namespace sent on the request",
    ))
}

fn with_subresource(options: WriteOptions, target: &Target) -> WriteOptions {
    match target.subresource.as_deref() {
        Some("status") => options.subresource("status"),
        Some("finalize") => options.subresource("finalize"),
        Some("scale") => options.subresource("scale"),
        Some("ephemeralcontainers") => options.subresource("ephemeralcontainers"),
        _ => options,
    }
}

/// Whether a write is to change nothing: deletions may say so in their body.
pub(super) fn is_dry_run(method: &Method, query: &Parameters, body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Options {
        kind: Option<String>,
        #[serde(default, rename = "dryRun")]
        dry_run: Vec<String>,
    }
    let asked = |options: Options| {
        options.kind.is_none_or(|kind| kind == "DeleteOptions")
            && options.dry_run.iter().any(|one| one == "All")
    };
    query.get("dryRun").is_some() || method == Method::DELETE && serde_json::from_slice(body).is_ok_and(asked)
}

/// From the body, or else from the query.
fn delete_options(query: &Parameters, headers: &HeaderMap, body: &[u8]) -> Result<DeleteOptions, ApiError> {
    let mut options =
        DeleteOptions::parse(&request::body(headers, body, "DeleteOptions")?.unwrap_or_default())?;
    options.dry_run |= query.dry_run("DeleteOptions")?;
    if let Some(policy) = query.get("propagationPolicy") {
        let invalid = |cause| ApiError::invalid_kind("meta.k8s.io", "DeleteOptions", "", vec![cause]);
        options.propagation = Some(Propagation::parse(policy).map_err(invalid)?);
    }
    if let Some(seconds) = query.integer("gracePeriodSeconds")? {
        options.grace_period_seconds = Some(seconds);
    }
    Ok(options)
}
