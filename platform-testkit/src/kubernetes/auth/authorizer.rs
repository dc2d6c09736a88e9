//! RBAC: whether a user may do something, by the roles that are bound to them.

use std::ops::ControlFlow;

use serde_json::Value;

use super::user::account_name;
use super::{Access, CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, User, rule};
use crate::kubernetes::error::ApiError;
use crate::kubernetes::state::{Key, Stored};
use crate::kubernetes::store::Store;

/// The answer of the authorizer, and why; it has nothing to say about masters and about most refusals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kubernetes) struct Decision {
    pub(in crate::kubernetes) allowed: bool,
    pub(in crate::kubernetes) reason: String,
}

/// Whether `user` may do this.
pub(in crate::kubernetes) fn authorize(store: &Store, user: &User, access: &Access) -> Decision {
    if user.is_master() {
        return Decision { allowed: true, reason: String::new() };
    }
    let namespace = match access {
        Access::Resource(access) => access.namespace.as_str(),
        Access::Path { .. } => "",
    };
    let mut missing = Vec::new();
    let found = visit(store, user, namespace, &mut |found| match found {
        Found::Rule(rule, source) if rule::allows(rule, access) => {
            ControlFlow::Break(format!("RBAC: allowed by {}", source.describe()))
        }
        Found::Rule(..) => ControlFlow::Continue(()),
        Found::Missing(role) => {
            missing.push(role.singular());
            ControlFlow::Continue(())
        }
    });
    match found {
        ControlFlow::Break(reason) => Decision { allowed: true, reason },
        ControlFlow::Continue(()) => {
            let reason = summed_up(missing).map(|missing| format!("RBAC: {missing}"));
            Decision { allowed: false, reason: reason.unwrap_or_default() }
        }
    }
}

/// 403 if `user` may not do this.
pub(in crate::kubernetes) fn require(store: &Store, user: &User, access: &Access) -> Result<(), ApiError> {
    let decision = authorize(store, user, access);
    if decision.allowed { Ok(()) } else { Err(access.refusal(user, &decision.reason)) }
}

/// The rules that hold for a user in a namespace (in none: everywhere), and the roles that are bound but not there.
pub(in crate::kubernetes) fn rules_of(
    store: &Store,
    user: &User,
    namespace: &str,
) -> (Vec<Value>, Vec<MissingRole>) {
    let (mut rules, mut missing) = (Vec::new(), Vec::new());
    let _: ControlFlow<()> = visit(store, user, namespace, &mut |found| {
        match found {
            Found::Rule(rule, _) => rules.push(rule.clone()),
            Found::Missing(role) => missing.push(role),
        }
        ControlFlow::Continue(())
    });
    (rules, missing)
}

/// The rules of the role that a binding in `namespace` (empty for a ClusterRoleBinding) refers to.
pub(super) fn referenced(
    store: &Store,
    role_ref: &Value,
    namespace: &str,
) -> Result<Vec<Value>, MissingRole> {
    let role = role_of(store, role_ref, namespace)?;
    Ok(role["rules"].as_array().cloned().unwrap_or_default())
}

/// A role that a binding refers to and that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kubernetes) struct MissingRole {
    cluster: bool,
    name: String,
}

impl MissingRole {
    /// As the authorizer words it.
    pub(in crate::kubernetes) fn singular(&self) -> String {
        let kind = if self.cluster { "clusterrole" } else { "role" };
        format!("{kind}.{} \"{}\" not found", super::RBAC, self.name)
    }

    /// As the storage words it.
    pub(super) fn plural(&self) -> String {
        let collection = if self.cluster { CLUSTER_ROLES } else { ROLES };
        format!("{collection} \"{}\" not found", self.name)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// Several errors as one text, each of them once; `None` without any.
pub(in crate::kubernetes) fn summed_up(mut errors: Vec<String>) -> Option<String> {
    let mut seen = std::collections::HashSet::new();
    errors.retain(|error| seen.insert(error.clone()));
    match errors.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        many => Some(format!("[{}]", many.join(", "))),
    }
}

enum Found<'a> {
    Rule(&'a Value, &'a Source<'a>),
    Missing(MissingRole),
}

/// By which binding a user has a rule.
struct Source<'a> {
    binding: &'a Value,
    subject: &'a Value,
    namespace: &'a str,
}

impl Source<'_> {
    fn describe(&self) -> String {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let role = &self.binding["roleRef"];
        let name = text(&self.binding["metadata"]["name"]);
        let binding = match self.namespace {
            "" => format!("ClusterRoleBinding \"{name}\""),
            namespace => format!("RoleBinding \"{name}/{namespace}\""),
        };
        let subject = match (self.subject["kind"].as_str(), &self.subject["namespace"]) {
            (Some("ServiceAccount"), Value::String(namespace)) if !namespace.is_empty() => {
                format!("{}/{namespace}", text(&self.subject["name"]))
            }
            (Some("ServiceAccount"), _) => format!("{}/{}", text(&self.subject["name"]), self.namespace),
            _ => text(&self.subject["name"]),
        };
        format!(
            "{binding} of {} \"{}\" to {} \"{subject}\"",
            text(&role["kind"]),
            text(&role["name"]),
            text(&self.subject["kind"])
        )
    }
}

/// Shows every rule that is bound to a user until one is enough.
fn visit<B>(
    store: &Store,
    user: &User,
    namespace: &str,
    visitor: &mut dyn FnMut(Found<'_>) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let mut bindings = store.list(&CLUSTER_ROLE_BINDINGS, None).items;
    let everywhere = bindings.len();
    if !namespace.is_empty() {
        bindings.extend(store.list(&ROLE_BINDINGS, Some(namespace)).items);
    }
    for (index, binding) in bindings.iter().enumerate() {
        let namespace = if index < everywhere { "" } else { namespace };
        let mut subjects = binding["subjects"].as_array().into_iter().flatten();
        let Some(subject) = subjects.find(|subject| is_subject(user, subject, namespace)) else { continue };
        let role = match role_of(store, &binding["roleRef"], namespace) {
            Ok(role) => role,
            Err(missing) => {
                visitor(Found::Missing(missing))?;
                continue;
            }
        };
        let source = Source { binding, subject, namespace };
        for rule in role["rules"].as_array().into_iter().flatten() {
            visitor(Found::Rule(rule, &source))?;
        }
    }
    ControlFlow::Continue(())
}

fn role_of(store: &Store, role_ref: &Value, namespace: &str) -> Result<std::sync::Arc<Stored>, MissingRole> {
    let name = role_ref["name"].as_str().unwrap_or_default();
    let cluster = role_ref["kind"] == "ClusterRole";
    let key = if cluster { Key::new(&CLUSTER_ROLES, "", name) } else { Key::new(&ROLES, namespace, name) };
    store.find(&key).ok_or_else(|| MissingRole { cluster, name: name.to_owned() })
}

fn is_subject(user: &User, subject: &Value, namespace: &str) -> bool {
    let name = subject["name"].as_str().unwrap_or_default();
    match subject["kind"].as_str() {
        Some("User") => user.name == name,
        Some("Group") => user.is_in(name),
        Some("ServiceAccount") => {
            let given = subject["namespace"].as_str().filter(|given| !given.is_empty());
            let namespace = given.unwrap_or(namespace);
            !namespace.is_empty() && account_name(&user.name) == Some((namespace, name))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::ResourceAccess;
    use super::*;

    /// A store with one role of each kind and bindings to them.
    fn store() -> std::sync::Arc<Store> {
        let store = Store::in_memory();
        let create = |collection, object: Value| {
            store.create(&collection, object, "test").unwrap();
        };
        let namespaces = crate::kubernetes::store::NAMESPACES;
        for name in ["a", "b"] {
            create(namespaces.clone(), json!({"metadata": {"name": name}}));
        }
        let rules = |verb: &str| json!([{"apiGroups": [""], "resources": ["pods"], "verbs": [verb]}]);
        create(CLUSTER_ROLES, json!({"metadata": {"name": "reader"}, "rules": rules("get")}));
        create(ROLES, json!({"metadata": {"name": "writer", "namespace": "a"}, "rules": rules("create")}));
        let bind = |collection, name: &str, namespace: &str, role: (&str, &str), subject: Value| {
            create(
                collection,
                json!({
                    "metadata": {"name": name, "namespace": namespace},
                    "roleRef": {"apiGroup": super::super::RBAC, "kind": role.0, "name": role.1},
                    "subjects": [subject],
                }),
            );
        };
        let robot = json!({"kind": "ServiceAccount", "name": "robot", "namespace": "b"});
        bind(
            CLUSTER_ROLE_BINDINGS,
            "ann",
            "",
            ("ClusterRole", "reader"),
            json!({"kind": "User", "name": "ann"}),
        );
        bind(ROLE_BINDINGS, "robots", "a", ("ClusterRole", "reader"), robot);
        bind(ROLE_BINDINGS, "devs", "a", ("Role", "writer"), json!({"kind": "Group", "name": "devs"}));
        bind(ROLE_BINDINGS, "gone", "a", ("Role", "gone"), json!({"kind": "Group", "name": "devs"}));
        store
    }

    fn decide(store: &Store, name: &str, groups: &[&str], verb: &str, namespace: &str) -> Decision {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let user = User { name: name.to_owned(), groups, ..User::default() };
        authorize(store, &user, &ResourceAccess::new(verb, "", "pods").within(namespace).into())
    }

    #[test]
    fn bindings_give_the_rules_of_their_roles_where_they_are() {
        let store = store();
        let allowed = |name: &str, groups: &[&str], verb: &str, namespace: &str| {
            decide(&store, name, groups, verb, namespace).allowed
        };
        assert!(allowed("ann", &[], "get", "a") && allowed("ann", &[], "get", ""));
        assert!(!allowed("ann", &[], "create", "a"));
        let robot = "system:serviceaccount:b:robot";
        assert!(allowed(robot, &[], "get", "a"));
        assert!(!allowed(robot, &[], "get", "b") && !allowed(robot, &[], "get", ""));
        assert!(!allowed("system:serviceaccount:a:robot", &[], "get", "a"));
        assert!(allowed("bob", &["devs"], "create", "a") && !allowed("bob", &["devs"], "create", "b"));
        assert!(allowed("root", &["system:masters"], "create", "nowhere"));
    }

    #[test]
    fn decisions_say_why() {
        let store = store();
        let reason = decide(&store, "ann", &[], "get", "a").reason;
        assert_eq!(
            reason,
            "RBAC: allowed by ClusterRoleBinding \"ann\" of ClusterRole \"reader\" to User \"ann\""
        );
        let reason = decide(&store, "system:serviceaccount:b:robot", &[], "get", "a").reason;
        assert_eq!(
            reason,
            "RBAC: allowed by RoleBinding \"robots/a\" of ClusterRole \"reader\" to ServiceAccount \"robot/b\""
        );
        let reason = decide(&store, "bob", &["devs"], "delete", "a").reason;
        assert_eq!(reason, "RBAC: role.rbac.authorization.k8s.io \"gone\" not found");
    }
}
