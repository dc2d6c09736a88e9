//! Nobody grants what they do not hold: the check of writes to roles and bindings.
//!
//! It asks for the rights themselves, or for the verb `escalate` on a role, or `bind` on the role that a binding
//! refers to.

use serde_json::Value;

use super::authorizer::{MissingRole, authorize, referenced, rules_of, summed_up};
use super::rule::{Rule, missing, quoted};
use super::{RBAC, ResourceAccess, User};
use crate::kubernetes::error::ApiError;
use crate::kubernetes::resource::Resource;
use crate::kubernetes::store::Store;

/// Refuses a write to a role or binding that would give more than `user` holds. Other objects pass.
pub(in crate::kubernetes) fn check(
    store: &Store,
    user: &User,
    resource: &Resource,
    namespace: &str,
    live: Option<&Value>,
    object: &Value,
) -> Result<(), ApiError> {
    if resource.group != RBAC || user.is_master() || live.is_some_and(|live| only_released(live, object)) {
        return Ok(());
    }
    let attempt = Attempt { store, user, resource, namespace, object };
    if resource.id.plural().ends_with("roles") { attempt.role(live) } else { attempt.binding() }
}

struct Attempt<'a> {
    store: &'a Store,
    user: &'a User,
    resource: &'a Resource,
    namespace: &'a str,
    object: &'a Value,
}

impl Attempt<'_> {
    fn role(&self, live: Option<&Value>) -> Result<(), ApiError> {
        let plural = self.resource.id.plural();
        // A creation is not named by its request.
        let name = if live.is_some() { self.name() } else { "" };
        let escalate = ResourceAccess::new("escalate", RBAC, plural).within(self.namespace).named(name);
        if authorize(self.store, self.user, &escalate.into()).allowed {
            return Ok(());
        }
        self.holds(&rules(self.object))?;
        let aggregates = |object: &Value| object["aggregationRule"].is_object();
        if aggregates(self.object) || live.is_some_and(aggregates) {
            let why = "must have cluster-admin privileges to use the aggregationRule";
            self.holds(&Rule::everything()).map_err(|_| self.forbidden(why))?;
        }
        Ok(())
    }

    fn binding(&self) -> Result<(), ApiError> {
        let role_ref = &self.object["roleRef"];
        let text = |field: &str| role_ref[field].as_str().unwrap_or_default();
        let plural = if text("kind") == "ClusterRole" { "clusterroles" } else { "roles" };
        let bind = ResourceAccess::new("bind", RBAC, plural).within(self.namespace).named(text("name"));
        if authorize(self.store, self.user, &bind.into()).allowed {
            return Ok(());
        }
        let granted = referenced(self.store, role_ref, self.namespace);
        // kube-apiserver says it of the binding's resource.
        let granted = granted.map_err(|role| ApiError::not_found(&self.resource.id, role.name()))?;
        self.holds(&granted.iter().map(Rule::from).collect::<Vec<_>>())
    }

    /// 403 unless the user's own rules give all of `wanted`.
    fn holds(&self, wanted: &[Rule]) -> Result<(), ApiError> {
        let (held, unresolved) = rules_of(self.store, self.user, self.namespace);
        let held: Vec<Rule> = held.iter().map(Rule::from).collect();
        let lacking = missing(&held, wanted);
        if lacking.is_empty() {
            return Ok(());
        }
        let (name, groups, lacking) = (&self.user.name, quoted(&self.user.groups), lacking.join("\n"));
        let mut why = format!(
            "user \"{name}\" (groups={groups}) is attempting to grant RBAC permissions not currently held:\n{lacking}"
        );
        if let Some(errors) = summed_up(unresolved.iter().map(MissingRole::plural).collect()) {
            why.push_str("; resolution errors: [");
            why.push_str(&errors);
            why.push(']');
        }
        Err(self.forbidden(&why))
    }

    fn forbidden(&self, why: &str) -> ApiError {
        ApiError::forbidden(&self.resource.id, self.name(), why)
    }

    fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }
}

fn rules(role: &Value) -> Vec<Rule> {
    role["rules"].as_array().into_iter().flatten().map(Rule::from).collect()
}

/// Whether a write only changes what holds and owns the object, as garbage collection does.
fn only_released(live: &Value, object: &Value) -> bool {
    let bare = |object: &Value| {
        let mut object = object.clone();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in ["finalizers", "ownerReferences", "managedFields", "resourceVersion"] {
                metadata.remove(field);
            }
        }
        object
    };
    bare(live) == bare(object)
}
