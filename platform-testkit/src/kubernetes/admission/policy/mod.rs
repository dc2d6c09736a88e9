//! ValidatingAdmissionPolicy: rules in CEL that the users of a cluster write.
//!
//! ```text
//! authorizer whether the author of a request may do something else
//! matching   which requests a policy or a binding is for
//! cel        compiling and evaluating expressions
//! check      what is wrong with a policy, when it is written
//! compiled   a policy ready to be evaluated
//! facts      what expressions see of a request
//! ```
//!
//! A policy counts from the moment in which it is stored. Expressions may not use what `cel` does not know: macros of
//! two variables.

mod authorizer;
mod cel;
mod check;
mod compiled;
mod facts;
mod matching;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;

pub(in crate::kubernetes) use self::cel::{Expression, functions, value_of};
use self::compiled::{Compiled, Denial};
use self::facts::Facts;
use super::{Request, denied};
use crate::kubernetes::error::{ApiError, Cause};
use crate::kubernetes::resource::GroupResource;
use crate::kubernetes::semantics::selector::LabelSelector;
use crate::kubernetes::state::{Change, Event, Key, Stored};
use crate::kubernetes::store::Store;
pub(in crate::kubernetes) use kube_cel::cel::Value as CelValue;

const GROUP: &str = "admissionregistration.k8s.io";
const POLICIES: GroupResource = GroupResource::new(GROUP, "validatingadmissionpolicies");
const BINDINGS: GroupResource = GroupResource::new(GROUP, "validatingadmissionpolicybindings");

/// The policies of the cluster and what binds them.
#[derive(Default)]
pub(super) struct Policies(RwLock<Arc<Index>>);

#[derive(Default, Clone)]
struct Index {
    policies: BTreeMap<String, Arc<Compiled>>,
    bindings: BTreeMap<String, Arc<Value>>,
}

impl Policies {
    pub(super) fn observe(&self, event: &Event) {
        if event.change != Change::Deleted {
            self.put(&event.key, event.object.value());
        } else if event.key.resource == POLICIES {
            self.change(|index| drop(index.policies.remove(&event.key.name)));
        } else if event.key.resource == BINDINGS {
            self.change(|index| drop(index.bindings.remove(&event.key.name)));
        }
    }

    pub(super) fn put(&self, key: &Key, object: &Value) {
        if key.resource == POLICIES {
            let policy = Arc::new(Compiled::of(object));
            self.change(|index| drop(index.policies.insert(key.name.clone(), policy)));
        } else if key.resource == BINDINGS {
            let binding = Arc::new(object.clone());
            self.change(|index| drop(index.bindings.insert(key.name.clone(), binding)));
        }
    }

    fn change(&self, change: impl FnOnce(&mut Index)) {
        let mut index = self.0.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut index));
    }

    /// What there is; `None` when nothing is bound.
    fn bound(&self) -> Option<Arc<Index>> {
        let index = self.0.read().unwrap_or_else(PoisonError::into_inner);
        (!index.policies.is_empty() && !index.bindings.is_empty()).then(|| index.clone())
    }
}

/// What is wrong with the expressions of a new or changed policy.
pub(in crate::kubernetes) fn check(group: &str, kind: &str, object: &Value) -> Vec<Cause> {
    match (group, kind) {
        (GROUP, "ValidatingAdmissionPolicy") => compiled::check(&object["spec"]),
        _ => Vec::new(),
    }
}

/// Asks every policy that is bound to the request. Returns warnings.
pub(super) fn evaluate(store: &Store, request: &Request<'_>) -> Result<Vec<String>, ApiError> {
    let Some(index) = store.admission().policies.bound() else { return Ok(Vec::new()) };
    // What configures admission is not subject to it: a wrong policy could not be taken back.
    if request.resource.group == GROUP {
        return Ok(Vec::new());
    }
    let facts = Facts::new(store, request);
    let mut warnings = Vec::new();
    for (name, policy) in &index.policies {
        if !matching::matches(store, &policy.spec["matchConstraints"], request) {
            continue;
        }
        for (binding_name, binding) in &index.bindings {
            let binding = &binding["spec"];
            if binding["policyName"] != name.as_str()
                || !matching::matches(store, &binding["matchResources"], request)
            {
                continue;
            }
            let refuse = |denial: &Denial, binding: &str| {
                let why =
                    format!("ValidatingAdmissionPolicy '{name}'{binding} denied request: {}", denial.message);
                denied(request, denial.code, denial.reason, &why)
            };
            let with = format!(" with binding '{binding_name}'");
            let parameters = match parameters(store, policy, binding, request) {
                Ok(parameters) => parameters,
                Err(_) if policy.is_lenient() => continue,
                Err(Misconfigured::Policy(why)) => return Err(refuse(&Denial::of(why), "")),
                Err(Misconfigured::Binding(why)) => return Err(refuse(&Denial::of(why), &with)),
            };
            for parameter in parameters {
                for denial in policy.denials(&facts, parameter.as_deref()) {
                    for action in super::pod::items(binding, "validationActions") {
                        match action.as_str() {
                            Some("Deny") => return Err(refuse(&denial, &with)),
                            Some("Warn") => warnings.push(format!(
                                "Validation failed for ValidatingAdmissionPolicy '{name}'{with}: {}",
                                denial.message
                            )),
                            _ => {}
                        }
                    }
                }
            }
        }
    }
    Ok(warnings)
}

/// Why a policy cannot be evaluated at all.
enum Misconfigured {
    Policy(String),
    Binding(String),
}

/// The objects that a binding gives to its policy, each for an evaluation of its own; `None` for one without.
fn parameters(
    store: &Store,
    policy: &Compiled,
    binding: &Value,
    request: &Request<'_>,
) -> Result<Vec<Option<Arc<Stored>>>, Misconfigured> {
    let (kind, reference) = (&policy.spec["paramKind"], &binding["paramRef"]);
    if !kind.is_object() || !reference.is_object() {
        return Ok(vec![None]);
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text(&kind["apiVersion"]), text(&kind["kind"]));
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let resource = store.registry().catalog().find_kind(group, version, &kind).ok_or_else(|| {
        Misconfigured::Policy(format!(
            "failed to configure policy: failed to find resource referenced by paramKind: '{api_version}, Kind={kind}'"
        ))
    })?;
    let broken = |why: &str| Misconfigured::Binding(format!("failed to configure binding: {why}"));
    let given = text(&reference["namespace"]);
    let namespace = match (resource.namespaced, given.is_empty(), request.key.namespace.is_empty()) {
        (false, true, _) => String::new(),
        (false, false, _) => {
            return Err(broken("paramRef.namespace must not be provided for a cluster-scoped `paramKind`"));
        }
        (true, false, _) => given,
        (true, true, false) => request.key.namespace.clone(),
        (true, true, true) => {
            return Err(broken(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources",
            ));
        }
    };
    let name = text(&reference["name"]);
    let found: Vec<Arc<Stored>> = if name.is_empty() {
        let selector = LabelSelector::from_json(&reference["selector"]).map_err(|why| broken(&why))?;
        let space = resource.namespaced.then_some(namespace.as_str());
        let mut all = store.list(&resource.id, space).items;
        all.retain(|object| selector.matches(object["metadata"]["labels"].as_object()));
        all
    } else {
        store.find(&Key::new(&resource.id, namespace, name)).into_iter().collect()
    };
    if found.is_empty() {
        if reference["parameterNotFoundAction"] == "Allow" {
            return Ok(Vec::new());
        }
        return Err(broken("no params found for policy binding with `Deny` parameterNotFoundAction"));
    }
    Ok(found.into_iter().map(Some).collect())
}
