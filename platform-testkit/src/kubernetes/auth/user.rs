//! Users: people, service accounts and the components of the cluster.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};

/// Whose members may do everything.
pub(in crate::kubernetes) const MASTERS: &str = "system:masters";
/// Everyone who proved who they are.
pub(in crate::kubernetes) const AUTHENTICATED: &str = "system:authenticated";
/// Everyone else.
pub(in crate::kubernetes) const UNAUTHENTICATED: &str = "system:unauthenticated";
/// Whose credentials the server does not know.
pub(in crate::kubernetes) const ANONYMOUS: &str = "system:anonymous";

/// Who a request is from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct User {
    /// Its name, which roles are bound to.
    pub name: String,
    /// What tells it from former users of the name. Empty where the way of authentication knows none.
    pub uid: String,
    /// Its groups, which roles are bound to as well.
    pub groups: Vec<String>,
    /// What else is known of it, for audits.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A user in no group.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Adds a group. Who is in `system:masters` may do everything.
    #[must_use]
    pub fn group(mut self, name: impl Into<String>) -> Self {
        self.groups.push(name.into());
        self
    }

    /// Whom the kubeconfig of an embedded cluster is for.
    pub(in crate::kubernetes) fn administrator() -> Arc<Self> {
        static ADMINISTRATOR: LazyLock<Arc<User>> =
            LazyLock::new(|| User::of("kubernetes-admin", &[MASTERS, AUTHENTICATED]));
        ADMINISTRATOR.clone()
    }

    /// Somebody without credentials.
    pub(in crate::kubernetes) fn anonymous() -> Arc<Self> {
        Self::of(ANONYMOUS, &[UNAUTHENTICATED])
    }

    /// A service account that has shown its token.
    pub(in crate::kubernetes) fn service_account(namespace: &str, name: &str, uid: &str) -> Self {
        let mut groups = account_groups(namespace);
        groups.push(AUTHENTICATED.to_owned());
        let name = format!("{ACCOUNT_PREFIX}{namespace}:{name}");
        Self { name, uid: uid.to_owned(), groups, extra: BTreeMap::new() }
    }

    /// The component of the cluster that manages fields under this name.
    pub(in crate::kubernetes) fn component(manager: &str) -> Arc<Self> {
        static API_SERVER: LazyLock<Arc<User>> =
            LazyLock::new(|| User::of("system:apiserver", &[MASTERS, AUTHENTICATED]));
        static CONTROLLERS: LazyLock<Arc<User>> =
            LazyLock::new(|| User::of("system:kube-controller-manager", &[AUTHENTICATED]));
        static SCHEDULER: LazyLock<Arc<User>> =
            LazyLock::new(|| User::of("system:kube-scheduler", &[AUTHENTICATED]));
        static KUBELET: LazyLock<Arc<User>> =
            LazyLock::new(|| User::of("system:node", &["system:nodes", AUTHENTICATED]));
        match manager {
            "kube-controller-manager" => CONTROLLERS.clone(),
            "kube-scheduler" => SCHEDULER.clone(),
            "kubelet" => KUBELET.clone(),
            _ => API_SERVER.clone(),
        }
    }

    /// Whether nothing is forbidden to this user.
    pub(in crate::kubernetes) fn is_master(&self) -> bool {
        self.is_in(MASTERS)
    }

    /// Whether the user belongs to this group.
    pub(in crate::kubernetes) fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|one| one == group)
    }

    /// As `authentication.k8s.io/v1` writes a `UserInfo`, which is what reviews and admission policies see.
    pub(in crate::kubernetes) fn info(&self) -> Value {
        let mut info = json!({});
        if !self.name.is_empty() {
            info["username"] = json!(self.name);
        }
        if !self.uid.is_empty() {
            info["uid"] = json!(self.uid);
        }
        if !self.groups.is_empty() {
            info["groups"] = json!(self.groups);
        }
        if !self.extra.is_empty() {
            info["extra"] = json!(self.extra);
        }
        info
    }

    fn of(name: &str, groups: &[&str]) -> Arc<Self> {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Arc::new(Self { name: name.to_owned(), groups, ..Self::default() })
    }
}

const ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// The groups of every service account in a namespace.
pub(super) fn account_groups(namespace: &str) -> Vec<String> {
    vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")]
}

/// Namespace and name, if this is the user name of a service account.
pub(super) fn account_name(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(ACCOUNT_PREFIX)?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_written_without_what_is_not_known() {
        let info = User::administrator().info();
        let groups = ["system:masters", "system:authenticated"];
        assert_eq!(info, json!({"username": "kubernetes-admin", "groups": groups}));
        assert!(User::administrator().is_master());
        assert!(!User::component("kubelet").is_master());
    }

    #[test]
    fn service_accounts_are_users_with_a_name_of_two_parts() {
        let robot = User::service_account("a", "robot", "1");
        assert_eq!(robot.name, "system:serviceaccount:a:robot");
        assert_eq!(
            robot.groups,
            ["system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"]
        );
        assert_eq!(account_name(&robot.name), Some(("a", "robot")));
        for other in
            ["a:robot", "system:serviceaccount:a", "system:serviceaccount:a:", "system:serviceaccount:a:b:c"]
        {
            assert_eq!(account_name(other), None, "{other}");
        }
    }
}
