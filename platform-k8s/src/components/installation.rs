//! What every component of the catalogue has: a version, a scope, images.

use crate::{labels, render};
use platform_core::{
    Error, Image, Result,
    component::{ComponentScope, ComponentSpec, ComponentTarget},
    name::ComponentName,
};
use serde_json::{Map, Value, json};

/// A component as the catalogue has it.
pub(super) struct Defaults {
    pub(super) name: &'static str,
    /// `MAJOR.MINOR.PATCH`, without the `v` of image tags.
    pub(super) version: &'static str,
    pub(super) scope: ComponentScope,
    /// The name of the one container.
    pub(super) container: &'static str,
    pub(super) repository: &'static str,
}

/// A component as it is to be installed.
#[derive(Debug, Clone)]
pub(super) struct Installation {
    pub(super) name: ComponentName,
    pub(super) version: String,
    pub(super) scope: ComponentScope,
    pub(super) image: Image,
}

impl Installation {
    /// The catalogue's defaults.
    pub(super) fn of(defaults: &Defaults) -> Result<Self> {
        Self::of_spec(defaults, &ComponentSpec::new(ComponentName::new(defaults.name)?), None)
    }

    pub(super) fn of_spec(defaults: &Defaults, spec: &ComponentSpec, mirror: Option<&str>) -> Result<Self> {
        let subject = || format!("component {}", defaults.name);
        if let Some(unknown) = spec.images.keys().find(|container| *container != defaults.container) {
            return Err(Error::invalid(format!(
                "it has no container {unknown:?}, only {:?}",
                defaults.container
            ))
            .subject(subject()));
        }
        let version = match &spec.version {
            None => defaults.version.to_owned(),
            Some(version) => checked_version(version).map_err(|e| e.subject(subject()))?,
        };
        let image = match spec.images.get(defaults.container) {
            Some(image) => image.clone(),
            None => default_image(defaults.repository, &version, mirror).map_err(|e| e.subject(subject()))?,
        };
        Ok(Self { name: spec.name.clone(), version, scope: spec.scope.unwrap_or(defaults.scope), image })
    }

    /// The metadata of an object in the component's namespace, named like the component.
    pub(super) fn metadata(&self, target: &ComponentTarget) -> Value {
        json!({"name": self.name.as_str(), "namespace": target.namespace.as_str(), "labels": self.labels(target)})
    }

    /// The metadata of a cluster-scoped object: its name must not meet that of another platform's component.
    pub(super) fn cluster_metadata(&self, target: &ComponentTarget) -> Value {
        json!({"name": format!("{}-{}", target.platform, self.name), "labels": self.labels(target)})
    }

    pub(super) fn labels(&self, target: &ComponentTarget) -> Map<String, Value> {
        let mut all = render::recommended_labels(self.name.as_str(), &target.platform, None);
        all.insert(labels::VERSION.to_owned(), self.version.clone().into());
        all
    }

    pub(super) fn selector(&self) -> Value {
        json!({labels::NAME: self.name.as_str()})
    }
}

fn checked_version(version: &str) -> Result<String> {
    let bare = version.strip_prefix('v').unwrap_or(version);
    let parts: Vec<&str> = bare.split('.').collect();
    let is_number =
        |part: &&str| !part.is_empty() && part.len() <= 5 && part.bytes().all(|b| b.is_ascii_digit());
    if parts.len() == 3 && parts.iter().all(is_number) {
        return Ok(bare.to_owned());
    }
    Err(Error::invalid(format!("{version:?} is not a version like MAJOR.MINOR.PATCH")))
}

fn default_image(repository: &str, version: &str, mirror: Option<&str>) -> Result<Image> {
    let repository = match (mirror, repository.split_once('/')) {
        (Some(mirror), Some((_, path))) => format!("{}/{path}", mirror.trim_end_matches('/')),
        _ => repository.to_owned(),
    };
    Image::parse(format!("{repository}:v{version}"))
}
