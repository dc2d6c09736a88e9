//! ResourceQuota: how much a namespace may hold.
//!
//! ```text
//! scope   which objects a quota is for
//! usage   what objects use of it
//! ```
//!
//! What is used is counted anew for each request that asks for more, and not read from the quota's status: a quota
//! counts from the moment in which it is stored, and what is deleted makes room at once.

mod scope;
mod usage;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use self::usage::Usage;
use super::{Operation, Request};
use crate::kubernetes::error::ApiError;
use crate::kubernetes::resource::GroupResource;
use crate::kubernetes::semantics::validate::quantity::Amount;
use crate::kubernetes::state::{Key, Stored};
use crate::kubernetes::store::{CLAIMS, PODS, Store};

pub(in crate::kubernetes) const QUOTAS: GroupResource = GroupResource::new("", "resourcequotas");

/// The quotas that have a say in a request, by name.
pub(super) fn concerned(store: &Store, request: &Request<'_>) -> Vec<Arc<Stored>> {
    let key = request.key;
    let grows = match request.operation {
        Operation::Create => true,
        Operation::Update => request.is_of("", "services") || key.resource == CLAIMS,
        Operation::Delete => false,
    };
    if !grows || key.namespace.is_empty() || request.subresource.is_some() {
        return Vec::new();
    }
    let mut quotas = store.list(&QUOTAS, Some(&key.namespace)).items;
    quotas.retain(|quota| {
        request.object.is_some_and(|object| scope::covers(quota, &key.resource, object))
            && limits(quota).keys().any(|name| usage::collection(name) == key.resource)
    });
    quotas
}

/// Refuses what does not say how much it needs, and what needs more than there is left.
pub(super) fn check(store: &Store, request: &Request<'_>, quotas: &[Arc<Stored>]) -> Result<(), ApiError> {
    let Some(object) = request.object else { return Ok(()) };
    if request.key.resource == PODS {
        for quota in quotas {
            let limited: BTreeSet<&str> = quota["spec"]["hard"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, _)| name.as_str())
                .collect();
            if let Some(missing) = usage::unspecified(&object["spec"], &limited) {
                let why = format!("failed quota: {}: must specify {missing}", name(quota));
                return Err(request.forbidden(&why));
            }
        }
    }
    let mut wanted = usage::of(&request.key.resource, object);
    if let Some(old) = request.old {
        for (name, amount) in usage::of(&request.key.resource, old) {
            if let Some(wanted) = wanted.get_mut(&name) {
                *wanted = *wanted - amount;
            }
        }
    }
    wanted.retain(|_, amount| *amount > Amount::ZERO);
    for quota in quotas {
        let limits = limits(quota);
        let asked: Usage = wanted
            .iter()
            .filter(|(name, _)| limits.contains_key(*name))
            .map(|(name, amount)| (name.clone(), *amount))
            .collect();
        if asked.is_empty() {
            continue;
        }
        let used = used(store, quota, &limits);
        let of = |amounts: &Usage, name: &str| amounts.get(name).copied().unwrap_or(Amount::ZERO);
        let exceeded: Vec<&str> = asked
            .iter()
            .filter(|(name, amount)| of(&used, name) + **amount > of(&limits, name))
            .map(|(name, _)| name.as_str())
            .collect();
        if !exceeded.is_empty() {
            let told = |amounts: &Usage| {
                let pairs = exceeded.iter().map(|name| format!("{name}={}", of(amounts, name)));
                pairs.collect::<Vec<_>>().join(",")
            };
            let why = format!(
                "exceeded quota: {}, requested: {}, used: {}, limited: {}",
                name(quota),
                told(&asked),
                told(&used),
                told(&limits)
            );
            return Err(request.forbidden(&why));
        }
    }
    Ok(())
}

/// Writes what is used now into the quotas' status; called with the counting locked.
pub(super) fn charge(store: &Store, quotas: &[Arc<Stored>]) {
    for quota in quotas {
        if let Err(error) = write_status(store, &Key::of(&QUOTAS, quota), "kube-apiserver") {
            // The controller counts again after the change that is being admitted.
            tracing::debug!(%error, quota = name(quota), "a quota's status was not written");
        }
    }
}

/// Brings a quota's status up to date.
pub(in crate::kubernetes) fn status(store: &Store, key: &Key) -> Result<(), ApiError> {
    let _counting = store.admission().counting();
    write_status(store, key, "kube-controller-manager")
}

fn write_status(store: &Store, key: &Key, manager: &str) -> Result<(), ApiError> {
    let Some(quota) = store.find(key) else { return Ok(()) };
    let limits = limits(&quota);
    let used: BTreeMap<String, String> =
        used(store, &quota, &limits).into_iter().map(|(name, amount)| (name, amount.to_string())).collect();
    let hard = quota["spec"].get("hard").cloned().unwrap_or_else(|| json!({}));
    let status = json!({"hard": hard, "used": used});
    if quota["status"] == status {
        return Ok(());
    }
    let mut changed = quota.value().clone();
    changed["status"] = status;
    store.update_status(&QUOTAS, changed, manager).map(|_| ())
}

fn limits(quota: &Value) -> Usage {
    let hard = quota["spec"]["hard"].as_object().into_iter().flatten();
    hard.filter_map(|(name, amount)| Some((name.clone(), Amount::parse(amount.as_str()?)?))).collect()
}

/// What the namespace holds of everything that is limited.
fn used(store: &Store, quota: &Stored, limits: &Usage) -> Usage {
    let mut used: Usage = limits.keys().map(|name| (name.clone(), Amount::ZERO)).collect();
    let collections: BTreeSet<GroupResource> = limits.keys().map(|name| usage::collection(name)).collect();
    for collection in collections {
        for object in store.list(&collection, quota["metadata"]["namespace"].as_str()).items {
            if !scope::covers(quota, &collection, &object) {
                continue;
            }
            for (name, amount) in usage::of(&collection, &object) {
                if let Some(sum) = used.get_mut(&name) {
                    *sum = *sum + amount;
                }
            }
        }
    }
    used
}

fn name(quota: &Value) -> &str {
    quota["metadata"]["name"].as_str().unwrap_or_default()
}
