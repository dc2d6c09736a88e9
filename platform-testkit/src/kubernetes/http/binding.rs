//! `pods/binding`: what a scheduler asks for.

use std::sync::Arc;

use http::HeaderMap;
use serde_json::json;

use super::answer;
use super::modify::{Done, warn};
use super::read::key;
use super::request::{self, Accept, Parameters, Target};
use crate::kubernetes::auth::User;
use crate::kubernetes::deletion::timestamp;
use crate::kubernetes::error::{ApiError, Cause};
use crate::kubernetes::store::Store;
use crate::kubernetes::write::Write;

pub(super) fn bind(
    store: &Store,
    user: &Arc<User>,
    target: &Target,
    query: &Parameters,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Done, ApiError> {
    let accept = Accept::parse(headers)?;
    let binding = request::body(headers, body, "Binding")?.unwrap_or_default();
    let key = key(target);
    let node = binding["target"]["name"].as_str().unwrap_or_default();
    if node.is_empty() {
        let cause = Cause::required("target.name", "");
        return Err(ApiError::invalid_kind("", "Binding", &key.name, vec![cause]));
    }
    let options = query.write_options(user, headers, "CreateOptions")?.subresource("binding");
    let written = store.write_over(&target.resource, &key, &options, &|live| {
        let live = live.ok_or_else(|| ApiError::not_found(&key.resource, &key.name))?;
        let refuse = |why: String| {
            let about = crate::kubernetes::resource::GroupResource::new("", "pods/binding");
            Err(ApiError::conflict(&about, &key.name, &why))
        };
        if !live["metadata"]["deletionTimestamp"].is_null() {
            return refuse(format!("pod {} is being deleted, cannot be assigned to a host", key.name));
        }
        if let Some(assigned) = live["spec"]["nodeName"].as_str() {
            return refuse(format!("pod {} is already assigned to node {assigned:?}", key.name));
        }
        let mut bound = live.value().clone();
        bound["spec"]["nodeName"] = json!(node);
        let mut conditions = bound["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.retain(|condition| condition["type"] != "PodScheduled");
        let now = timestamp(jiff::Timestamp::now());
        conditions.push(json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": now}));
        bound["status"]["conditions"] = json!(conditions);
        Ok(Some(Write::Replace(bound)))
    })?;
    let status =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    let mut response = answer::value(201, &status, accept);
    warn(&mut response, &written.warnings);
    Ok(Done { response, revision: written.object.revision() })
}
