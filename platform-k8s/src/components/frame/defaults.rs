//! A component as the catalogue has it.

use platform_core::{Error, Image, Quantity, Result, application::Resources, component::ComponentScope};

/// A component as the catalogue has it.
#[derive(Debug)]
pub(crate) struct Defaults {
    pub(crate) name: &'static str,
    /// `MAJOR.MINOR.PATCH`, whatever the form of image tags is.
    pub(crate) version: &'static str,
    pub(crate) scope: ComponentScope,
    /// Its containers; the names are unique in the whole catalogue, for images are overridden by them.
    pub(crate) containers: &'static [ContainerDefaults],
    /// How many pods there are; `None`: that is not for anybody to choose.
    pub(crate) replicas: Option<u32>,
    /// How much room the data of each replica gets; `None`: it has no data.
    pub(crate) storage: Option<&'static str>,
}

/// A container of a component.
#[derive(Debug)]
pub(crate) struct ContainerDefaults {
    pub(crate) name: &'static str,
    /// With the registry's host.
    pub(crate) repository: &'static str,
    pub(crate) tag: Tag,
    /// Requested.
    pub(crate) cpu: &'static str,
    /// Requested.
    pub(crate) memory: &'static str,
    pub(crate) memory_limit: &'static str,
}

/// How an image's tag follows from the component's version.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tag {
    /// `v1.2.3`
    V,
    /// `1.2.3`
    Plain,
}

impl Defaults {
    pub(crate) fn container(&self, name: &str) -> Result<&'static ContainerDefaults> {
        self.containers.iter().find(|container| container.name == name).ok_or_else(|| {
            let known: Vec<&str> = self.containers.iter().map(|container| container.name).collect();
            Error::invalid(format!("it has no container {name:?}, only {known:?}"))
        })
    }
}

impl ContainerDefaults {
    pub(crate) fn image(&self, version: &str) -> Result<Image> {
        let Self { repository, .. } = self;
        Image::parse(match self.tag {
            Tag::V => format!("{repository}:v{version}"),
            Tag::Plain => format!("{repository}:{version}"),
        })
    }

    pub(crate) fn resources(&self) -> Result<Resources> {
        let mut resources = Resources::new(Quantity::parse(self.cpu)?, Quantity::parse(self.memory)?);
        resources.memory_limit = Some(Quantity::parse(self.memory_limit)?);
        Ok(resources)
    }
}
