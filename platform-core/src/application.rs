//! Applications and the way they take through the environments.

use crate::{
    error::{Error, Result},
    name::{ApplicationName, EnvironmentName},
    quantity::Quantity,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, str::FromStr};

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Environment variables.
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

/// A container image reference: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`, checked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Image(String);

impl Image {
    /// Checks the reference against the grammar of the
    /// [OCI distribution specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests).
    pub fn parse(reference: impl Into<String>) -> Result<Self> {
        let reference = reference.into();
        match image_problem(&reference) {
            None => Ok(Self(reference)),
            Some(problem) => Err(Error::invalid(format!("{reference:?} is not a valid image: {problem}"))),
        }
    }

    /// The reference as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The reference without tag and digest.
    pub fn repository(&self) -> &str {
        let without_digest = self.0.split_once('@').map_or(self.0.as_str(), |(rest, _)| rest);
        match without_digest.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => repository,
            _ => without_digest,
        }
    }

    /// The tag, if there is one.
    pub fn tag(&self) -> Option<&str> {
        let rest = self.0.split_once('@').map_or(self.0.as_str(), |(rest, _)| rest);
        rest[self.repository().len()..].strip_prefix(':')
    }

    /// The same image with another tag, and without a digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self> {
        Self::parse(format!("{}:{tag}", self.repository()))
    }
}

fn image_problem(reference: &str) -> Option<String> {
    let (rest, digest) = match reference.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (reference, None),
    };
    if let Some(digest) = digest {
        let valid = digest.split_once(':').is_some_and(|(algorithm, hex)| {
            !algorithm.is_empty() && hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
        });
        if !valid {
            return Some("its digest must be like sha256:HEX".to_owned());
        }
    }
    let (repository, tag) = match rest.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (rest, None),
    };
    if let Some(tag) = tag {
        let valid = (1..=128).contains(&tag.len())
            && !tag.starts_with(['.', '-'])
            && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if !valid {
            return Some("its tag must be 1 to 128 letters, digits, '_', '.' and '-'".to_owned());
        }
    }
    let mut segments = repository.split('/').peekable();
    let mut first = true;
    while let Some(segment) = segments.next() {
        let is_host =
            first && segments.peek().is_some() && (segment.contains(['.', ':']) || segment == "localhost");
        first = false;
        let allowed = |b: u8| {
            b.is_ascii_lowercase()
                || b.is_ascii_digit()
                || matches!(b, b'.' | b'_' | b'-')
                || (is_host && (b == b':' || b.is_ascii_uppercase()))
        };
        let ends = |c: Option<u8>| c.is_some_and(|b| b.is_ascii_alphanumeric());
        if !ends(segment.bytes().next()) || !ends(segment.bytes().last()) || !segment.bytes().all(allowed) {
            return Some(format!(
                "{segment:?} must be lower case letters and digits, separated by '.', '_' or '-'"
            ));
        }
    }
    (repository.len() > 255).then(|| "it is longer than 255 characters".to_owned())
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Image {
    type Err = Error;
    fn from_str(reference: &str) -> Result<Self> {
        Self::parse(reference)
    }
}

impl TryFrom<String> for Image {
    type Error = Error;
    fn try_from(reference: String) -> Result<Self> {
        Self::parse(reference)
    }
}

impl From<Image> for String {
    fn from(image: Image) -> Self {
        image.0
    }
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
    use proptest::prelude::*;

    #[test]
    fn images_are_taken_apart() {
        let image = Image::parse("registry.example.com:5000/team/api1:1.4.0").unwrap();
        assert_eq!((image.repository(), image.tag()), ("registry.example.com:5000/team/api1", Some("1.4.0")));
        assert_eq!(image.with_tag("1.5.0").unwrap().as_str(), "registry.example.com:5000/team/api1:1.5.0");
        let pinned = Image::parse(format!("api1@sha256:{}", "a".repeat(64))).unwrap();
        assert_eq!((pinned.repository(), pinned.tag()), ("api1", None));
        for bad in ["", "API1", "api1:", "api1:-x", "a//b", "api1@sha256:zz", "api1 :1", "-api", "a/b:c/d:"] {
            assert!(Image::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_image_is_its_parts(reference in "[a-z0-9./:@_-]{1,40}") {
            if let Ok(image) = Image::parse(reference.clone()) {
                prop_assert!(reference.starts_with(image.repository()));
                let tag = image.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
                let start = format!("{}{tag}", image.repository());
                prop_assert!(reference.starts_with(&start));
            }
        }
    }
}
