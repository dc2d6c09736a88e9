//! Which clusters and namespaces a platform has, by its isolation.

use super::PlatformSpec;
use crate::{
    application::{Application, Promotion},
    cluster::{ClusterRole, ClusterSpec},
    environment::Environment,
    isolation::Isolation,
    name::{ApplicationName, ClusterName, EnvironmentName, Namespace},
    orchestrator::{IsolationScope, Placement},
};

/// A cluster with what lives there.
#[derive(Debug, Clone)]
pub(crate) struct ClusterLayout {
    pub(crate) spec: ClusterSpec,
    /// The environments in it; none in the control plane.
    pub(crate) environments: Vec<IsolationScope>,
}

/// Everything that follows from a spec alone.
#[derive(Debug)]
pub(crate) struct Layout<'a> {
    spec: &'a PlatformSpec,
}

impl<'a> Layout<'a> {
    pub(crate) fn new(spec: &'a PlatformSpec) -> Self {
        Self { spec }
    }

    /// The clusters of environments in the platform's order, then the control plane.
    pub(crate) fn clusters(&self) -> Vec<ClusterLayout> {
        let environments = &self.spec.environments;
        let mut clusters: Vec<ClusterLayout> = if self.spec.isolation == Isolation::ClusterPerEnvironment {
            environments
                .iter()
                .map(|environment| self.environment_cluster(std::slice::from_ref(environment)))
                .collect()
        } else if environments.is_empty() {
            Vec::new()
        } else {
            vec![self.environment_cluster(environments)]
        };
        let control_plane = &self.spec.control_plane;
        let mut spec = ClusterSpec::new(
            self.spec.name.clone(),
            self.cluster_name("control-plane"),
            ClusterRole::ControlPlane,
        );
        spec.nodes = control_plane.nodes;
        spec.kubernetes_version.clone_from(&control_plane.kubernetes_version);
        clusters.push(ClusterLayout { spec, environments: Vec::new() });
        clusters
    }

    /// Where an application of an environment lives.
    pub(crate) fn placement(&self, application: &ApplicationName, environment: &Environment) -> Placement {
        Placement::new(
            self.spec.name.clone(),
            environment.clone(),
            self.cluster_of(&environment.name),
            self.namespace(application, &environment.name),
        )
    }

    /// The environments an application is meant for, in the order of promotion.
    pub(crate) fn path(&self, application: &Application) -> Vec<&'a Environment> {
        let environments = &self.spec.environments;
        if application.environments.is_empty() {
            return environments.iter().collect();
        }
        application
            .environments
            .iter()
            .filter_map(|name| environments.iter().find(|environment| environment.name == *name))
            .collect()
    }

    /// Whether applying the platform deploys the spec's image there, instead of leaving it to promotion.
    pub(crate) fn deploys_on_apply(&self, application: &Application, environment: &Environment) -> bool {
        application.promotion == Promotion::Automatic
            || self.path(application).first().is_some_and(|first| first.name == environment.name)
    }

    /// The cluster of an environment.
    pub(crate) fn cluster_of(&self, environment: &EnvironmentName) -> ClusterName {
        match self.spec.isolation {
            Isolation::ClusterPerEnvironment => self.cluster_name(environment.as_str()),
            Isolation::NamespacePerEnvironment | Isolation::NamespacePerApplication => {
                self.cluster_name("shared")
            }
        }
    }

    fn environment_cluster(&self, environments: &[Environment]) -> ClusterLayout {
        let names: Vec<EnvironmentName> = environments.iter().map(|e| e.name.clone()).collect();
        let name = match names.first() {
            Some(first) => self.cluster_of(first),
            None => self.cluster_name("shared"),
        };
        let mut spec =
            ClusterSpec::new(self.spec.name.clone(), name.clone(), ClusterRole::Environments(names));
        spec.nodes = environments.iter().map(|e| e.nodes).fold(0, u32::saturating_add);
        spec.kubernetes_version = environments.iter().find_map(|e| e.kubernetes_version.clone());
        spec.protected = environments.iter().any(|e| e.protected);
        let environments = environments.iter().map(|environment| self.scope(environment, &name)).collect();
        ClusterLayout { spec, environments }
    }

    fn scope(&self, environment: &Environment, cluster: &ClusterName) -> IsolationScope {
        let here: Vec<&Application> = self
            .spec
            .applications
            .iter()
            .filter(|application| self.path(application).iter().any(|e| e.name == environment.name))
            .collect();
        let namespaces = if self.spec.isolation == Isolation::NamespacePerEnvironment {
            let applications = here.iter().map(|application| application.name.clone()).collect();
            vec![(environment_namespace(&environment.name), applications)]
        } else {
            here.iter()
                .map(|application| {
                    (self.namespace(&application.name, &environment.name), vec![application.name.clone()])
                })
                .collect()
        };
        IsolationScope::new(
            self.spec.name.clone(),
            environment.clone(),
            self.spec.isolation,
            cluster.clone(),
            namespaces,
        )
    }

    fn namespace(&self, application: &ApplicationName, environment: &EnvironmentName) -> Namespace {
        match self.spec.isolation {
            Isolation::NamespacePerEnvironment => environment_namespace(environment),
            Isolation::NamespacePerApplication => Namespace::joined(format!("{environment}-{application}")),
            Isolation::ClusterPerEnvironment => Namespace::joined(application.as_str()),
        }
    }

    fn cluster_name(&self, suffix: &str) -> ClusterName {
        ClusterName::joined(format!("{}-{suffix}", self.spec.name))
    }
}

fn environment_namespace(environment: &EnvironmentName) -> Namespace {
    Namespace::joined(environment.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each cluster with its namespaces and their applications.
    fn layout(isolation: &str) -> Vec<(String, Vec<String>)> {
        let yaml = format!(
            "{{name: shop, isolation: {isolation}, environments: [{{name: testing}}, {{name: production, nodes: 2}}],
              applications: [{{name: api1, image: a}}, {{name: api2, image: b, environments: [testing]}}]}}"
        );
        let spec = PlatformSpec::from_yaml(&yaml).unwrap();
        let clusters = Layout::new(&spec).clusters();
        clusters
            .into_iter()
            .map(|cluster| {
                let namespaces = cluster.environments.iter().flat_map(|scope| &scope.namespaces);
                let named =
                    namespaces.map(|(namespace, applications)| format!("{namespace}: {applications:?}"));
                (format!("{} ({} nodes)", cluster.spec.name, cluster.spec.nodes), named.collect())
            })
            .collect()
    }

    #[test]
    fn each_isolation_places_applications_in_its_own_way() {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            layout("cluster-per-environment"),
            [
                ("shop-testing (1 nodes)".to_owned(), own(&["api1: [\"api1\"]", "api2: [\"api2\"]"])),
                ("shop-production (2 nodes)".to_owned(), own(&["api1: [\"api1\"]"])),
                ("shop-control-plane (1 nodes)".to_owned(), vec![]),
            ]
        );
        assert_eq!(
            layout("namespace-per-environment")[0],
            (
                "shop-shared (3 nodes)".to_owned(),
                own(&["testing: [\"api1\", \"api2\"]", "production: [\"api1\"]"])
            )
        );
        assert_eq!(
            layout("namespace-per-application")[0].1,
            own(&["testing-api1: [\"api1\"]", "testing-api2: [\"api2\"]", "production-api1: [\"api1\"]"])
        );
    }
}
