//! What a request wants to do.

use super::User;
use crate::kubernetes::error::{ApiError, Details};
use crate::kubernetes::resource::GroupResource;

/// A verb on a resource, or on a path that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kubernetes) enum Access {
    Resource(ResourceAccess),
    Path { verb: String, path: String },
}

/// Every text may be empty: a collection has no name, a cluster-scoped resource no namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::kubernetes) struct ResourceAccess {
    pub(in crate::kubernetes) verb: String,
    pub(in crate::kubernetes) group: String,
    pub(in crate::kubernetes) resource: String,
    pub(in crate::kubernetes) subresource: String,
    pub(in crate::kubernetes) namespace: String,
    pub(in crate::kubernetes) name: String,
}

impl ResourceAccess {
    pub(in crate::kubernetes) fn new(verb: &str, group: &str, resource: &str) -> Self {
        let (verb, group, resource) = (verb.to_owned(), group.to_owned(), resource.to_owned());
        Self { verb, group, resource, ..Self::default() }
    }

    pub(in crate::kubernetes) fn subresource(self, subresource: impl Into<String>) -> Self {
        Self { subresource: subresource.into(), ..self }
    }

    pub(in crate::kubernetes) fn within(self, namespace: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), ..self }
    }

    pub(in crate::kubernetes) fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// The resource as rules name it: `pods`, `pods/log`.
    pub(in crate::kubernetes) fn combined(&self) -> String {
        match self.subresource.as_str() {
            "" => self.resource.clone(),
            subresource => format!("{}/{subresource}", self.resource),
        }
    }
}

impl From<ResourceAccess> for Access {
    fn from(access: ResourceAccess) -> Self {
        Self::Resource(access)
    }
}

impl Access {
    /// 403 in the words of kube-apiserver; `reason` is what the authorizer has to say, often nothing.
    pub(in crate::kubernetes) fn refusal(&self, user: &User, reason: &str) -> ApiError {
        let mut why = escaped(&self.denied_to(user));
        if !reason.is_empty() {
            why = format!("{why}: {reason}");
        }
        let (message, details) = match self {
            Self::Path { .. } => (format!("forbidden: {why}"), Details::default()),
            Self::Resource(access) => {
                let collection = GroupResource::owned(access.group.clone(), access.resource.clone());
                let on = match access.name.as_str() {
                    "" => collection.to_string(),
                    name => format!("{collection} \"{name}\""),
                };
                let (name, group, kind) =
                    (access.name.clone(), access.group.clone(), access.resource.clone());
                (format!("{on} is forbidden: {why}"), Details { name, group, kind, ..Details::default() })
            }
        };
        let mut error = ApiError::new(403, "Forbidden", message);
        error.details = Some(Box::new(details));
        error
    }

    fn denied_to(&self, user: &User) -> String {
        match self {
            Self::Path { verb, path } => format!("User \"{}\" cannot {verb} path \"{path}\"", user.name),
            Self::Resource(access) => {
                let scope = match access.namespace.as_str() {
                    "" => "at the cluster scope".to_owned(),
                    namespace => format!("in the namespace \"{namespace}\""),
                };
                format!(
                    "User \"{}\" cannot {} resource \"{}\" in API group \"{}\" {scope}",
                    user.name,
                    access.verb,
                    access.combined(),
                    access.group
                )
            }
        }
    }
}

/// What a request brought is shown to people, perhaps in a browser.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(access: impl Into<Access>, reason: &str) -> String {
        let bob = User { name: "bob".to_owned(), ..User::default() };
        access.into().refusal(&bob, reason).message
    }

    #[test]
    fn refusals_are_worded_as_kube_apiserver_words_them() {
        assert_eq!(
            refused(ResourceAccess::new("list", "", "pods").within("a"), ""),
            "pods is forbidden: User \"bob\" cannot list resource \"pods\" in API group \"\" in the namespace \"a\""
        );
        let log = ResourceAccess::new("get", "", "pods").subresource("log").within("a").named("x");
        assert_eq!(
            refused(log, "RBAC: role.rbac.authorization.k8s.io \"r\" not found"),
            "pods \"x\" is forbidden: User \"bob\" cannot get resource \"pods/log\" in API group \"\" in the namespace \
             \"a\": RBAC: role.rbac.authorization.k8s.io \"r\" not found"
        );
        assert_eq!(
            refused(ResourceAccess::new("create", "apps", "deployments"), ""),
            "deployments.apps is forbidden: User \"bob\" cannot create resource \"deployments\" in API group \"apps\" \
             at the cluster scope"
        );
        let path = Access::Path { verb: "get".to_owned(), path: "/<metrics>".to_owned() };
        assert_eq!(refused(path, ""), "forbidden: User \"bob\" cannot get path \"/&lt;metrics&gt;\"");
    }
}
