//! Kubernetes objects as plain JSON with a checked identity.

use crate::{
    error::{Error, Result},
    name::{ClusterName, Namespace},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// Which object: its kind, namespace and name. Two manifests with equal references are the same object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// `v1`, `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// The namespace; `None` for what is cluster-scoped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

impl ObjectRef {
    /// A reference to a cluster-scoped object.
    pub fn new(api_version: impl Into<String>, kind: impl Into<String>, name: impl Into<String>) -> Self {
        Self { api_version: api_version.into(), kind: kind.into(), namespace: None, name: name.into() }
    }

    /// The same in a namespace.
    #[must_use]
    pub fn in_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// The group of the API version; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.rsplit_once('/').map_or("", |(group, _)| group)
    }

    /// The version of the API version.
    pub fn version(&self) -> &str {
        self.api_version.rsplit_once('/').map_or(&self.api_version, |(_, version)| version)
    }
}

/// `Deployment api1/web`, `Namespace api1`.
impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// One Kubernetes object as it is wanted: JSON whose `apiVersion`, `kind` and `metadata.name` are known to be there.
///
/// What only a server writes (`status`, `metadata.managedFields`, `uid`, `resourceVersion`, `creationTimestamp`, `generation`)
/// is removed, so that a manifest read back from a cluster can be applied again. `Debug` shows only which object it is.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct Manifest {
    reference: ObjectRef,
    object: Value,
}

impl Manifest {
    /// Checks that `object` is an object with an identity.
    pub fn new(object: Value) -> Result<Self> {
        let Value::Object(mut object) = object else {
            return Err(Error::invalid("a manifest must be a JSON object"));
        };
        let text = |object: &Map<String, Value>, key: &str| match object.get(key).and_then(Value::as_str) {
            Some(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => Err(Error::invalid(format!("a manifest must have a non-empty string {key:?}"))),
        };
        let api_version = text(&object, "apiVersion")?;
        let kind = text(&object, "kind")?;
        object.remove("status");
        let Some(Value::Object(metadata)) = object.get_mut("metadata") else {
            return Err(Error::invalid(format!("a {kind} manifest must have an object \"metadata\"")));
        };
        for written_by_servers in
            ["managedFields", "uid", "resourceVersion", "creationTimestamp", "generation", "selfLink"]
        {
            metadata.remove(written_by_servers);
        }
        let name = text(metadata, "name").map_err(|e| e.subject(format!("{kind} manifest")))?;
        let namespace = match metadata.get("namespace") {
            None => None,
            Some(Value::String(namespace)) => Some(Namespace::new(namespace)?.as_str().to_owned()),
            Some(_) => {
                return Err(Error::invalid(format!("metadata.namespace of {kind} {name} must be a string")));
            }
        };
        Ok(Self {
            reference: ObjectRef { api_version, kind, namespace, name },
            object: Value::Object(object),
        })
    }

    /// Its identity.
    pub fn reference(&self) -> &ObjectRef {
        &self.reference
    }

    /// The whole object.
    pub fn object(&self) -> &Value {
        &self.object
    }

    /// The whole object, taken out.
    pub fn into_object(self) -> Value {
        self.object
    }

    /// A label's value.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.object.get("metadata")?.get("labels")?.get(key)?.as_str()
    }

    /// Sets labels, keeping those it has under other keys.
    #[must_use]
    pub fn with_labels<'a>(self, labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        self.with_metadata("labels", labels)
    }

    /// Sets annotations, keeping those it has under other keys.
    #[must_use]
    pub fn with_annotations<'a>(self, annotations: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        self.with_metadata("annotations", annotations)
    }

    fn with_metadata<'a>(mut self, field: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        if let Some(Value::Object(metadata)) = self.object.get_mut("metadata") {
            let slot = metadata.entry(field).or_insert_with(|| Value::Object(Map::new()));
            if !slot.is_object() {
                *slot = Value::Object(Map::new());
            }
            if let Value::Object(map) = slot {
                map.extend(pairs.into_iter().map(|(key, value)| (key.to_owned(), value.into())));
            }
        }
        self
    }
}

/// Only which object it is: it may hold secrets.
impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Manifest({})", self.reference)
    }
}

impl TryFrom<Value> for Manifest {
    type Error = Error;
    fn try_from(object: Value) -> Result<Self> {
        Self::new(object)
    }
}

impl From<Manifest> for Value {
    fn from(manifest: Manifest) -> Self {
        manifest.object
    }
}

/// Manifests that are applied, pruned and deleted together: a component, an application, the isolation of an environment.
///
/// The name is unique in its cluster. It becomes the name of an ApplySet ([KEP-3659]), by which members that are
/// no longer in the set are found and pruned.
///
/// [KEP-3659]: https://github.com/kubernetes/enhancements/tree/master/keps/sig-cli/3659-kubectl-apply-prune
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManifestSet {
    name: String,
    manifests: Vec<Manifest>,
}

impl ManifestSet {
    /// A set of `manifests`; no two may be the same object, and the name must be a DNS subdomain.
    pub fn new(name: impl Into<String>, manifests: Vec<Manifest>) -> Result<Self> {
        let name = name.into();
        let valid = |label: &str| ClusterName::new(label).is_ok();
        if name.len() > 200 || !name.split('.').all(valid) {
            return Err(Error::invalid(format!(
                "{name:?} is not a valid name of a manifest set: lower case DNS labels joined by '.' are"
            )));
        }
        let mut seen = std::collections::BTreeSet::new();
        for manifest in &manifests {
            if !seen.insert(manifest.reference()) {
                return Err(Error::invalid(format!("{} is twice in the set {name}", manifest.reference())));
            }
        }
        Ok(Self { name, manifests })
    }

    /// The name: `application.testing.api1`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The manifests, in the order given.
    pub fn manifests(&self) -> &[Manifest] {
        &self.manifests
    }

    /// The identities of the manifests, in the same order.
    pub fn references(&self) -> Vec<ObjectRef> {
        self.manifests.iter().map(|m| m.reference().clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_identity_is_checked_and_server_fields_are_dropped() {
        let manifest = Manifest::new(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "api1", "uid": "x", "resourceVersion": "7"},
            "spec": {}, "status": {"replicas": 1},
        }))
        .unwrap();
        assert_eq!(manifest.reference().to_string(), "Deployment api1/web");
        assert_eq!(manifest.reference().group(), "apps");
        assert_eq!(manifest.object()["metadata"], json!({"name": "web", "namespace": "api1"}));
        assert!(manifest.object().get("status").is_none());
        for bad in [json!([]), json!({"kind": "A"}), json!({"apiVersion": "v1", "kind": "A", "metadata": {}})]
        {
            assert!(Manifest::new(bad).is_err());
        }
    }

    #[test]
    fn a_set_refuses_the_same_object_twice() {
        let namespace = |name: &str| {
            Manifest::new(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
                .unwrap()
        };
        let error = ManifestSet::new("isolation.a", vec![namespace("a"), namespace("a")]).unwrap_err();
        assert_eq!(error.to_string(), "Namespace a is twice in the set isolation.a");
        assert!(ManifestSet::new("Not valid", vec![]).is_err());
    }
}
