//! Kinds as the API server serves them: where their objects are, and whether they are in namespaces.

use super::api::{Api, Request, gather};
use super::error::ApiError;
use platform_core::{Error, Result, manifest::ObjectRef};
use serde::Deserialize;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

/// A kind that the server serves.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) plural: String,
    pub(crate) namespaced: bool,
}

impl Resource {
    /// A kind that every server serves, so that nobody needs to ask.
    pub(crate) fn known(api_version: &str, kind: &str, plural: &str, namespaced: bool) -> Self {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        Self {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
            plural: plural.into(),
            namespaced,
        }
    }

    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `Deployment.apps`, `Service`: how an ApplySet names a kind.
    pub(crate) fn group_kind(&self) -> String {
        group_kind(&self.group, &self.kind)
    }

    /// The path of the collection, in a namespace or across all.
    pub(crate) fn path(&self, namespace: Option<&str>) -> String {
        let mut path = group_version_path(&self.api_version());
        if let Some(namespace) = namespace.filter(|_| self.namespaced) {
            path.push_str("/namespaces/");
            path.push_str(&segment(namespace));
        }
        path.push('/');
        path.push_str(&self.plural);
        path
    }

    /// The path of one object.
    pub(crate) fn object_path(&self, namespace: Option<&str>, name: &str) -> Result<String> {
        if name.contains(['/', '%']) || matches!(name, "." | "..") {
            return Err(Error::invalid(format!("{name:?} cannot be the name of an object")));
        }
        Ok(format!("{}/{}", self.path(namespace), segment(name)))
    }

    /// The identity of an object of this kind.
    pub(crate) fn reference(&self, object: &serde_json::Value) -> ObjectRef {
        let text = |key: &str| object.pointer(&format!("/metadata/{key}")).and_then(|v| v.as_str());
        ObjectRef {
            api_version: self.api_version(),
            kind: self.kind.clone(),
            namespace: text("namespace").map(str::to_owned),
            name: text("name").unwrap_or_default().to_owned(),
        }
    }

    pub(crate) fn kube(&self) -> kube::core::ApiResource {
        kube::core::ApiResource {
            group: self.group.clone(),
            version: self.version.clone(),
            api_version: self.api_version(),
            kind: self.kind.clone(),
            plural: self.plural.clone(),
        }
    }
}

/// `Deployment.apps`, `Service`.
pub(crate) fn group_kind(group: &str, kind: &str) -> String {
    if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") }
}

/// The kinds of an API version by their name.
type Kinds = HashMap<String, Arc<Resource>>;

/// What the server serves, asked one API version at a time and remembered.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    /// By API version.
    versions: Mutex<HashMap<String, Kinds>>,
}

impl Discovery {
    /// The resource of a kind; `None` where the server does not serve it. What is not remembered is asked again,
    /// so that a kind is found as soon as its definition is there.
    pub(crate) async fn find(
        &self,
        api: &Api,
        api_version: &str,
        kind: &str,
    ) -> Result<Option<Arc<Resource>>> {
        if let Some(resource) = self.remembered(api_version, kind) {
            return Ok(Some(resource));
        }
        self.ask(api, api_version).await?;
        Ok(self.remembered(api_version, kind))
    }

    /// Like [`find`](Self::find), for one that must be there.
    pub(crate) async fn expect(&self, api: &Api, api_version: &str, kind: &str) -> Result<Arc<Resource>> {
        self.find(api, api_version, kind).await?.ok_or_else(|| not_served(api_version, kind))
    }

    /// Asks for all API versions of `kinds` that are not remembered, at once.
    pub(crate) async fn prepare<'a>(
        &self,
        api: &Api,
        kinds: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<()> {
        let missing: BTreeSet<&str> = kinds
            .into_iter()
            .filter(|(api_version, kind)| self.remembered(api_version, kind).is_none())
            .map(|(api_version, _)| api_version)
            .collect();
        gather(api, missing.into_iter().map(|api_version| self.ask(api, api_version))).await?;
        Ok(())
    }

    /// The resource of a group and kind in the version that the server prefers.
    pub(crate) async fn preferred(
        &self,
        api: &Api,
        group: &str,
        kind: &str,
    ) -> Result<Option<Arc<Resource>>> {
        if group.is_empty() {
            return self.find(api, "v1", kind).await;
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Group {
            preferred_version: Option<Version>,
            #[serde(default)]
            versions: Vec<Version>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            group_version: String,
        }
        let remembered = {
            let versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
            versions.values().filter_map(|kinds| kinds.get(kind)).find(|r| r.group == group).cloned()
        };
        if remembered.is_some() {
            return Ok(remembered);
        }
        let answer: Group = match api.read(Request::get(format!("/apis/{}", segment(group)))).await {
            Ok(answer) => answer,
            Err(error) if error.code() == Some(404) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        for version in answer.preferred_version.iter().chain(&answer.versions) {
            if let Some(resource) = self.find(api, &version.group_version, kind).await? {
                return Ok(Some(resource));
            }
        }
        Ok(None)
    }

    /// The resource of an object whose kind has been [prepared](Self::prepare).
    pub(crate) fn find_known(&self, object: &ObjectRef) -> Option<Arc<Resource>> {
        self.remembered(&object.api_version, &object.kind)
    }

    fn remembered(&self, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
        let versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.get(api_version)?.get(kind).cloned()
    }

    async fn ask(&self, api: &Api, api_version: &str) -> Result<()> {
        #[derive(Deserialize)]
        struct List {
            #[serde(default)]
            resources: Vec<Entry>,
        }
        #[derive(Deserialize)]
        struct Entry {
            name: String,
            kind: String,
            namespaced: bool,
        }
        let list: List = match api.read(Request::get(group_version_path(api_version))).await {
            Ok(list) => list,
            Err(ApiError::Status { status, .. }) if status.code == 404 => List { resources: Vec::new() },
            Err(error) => {
                return Err(Error::from(error)
                    .operation("discover")
                    .subject(format!("the kinds of {api_version}")));
            }
        };
        // Subresources have a slash in their name, and some share the kind of their resource.
        let kinds = list.resources.into_iter().filter(|r| !r.name.contains('/')).map(|r| {
            let resource = Resource::known(api_version, &r.kind, &r.name, r.namespaced);
            (r.kind, Arc::new(resource))
        });
        let kinds: Kinds = kinds.collect();
        self.versions.lock().unwrap_or_else(PoisonError::into_inner).insert(api_version.to_owned(), kinds);
        Ok(())
    }
}

pub(crate) fn not_served(api_version: &str, kind: &str) -> Error {
    Error::not_found(format!("the API server does not serve {kind} of {api_version}"))
        .help("apply the CustomResourceDefinition or install the component that brings it first")
}

fn group_version_path(api_version: &str) -> String {
    let encoded: Vec<String> = api_version.split('/').map(segment).collect();
    let root = if encoded.len() > 1 { "/apis" } else { "/api" };
    format!("{root}/{}", encoded.join("/"))
}

/// Percent-encodes what may not stand in a path segment or a query value as it is.
pub(crate) fn segment(text: &str) -> String {
    use std::fmt::Write;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_scope_and_group() {
        let service = Resource::known("v1", "Service", "services", true);
        assert_eq!(service.path(None), "/api/v1/services");
        assert_eq!(service.object_path(Some("a"), "web").unwrap(), "/api/v1/namespaces/a/services/web");
        let role = Resource::known("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", false);
        assert_eq!(
            role.object_path(None, "system:node x").unwrap(),
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node%20x"
        );
        assert_eq!(role.group_kind(), "ClusterRole.rbac.authorization.k8s.io");
        assert_eq!(service.group_kind(), "Service");
        for bad in ["..", "a/b", "a%2fb"] {
            assert!(service.object_path(Some("a"), bad).is_err(), "{bad}");
        }
    }
}
