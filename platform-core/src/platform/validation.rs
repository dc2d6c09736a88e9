//! The rules of a platform that no single field can show.

use super::layout::Layout;
use crate::{
    application::{Application, Port},
    component::SYSTEM_NAMESPACE,
    environment::Environment,
    isolation::Isolation,
    platform::PlatformSpec,
};
use std::collections::{BTreeMap, BTreeSet};

/// Everything that is wrong with `spec`, each with its path.
pub(super) fn problems(spec: &PlatformSpec) -> Vec<String> {
    let mut problems = Problems::default();
    environments(spec, &mut problems);
    components(spec, &mut problems);
    applications(spec, &mut problems);
    if problems.0.is_empty() {
        namespaces(spec, &mut problems);
    }
    problems.0
}

#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, path: impl AsRef<str>, problem: impl AsRef<str>) {
        self.0.push(format!("{}: {}", path.as_ref(), problem.as_ref()));
    }

    /// Adds a problem for each name that was there before.
    fn unique<'a>(&mut self, list: &str, what: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeMap::new();
        for (at, name) in names.enumerate() {
            if let Some(first) = seen.insert(name, at) {
                self.add(
                    format!("{list}[{at}].name"),
                    format!("{what} {name:?} is there already, at {list}[{first}]"),
                );
            }
        }
    }
}

fn environments(spec: &PlatformSpec, problems: &mut Problems) {
    if spec.environments.is_empty() {
        problems.add("environments", "at least one is needed");
    }
    problems.unique("environments", "environment", spec.environments.iter().map(|e| e.name.as_str()));
    for (at, environment) in spec.environments.iter().enumerate() {
        let path = format!("environments[{at}]");
        if matches!(environment.name.as_str(), "control-plane" | "shared") {
            problems.add(
                format!("{path}.name"),
                format!("{:?} is the name of a cluster of every platform", environment.name),
            );
        }
        nodes(&path, environment.nodes, problems);
        version(&path, environment.kubernetes_version.as_deref(), problems);
    }
    nodes("controlPlane", spec.control_plane.nodes, problems);
    version("controlPlane", spec.control_plane.kubernetes_version.as_deref(), problems);
    if spec.isolation != Isolation::ClusterPerEnvironment {
        let versions: BTreeSet<_> =
            spec.environments.iter().filter_map(|e| e.kubernetes_version.as_deref()).collect();
        if versions.len() > 1 {
            let versions: Vec<&str> = versions.into_iter().collect();
            problems.add(
                "environments",
                format!("they share a cluster but ask for Kubernetes {}", versions.join(" and ")),
            );
        }
    }
}

fn nodes(path: &str, nodes: u32, problems: &mut Problems) {
    if !(1..=1000).contains(&nodes) {
        problems.add(format!("{path}.nodes"), format!("{nodes} is not between 1 and 1000"));
    }
}

fn version(path: &str, version: Option<&str>, problems: &mut Problems) {
    let Some(version) = version else { return };
    let is_minor = |text: &str| {
        (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0')
    };
    if !version.strip_prefix("1.").is_some_and(is_minor) {
        problems.add(
            format!("{path}.kubernetesVersion"),
            format!("{version:?} is not a Kubernetes minor version: \"1.34\", in quotes, is"),
        );
    }
}

fn components(spec: &PlatformSpec, problems: &mut Problems) {
    problems.unique("components", "component", spec.components.iter().map(|c| c.name.as_str()));
}

fn applications(spec: &PlatformSpec, problems: &mut Problems) {
    problems.unique("applications", "application", spec.applications.iter().map(|a| a.name.as_str()));
    for (at, application) in spec.applications.iter().enumerate() {
        application_problems(&format!("applications[{at}]"), application, &spec.environments, problems);
    }
}

fn application_problems(
    path: &str,
    application: &Application,
    environments: &[Environment],
    problems: &mut Problems,
) {
    let mut seen = BTreeSet::new();
    for (at, name) in application.environments.iter().enumerate() {
        if !environments.iter().any(|e| e.name == *name) {
            let known: Vec<&str> = environments.iter().map(|e| e.name.as_str()).collect();
            problems.add(
                format!("{path}.environments[{at}]"),
                format!("there is no environment {name:?}, there is {}", known.join(", ")),
            );
        }
        if !seen.insert(name) {
            problems.add(format!("{path}.environments[{at}]"), format!("{name:?} is there twice"));
        }
    }
    // Kubernetes counts in 32 bits with a sign.
    let too_many = |replicas: u32| i32::try_from(replicas).is_err();
    if too_many(application.replicas) {
        problems
            .add(format!("{path}.replicas"), format!("{} is more than there can be", application.replicas));
    }
    // Services follow RFC 1035, stricter than other names.
    if !application.ports.is_empty() && application.name.as_str().starts_with(|c: char| c.is_ascii_digit()) {
        problems.add(
            format!("{path}.name"),
            format!("{:?} must start with a letter to be the name of a Service", application.name),
        );
    }
    if let Some(scaling) = application.scaling {
        if too_many(scaling.max) {
            problems.add(format!("{path}.scaling.max"), format!("{} is more than there can be", scaling.max));
        }
        if scaling.min == 0 || scaling.max < scaling.min {
            problems.add(format!("{path}.scaling"), "1 <= min <= max must hold");
        }
        if !(1..=100).contains(&scaling.cpu_percent) {
            problems.add(format!("{path}.scaling.cpuPercent"), "it must be between 1 and 100");
        }
    }
    ports(path, &application.ports, problems);
    if let Some(readiness) = &application.readiness_path {
        if !readiness.starts_with('/') {
            problems.add(format!("{path}.readinessPath"), format!("{readiness:?} must start with '/'"));
        }
        if application.ports.is_empty() {
            problems.add(format!("{path}.readinessPath"), "it is asked on the first port, but there is none");
        }
    }
    for name in application.env.keys() {
        let valid = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
        if !valid {
            problems.add(format!("{path}.env"), format!("{name:?} is not a name of an environment variable"));
        }
    }
    let limits = [
        ("cpuLimit", &application.resources.cpu, &application.resources.cpu_limit),
        ("memoryLimit", &application.resources.memory, &application.resources.memory_limit),
    ];
    for (field, request, limit) in limits {
        if let Some(limit) = limit
            && limit < request
        {
            problems.add(
                format!("{path}.resources.{field}"),
                format!("{limit} is less than the {request} requested"),
            );
        }
    }
    for (at, route) in application.routes.iter().enumerate() {
        let path = format!("{path}.routes[{at}]");
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if route.host.len() > 253 || !route.host.split('.').all(label) {
            problems
                .add(format!("{path}.host"), format!("{:?} is not a host name in lower case", route.host));
        }
        if !route.path.starts_with('/') {
            problems.add(format!("{path}.path"), format!("{:?} must start with '/'", route.path));
        }
        if application.ports.is_empty() {
            problems.add(path, "a route needs a port of the application");
        }
    }
}

fn ports(path: &str, ports: &[Port], problems: &mut Problems) {
    let mut numbers = BTreeSet::new();
    let mut names = BTreeSet::new();
    for (at, port) in ports.iter().enumerate() {
        let path = format!("{path}.ports[{at}]");
        if port.number == 0 {
            problems.add(format!("{path}.number"), "0 is not a port");
        }
        if !numbers.insert(port.number) {
            problems.add(format!("{path}.number"), format!("{} is there twice", port.number));
        }
        let name = match &port.name {
            Some(name) => name.clone(),
            None if at == 0 => "http".to_owned(),
            None => format!("port-{}", port.number),
        };
        if !names.insert(name.clone()) {
            problems.add(format!("{path}.name"), format!("{name:?} is there twice"));
        }
        if let Some(name) = &port.name
            && (name.len() > 15
                || name.contains("--")
                || !name.bytes().any(|b| b.is_ascii_lowercase())
                || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                || name.starts_with('-')
                || name.ends_with('-'))
        {
            problems.add(
                format!("{path}.name"),
                format!("{name:?} must be at most 15 characters of a-z, 0-9 and single '-', with a letter"),
            );
        }
    }
}

/// Namespaces are joined from names, so two may fall together, or on one that Kubernetes or the platform uses.
fn namespaces(spec: &PlatformSpec, problems: &mut Problems) {
    let mut owners: BTreeMap<_, String> = BTreeMap::new();
    for cluster in Layout::new(spec).clusters() {
        for scope in &cluster.environments {
            for (namespace, applications) in &scope.namespaces {
                let name = namespace.as_str();
                let owner = match applications.first() {
                    Some(application) if spec.isolation != Isolation::NamespacePerEnvironment => {
                        format!("application {application} in {}", scope.environment.name)
                    }
                    _ => format!("environment {}", scope.environment.name),
                };
                if name == SYSTEM_NAMESPACE || name == "default" || name.starts_with("kube-") {
                    problems
                        .add(owner.clone(), format!("its namespace would be {name:?}, which is reserved"));
                }
                let key = (cluster.spec.name.clone(), namespace.clone());
                if let Some(other) = owners.insert(key, owner.clone()) {
                    problems
                        .add(owner, format!("its namespace would be {name:?}, which {other} has already"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::PlatformSpec;

    fn problems(yaml: &str) -> String {
        PlatformSpec::from_yaml(yaml).unwrap().validate().unwrap_err().to_string()
    }

    #[test]
    fn all_problems_are_told_at_once_with_their_paths() {
        let told = problems(
            "
            name: shop
            environments: [{name: testing, nodes: 0}, {name: testing, kubernetesVersion: latest}]
            applications:
              - name: api1
                image: a
                environments: [staging]
                scaling: {min: 3, max: 2, cpuPercent: 80}
                ports: [{number: 80}, {number: 80}]
                routes: [{host: Shop.example.com}]
                env: {1A: x}
                resources: {cpu: '1', cpuLimit: 500m}
            ",
        );
        for part in [
            "platform shop: 9 problems: ",
            "environments[1].name: environment \"testing\" is there already, at environments[0]",
            "environments[0].nodes: 0 is not between 1 and 1000",
            "environments[1].kubernetesVersion: \"latest\" is not a Kubernetes minor version",
            "applications[0].environments[0]: there is no environment \"staging\", there is testing, testing",
            "applications[0].scaling: 1 <= min <= max must hold",
            "applications[0].ports[1].number: 80 is there twice",
            "applications[0].routes[0].host: \"Shop.example.com\" is not a host name in lower case",
            "applications[0].env: \"1A\" is not a name of an environment variable",
            "applications[0].resources.cpuLimit: 500m is less than the 1 requested",
        ] {
            assert!(told.contains(part), "{part} is not in {told}");
        }
    }

    #[test]
    fn what_kubernetes_would_refuse_is_refused_before() {
        let told = problems(
            "
            name: shop
            environments: [{name: testing, kubernetesVersion: '1.+34'}, {name: staging, kubernetesVersion: '1.034'}]
            applications:
              - {name: 1api, image: a, replicas: 3000000000, ports: [{number: 80}, {number: 81, name: http}]}
              - {name: api2, image: a, ports: [{number: 80, name: a--b}]}
            ",
        );
        for part in [
            "6 problems: ",
            "environments[0].kubernetesVersion: \"1.+34\" is not",
            "environments[1].kubernetesVersion: \"1.034\" is not",
            "applications[0].replicas: 3000000000 is more than there can be",
            "applications[0].name: \"1api\" must start with a letter",
            "applications[0].ports[1].name: \"http\" is there twice",
            "applications[1].ports[0].name: \"a--b\" must be",
        ] {
            assert!(told.contains(part), "{part} is not in {told}");
        }
    }

    #[test]
    fn namespaces_that_fall_together_are_refused() {
        let clash = problems(
            "{name: shop, isolation: namespace-per-application, environments: [{name: a}, {name: a-b}],
              applications: [{name: b-c, image: x}, {name: c, image: x}]}",
        );
        assert!(
            clash.contains("its namespace would be \"a-b-c\", which application b-c in a has already"),
            "{clash}"
        );
        let reserved =
            problems("{name: shop, environments: [{name: a}], applications: [{name: kube-x, image: y}]}");
        assert!(reserved.contains("\"kube-x\", which is reserved"), "{reserved}");
        let shared = problems(
            "{name: shop, isolation: namespace-per-environment,
              environments: [{name: a, kubernetesVersion: '1.33'}, {name: b, kubernetesVersion: '1.34'}]}",
        );
        assert!(shared.contains("they share a cluster but ask for Kubernetes 1.33 and 1.34"), "{shared}");
    }
}
