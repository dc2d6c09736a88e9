//! What a request means: its target, its query and the media types it speaks.

use std::sync::Arc;

use axum::extract::Query;
use http::{HeaderMap, Uri, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::document::Document;
use super::{protobuf, view};
use crate::kubernetes::auth::User;
use crate::kubernetes::decode::{Complaints, FieldValidation};
use crate::kubernetes::error::{ApiError, Cause};
use crate::kubernetes::resource::{Registry, Resource};
use crate::kubernetes::semantics::selector::{FieldSelector, LabelSelector};
use crate::kubernetes::write::WriteOptions;

/// The collection, object or subresource that a path names.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) resource: Arc<Resource>,
    /// `None` for cluster-scoped resources and for a namespaced one across all namespaces.
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
}

impl Target {
    /// `rest` is the path after `/api/v1/` or `/apis/group/version/`.
    pub(super) fn parse(
        registry: &Registry,
        group: &str,
        version: &str,
        rest: &[String],
    ) -> Result<Self, ApiError> {
        let parts: Vec<&str> = rest.iter().map(String::as_str).collect();
        let (namespace, plural, name, subresource) = match parts.as_slice() {
            ["namespaces", name, sub @ ("status" | "finalize")] => {
                (None, "namespaces", Some(*name), Some(*sub))
            }
            ["namespaces", namespace, plural] => (Some(*namespace), *plural, None, None),
            ["namespaces", namespace, plural, name] => (Some(*namespace), *plural, Some(*name), None),
            ["namespaces", namespace, plural, name, sub] => {
                (Some(*namespace), *plural, Some(*name), Some(*sub))
            }
            [plural] => (None, *plural, None, None),
            [plural, name] => (None, *plural, Some(*name), None),
            [plural, name, sub] => (None, *plural, Some(*name), Some(*sub)),
            _ => return Err(ApiError::unknown_resource()),
        };
        let resource = registry.find(group, version, plural).ok_or_else(ApiError::unknown_resource)?;
        let misplaced = match (resource.namespaced, &namespace, &name) {
            (false, Some(_), _) | (true, None, Some(_)) => true,
            _ => subresource.is_some_and(|sub| !resource.serves(sub)),
        };
        if misplaced {
            return Err(ApiError::unknown_resource());
        }
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Ok(Self { resource, namespace: owned(namespace), name: owned(name), subresource: owned(subresource) })
    }
}

/// The query of a request, decoded.
#[derive(Debug, Default)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn parse(uri: &Uri) -> Result<Self, ApiError> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri);
        pairs.map(|Query(pairs)| Self(pairs)).map_err(|error| ApiError::bad_request(error.to_string()))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.get(name) {
            None | Some("false" | "0" | "f" | "F" | "False" | "FALSE") => Ok(false),
            Some("true" | "1" | "t" | "T" | "True" | "TRUE") => Ok(true),
            Some(other) => {
                Err(ApiError::bad_request(format!("strconv.ParseBool: parsing \"{other}\": invalid syntax")))
            }
        }
    }

    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let wrong =
            |_| ApiError::bad_request(format!("strconv.ParseInt: parsing \"{text}\": invalid syntax"));
        text.parse().map(Some).map_err(wrong)
    }

    pub(super) fn labels(&self) -> Result<LabelSelector, ApiError> {
        LabelSelector::parse(self.get("labelSelector").unwrap_or_default()).map_err(ApiError::bad_request)
    }

    pub(super) fn fields(&self, resource: &Resource) -> Result<FieldSelector, ApiError> {
        let text = self.get("fieldSelector").unwrap_or_default();
        let selector = FieldSelector::parse(text).map_err(ApiError::bad_request)?;
        let known = selectable_fields(resource);
        let selector = if resource.id.plural() == "events" {
            selector.renamed("source", "source.component")
        } else {
            selector
        };
        if let Some(unknown) = selector.paths().find(|path| !known.contains(path)) {
            let listed: Vec<String> = known.iter().map(|field| format!("\"{field}\"")).collect();
            let message = format!("\"{unknown}\" is not a known field selector: only {}", listed.join(", "));
            return Err(ApiError::bad_request(message));
        }
        if resource.is_view() {
            return FieldSelector::parse(&view::selector(resource, text)).map_err(ApiError::bad_request);
        }
        Ok(selector)
    }

    pub(super) fn dry_run(&self, options: &str) -> Result<bool, ApiError> {
        match self.get("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => {
                let cause = Cause::unsupported("dryRun", &format!("[\"{other}\"]"), &["All"]);
                Err(ApiError::invalid_kind("meta.k8s.io", options, "", vec![cause]))
            }
        }
    }

    /// Who writes: `fieldManager`, or else the program that the user agent names.
    pub(super) fn write_options(
        &self,
        user: &Arc<User>,
        headers: &HeaderMap,
        options: &str,
    ) -> Result<WriteOptions, ApiError> {
        let invalid = |cause| ApiError::invalid_kind("meta.k8s.io", options, "", vec![cause]);
        let validation = match self.get("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                let supported = ["", "Ignore", "Strict", "Warn"];
                return Err(invalid(Cause::unsupported(
                    "fieldValidation",
                    &format!("\"{other}\""),
                    &supported,
                )));
            }
        };
        let manager = match self.get("fieldManager") {
            Some(name) if name.len() > 128 => {
                return Err(invalid(Cause::field(
                    "FieldValueTooLong",
                    "fieldManager",
                    "Too long: may not be more than 128 bytes".to_owned(),
                )));
            }
            Some(name) => name.to_owned(),
            None => {
                let agent =
                    headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
                let program = agent.split('/').next().unwrap_or_default().trim();
                if program.is_empty() { "unknown".to_owned() } else { program.chars().take(128).collect() }
            }
        };
        let dry_run = self.dry_run(options)?;
        let named = self.get("fieldManager").is_some();
        Ok(WriteOptions {
            user: user.clone(),
            manager,
            named,
            dry_run,
            validation,
            complaints: Complaints::default(),
            subresource: None,
        })
    }
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Object,
    Table,
    Metadata,
}

/// What an `Accept` header asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accept {
    pub(super) form: Form,
    pub(super) yaml: bool,
}

impl Accept {
    pub(super) fn parse(headers: &HeaderMap) -> Result<Self, ApiError> {
        let text = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if text.trim().is_empty() {
            return Ok(Self { form: Form::Object, yaml: false });
        }
        text.split(',').find_map(Self::of_range).ok_or_else(|| {
            let message = "only the following media types are accepted: application/json, application/yaml, \
                           application/json;stream=watch";
            ApiError::new(406, "NotAcceptable", message)
        })
    }

    fn of_range(range: &str) -> Option<Self> {
        let mut parts = range.split(';').map(str::trim);
        let yaml = match parts.next()? {
            "application/json" | "application/*" | "*/*" => false,
            "application/yaml" => true,
            _ => return None,
        };
        let mut form = Form::Object;
        for part in parts {
            match part.split_once('=') {
                Some(("as", "Table")) => form = Form::Table,
                Some(("as", "PartialObjectMetadata" | "PartialObjectMetadataList")) => form = Form::Metadata,
                Some(("as", _)) => return None,
                _ => {}
            }
        }
        Some(Self { form, yaml })
    }
}

/// Reads a body as the media type says: JSON or YAML. `None` when it is empty.
pub(super) fn body(headers: &HeaderMap, body: &[u8], kind: &str) -> Result<Option<Value>, ApiError> {
    Ok(document(headers, body, kind)?.map(|document| document.value))
}

/// The same with what is to be said about its fields.
pub(super) fn document(headers: &HeaderMap, body: &[u8], kind: &str) -> Result<Option<Document>, ApiError> {
    let media_type = media_type(headers);
    let unrecognised = |why: String| {
        let message = format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; {why}"
        );
        ApiError::bad_request(message)
    };
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    match media_type.as_str() {
        "" | "application/json" => {
            let parsed = Document::json(body);
            parsed.map(Some).map_err(|why| unrecognised(format!("json parse error: {why}")))
        }
        "application/yaml" => {
            let parsed = Document::yaml(body);
            parsed.map(Some).map_err(|why| unrecognised(format!("yaml parse error: {why}")))
        }
        protobuf::MEDIA_TYPE => match protobuf::decode(body) {
            Ok(value) => Ok(Some(Document { value, repeated: Vec::new() })),
            // 415 and not 400: what is wrong is that only some kinds are read in this form.
            Err(why) => {
                let why = format!("{why}: send application/json or application/yaml");
                Err(ApiError::unsupported_media_type(why))
            }
        },
        _ => Err(ApiError::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: application/json, \
             application/yaml, application/vnd.kubernetes.protobuf",
        )),
    }
}

/// A body as the type of its kind.
pub(super) fn typed<T: DeserializeOwned>(kind: &str, body: &Value) -> Result<T, ApiError> {
    T::deserialize(body).map_err(|why| {
        ApiError::bad_request(format!("{kind} in version \"v1\" cannot be handled as a {kind}: json: {why}"))
    })
}

pub(super) fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Decodes `%XX`; anything that is not UTF-8 afterwards is no path of ours.
pub(in crate::kubernetes) fn percent_decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (hex, tail) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

fn selectable_fields(resource: &Resource) -> Vec<String> {
    let mut fields = vec!["metadata.name"];
    if resource.namespaced || resource.custom.is_none() {
        fields.push("metadata.namespace");
    }
    let own: &[&str] = match (resource.group.as_str(), resource.id.plural()) {
        ("", "pods") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        ("", "events") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source.component",
            "type",
        ],
        ("events.k8s.io", "events") => {
            &["regarding.kind", "regarding.namespace", "regarding.name", "regarding.uid", "reason", "type"]
        }
        ("", "namespaces") => &["status.phase"],
        ("", "nodes") => &["spec.unschedulable"],
        ("", "secrets") => &["type"],
        ("", "services") => &["spec.clusterIP", "spec.type"],
        ("", "replicationcontrollers") | ("apps", "replicasets") => &["status.replicas"],
        ("batch", "jobs") => &["status.successful"],
        ("certificates.k8s.io", "certificatesigningrequests") => &["spec.signerName"],
        _ => &[],
    };
    fields.extend(own);
    let custom = resource.custom.iter().flat_map(|custom| custom.selectable.iter().cloned());
    fields.into_iter().map(str::to_owned).chain(custom).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_acceptable_range_wins() -> Result<(), ApiError> {
        let accept = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, http::HeaderValue::from_static(text));
            Accept::parse(&headers)
        };
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        assert_eq!(accept(table)?.form, Form::Table);
        assert_eq!(accept("application/vnd.kubernetes.protobuf,application/json")?.form, Form::Object);
        assert!(accept("application/yaml")?.yaml);
        assert_eq!(accept("application/vnd.kubernetes.protobuf").err().map(|error| error.code), Some(406));
        Ok(())
    }

    #[test]
    fn paths_are_decoded() {
        assert_eq!(percent_decoded("system%3Anode").as_deref(), Some("system:node"));
        assert_eq!(percent_decoded("a%2"), None);
        assert_eq!(percent_decoded("%ff"), None);
    }
}
