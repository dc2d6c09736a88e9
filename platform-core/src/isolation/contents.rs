//! What a cluster or a namespace holds, and whose it is.

use crate::{
    manifest::ObjectRef,
    name::{ApplicationName, ComponentName, EnvironmentName},
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Whose an object is, by its labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "holder")]
#[non_exhaustive]
pub enum Holder {
    /// An application of an environment of the platform.
    Application {
        /// The environment.
        environment: EnvironmentName,
        /// The application.
        application: ApplicationName,
    },
    /// A component of the platform.
    Component {
        /// The component.
        component: ComponentName,
    },
    /// The platform itself.
    Platform,
    /// Somebody else.
    Foreign {
        /// Who, as far as labels tell: `Helm`, `platform other`.
        manager: Option<String>,
    },
}

/// `application api1 in production`.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Application { environment, application } => {
                write!(f, "application {application} in {environment}")
            }
            Self::Component { component } => write!(f, "component {component}"),
            Self::Platform => f.write_str("the platform"),
            Self::Foreign { manager: Some(manager) } => write!(f, "not the platform's, but of {manager}"),
            Self::Foreign { manager: None } => f.write_str("not the platform's"),
        }
    }
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceContents {
    /// Its name.
    pub name: String,
    /// The environment that its label names.
    pub environment: Option<String>,
    /// Whether its deletion must be confirmed.
    pub protected: bool,
    /// Whether its deletion has been confirmed.
    pub confirmed: bool,
}

/// Something that runs: a Deployment, StatefulSet, DaemonSet, Job, CronJob, or a pod that none of these made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveWorkload {
    /// The object.
    pub object: ObjectRef,
    /// Whose it is.
    pub holder: Holder,
    /// How many of its pods are ready; `None` where that says nothing, as for a CronJob.
    pub ready: Option<u64>,
}

/// Whether data outlives a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DataFate {
    /// The volume goes with the claim, or with its node.
    Lost,
    /// The volume stays, released: its reclaim policy is `Retain`.
    Kept,
    /// No volume is bound to the claim yet.
    NoVolume,
}

/// A claim and the volume that is bound to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveVolume {
    /// The PersistentVolumeClaim.
    pub claim: ObjectRef,
    /// Whose it is.
    pub holder: Holder,
    /// How much it holds, as Kubernetes writes it: `10Gi`. What is requested, where no volume is bound.
    pub size: String,
    /// The PersistentVolume.
    pub volume: Option<String>,
    /// Whether the data would be gone.
    pub fate: DataFate,
}

/// A way into the cluster: a load balancer with its addresses, or a route with its host names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exposure {
    /// The Service, Ingress or HTTPRoute.
    pub object: ObjectRef,
    /// Whose it is.
    pub holder: Holder,
    /// Addresses of a load balancer, host names of a route.
    pub names: Vec<String>,
}

/// What a cluster or a namespace holds. What every cluster comes with, the content of `kube-system` and its like, is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Contents {
    /// Namespaces.
    pub namespaces: Vec<NamespaceContents>,
    /// What runs.
    pub workloads: Vec<LiveWorkload>,
    /// How many pods there are, whoever made them.
    pub pods: usize,
    /// Where data is.
    pub volumes: Vec<LiveVolume>,
    /// Services with an address of their own outside of the cluster.
    pub load_balancers: Vec<Exposure>,
    /// Ingresses and HTTPRoutes.
    pub routes: Vec<Exposure>,
    /// How many Secrets there are.
    pub secrets: usize,
    /// How many ConfigMaps there are, those aside that Kubernetes puts into every namespace.
    pub config_maps: usize,
}

impl Contents {
    /// Everyone who has something there, without doubles.
    pub fn holders(&self) -> Vec<&Holder> {
        let workloads = self.workloads.iter().map(|workload| &workload.holder);
        let volumes = self.volumes.iter().map(|volume| &volume.holder);
        let exposures = self.load_balancers.iter().chain(&self.routes).map(|exposure| &exposure.holder);
        let mut holders: Vec<&Holder> = workloads.chain(volumes).chain(exposures).collect();
        holders.sort();
        holders.dedup();
        holders
    }
}

/// One line for each thing, without a line's end at the end.
impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        for namespace in &self.namespaces {
            let guarded = match (namespace.protected, namespace.confirmed) {
                (true, false) => ", protected",
                (true, true) => ", protected, and its deletion is confirmed",
                (false, _) => "",
            };
            let environment = match &namespace.environment {
                Some(environment) => format!(" of environment {environment}"),
                None => String::new(),
            };
            lines.push(format!("namespace {}{environment}{guarded}", namespace.name));
        }
        for LiveWorkload { object, holder, ready } in &self.workloads {
            let pods = match ready {
                Some(1) => ", 1 pod ready".to_owned(),
                Some(ready) => format!(", {ready} pods ready"),
                None => String::new(),
            };
            lines.push(format!("{object}{pods} ({holder})"));
        }
        for LiveVolume { claim, holder, size, volume, fate } in &self.volumes {
            let volume = volume.as_deref().unwrap_or_default();
            let fate = match fate {
                DataFate::Lost => "its data would be gone".to_owned(),
                DataFate::Kept => format!("its data would stay on volume {volume}"),
                DataFate::NoVolume => "no volume is bound".to_owned(),
            };
            lines.push(format!("{claim}, {size}, {fate} ({holder})"));
        }
        for Exposure { object, holder, names } in &self.load_balancers {
            let names = if names.is_empty() { "no address yet".to_owned() } else { names.join(", ") };
            lines.push(format!("load balancer of {object}, {names} ({holder})"));
        }
        for Exposure { object, holder, names } in &self.routes {
            let names = if names.is_empty() { "every host".to_owned() } else { names.join(", ") };
            lines.push(format!("{object}, {names} ({holder})"));
        }
        let counted = [(self.pods, "pod"), (self.secrets, "Secret"), (self.config_maps, "ConfigMap")];
        let counted: Vec<String> = counted
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}{}", if count == 1 { "" } else { "s" }))
            .collect();
        if !counted.is_empty() {
            lines.push(counted.join(", "));
        }
        f.write_str(&lines.join("\n"))
    }
}
