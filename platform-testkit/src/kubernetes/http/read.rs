//! GET: objects, lists page by page, and scale.

use std::sync::Arc;

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use serde_json::{Value, json};

use super::answer::{self, ListMeta};
use super::request::{Accept, Parameters, Target};
use super::scale;
use super::table::Include;
use crate::kubernetes::error::{ApiError, Cause};
use crate::kubernetes::semantics::selector::{FieldSelector, LabelSelector};
use crate::kubernetes::state::{Key, Stored};
use crate::kubernetes::store::Store;

/// One object, or its scale.
pub(super) fn get(
    store: &Store,
    target: &Target,
    query: &Parameters,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let object = store.get(&key(target))?;
    match target.subresource.as_deref() {
        Some("scale") => {
            Ok(answer::value(200, &scale::of(&target.resource, &object), Accept::parse(headers)?))
        }
        Some("finalize") => Err(ApiError::method_not_allowed()),
        _ => {
            let include = Include::parse(query.get("includeObject"));
            Ok(answer::included(200, &target.resource, &object, Accept::parse(headers)?, include))
        }
    }
}

/// A list, or one page of it.
pub(super) fn list(
    store: &Store,
    target: &Target,
    query: &Parameters,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let accept = Accept::parse(headers)?;
    let selection = Selection::parse(target, query)?;
    let limit = usize::try_from(query.integer("limit")?.unwrap_or(0)).unwrap_or(0);
    let (listing, after) = match query.get("continue") {
        Some(token) => {
            let page = Page::decode(token)?;
            let listing = store.list_at(&target.resource.id, target.namespace.as_deref(), page.revision);
            let listing = listing.map_err(|_| {
                ApiError::expired(
                    "The provided continue parameter is too old to display a consistent list result. You must start a \
                     new list without the continue parameter.",
                )
            })?;
            (listing, Some((page.namespace, page.name)))
        }
        None => (at_version(store, target, query)?, None),
    };
    let mut items = listing.items;
    items.retain(|object| selection.selects(object));
    if let Some((namespace, name)) = after {
        items.retain(|object| {
            let metadata = &object["metadata"];
            (text(&metadata["namespace"]), text(&metadata["name"])) > (namespace.as_str(), name.as_str())
        });
    }
    let mut meta = ListMeta { revision: listing.revision, next: None, remaining: None };
    if limit > 0 && items.len() > limit {
        // kube-apiserver does not count what a selector would have to look at.
        meta.remaining = selection.selects_all().then(|| items.len() - limit);
        items.truncate(limit);
        meta.next = items.last().map(|last| Page::after(listing.revision, last).encode());
    }
    Ok(answer::list(&target.resource, &items, &meta, accept, Include::parse(query.get("includeObject"))))
}

pub(super) fn key(target: &Target) -> Key {
    let namespace = target.namespace.clone().unwrap_or_default();
    Key::new(&target.resource.id, namespace, target.name.clone().unwrap_or_default())
}

/// Which objects of a collection a request is about.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
    name: Option<String>,
}

impl Selection {
    pub(super) fn parse(target: &Target, query: &Parameters) -> Result<Self, ApiError> {
        Ok(Self { labels: query.labels()?, fields: query.fields(&target.resource)?, name: None })
    }

    /// The same, of the one object with this name.
    pub(super) fn named(self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..self }
    }

    pub(super) fn selects(&self, object: &Value) -> bool {
        self.name.as_deref().is_none_or(|name| object["metadata"]["name"] == name)
            && self.labels.matches(object["metadata"]["labels"].as_object())
            && self.fields.matches(object)
    }

    pub(super) fn selects_all(&self) -> bool {
        self.name.is_none() && self.labels.is_empty() && self.fields.is_empty()
    }
}

/// Lists at the version that `resourceVersion` and `resourceVersionMatch` ask for.
fn at_version(
    store: &Store,
    target: &Target,
    query: &Parameters,
) -> Result<crate::kubernetes::store::Listing, ApiError> {
    let invalid = |field: &str, why: &str| {
        ApiError::invalid_kind("meta.k8s.io", "ListOptions", "", vec![Cause::forbidden(field, why)])
    };
    let newest = || store.list(&target.resource.id, target.namespace.as_deref());
    let version = query.get("resourceVersion");
    let matching = query.get("resourceVersionMatch");
    if matching.is_some() && version.is_none() {
        let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
        return Err(invalid("resourceVersionMatch", why));
    }
    let Some(version) = version else { return Ok(newest()) };
    let revision = parse_version(version)
        .map_err(|why| ApiError::bad_request(format!("invalid resource version: {why}")))?;
    let current = store.revision();
    match matching {
        Some("Exact") if revision == 0 => Err(invalid(
            "resourceVersionMatch",
            "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
        )),
        _ if revision > current => Err(too_large(revision, current)),
        Some("Exact") => store.list_at(&target.resource.id, target.namespace.as_deref(), revision),
        None | Some("NotOlderThan") => Ok(newest()),
        Some(other) => {
            let supported = ["Exact", "NotOlderThan", ""];
            let cause = Cause::unsupported("resourceVersionMatch", &format!("\"{other}\""), &supported);
            Err(ApiError::invalid_kind("meta.k8s.io", "ListOptions", "", vec![cause]))
        }
    }
}

pub(super) fn parse_version(text: &str) -> Result<u64, String> {
    let wrong = |_| {
        format!(
            "resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid syntax"
        )
    };
    text.parse().map_err(wrong)
}

fn too_large(revision: u64, current: u64) -> ApiError {
    let message = format!("Timeout: Too large resource version: {revision}, current: {current}");
    let mut error = ApiError::new(504, "Timeout", message);
    let causes = vec![Cause::field("ResourceVersionTooLarge", "", "Too large resource version".to_owned())];
    let details = crate::kubernetes::error::Details { causes, retry_after_seconds: 1, ..Default::default() };
    error.details = Some(Box::new(details));
    error
}

/// A continue token: the version of the first page, and the last place it showed.
struct Page {
    revision: u64,
    namespace: String,
    name: String,
}

impl Page {
    fn after(revision: u64, last: &Arc<Stored>) -> Self {
        let part = |field: &str| text(&last["metadata"][field]).to_owned();
        Self { revision, namespace: part("namespace"), name: part("name") }
    }

    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(
            json!({"v": "meta.k8s.io/v1", "rv": self.revision, "start": [self.namespace, self.name]})
                .to_string(),
        )
    }

    fn decode(token: &str) -> Result<Self, ApiError> {
        let wrong = |why: String| {
            ApiError::bad_request(format!("invalid continue token: continue key is not valid: {why}"))
        };
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|error| wrong(error.to_string()))?;
        let token: Value = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        match (token["rv"].as_u64(), token["start"][0].as_str(), token["start"][1].as_str()) {
            (Some(revision), Some(namespace), Some(name)) => {
                Ok(Self { revision, namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(wrong("incorrect encoded start key".to_owned())),
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
