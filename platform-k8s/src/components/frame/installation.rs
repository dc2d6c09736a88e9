//! A component as it is to be installed.

use super::{Defaults, Frame};
use crate::render;
use platform_core::{
    Error, Image, Result,
    application::Resources,
    component::{Component, ComponentScope, ComponentSpec, ComponentTarget, Storage},
    manifest::Manifest,
    name::ComponentName,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt;

/// What makes one component different from the others: the type of its settings implements this.
pub(crate) trait Program:
    fmt::Debug + Clone + Default + DeserializeOwned + Send + Sync + 'static
{
    const DEFAULTS: &'static Defaults;

    /// Reads what a document names, once, when the document is read.
    fn load(&mut self) -> Result<()> {
        Ok(())
    }

    /// Its objects in one cluster.
    fn objects(&self, frame: &Frame<'_>) -> Result<Vec<Value>>;
}

/// A component of the catalogue as it is to be installed: its version, scope, images, resources and storage, and its own settings `S`.
///
/// Each component is a type alias of this: [`NodeExporter`](crate::components::NodeExporter), [`KubeStateMetrics`](crate::components::KubeStateMetrics). What is not
/// set is the catalogue's. Setters do not fail: what is wrong is told when a platform renders the component, which is before anything
/// is changed.
#[derive(Debug, Clone)]
pub struct Installation<S> {
    pub(crate) spec: ComponentSpec,
    pub(crate) settings: S,
}

#[expect(private_bounds, reason = "the catalogue is closed: other components implement `Component`")]
impl<S: Program> Installation<S> {
    /// The catalogue's component with its defaults.
    pub fn new() -> Result<Self> {
        let spec = ComponentSpec::new(ComponentName::new(S::DEFAULTS.name)?);
        Ok(Self::with_version(spec, S::default()))
    }

    /// The component that a document describes. Everything that is set is checked, the settings too.
    pub(crate) fn of_spec(spec: &ComponentSpec) -> Result<Self> {
        let mut settings: S = settings(spec).map_err(in_component::<S>)?;
        settings.load()?;
        let installation = Self::with_version(spec.clone(), settings);
        installation.check().map_err(in_component::<S>)?;
        Ok(installation)
    }

    fn with_version(mut spec: ComponentSpec, settings: S) -> Self {
        let version = spec.version.as_deref().unwrap_or(S::DEFAULTS.version);
        spec.version = Some(version.strip_prefix('v').unwrap_or(version).to_owned());
        Self { spec, settings }
    }

    /// Sets the version, `MAJOR.MINOR.PATCH`.
    #[must_use]
    pub fn at_version(mut self, version: impl Into<String>) -> Self {
        self.spec.version = Some(version.into());
        Self::with_version(self.spec, self.settings)
    }

    /// Sets into which clusters it goes.
    #[must_use]
    pub fn in_scope(mut self, scope: ComponentScope) -> Self {
        self.spec.scope = Some(scope);
        self
    }

    /// Sets the image of a container, before anything that the orchestrator says.
    #[must_use]
    pub fn image(mut self, container: impl Into<String>, image: Image) -> Self {
        self.spec.images.insert(container.into(), image);
        self
    }

    /// Sets how many pods of it there are.
    #[must_use]
    pub fn replicas(mut self, replicas: u32) -> Self {
        self.spec.replicas = Some(replicas);
        self
    }

    /// Sets what a container requests and is limited to.
    #[must_use]
    pub fn resources(mut self, container: impl Into<String>, resources: Resources) -> Self {
        self.spec.resources.insert(container.into(), resources);
        self
    }

    /// Sets where its data is.
    #[must_use]
    pub fn storage(mut self, storage: Storage) -> Self {
        self.spec.storage = Some(storage);
        self
    }

    /// Sets everything that only this component knows.
    #[must_use]
    pub fn with_settings(mut self, settings: S) -> Self {
        self.settings = settings;
        self
    }

    /// What only this component knows.
    pub fn settings(&self) -> &S {
        &self.settings
    }

    fn check(&self) -> Result<()> {
        let (defaults, spec) = (S::DEFAULTS, &self.spec);
        check_version(self.version())?;
        for container in spec.images.keys().chain(spec.resources.keys()) {
            defaults.container(container)?;
        }
        for (container, resources) in &spec.resources {
            let limits =
                [(&resources.cpu, &resources.cpu_limit), (&resources.memory, &resources.memory_limit)];
            for (request, limit) in limits {
                if let Some(limit) = limit.as_ref().filter(|limit| *limit < request) {
                    return Err(Error::invalid(format!(
                        "resources.{container}: the limit {limit} is less than the {request} requested"
                    )));
                }
            }
        }
        if spec.replicas.is_some() && defaults.replicas.is_none() {
            return Err(Error::invalid("replicas: their number cannot be chosen"));
        }
        if spec.replicas.is_some_and(|replicas| i32::try_from(replicas).is_err()) {
            return Err(Error::invalid("replicas: there cannot be so many"));
        }
        match &spec.storage {
            Some(_) if defaults.storage.is_none() => Err(Error::invalid("storage: it has no data")),
            Some(Storage { class: Some(_), ephemeral: true, .. }) => {
                Err(Error::invalid("storage: what is ephemeral has no class"))
            }
            _ => Ok(()),
        }
    }
}

impl<S: Program> Component for Installation<S> {
    fn name(&self) -> &ComponentName {
        &self.spec.name
    }

    fn version(&self) -> &str {
        self.spec.version.as_deref().unwrap_or(S::DEFAULTS.version)
    }

    fn scope(&self) -> ComponentScope {
        self.spec.scope.unwrap_or(S::DEFAULTS.scope)
    }

    fn manifests(&self, target: &ComponentTarget) -> Result<Vec<Manifest>> {
        self.check()
            .and_then(|()| Frame::new(S::DEFAULTS, &self.spec, self.version(), target))
            .and_then(|frame| render::manifests(self.settings.objects(&frame)?))
            .map_err(in_component::<S>)
    }
}

fn in_component<S: Program>(error: Error) -> Error {
    error.subject(format!("component {}", S::DEFAULTS.name))
}

/// The settings of a document; errors name the path in them.
fn settings<S: Program>(spec: &ComponentSpec) -> Result<S> {
    serde_path_to_error::deserialize(Value::Object(spec.settings.clone())).map_err(|error| {
        let problem = error.inner().to_string();
        match error.path().to_string().as_str() {
            "." => Error::invalid(format!("settings: {problem}")),
            path => Error::invalid(format!("settings.{path}: {problem}")),
        }
    })
}

fn check_version(version: &str) -> Result<()> {
    let parts: Vec<&str> = version.split('.').collect();
    let is_number =
        |part: &&str| !part.is_empty() && part.len() <= 5 && part.bytes().all(|b| b.is_ascii_digit());
    if parts.len() == 3 && parts.iter().all(is_number) {
        return Ok(());
    }
    Err(Error::invalid(format!("{version:?} is not a version like MAJOR.MINOR.PATCH")))
}
