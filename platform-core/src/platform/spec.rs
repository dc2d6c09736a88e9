//! A platform as a document, and the rules it must keep.

use crate::{
    application::Application,
    component::ComponentSpec,
    environment::{ControlPlane, Environment},
    error::{Error, Result},
    isolation::Isolation,
    name::PlatformName,
    platform::validation,
};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A platform as it is wanted: a value that is read from YAML, TOML or JSON and written back.
///
/// ```
/// use platform_core::PlatformSpec;
///
/// let spec = PlatformSpec::from_yaml(
///     "
///     name: shop
///     environments:
///       - name: testing
///       - name: production
///         protected: true
///     applications:
///       - name: api1
///         image: registry.example.com/api1:1.4.0
///         ports: [{ number: 8080 }]
///     ",
/// )?;
/// assert_eq!(spec.environments.len(), 2);
///
/// let error = PlatformSpec::from_yaml("name: shop\nenvironments: [{ name: testing, protectd: true }]").unwrap_err();
/// assert!(error.to_string().contains("environments[0].protectd: unknown field `protectd`, expected one of `name`, `protected`"));
/// # Ok::<(), platform_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct PlatformSpec {
    /// Its name: the prefix of its clusters' names, and its mark of ownership.
    pub name: PlatformName,
    /// How environments are kept apart. Default: a cluster per environment.
    #[serde(default)]
    pub isolation: Isolation,
    /// Its environments, in the order of promotion; at least one.
    pub environments: Vec<Environment>,
    /// The cluster that gathers telemetry.
    #[serde(default)]
    pub control_plane: ControlPlane,
    /// What is installed into clusters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<ComponentSpec>,
    /// What runs in environments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub applications: Vec<Application>,
}

impl PlatformSpec {
    /// A platform without environments yet, with a cluster for each; the name is checked.
    pub fn new(name: impl AsRef<str>) -> Result<Self> {
        Ok(Self {
            name: PlatformName::new(name)?,
            isolation: Isolation::default(),
            environments: Vec::new(),
            control_plane: ControlPlane::default(),
            components: Vec::new(),
            applications: Vec::new(),
        })
    }

    /// Reads YAML 1.2. Errors name the path in the document, and what is allowed there.
    pub fn from_yaml(text: &str) -> Result<Self> {
        // As in YAML 1.2: `y`, `no` and `on` are words, and only `true` and `false` are booleans.
        let options = serde_saphyr::options! { strict_booleans: true };
        let document: serde_json::Value =
            serde_saphyr::from_str_with_options(text, options).map_err(|e| syntax("YAML", e))?;
        Self::from_document(document)
    }

    /// Reads TOML 1.1.
    pub fn from_toml(text: &str) -> Result<Self> {
        let document = toml::from_str::<serde_json::Value>(text).map_err(|e| syntax("TOML", e))?;
        Self::from_document(document)
    }

    /// Reads JSON.
    pub fn from_json(text: &str) -> Result<Self> {
        let document = serde_json::from_str(text).map_err(|e| syntax("JSON", e))?;
        Self::from_document(document)
    }

    /// Reads a file; its ending tells the format: `.yaml`, `.yml`, `.toml`, `.json`.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let context = |e: Error| e.operation("read").subject(path.display().to_string());
        let text = std::fs::read_to_string(path)
            .map_err(|e| context(Error::invalid("the file is not readable").source(e)))?;
        match path.extension().and_then(|e| e.to_str()) {
            Some("yaml" | "yml") => Self::from_yaml(&text),
            Some("toml") => Self::from_toml(&text),
            Some("json") => Self::from_json(&text),
            _ => Err(Error::invalid("the file's ending must be .yaml, .yml, .toml or .json")),
        }
        .map_err(context)
    }

    /// The document as YAML.
    pub fn to_yaml(&self) -> Result<String> {
        serde_saphyr::to_string(self)
            .map_err(|e| Error::internal("the spec cannot be written as YAML").source(e))
    }

    /// Checks everything that a single field cannot show, and answers with all problems in one error.
    pub fn validate(&self) -> Result<()> {
        let problems = validation::problems(self);
        match problems.as_slice() {
            [] => Ok(()),
            [one] => Err(Error::invalid(one.clone())),
            many => Err(Error::invalid(format!("{} problems: {}", many.len(), many.join("; ")))),
        }
        .map_err(|e| e.subject(format!("platform {}", self.name)))
    }

    fn from_document(document: serde_json::Value) -> Result<Self> {
        serde_path_to_error::deserialize(document).map_err(|error| {
            let path = error.path().to_string();
            Error::invalid(format!("{path}: {}", error.inner()))
                .operation("read")
                .subject("the platform's document")
        })
    }
}

fn syntax(format: &str, error: impl std::error::Error) -> Error {
    Error::invalid(format!("it is not {format}: {error}"))
        .operation("read")
        .subject("the platform's document")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(yaml: &str) -> String {
        PlatformSpec::from_yaml(yaml).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_path_and_what_is_allowed() {
        let isolation = message("name: shop\nisolation: none\nenvironments: []");
        assert!(isolation.contains("isolation: unknown variant `none`, expected one of"), "{isolation}");
        assert!(isolation.contains("`cluster-per-environment`"), "{isolation}");
        let name = message("name: shop\nenvironments: [{name: ok}, {name: Prod}]");
        assert!(name.contains("environments[1].name: \"Prod\" is not a valid environment name"), "{name}");
        let image = message("name: s\nenvironments: [{name: a}]\napplications: [{name: b, image: 'A:B:C'}]");
        assert!(image.contains("applications[0].image: "), "{image}");
        assert!(message("name: shop").contains("missing field `environments`"));
        assert!(message("name: [").contains("it is not YAML"));
        assert!(message("name: a\nname: b\nenvironments: []").contains("duplicate"));
    }

    #[test]
    fn yaml_toml_and_json_say_the_same() {
        let yaml = "name: shop\nenvironments: [{name: testing, nodes: 2}]\ncontrolPlane: {nodes: 3}";
        let toml =
            "name = 'shop'\n[controlPlane]\nnodes = 3\n[[environments]]\nname = 'testing'\nnodes = 2\n";
        let spec = PlatformSpec::from_yaml(yaml).unwrap();
        assert_eq!(PlatformSpec::from_toml(toml).unwrap(), spec);
        assert_eq!(PlatformSpec::from_json(&serde_json::to_string(&spec).unwrap()).unwrap(), spec);
        assert_eq!(PlatformSpec::from_yaml(&spec.to_yaml().unwrap()).unwrap(), spec);
    }
}
