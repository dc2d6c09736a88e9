//! A component and the cluster that it is rendered for: names, labels, images and sizes of its objects.

use super::{Container, Defaults, Pod};
use crate::{labels, render};
use platform_core::{
    Error, Image, Quantity, Result,
    cluster::ClusterRole,
    component::{ComponentSpec, ComponentTarget, Storage},
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What the objects of a component are made of.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) target: &'a ComponentTarget,
    defaults: &'static Defaults,
    spec: &'a ComponentSpec,
    version: &'a str,
    images: BTreeMap<&'static str, Image>,
}

impl<'a> Frame<'a> {
    pub(crate) fn new(
        defaults: &'static Defaults,
        spec: &'a ComponentSpec,
        version: &'a str,
        target: &'a ComponentTarget,
    ) -> Result<Self> {
        let mut images = BTreeMap::new();
        for container in defaults.containers {
            let image = match spec.images.get(container.name) {
                Some(image) => image.clone(),
                None => target.images.resolve(container.name, &container.image(version)?)?,
            };
            images.insert(container.name, image);
        }
        Ok(Self { target, defaults, spec, version, images })
    }

    /// The component's name, which its objects in its namespace bear.
    pub(crate) fn name(&self) -> &str {
        self.spec.name.as_str()
    }

    pub(crate) fn namespace(&self) -> &str {
        self.target.namespace.as_str()
    }

    /// The name of its cluster-scoped objects, which does not meet that of another platform's component.
    pub(crate) fn cluster_name(&self) -> String {
        format!("{}-{}", self.target.platform, self.name())
    }

    /// The environment, if the cluster has only one.
    pub(crate) fn environment(&self) -> Option<&str> {
        match &self.target.role {
            ClusterRole::Environments(environments) => match environments.as_slice() {
                [one] => Some(one.as_str()),
                _ => None,
            },
            _ => None,
        }
    }

    pub(crate) fn replicas(&self) -> u32 {
        self.spec.replicas.or(self.defaults.replicas).unwrap_or(1)
    }

    /// The metadata of an object in the component's namespace.
    pub(crate) fn metadata(&self, name: &str) -> Value {
        json!({"name": name, "namespace": self.namespace(), "labels": self.labels()})
    }

    /// The metadata of a cluster-scoped object.
    pub(crate) fn cluster_metadata(&self, name: &str) -> Value {
        json!({"name": name, "labels": self.labels()})
    }

    pub(crate) fn labels(&self) -> Map<String, Value> {
        let mut all = render::recommended_labels(self.name(), &self.target.platform, None);
        all.insert(labels::VERSION.to_owned(), self.version.into());
        all
    }

    pub(crate) fn selector(&self) -> Value {
        json!({labels::NAME: self.name()})
    }

    /// A container that the catalogue knows, with its image and resources, and with the rights that the Pod Security standard
    /// `restricted` allows and a file system that it cannot write to.
    pub(crate) fn container(&self, name: &'static str) -> Result<Container> {
        let image = self.images.get(name).ok_or_else(|| unknown(name))?;
        let defaults = self.defaults.container(name)?;
        let resources = match self.spec.resources.get(name) {
            Some(resources) => resources.clone(),
            None => defaults.resources()?,
        };
        Ok(Container::new(name, image, &resources))
    }

    /// A pod that may run in this component's namespace without rights.
    pub(crate) fn pod(&self) -> Pod {
        Pod::new(self)
    }

    /// How much room the data of a replica gets.
    pub(crate) fn storage_size(&self) -> Result<Quantity> {
        match (self.spec.storage.as_ref().and_then(|storage| storage.size.as_ref()), self.defaults.storage) {
            (Some(size), _) => Ok(size.clone()),
            (None, Some(size)) => Quantity::parse(size),
            (None, None) => Err(Error::internal("a component without data has no size")),
        }
    }

    /// Where its data is.
    pub(crate) fn storage(&self) -> Storage {
        self.spec.storage.clone().unwrap_or_default()
    }
}

fn unknown(container: &str) -> Error {
    Error::internal(format!("the catalogue has no container {container:?} of it"))
}
