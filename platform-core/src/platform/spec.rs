//! A platform as a document, and the rules it must keep.

use crate::{
    application::Application,
    component::ComponentSpec,
    environment::{ControlPlane, Environment},
    error::{Error, Result},
    isolation::Isolation,
    name::PlatformName,
    platform::{
        document::{self, Format},
        validation,
    },
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

    /// Reads YAML 1.2, at most 4 MiB. Errors are [`Invalid`](crate::ErrorKind::Invalid) and name the path in the document, and what is
    /// allowed there. Unknown fields and keys that are there twice are refused; what aliases expand to is bounded.
    ///
    /// Whether the whole makes sense is not checked; [`validate`](Self::validate) does, and so does building a platform.
    pub fn from_yaml(text: &str) -> Result<Self> {
        Self::parse(text, Format::Yaml).map_err(in_document)
    }

    /// Reads TOML 1.1, by the same rules.
    pub fn from_toml(text: &str) -> Result<Self> {
        Self::parse(text, Format::Toml).map_err(in_document)
    }

    /// Reads JSON, by the same rules.
    pub fn from_json(text: &str) -> Result<Self> {
        Self::parse(text, Format::Json).map_err(in_document)
    }

    /// Reads a file, by the same rules; its ending tells the format: `.yaml`, `.yml`, `.toml`, `.json`. Errors name the file.
    ///
    /// Fails with [`NotFound`](crate::ErrorKind::NotFound) for a file that is not there. Blocks while it reads.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        document::read(path)
            .and_then(|(text, format)| Self::parse(&text, format))
            .map_err(|e| e.operation("read").subject(path.display().to_string()))
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

    fn parse(text: &str, format: Format) -> Result<Self> {
        serde_path_to_error::deserialize(document::parse(text, format)?).map_err(|error| {
            let (path, problem) = (error.path().to_string(), error.inner().to_string());
            let wants_text = problem.starts_with("invalid type") && problem.ends_with("expected a string");
            let error = match path.as_str() {
                "." => Error::invalid(problem),
                path => Error::invalid(format!("{path}: {problem}")),
            };
            if wants_text && path.ends_with("ersion") {
                error.help("put the version in quotes: the number 1.30 is 1.3")
            } else if wants_text {
                error.help("put the value in quotes")
            } else {
                error
            }
        })
    }
}

fn in_document(error: Error) -> Error {
    error.operation("read").subject("the platform's document")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Image, Quantity};
    use proptest::prelude::*;
    use serde_json::Value;

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
    fn numbers_that_should_be_words_are_explained() {
        let version = message("name: s\nenvironments: [{name: a, kubernetesVersion: 1.30}]");
        assert_eq!(
            version,
            "cannot read the platform's document: environments[0].kubernetesVersion: invalid type: floating point `1.3`, \
             expected a string (put the version in quotes: the number 1.30 is 1.3)"
        );
        let env = message(
            "name: s\nenvironments: [{name: a}]\napplications: [{name: b, image: c, env: {PORT: 80}}]",
        );
        assert!(env.contains("applications[0].env.PORT: invalid type: integer `80`"), "{env}");
        assert!(env.ends_with("(put the value in quotes)"), "{env}");
        // Amounts are numbers to whoever writes them.
        let spec = "name: s\nenvironments: [{name: a, quota: {cpu: 4, memory: 1e9}}]\n\
                    applications: [{name: b, image: c, resources: {cpu: 0.5}}]";
        let spec = PlatformSpec::from_yaml(spec).unwrap();
        assert_eq!(spec.environments[0].quota.cpu, Quantity::cores(4));
        assert_eq!(spec.environments[0].quota.memory, Quantity::parse("1G").unwrap());
        assert_eq!(spec.applications[0].resources.cpu, Quantity::millicores(500));
        assert!(message("").ends_with("document: invalid type: null, expected struct PlatformSpec"));
    }

    #[test]
    fn an_error_in_a_file_names_the_file() {
        let error = PlatformSpec::from_file("nowhere/shop.yaml").unwrap_err().to_string();
        assert!(error.starts_with("cannot read nowhere/shop.yaml: the file is not readable: "), "{error}");
        let error = PlatformSpec::from_file("Cargo.toml").unwrap_err().to_string();
        assert!(error.starts_with("cannot read Cargo.toml: "), "{error}");
    }

    /// Any value as TOML, which the crate has no need to write.
    fn toml(value: &Value) -> String {
        match value {
            Value::Object(map) => {
                let pairs: Vec<String> = map
                    .iter()
                    .map(|(key, value)| format!("{} = {}", Value::from(key.as_str()), toml(value)))
                    .collect();
                format!("{{{}}}", pairs.join(", "))
            }
            Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
            // TOML escapes one character that JSON does not.
            other => other.to_string().replace('\u{7f}', "\\u007f"),
        }
    }

    fn specs() -> impl Strategy<Value = PlatformSpec> {
        let name = || "[a-z]([a-z0-9-]{0,10}[a-z0-9])?";
        let quantity = || prop_oneof!["[1-9][0-9]{0,3}", "[1-9][0-9]{0,3}(m|Mi|Gi|k)", "0\\.[0-9]{1,3}"];
        let environment = (name(), any::<bool>(), 1_u32..9, prop::option::of("1\\.[1-9][0-9]"), quantity());
        let environment = environment.prop_map(|(name, protected, nodes, version, cpu)| {
            let mut environment = Environment::new(name).unwrap().protected(protected).nodes(nodes);
            environment.kubernetes_version = version;
            environment.quota.cpu = Quantity::parse(cpu).unwrap();
            environment
        });
        let text = || {
            prop_oneof![
                any::<String>(),
                "[ -~]{0,12}",
                prop::sample::select(vec![
                    "yes",
                    "1.30",
                    "~",
                    "null",
                    "0x1F",
                    "",
                    " a",
                    "a: b",
                    "- a",
                    "2026-01-02",
                    "*a",
                    "a\nb\n",
                    "#"
                ])
                .prop_map(str::to_owned),
            ]
        };
        let application = (
            name(),
            "[a-z]{1,8}(:[0-9a-zA-Z_]{1,8})?",
            prop::collection::vec(name(), 0..3),
            any::<u16>(),
            prop::collection::btree_map(text(), text(), 0..4),
            prop::collection::vec(text(), 0..3),
        );
        let application = application.prop_map(|(name, image, environments, port, env, args)| {
            let mut application = Application::new(name, Image::parse(image).unwrap()).unwrap().port(port);
            application =
                application.environments(environments).unwrap().route("a.example.com").scaling(1, 2, 50);
            application.env = env;
            application.args = args;
            application
        });
        let isolation = prop::sample::select(vec![
            Isolation::ClusterPerEnvironment,
            Isolation::NamespacePerEnvironment,
            Isolation::NamespacePerApplication,
        ]);
        (
            name(),
            isolation,
            prop::collection::vec(environment, 0..4),
            prop::collection::vec(application, 0..3),
        )
            .prop_map(|(name, isolation, environments, applications)| PlatformSpec {
                isolation,
                environments,
                applications,
                ..PlatformSpec::new(name).unwrap()
            })
    }

    proptest! {
        #[test]
        fn every_spec_is_the_same_after_writing_and_reading(spec in specs()) {
            let value = serde_json::to_value(&spec).unwrap();
            prop_assert_eq!(&PlatformSpec::from_json(&value.to_string()).unwrap(), &spec);
            let yaml = spec.to_yaml().unwrap();
            prop_assert_eq!(&PlatformSpec::from_yaml(&yaml).map_err(|e| TestCaseError::fail(format!("{e}\n{yaml}")))?, &spec);
            let lines: Vec<String> =
                value.as_object().unwrap().iter().map(|(key, value)| format!("{key} = {}", toml(value))).collect();
            let text = lines.join("\n");
            prop_assert_eq!(&PlatformSpec::from_toml(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?, &spec);
            // Whatever it says, checking it ends with an answer.
            let _ = spec.validate();
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
            for read in [PlatformSpec::from_yaml, PlatformSpec::from_toml, PlatformSpec::from_json] {
                if let Err(error) = read(&text) {
                    prop_assert_eq!(error.kind(), crate::ErrorKind::Invalid);
                }
            }
        }
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
