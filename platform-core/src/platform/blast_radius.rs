//! What would be lost if something were deleted.

use super::{Platform, PlatformSpec, READING, layout::Layout, within};
use crate::{
    error::Result,
    isolation::{Contents, Holder, Isolation},
    name::{ApplicationName, ClusterName, EnvironmentName, Namespace},
};
use serde::Serialize;
use std::fmt;

/// Something that might be deleted, on purpose or by mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DeletionTarget {
    /// A whole cluster.
    Cluster(ClusterName),
    /// A namespace of a cluster.
    Namespace {
        /// The cluster.
        cluster: ClusterName,
        /// The namespace.
        namespace: Namespace,
    },
}

/// What a [`DeletionTarget`] takes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct BlastRadius {
    /// What would be deleted.
    pub deletion: DeletionTarget,
    /// How environments are kept apart.
    pub isolation: Isolation,
    /// Environments that would be gone as a whole.
    pub environments: Vec<EnvironmentName>,
    /// Applications that would be gone, each with its environment.
    pub applications: Vec<(EnvironmentName, ApplicationName)>,
    /// Protected environments among those touched.
    pub protected: Vec<EnvironmentName>,
    /// Whether the platform's telemetry would be gone.
    pub telemetry: bool,
}

impl BlastRadius {
    /// Whether nothing of the platform would be lost.
    pub fn is_empty(&self) -> bool {
        self.environments.is_empty() && self.applications.is_empty() && !self.telemetry
    }
}

impl PlatformSpec {
    /// What would be lost of this platform, by its spec.
    ///
    /// It shows what an isolation buys: a namespace deleted by mistake loses one environment's application or one environment;
    /// a shared cluster deleted by mistake loses production with testing.
    pub fn blast_radius(&self, deletion: &DeletionTarget) -> BlastRadius {
        let mut radius = BlastRadius {
            deletion: deletion.clone(),
            isolation: self.isolation,
            environments: Vec::new(),
            applications: Vec::new(),
            protected: Vec::new(),
            telemetry: false,
        };
        for cluster in Layout::new(self).clusters() {
            let (lost_cluster, lost_namespace) = match deletion {
                DeletionTarget::Cluster(name) => (cluster.spec.name == *name, None),
                DeletionTarget::Namespace { cluster: name, namespace } => {
                    (false, (cluster.spec.name == *name).then_some(namespace))
                }
            };
            radius.telemetry |= lost_cluster && cluster.environments.is_empty();
            for scope in &cluster.environments {
                let lost: Vec<_> = scope
                    .namespaces
                    .iter()
                    .filter(|(namespace, _)| lost_cluster || lost_namespace == Some(namespace))
                    .collect();
                if lost_cluster || (!lost.is_empty() && lost.len() == scope.namespaces.len()) {
                    radius.environments.push(scope.environment.name.clone());
                }
                if scope.environment.protected && (lost_cluster || !lost.is_empty()) {
                    radius.protected.push(scope.environment.name.clone());
                }
                let applications = lost.iter().flat_map(|(_, applications)| applications);
                radius
                    .applications
                    .extend(applications.map(|name| (scope.environment.name.clone(), name.clone())));
            }
        }
        radius
    }
}

/// What a [`DeletionTarget`] takes with it, as it is now in the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct LiveBlastRadius {
    /// What would be lost by the spec.
    pub planned: BlastRadius,
    /// What is there, whoever brought it.
    pub contents: Contents,
}

impl LiveBlastRadius {
    /// Applications that run there and would be gone, each with its environment.
    pub fn applications(&self) -> Vec<(&EnvironmentName, &ApplicationName)> {
        let holders = self.contents.holders().into_iter();
        holders
            .filter_map(|holder| match holder {
                Holder::Application { environment, application } => Some((environment, application)),
                _ => None,
            })
            .collect()
    }

    /// Whether something would be lost that is not the platform's.
    pub fn hits_others(&self) -> bool {
        self.contents.holders().iter().any(|holder| matches!(holder, Holder::Foreign { .. }))
    }

    /// Whether nothing is there that could be lost.
    pub fn is_empty(&self) -> bool {
        self.contents == Contents::default()
    }
}

impl Platform {
    /// What would be lost if `deletion` happened now, read from the live cluster: workloads, volumes and whether their data would be gone, load balancers,
    /// routes, and whose they are; what is not the platform's is told too.
    /// [`PlatformSpec::blast_radius`] says what the spec alone tells.
    ///
    /// Fails with [`NotFound`](crate::ErrorKind::NotFound) for a cluster that does not exist. A namespace that does not exist holds nothing.
    pub async fn blast_radius(&self, deletion: &DeletionTarget) -> Result<LiveBlastRadius> {
        let inner = &self.0;
        let (name, namespace) = match deletion {
            DeletionTarget::Cluster(cluster) => (cluster, None),
            DeletionTarget::Namespace { cluster, namespace } => (cluster, Some(namespace)),
        };
        let reading = async {
            let cluster = inner.connect(name).await?;
            inner.orchestrator.contents(&*cluster, &inner.spec.name, namespace).await
        };
        let contents = within(READING, "read the contents of", deletion, reading).await?;
        Ok(LiveBlastRadius { planned: inner.spec.blast_radius(deletion), contents })
    }
}

/// A line for what would be lost by the spec, and one for each thing that is there.
impl fmt::Display for LiveBlastRadius {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return write!(f, "deleting {} would lose nothing: it holds nothing", self.planned.deletion);
        }
        let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let contents = &self.contents;
        let foreign =
            contents.workloads.iter().filter(|w| matches!(w.holder, Holder::Foreign { .. })).count();
        write!(
            f,
            "deleting {} would lose {}",
            self.planned.deletion,
            count(contents.workloads.len(), "workload")
        )?;
        if foreign > 0 {
            write!(f, " ({foreign} not of the platform)")?;
        }
        for (things, what) in [
            (contents.volumes.len(), "volume claim"),
            (contents.load_balancers.len(), "load balancer"),
            (contents.routes.len(), "route"),
        ] {
            if things > 0 {
                write!(f, ", {}", count(things, what))?;
            }
        }
        let applications = self.applications();
        if !applications.is_empty() {
            let names: Vec<String> = applications.iter().map(|(e, a)| format!("{a} in {e}")).collect();
            write!(f, "; {}: {}", count(applications.len(), "application"), names.join(", "))?;
        }
        for line in contents.to_string().lines() {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

impl fmt::Display for DeletionTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster(name) => write!(f, "cluster {name}"),
            Self::Namespace { cluster, namespace } => write!(f, "namespace {namespace} of cluster {cluster}"),
        }
    }
}

/// A sentence: `deleting cluster shop-shared would lose environments testing, production (protected) and 4 applications: …`.
impl fmt::Display for BlastRadius {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "deleting {} would lose ", self.deletion)?;
        if self.is_empty() {
            return f.write_str("nothing of the platform");
        }
        let mut parts = Vec::new();
        if !self.environments.is_empty() {
            let names: Vec<String> = self
                .environments
                .iter()
                .map(|name| {
                    if self.protected.contains(name) {
                        format!("{name} (protected)")
                    } else {
                        name.to_string()
                    }
                })
                .collect();
            let plural = if names.len() == 1 { "" } else { "s" };
            parts.push(format!("the whole of environment{plural} {}", names.join(", ")));
        }
        if !self.applications.is_empty() {
            let names: Vec<String> = self.applications.iter().map(|(e, a)| format!("{a} in {e}")).collect();
            let plural = if names.len() == 1 { "" } else { "s" };
            parts.push(format!("{} application{plural}: {}", names.len(), names.join(", ")));
        }
        if self.telemetry {
            parts.push("the control plane with the platform's telemetry".to_owned());
        }
        f.write_str(&parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn radius(isolation: &str, deletion: impl Fn() -> DeletionTarget) -> String {
        let yaml = format!(
            "{{name: shop, isolation: {isolation}, environments: [{{name: testing}}, {{name: production, protected: true}}],
              applications: [{{name: api1, image: a}}, {{name: api2, image: b}}]}}"
        );
        PlatformSpec::from_yaml(&yaml).unwrap().blast_radius(&deletion()).to_string()
    }

    fn namespace(cluster: &str, namespace: &str) -> DeletionTarget {
        DeletionTarget::Namespace {
            cluster: ClusterName::new(cluster).unwrap(),
            namespace: Namespace::new(namespace).unwrap(),
        }
    }

    #[test]
    fn each_isolation_bounds_a_mistake_in_its_own_way() {
        assert_eq!(
            radius("namespace-per-application", || namespace("shop-shared", "production-api1")),
            "deleting namespace production-api1 of cluster shop-shared would lose 1 application: api1 in production"
        );
        assert_eq!(
            radius("namespace-per-environment", || namespace("shop-shared", "production")),
            "deleting namespace production of cluster shop-shared would lose the whole of environment production \
             (protected); 2 applications: api1 in production, api2 in production"
        );
        assert_eq!(
            radius("cluster-per-environment", || DeletionTarget::Cluster(
                ClusterName::new("shop-testing").unwrap()
            )),
            "deleting cluster shop-testing would lose the whole of environment testing; 2 applications: api1 in \
             testing, api2 in testing"
        );
        assert_eq!(
            radius("cluster-per-environment", || namespace("shop-testing", "production")),
            "deleting namespace production of cluster shop-testing would lose nothing of the platform"
        );
    }
}
