//! What the cluster lets be written: the admission plugins of kube-apiserver, in its order.
//!
//! ```text
//! lifecycle        no content for namespaces that are missing or going away
//! limits           LimitRange: defaults first, bounds afterwards
//! service_account  the account of a pod and its token
//! priority         the priority of a pod
//! security         Pod Security: privileged, baseline, restricted
//! policy           ValidatingAdmissionPolicy
//! quota            ResourceQuota, last, since it counts what all others let through
//! ```
//!
//! The words of refusals are those of kube-apiserver 1.34.

mod lifecycle;
mod limits;
mod pod;
mod policy;
mod priority;
mod quota;
mod security;
mod service_account;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::auth::User;
use super::error::{ApiError, Cause};
use super::resource::Resource;
use super::state::{Event, Key, Stored};
use super::store::{PODS, Store};

pub(super) use self::lifecycle::check_deletion;
pub(super) use self::policy::check as check_policy;
pub(super) use self::policy::{CelValue, Expression, functions, value_of};
pub(super) use self::quota::{QUOTAS, status as quota_status};

/// What admission keeps from one request to the next.
#[derive(Default)]
pub(super) struct Admission {
    policies: policy::Policies,
    /// Held from the check of a quota until what it let through is stored and counted.
    quota: Mutex<()>,
}

impl Admission {
    /// Takes note of a change, in the order of the commits.
    pub(super) fn observe(&self, event: &Event) {
        self.policies.observe(event);
    }

    fn counting(&self) -> MutexGuard<'_, ()> {
        self.quota.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of an object that was there before this process.
    pub(super) fn restore(&self, key: &Key, object: &Value) {
        self.policies.put(key, object);
    }
}

/// What a request does to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Create,
    Update,
    Delete,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// A write that asks to be admitted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) operation: Operation,
    pub(super) resource: &'a Resource,
    pub(super) key: &'a Key,
    pub(super) subresource: Option<&'static str>,
    /// The object as it will be; nothing for deletions.
    pub(super) object: Option<&'a Value>,
    /// The object as it is; nothing for creations.
    pub(super) old: Option<&'a Value>,
    pub(super) user: &'a User,
    pub(super) dry_run: bool,
    pub(super) options: Options<'a>,
}

/// What policies see of the options of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options<'a> {
    /// `CreateOptions`, `UpdateOptions` or `DeleteOptions`.
    pub(super) kind: &'static str,
    /// The field manager, if the request names it.
    pub(super) manager: Option<&'a str>,
}

impl<'a> Request<'a> {
    fn is_of(&self, group: &str, plural: &str) -> bool {
        self.resource.group == group && self.resource.id.plural() == plural
    }

    fn forbidden(&self, why: &str) -> ApiError {
        ApiError::forbidden(&self.key.resource, &self.key.name, why)
    }

    /// The object that the request is about, whichever there is.
    fn subject(&self) -> Option<&'a Value> {
        self.object.or(self.old)
    }
}

/// Changes a new object before it is validated: what the cluster decides for its author.
pub(super) fn mutate(
    store: &Store,
    resource: &Resource,
    key: &Key,
    object: &mut Value,
) -> Result<(), ApiError> {
    lifecycle::check(store, resource, key)?;
    if key.resource == PODS {
        limits::set_defaults(store, &key.namespace, object);
        service_account::set(store, key, object)?;
        priority::set(store, key, object)?;
    }
    Ok(())
}

/// A write that every plugin let through, to be stored now.
pub(super) struct Admitted<'a> {
    warnings: Vec<String>,
    quotas: Vec<Arc<Stored>>,
    dry_run: bool,
    _counting: Option<MutexGuard<'a, ()>>,
}

impl Admitted<'_> {
    /// Takes note that the write was stored. Returns warnings.
    pub(super) fn settle(self, store: &Store) -> Vec<String> {
        if !self.dry_run {
            quota::charge(store, &self.quotas);
        }
        self.warnings
    }
}

/// Asks every plugin whether a valid write may be stored.
pub(super) fn admit<'a>(store: &'a Store, request: &Request<'_>) -> Result<Admitted<'a>, ApiError> {
    let warnings = review(store, request)?;
    let quotas = quota::concerned(store, request);
    let counting = (!quotas.is_empty()).then(|| store.admission().counting());
    quota::check(store, request, &quotas)?;
    Ok(Admitted { warnings, quotas, dry_run: request.dry_run, _counting: counting })
}

/// Asks the plugins that only look. Returns warnings.
pub(super) fn review(store: &Store, request: &Request<'_>) -> Result<Vec<String>, ApiError> {
    limits::check(store, request)?;
    let mut warnings = security::check(store, request)?;
    warnings.extend(policy::evaluate(store, request)?);
    Ok(warnings)
}

/// One message, or a list in brackets, as Go's aggregated errors are written.
fn listed(messages: &[String]) -> String {
    match messages {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

/// A refusal with another code and reason than 403, whose only cause repeats the message.
fn denied(request: &Request<'_>, code: u16, reason: &'static str, why: &str) -> ApiError {
    let mut error = request.forbidden(why);
    error.code = code;
    error.reason = reason;
    if let Some(details) = &mut error.details {
        details.causes = vec![Cause::field("", "", why.to_owned())];
    }
    error
}
