//! What applying would do, as a value that prints as a diff.

use crate::{
    cluster::{ClusterChange, ClusterRole, ClusterSpec, FieldChange, ObjectChange, ObjectDiff},
    image::Image,
    isolation::Isolation,
    manifest::ManifestSet,
    name::{ApplicationName, ClusterName, ComponentName, EnvironmentName, PlatformName},
};
use serde::Serialize;
use std::fmt;

/// What a set of manifests is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "subject")]
#[non_exhaustive]
pub enum SetSubject {
    /// What keeps an environment apart.
    Isolation {
        /// The environment.
        environment: EnvironmentName,
    },
    /// A component.
    Component {
        /// Its name.
        component: ComponentName,
        /// Its version.
        version: String,
    },
    /// An application in an environment.
    Application {
        /// The environment.
        environment: EnvironmentName,
        /// Its name.
        application: ApplicationName,
        /// The image that will run.
        image: Image,
    },
    /// A set of this platform that is no longer in its spec.
    Removed {
        /// The name under which it was applied.
        set: String,
    },
}

impl fmt::Display for SetSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Isolation { environment } => write!(f, "isolation of {environment}"),
            Self::Component { component, version } => write!(f, "component {component} {version}"),
            Self::Application { environment, application, image } => {
                write!(f, "application {application} in {environment} ({image})")
            }
            Self::Removed { set } => write!(f, "{set}"),
        }
    }
}

/// What happens to a set.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SetPlan {
    /// What it is.
    #[serde(flatten)]
    pub subject: SetSubject,
    /// Its manifests; none when it is removed.
    #[serde(skip)]
    pub set: Option<ManifestSet>,
    /// What happens to each object.
    pub objects: Vec<ObjectDiff>,
    /// Names of sets of the same cluster that come before it.
    #[serde(skip)]
    pub(crate) after: Vec<String>,
}

impl SetPlan {
    pub(crate) fn name(&self) -> &str {
        match (&self.set, &self.subject) {
            (Some(set), _) => set.name(),
            (None, SetSubject::Removed { set }) => set,
            (None, _) => "",
        }
    }

    fn action(&self) -> Action {
        if matches!(self.subject, SetSubject::Removed { .. }) {
            return Action::Delete;
        }
        let changes = || self.objects.iter().map(|o| &o.change);
        if changes().all(|c| matches!(c, ObjectChange::Unchanged)) {
            Action::None
        } else if changes().all(|c| matches!(c, ObjectChange::Create | ObjectChange::KnownAfterApply)) {
            Action::Create
        } else {
            Action::Update
        }
    }
}

/// What happens to a cluster and in it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ClusterPlan {
    /// The cluster as it is wanted.
    pub spec: ClusterSpec,
    /// What happens to it.
    #[serde(flatten)]
    pub change: ClusterChange,
    /// What happens in it.
    pub sets: Vec<SetPlan>,
}

/// What applying a platform would do. Made by [`Platform::plan`](crate::Platform::plan), which writes nothing.
///
/// It prints as a diff: `+` creates, `~` changes, `-` deletes, `!` stands in the way.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Plan {
    /// The platform.
    pub platform: PlatformName,
    /// The provider of its clusters.
    pub provider: String,
    /// Whether workloads will be simulated.
    pub simulated: bool,
    /// How environments are kept apart.
    pub isolation: Isolation,
    /// Clusters of environments, then the control plane.
    pub clusters: Vec<ClusterPlan>,
    /// What the telemetry plane will run, one line each; empty without one.
    pub telemetry: Vec<String>,
    /// Whether the telemetry plane is to be started.
    pub starts_telemetry: bool,
    /// What the reader should know: clusters that are no longer in the spec and are left alone, and what the provider says of the others.
    pub warnings: Vec<String>,
}

/// How much a plan does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PlanSummary {
    /// Clusters to create or finish.
    pub clusters_to_create: usize,
    /// Clusters to change.
    pub clusters_to_update: usize,
    /// Objects to create, those that are known only after apply included.
    pub objects_to_create: usize,
    /// Objects to change.
    pub objects_to_update: usize,
    /// Objects to delete.
    pub objects_to_delete: usize,
    /// Sets to delete with all their objects, which are counted when they are deleted and not among
    /// [`objects_to_delete`](Self::objects_to_delete).
    pub sets_to_delete: usize,
    /// Objects that are as wanted.
    pub objects_unchanged: usize,
    /// Clusters and objects that cannot be brought to what is wanted: they must be recreated, or somebody else owns a field.
    pub blocked: usize,
}

impl Plan {
    /// Whether everything is as wanted in the clusters. Telemetry may still have to be started in this process.
    pub fn is_empty(&self) -> bool {
        PlanSummary { objects_unchanged: 0, ..self.summary() } == PlanSummary::default()
    }

    /// How much it does.
    pub fn summary(&self) -> PlanSummary {
        let mut summary = PlanSummary::default();
        for cluster in &self.clusters {
            match cluster.change {
                ClusterChange::Create => summary.clusters_to_create += 1,
                ClusterChange::Update { .. } => summary.clusters_to_update += 1,
                ClusterChange::Recreate { .. } => summary.blocked += 1,
                ClusterChange::Unchanged => {}
            }
            let removed = |set: &&SetPlan| matches!(set.subject, SetSubject::Removed { .. });
            summary.sets_to_delete += cluster.sets.iter().filter(removed).count();
            for object in cluster.sets.iter().flat_map(|set| &set.objects) {
                match object.change {
                    ObjectChange::Create | ObjectChange::KnownAfterApply => summary.objects_to_create += 1,
                    ObjectChange::Update { .. } => summary.objects_to_update += 1,
                    ObjectChange::Prune => summary.objects_to_delete += 1,
                    ObjectChange::Unchanged => summary.objects_unchanged += 1,
                    ObjectChange::Recreate { .. } | ObjectChange::Conflict { .. } => summary.blocked += 1,
                }
            }
        }
        summary
    }

    /// The plan of one cluster.
    pub fn cluster(&self, name: &ClusterName) -> Option<&ClusterPlan> {
        self.clusters.iter().find(|c| c.spec.name == *name)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Create,
    Update,
    Delete,
    Blocked,
    None,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "+",
            Self::Update => "~",
            Self::Delete => "-",
            Self::Blocked => "!",
            Self::None => " ",
        })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let isolation = match self.isolation {
            Isolation::ClusterPerEnvironment => "a cluster per environment",
            Isolation::NamespacePerEnvironment => "a namespace per environment in a shared cluster",
            Isolation::NamespacePerApplication => {
                "a namespace per environment and application in a shared cluster"
            }
        };
        writeln!(f, "Platform {} on {}, {isolation}", self.platform, self.provider)?;
        if self.simulated {
            writeln!(f, "Workloads of {} clusters are simulated: no container runs.", self.provider)?;
        }
        for cluster in &self.clusters {
            writeln!(f)?;
            cluster.fmt(f)?;
        }
        if !self.telemetry.is_empty() {
            let action = if self.starts_telemetry { Action::Create } else { Action::None };
            writeln!(f, "\n{action} telemetry")?;
            for line in &self.telemetry {
                writeln!(f, "    {action} {line}")?;
            }
        }
        for warning in &self.warnings {
            writeln!(f, "\n! {warning}")?;
        }
        writeln!(f)?;
        self.summary().fmt(f)
    }
}

impl fmt::Display for ClusterPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spec = &self.spec;
        let (action, differences): (_, &[String]) = match &self.change {
            ClusterChange::Create => (Action::Create, &[]),
            ClusterChange::Unchanged => (Action::None, &[]),
            ClusterChange::Update { differences } => (Action::Update, differences),
            ClusterChange::Recreate { differences } => (Action::Blocked, differences),
        };
        let role = match &spec.role {
            ClusterRole::ControlPlane => "control plane".to_owned(),
            ClusterRole::Environments(_) => format!("environment {}", spec.role),
        };
        let nodes = if spec.nodes == 1 { "1 node".to_owned() } else { format!("{} nodes", spec.nodes) };
        let version =
            spec.kubernetes_version.as_ref().map(|v| format!(", Kubernetes {v}")).unwrap_or_default();
        let protected = if spec.protected { ", protected" } else { "" };
        writeln!(f, "{action} cluster {} ({role}, {nodes}{version}{protected})", spec.name)?;
        for difference in differences {
            writeln!(f, "    {action} {difference}")?;
        }
        if matches!(self.change, ClusterChange::Recreate { .. }) {
            writeln!(
                f,
                "      this cannot be changed while it runs: delete the cluster to have it created anew"
            )?;
        }
        for set in &self.sets {
            set.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for SetPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = self.action();
        match action {
            // An environment without applications has no namespace to isolate yet.
            Action::None if self.objects.is_empty() => return Ok(()),
            Action::None => return writeln!(f, "      {}: unchanged", self.subject),
            // Of what is new as a whole, a line tells more than all its objects.
            Action::Create => {
                return writeln!(f, "    + {}: {}", self.subject, kinds(&self.objects));
            }
            _ => writeln!(f, "    {action} {}", self.subject)?,
        }
        for ObjectDiff { object, change } in &self.objects {
            match change {
                ObjectChange::Unchanged => {}
                ObjectChange::Create => writeln!(f, "        + {object}")?,
                ObjectChange::KnownAfterApply => writeln!(f, "        + {object} (known after apply)")?,
                ObjectChange::Prune => writeln!(f, "        - {object}")?,
                ObjectChange::Update { fields } => {
                    writeln!(f, "        ~ {object}")?;
                    for field in fields {
                        field.fmt(f)?;
                    }
                }
                ObjectChange::Recreate { reason } => {
                    writeln!(f, "        ! {object} cannot be changed, it must be recreated: {reason}")?;
                }
                ObjectChange::Conflict { owners } => {
                    writeln!(f, "        ! {object}: {}", owners.join("; "))?;
                }
            }
        }
        Ok(())
    }
}

/// `1 Namespace, 2 NetworkPolicies`, in the order of first appearance.
fn kinds(objects: &[ObjectDiff]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for diff in objects {
        let kind = diff.object.kind.as_str();
        match counts.iter_mut().find(|(k, _)| *k == kind) {
            Some((_, count)) => *count += 1,
            None => counts.push((kind, 1)),
        }
    }
    let words: Vec<String> = counts
        .into_iter()
        .map(|(kind, count)| match (count, kind.strip_suffix('y')) {
            (1, _) => format!("1 {kind}"),
            (count, Some(stem)) => format!("{count} {stem}ies"),
            (count, None) => format!("{count} {kind}s"),
        })
        .collect();
    words.join(", ")
}

impl fmt::Display for FieldChange {
    /// `.spec.replicas: 1 -> 2`; texts of several lines as a unified diff.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const INDENT: &str = "            ";
        let text = |value: &Option<serde_json::Value>| value.as_ref().map(ToString::to_string);
        let multiline = |value: &Option<serde_json::Value>| {
            value.as_ref().and_then(|v| v.as_str()).filter(|text| text.contains('\n')).map(str::to_owned)
        };
        if let (Some(before), Some(after)) = (multiline(&self.before), multiline(&self.after)) {
            writeln!(f, "{INDENT}~ {}:", self.path)?;
            let diff = similar::TextDiff::from_lines(&before, &after);
            for hunk in diff.unified_diff().context_radius(1).iter_hunks() {
                for change in hunk.iter_changes() {
                    writeln!(
                        f,
                        "{INDENT}    {}{}",
                        change.tag(),
                        printable(change.value().trim_end_matches('\n'))
                    )?;
                }
            }
            return Ok(());
        }
        match (text(&self.before), text(&self.after)) {
            (Some(before), Some(after)) => writeln!(f, "{INDENT}~ {}: {before} -> {after}", self.path),
            (None, Some(after)) => writeln!(f, "{INDENT}+ {}: {after}", self.path),
            (Some(before), None) => writeln!(f, "{INDENT}- {}: {before}", self.path),
            (None, None) => Ok(()),
        }
    }
}

/// Without control characters: what a cluster holds must not move a terminal's cursor.
fn printable(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\t', "\u{fffd}")
}

/// `Plan: create 4 clusters and 38 objects, change 1 object; 12 objects are unchanged.`
impl fmt::Display for PlanSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = |count: usize, what: &str| match count {
            0 => None,
            1 => Some(format!("1 {what}")),
            n => Some(format!("{n} {what}s")),
        };
        let action = |verb: &str, wholes: Option<String>, objects: usize| {
            let parts: Vec<String> = wholes.into_iter().chain(counted(objects, "object")).collect();
            (!parts.is_empty()).then(|| format!("{verb} {}", parts.join(" and ")))
        };
        let actions: Vec<String> = [
            action("create", counted(self.clusters_to_create, "cluster"), self.objects_to_create),
            action("change", counted(self.clusters_to_update, "cluster"), self.objects_to_update),
            action("delete", counted(self.sets_to_delete, "set"), self.objects_to_delete),
        ]
        .into_iter()
        .flatten()
        .collect();
        let actions = if actions.is_empty() { "nothing to change".to_owned() } else { actions.join(", ") };
        write!(f, "Plan: {actions}")?;
        match self.objects_unchanged {
            0 => {}
            1 => f.write_str("; 1 object is unchanged")?,
            n => write!(f, "; {n} objects are unchanged")?,
        }
        if self.blocked > 0 {
            write!(f, "; {} cannot be brought to what is wanted", self.blocked)?;
        }
        f.write_str(".")
    }
}

#[cfg(test)]
mod tests;
