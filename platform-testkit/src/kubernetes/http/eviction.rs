//! `pods/eviction`: a deletion that PodDisruptionBudgets may refuse, which is what `kubectl drain` asks for.

use std::sync::Arc;

use http::HeaderMap;
use serde_json::{Value, json};

use super::answer;
use super::modify::{Done, warn};
use super::read::key;
use super::request::{self, Accept, Parameters, Target};
use crate::kubernetes::admission::{self, Operation, Request};
use crate::kubernetes::auth::User;
use crate::kubernetes::deletion::{DeleteOptions, Deletion};
use crate::kubernetes::error::{ApiError, Cause, Details};
use crate::kubernetes::resource::GroupResource;
use crate::kubernetes::semantics::selector::LabelSelector;
use crate::kubernetes::state::{Key, Stored};
use crate::kubernetes::store::Store;

const BUDGETS: GroupResource = GroupResource::new("policy", "poddisruptionbudgets");
/// Tries to take one disruption from a budget that others write too.
const TRIES: usize = 10;

pub(super) fn evict(
    store: &Store,
    user: &Arc<User>,
    target: &Target,
    query: &Parameters,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Done, ApiError> {
    let accept = Accept::parse(headers)?;
    let eviction = request::body(headers, body, "Eviction")?.unwrap_or_default();
    let key = key(target);
    match eviction["metadata"]["name"].as_str() {
        Some(name) if name != key.name => {
            return Err(ApiError::bad_request(format!(
                "the eviction names the pod {name}, its address the pod {}",
                key.name
            )));
        }
        _ => {}
    }
    let mut options = DeleteOptions::parse(&eviction["deleteOptions"])?;
    options.dry_run |= query.dry_run("CreateOptions")?;
    let pod = store.get(&key)?;
    // What was admitted is the creation of an eviction, not the deletion that it leads to.
    let request = Request {
        operation: Operation::Create,
        resource: &target.resource,
        key: &key,
        subresource: Some("eviction"),
        object: Some(&eviction),
        old: None,
        user,
        dry_run: options.dry_run,
        options: admission::Options { kind: "CreateOptions", manager: query.get("fieldManager") },
    };
    let warnings = admission::review(store, &request)?;
    if counts(&pod) {
        take_disruption(store, &pod, options.dry_run)?;
    }
    let deleted = store.delete_admitted(&key, &options, &|_| Ok(Vec::new()))?;
    let (Deletion::Gone(object) | Deletion::Pending(object)) = deleted.deletion;
    let status =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    let mut response = answer::value(201, &status, accept);
    warn(&mut response, &warnings);
    Ok(Done { response, revision: object.revision() })
}

/// Whether a budget has a say: a pod that does not run yet, has ended or is ending disrupts nobody.
fn counts(pod: &Value) -> bool {
    pod["metadata"]["deletionTimestamp"].is_null()
        && !matches!(pod["status"]["phase"].as_str(), Some("Pending" | "Succeeded" | "Failed"))
}

/// Counts one disruption more on the pod's budget, or refuses when it allows none.
fn take_disruption(store: &Store, pod: &Stored, dry_run: bool) -> Result<(), ApiError> {
    for _ in 0..TRIES {
        let Some(budget) = budget_of(store, pod)? else { return Ok(()) };
        let (metadata, status) = (&budget["metadata"], &budget["status"]);
        let name = metadata["name"].as_str().unwrap_or_default();
        if status["observedGeneration"].as_i64().unwrap_or(0) < metadata["generation"].as_i64().unwrap_or(0) {
            let why = format!("The disruption budget {name} is still being processed by the server.");
            return Err(refusal(name, why, 10));
        }
        let number = |field: &str| status[field].as_i64().unwrap_or(0);
        let allowed = number("disruptionsAllowed");
        if allowed <= 0 {
            let (needed, healthy) = (number("desiredHealthy"), number("currentHealthy"));
            let why = format!(
                "The disruption budget {name} needs {needed} healthy pods and has {healthy} currently"
            );
            return Err(refusal(name, why, 0));
        }
        if dry_run {
            return Ok(());
        }
        let mut taken = budget.value().clone();
        taken["status"]["disruptionsAllowed"] = json!(allowed - 1);
        match store.update_status(&BUDGETS, taken, "kube-apiserver") {
            Err(error) if error.code == 409 => {}
            result => return result.map(|_| ()),
        }
    }
    let why = "The disruption budget is being changed by others.".to_owned();
    Err(refusal("", why, 1))
}

fn budget_of(store: &Store, pod: &Stored) -> Result<Option<Arc<Stored>>, ApiError> {
    let namespace = Key::of(&BUDGETS, pod).namespace;
    let mut budgets = store.list(&BUDGETS, Some(&namespace)).items;
    budgets.retain(|budget| {
        // A budget without a selector is for no pod, one with an empty selector for all.
        let selector = Some(&budget["spec"]["selector"]).filter(|selector| selector.is_object());
        selector.is_some_and(|selector| {
            LabelSelector::from_json(selector)
                .is_ok_and(|selector| selector.matches(pod["metadata"]["labels"].as_object()))
        })
    });
    if budgets.len() > 1 {
        let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        return Err(ApiError::new(500, "", why));
    }
    Ok(budgets.pop())
}

/// As kube-apiserver words it: clients try again after a 429.
fn refusal(budget: &str, why: String, retry_after_seconds: u32) -> ApiError {
    let mut error = ApiError::new(
        429,
        "TooManyRequests",
        "Cannot evict pod as it would violate the pod's disruption budget.",
    );
    let causes = vec![Cause::field("DisruptionBudget", "", why)];
    error.details = Some(Box::new(Details {
        name: budget.to_owned(),
        causes,
        retry_after_seconds,
        ..Details::default()
    }));
    error
}
