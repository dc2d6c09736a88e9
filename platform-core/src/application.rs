//! Applications and the way they take through the environments.

use crate::{
    error::Result,
    image::Image,
    name::{ApplicationName, EnvironmentName},
    quantity::Quantity,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// A service that runs in environments.
///
/// The environments that it lists are its way, in order: applying the platform deploys [`image`](Self::image) to the first one;
/// the others get what ran before them by [`Platform::promote`](crate::Platform::promote), unless [`Promotion::Automatic`] is chosen.
///
/// ```
/// use platform_core::{Application, Image};
///
/// let api1 = Application::new("api1", Image::parse("registry.example.com/api1:1.4.0")?)?
///     .port(8080)
///     .replicas(2)
///     .environments(["testing", "production"])?;
/// # Ok::<(), platform_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Application {
    /// Its name, also of its Deployment and Service.
    pub name: ApplicationName,
    /// The image that applying deploys to the first environment.
    pub image: Image,
    /// The environments it is meant for, in the order of promotion; empty: all, in the platform's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<EnvironmentName>,
    /// How it gets from one environment to the next. Default: by a call.
    #[serde(default)]
    pub promotion: Promotion,
    /// Replicas in each environment. Default: 1.
    #[serde(default = "one")]
    pub replicas: u32,
    /// Scales the replicas by load, instead of a fixed number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// Ports that its containers listen on and its Service offers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// What each replica requests and is limited to.
    #[serde(default)]
    pub resources: Resources,
    /// Environment variables. They are written to the Deployment as they are and not meant for secrets; `Debug` shows only their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Arguments of the image's entry point.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// The HTTP path on the first port that answers 2xx when a replica is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness_path: Option<String>,
    /// Host names under which the ingress serves it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
}

impl Application {
    /// One replica without ports, meant for all environments; the name is checked.
    pub fn new(name: impl AsRef<str>, image: Image) -> Result<Self> {
        Ok(Self {
            name: ApplicationName::new(name)?,
            image,
            environments: Vec::new(),
            promotion: Promotion::default(),
            replicas: one(),
            scaling: None,
            ports: Vec::new(),
            resources: Resources::default(),
            env: BTreeMap::new(),
            args: Vec::new(),
            readiness_path: None,
            routes: Vec::new(),
        })
    }

    /// Sets the environments in the order of promotion; the names are checked.
    pub fn environments<N: AsRef<str>>(mut self, environments: impl IntoIterator<Item = N>) -> Result<Self> {
        self.environments = environments.into_iter().map(EnvironmentName::new).collect::<Result<_>>()?;
        Ok(self)
    }

    /// Sets how it gets from one environment to the next.
    #[must_use]
    pub fn promotion(mut self, promotion: Promotion) -> Self {
        self.promotion = promotion;
        self
    }

    /// Sets the number of replicas.
    #[must_use]
    pub fn replicas(mut self, replicas: u32) -> Self {
        self.replicas = replicas;
        self
    }

    /// Scales by CPU load between `min` and `max` replicas, aiming at `cpu_percent` of what is requested.
    #[must_use]
    pub fn scaling(mut self, min: u32, max: u32, cpu_percent: u32) -> Self {
        self.scaling = Some(Scaling { min, max, cpu_percent });
        self
    }

    /// Adds a TCP port, named `http` if it is the first, else `port-NUMBER`.
    #[must_use]
    pub fn port(mut self, number: u16) -> Self {
        self.ports.push(Port { number, name: None });
        self
    }

    /// Sets what each replica requests and is limited to.
    #[must_use]
    pub fn resources(mut self, resources: Resources) -> Self {
        self.resources = resources;
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sets the HTTP path that answers 2xx when a replica is ready.
    #[must_use]
    pub fn readiness_path(mut self, path: impl Into<String>) -> Self {
        self.readiness_path = Some(path.into());
        self
    }

    /// Serves it under a host name.
    #[must_use]
    pub fn route(mut self, host: impl Into<String>) -> Self {
        self.routes.push(Route { host: host.into(), path: root() });
        self
    }
}

/// Without the values of environment variables: secrets do get there.
impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, image, environments, promotion, replicas, scaling, ports, resources, .. } = self;
        f.debug_struct("Application")
            .field("name", name)
            .field("image", image)
            .field("environments", environments)
            .field("promotion", promotion)
            .field("replicas", replicas)
            .field("scaling", scaling)
            .field("ports", ports)
            .field("resources", resources)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("routes", &self.routes)
            .finish_non_exhaustive()
    }
}

/// How an application gets from one environment to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Promotion {
    /// By a call of [`Platform::promote`](crate::Platform::promote).
    #[default]
    Manual,
    /// Applying the platform deploys the image to all its environments.
    Automatic,
}

/// Scaling by load; a Kubernetes `HorizontalPodAutoscaler`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scaling {
    /// The least number of replicas, at least 1.
    pub min: u32,
    /// The greatest number of replicas.
    pub max: u32,
    /// The CPU use to aim at, in percent of what a replica requests.
    pub cpu_percent: u32,
}

/// A TCP port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Port {
    /// Its number, in the container and on the Service.
    pub number: u16,
    /// Its name, at most 15 characters; `None`: `http` for the first port, else `port-NUMBER`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What a replica requests and is limited to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Resources {
    /// CPU requested. Default: 100m.
    pub cpu: Quantity,
    /// Memory requested. Default: 128Mi.
    pub memory: Quantity,
    /// The CPU limit; `None`: no limit, so that a replica may use what is idle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit: Option<Quantity>,
    /// The memory limit; `None`: what is requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<Quantity>,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            cpu: Quantity::millicores(100),
            memory: Quantity::mebibytes(128),
            cpu_limit: None,
            memory_limit: None,
        }
    }
}

impl Resources {
    /// Requests `cpu` and `memory`, the memory also being the limit.
    pub fn new(cpu: Quantity, memory: Quantity) -> Self {
        Self { cpu, memory, cpu_limit: None, memory_limit: None }
    }
}

/// A host name and path under which the ingress serves an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// The host name: `api1.example.com`.
    pub host: String,
    /// The path prefix. Default: `/`.
    #[serde(default = "root")]
    pub path: String,
}

fn one() -> u32 {
    1
}

fn root() -> String {
    "/".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_value_of_an_environment_variable() {
        let image = Image::parse("api1:1").unwrap();
        let application = Application::new("api1", image).unwrap().env("TOKEN", "hunter2");
        let text = format!("{application:?}");
        assert!(text.contains("TOKEN") && !text.contains("hunter2"), "{text}");
    }
}
