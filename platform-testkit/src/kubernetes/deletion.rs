//! Deleting: preconditions, finalizers, propagation.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::admission::{self, Operation, Request};
use super::auth::User;
use super::error::{ApiError, Cause};
use super::resource::Resource;
use super::state::{Key, Stored};
use super::store::{CRDS, NAMESPACES, PODS, Refused, Store};

/// Holds an owner until the dependents that block its deletion are gone.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// Holds an owner until its dependents have forgotten it.
pub(super) const ORPHAN: &str = "orphan";
/// Holds a CRD until its objects are gone.
pub(super) const CRD_CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// `metav1.DeleteOptions`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Delete only the object with this UID.
    pub uid: Option<String>,
    /// Delete only this version.
    pub resource_version: Option<String>,
    /// What happens to dependents; `None` means background, or what finalizers on the object ask for.
    pub propagation: Option<Propagation>,
    /// Seconds given to the object's processes to end.
    pub grace_period_seconds: Option<i64>,
    /// Check everything, change nothing.
    pub dry_run: bool,
}

/// What happens to the dependents of a deleted object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They go first.
    Foreground,
    /// They go afterwards.
    Background,
    /// They stay, without an owner.
    Orphan,
}

/// What a deletion did.
#[derive(Debug, Clone)]
pub enum Deletion {
    /// The object is gone; this was its last state.
    Gone(Arc<Stored>),
    /// The object is marked and goes once its finalizers are done.
    Pending(Arc<Stored>),
}

/// A deletion that was admitted, with the warnings of it.
#[derive(Debug, Clone)]
pub(super) struct Deleted {
    pub(super) deletion: Deletion,
    pub(super) warnings: Vec<String>,
}

impl DeleteOptions {
    /// Reads a request's body; `null` stands for an empty one.
    pub fn parse(body: &Value) -> Result<Self, ApiError> {
        let invalid = |cause| ApiError::invalid_kind("meta.k8s.io", "DeleteOptions", "", vec![cause]);
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        if !body.is_null() && !body.is_object() {
            return Err(ApiError::bad_request(
                "couldn't get version/kind; the body is not a DeleteOptions object",
            ));
        }
        let propagation = match body["propagationPolicy"].as_str() {
            None => None,
            Some(policy) => Some(Propagation::parse(policy).map_err(invalid)?),
        };
        let propagation = match (body["orphanDependents"].as_bool(), propagation) {
            (Some(_), Some(_)) => {
                let why = "orphanDependents and deletionPropagation cannot be both set";
                return Err(invalid(Cause::invalid("propagationPolicy", &body["propagationPolicy"], why)));
            }
            (Some(true), None) => Some(Propagation::Orphan),
            (Some(false), None) => Some(Propagation::Background),
            (None, propagation) => propagation,
        };
        let preconditions = &body["preconditions"];
        Ok(Self {
            uid: text(&preconditions["uid"]),
            resource_version: text(&preconditions["resourceVersion"]),
            propagation,
            grace_period_seconds: body["gracePeriodSeconds"].as_i64(),
            dry_run: body["dryRun"]
                .as_array()
                .is_some_and(|values| values.iter().any(|value| value == "All")),
        })
    }

    fn check(&self, resource: &Resource, live: &Stored) -> Result<(), ApiError> {
        let metadata = &live["metadata"];
        let name = metadata["name"].as_str().unwrap_or_default();
        let refuse = |what: &str, given: &str, field: &str, hint: &str| {
            let stored = metadata[field].as_str().unwrap_or_default();
            let why = format!(
                "the {what} in the precondition ({given}) does not match the {what} in record ({stored}). \
                 The object might have been {hint}"
            );
            Err(ApiError::conflict_kind(&resource.group, &resource.kind, name, &why))
        };
        if let Some(uid) = &self.uid
            && metadata["uid"] != uid.as_str()
        {
            return refuse("UID", uid, "uid", "deleted and then recreated");
        }
        if let Some(version) = &self.resource_version
            && metadata["resourceVersion"] != version.as_str()
        {
            return refuse("ResourceVersion", version, "resourceVersion", "modified");
        }
        Ok(())
    }
}

impl Propagation {
    pub(super) fn parse(policy: &str) -> Result<Self, Cause> {
        match policy {
            "Foreground" => Ok(Self::Foreground),
            "Background" => Ok(Self::Background),
            "Orphan" => Ok(Self::Orphan),
            other => {
                let supported = ["Foreground", "Background", "Orphan", "nil"];
                Err(Cause::unsupported("propagationPolicy", &format!("\"{other}\""), &supported))
            }
        }
    }
}

impl Store {
    /// Deletes as `user` asks, if admission lets it.
    pub(super) fn delete_object(
        &self,
        key: &Key,
        options: &DeleteOptions,
        user: &Arc<User>,
    ) -> Result<Deleted, ApiError> {
        let resource = self.served(&key.resource)?;
        self.delete_admitted(key, options, &|live| {
            let request = Request {
                operation: Operation::Delete,
                resource: &resource,
                key,
                subresource: None,
                object: None,
                old: Some(live.value()),
                user,
                dry_run: options.dry_run,
                options: admission::Options { kind: "DeleteOptions", manager: None },
            };
            admission::review(self, &request)
        })
    }

    /// Deletes what `admit` lets be deleted; it returns warnings.
    pub(super) fn delete_admitted(
        &self,
        key: &Key,
        options: &DeleteOptions,
        admit: &dyn Fn(&Stored) -> Result<Vec<String>, ApiError>,
    ) -> Result<Deleted, ApiError> {
        let resource = self.served(&key.resource)?;
        admission::check_deletion(key)?;
        loop {
            let live = self.get(key)?;
            options.check(&resource, &live)?;
            let warnings = admit(&live)?;
            let done = |deletion| Ok(Deleted { deletion, warnings });
            let marked = mark(key, &live, options, Timestamp::now());
            let outcome = match marked {
                None if options.dry_run => return done(Deletion::Gone(live)),
                None => self.commit_removal(key, live.revision(), live.value().clone()).map(Deletion::Gone),
                Some(value) if options.dry_run => {
                    return done(Deletion::Pending(Stored::new(value, live.revision())));
                }
                Some(value) if value == *live.value() => return done(Deletion::Pending(live)),
                Some(value) => self.commit(key, Some(live.revision()), value).map(Deletion::Pending),
            };
            match outcome {
                Ok(deletion) => return done(deletion),
                Err(Refused::Raced) => {}
                Err(Refused::For(error)) => return Err(error),
            }
        }
    }
}

/// The object marked as being deleted, or `None` when nothing holds it and it can go.
fn mark(key: &Key, live: &Stored, options: &DeleteOptions, now: Timestamp) -> Option<Value> {
    let mut marked = live.value().clone();
    let mut finalizers: Vec<Value> = live["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    let mut propagate = |wanted: Option<&str>| {
        finalizers.retain(|one| one != FOREGROUND && one != ORPHAN);
        finalizers.extend(wanted.map(|name| json!(name)));
    };
    match options.propagation {
        Some(Propagation::Foreground) => propagate(Some(FOREGROUND)),
        Some(Propagation::Orphan) => propagate(Some(ORPHAN)),
        Some(Propagation::Background) => propagate(None),
        None => {}
    }
    let new = live["metadata"]["deletionTimestamp"].is_null();
    if new && key.resource == CRDS && !finalizers.iter().any(|one| one == CRD_CLEANUP) {
        finalizers.push(json!(CRD_CLEANUP));
    }
    let grace = if key.resource == PODS { grace_of_pod(live, options) } else { 0 };
    let is_namespace = key.resource == NAMESPACES;
    let spec_finalizers =
        is_namespace && live["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
    if finalizers.is_empty() && !spec_finalizers && grace == 0 {
        return None;
    }
    let metadata = marked.get_mut("metadata")?.as_object_mut()?;
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".to_owned(), Value::Array(finalizers));
    }
    let deadline = if new { now } else { began(live).unwrap_or(now) } + SignedDuration::from_secs(grace);
    metadata.insert("deletionTimestamp".to_owned(), json!(timestamp(deadline)));
    metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
    if new && let Some(generation) = metadata.get("generation").and_then(Value::as_i64) {
        metadata.insert("generation".to_owned(), json!(generation + 1));
    }
    if is_namespace {
        marked["status"]["phase"] = json!("Terminating");
    }
    if key.resource == CRDS {
        super::strategy::set_condition(&mut marked, "Terminating", "True", "InstanceDeletionInProgress", now);
    }
    Some(marked)
}

/// Seconds until a pod is killed: what the request or else the pod says, and at once where nothing runs.
///
/// A pod that is being deleted already can only be given less.
fn grace_of_pod(pod: &Value, options: &DeleteOptions) -> i64 {
    let asked = options.grace_period_seconds.map(|seconds| if seconds < 0 { 1 } else { seconds });
    let metadata = &pod["metadata"];
    if !metadata["deletionTimestamp"].is_null() {
        let given = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
        return asked.unwrap_or(given).min(given);
    }
    let unassigned = pod["spec"]["nodeName"].as_str().is_none_or(str::is_empty);
    if unassigned || matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
        return 0;
    }
    // A period beyond a century is as good as one, and can be added to a time.
    asked.or(pod["spec"]["terminationGracePeriodSeconds"].as_i64()).unwrap_or(0).clamp(0, 3_155_760_000)
}

/// When the deletion of an object that is marked was asked for.
fn began(object: &Value) -> Option<Timestamp> {
    let metadata = &object["metadata"];
    let deadline: Timestamp = metadata["deletionTimestamp"].as_str()?.parse().ok()?;
    let given = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    deadline.checked_sub(SignedDuration::from_secs(given)).ok()
}

/// A time as Kubernetes writes it, to the second.
pub(super) fn timestamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
