//! What is done in a cluster.

use super::{ProxyRequest, drift::ObjectDrift};
use crate::{
    error::{Error, ErrorKind, Result},
    event::Progress,
    manifest::{ManifestSet, ObjectRef},
    name::{ClusterName, PlatformName},
};
use async_trait::async_trait;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, fmt, time::Duration};

/// To whom an applied set belongs; written as labels on every object and on the set's parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetOwner {
    /// The platform. Objects of another platform are never changed or deleted.
    pub platform: PlatformName,
}

/// How a set is applied.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ApplyOptions {
    /// Whose the set is.
    pub owner: SetOwner,
    /// Delete former members of the set that are no longer in it. Default: yes. Namespaces, PersistentVolumeClaims and
    /// CustomResourceDefinitions are spared, and nothing is pruned after a failed apply.
    pub prune: bool,
    /// Take over fields of our own objects that somebody else changed. Default: no; they are reported as a conflict.
    pub force: bool,
    /// How long everything may take until the objects are applied, without waiting for readiness. Default: 2 minutes.
    pub deadline: Duration,
}

impl ApplyOptions {
    /// The defaults, for sets of `platform`.
    pub fn new(platform: PlatformName) -> Self {
        Self { owner: SetOwner { platform }, prune: true, force: false, deadline: Duration::from_secs(120) }
    }

    /// Sets whether former members are deleted.
    #[must_use]
    pub fn prune(mut self, prune: bool) -> Self {
        self.prune = prune;
        self
    }

    /// Sets whether fields of our objects are taken back from others.
    #[must_use]
    pub fn force(mut self, force: bool) -> Self {
        self.force = force;
        self
    }

    /// Sets the deadline.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Where, as the API server writes it: `.spec.replicas`, `.spec.template.spec.containers[name="web"].image`.
    pub path: String,
    /// What is there; `None`: nothing.
    pub before: Option<Value>,
    /// What would be there; `None`: nothing. Values of Secrets are redacted.
    pub after: Option<Value>,
}

/// What applying would do to an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
#[non_exhaustive]
pub enum ObjectChange {
    /// It does not exist yet.
    Create,
    /// It is as wanted.
    Unchanged,
    /// These fields change.
    Update {
        /// The fields, in order of their paths.
        fields: Vec<FieldChange>,
    },
    /// A field that cannot change differs; the platform does not recreate objects on its own account.
    Recreate {
        /// The server's words.
        reason: String,
    },
    /// Somebody else owns a field that the manifest sets.
    Conflict {
        /// `.spec.replicas is owned by "kubectl"`, one for each field.
        owners: Vec<String>,
    },
    /// It is no longer in the set and would be deleted.
    Prune,
    /// The server can only tell once something before it is there: the namespace, the CustomResourceDefinition.
    KnownAfterApply,
}

/// An object and what applying would do to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectDiff {
    /// The object.
    pub object: ObjectRef,
    /// What would happen.
    #[serde(flatten)]
    pub change: ObjectChange,
}

/// What applying did to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ObjectOutcome {
    /// It was created.
    Created,
    /// It was changed.
    Configured,
    /// It was as wanted; nothing was written.
    Unchanged,
    /// It was no longer in the set and is deleted.
    Pruned,
}

/// What applying a set did, object by object.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ApplyReport {
    /// Each object with its outcome: members in the order of the set, then what was pruned.
    pub objects: Vec<(ObjectRef, ObjectOutcome)>,
}

impl ApplyReport {
    /// How many objects had `outcome`.
    pub fn count(&self, outcome: ObjectOutcome) -> usize {
        self.objects.iter().filter(|(_, o)| *o == outcome).count()
    }

    /// Whether anything was written.
    pub fn wrote(&self) -> bool {
        self.objects.iter().any(|(_, o)| *o != ObjectOutcome::Unchanged)
    }
}

/// What deleting a set did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeleteReport {
    /// What was deleted.
    pub deleted: Vec<ObjectRef>,
    /// What was left alone, and why: not ours, protected.
    pub left: Vec<(ObjectRef, String)>,
}

/// Whether an object is what it should be, in the terms of [kstatus].
///
/// [kstatus]: https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Readiness {
    /// The actual state matches the wanted one.
    Current,
    /// On the way.
    InProgress,
    /// Being deleted.
    Terminating,
    /// Does not exist.
    NotFound,
    /// Will not get there by waiting.
    Failed,
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Current => "ready",
            Self::InProgress => "in progress",
            Self::Terminating => "terminating",
            Self::NotFound => "not found",
            Self::Failed => "failed",
        })
    }
}

/// An object, whether it is ready, and why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectHealth {
    /// The object.
    pub object: ObjectRef,
    /// Whether it is ready.
    pub readiness: Readiness,
    /// One sentence: `2 of 3 replicas are available`, `ImagePullBackOff in pod web-5f6: …`. Empty when ready.
    pub message: String,
}

/// Which objects to list.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ListOptions {
    /// Only in this namespace.
    pub namespace: Option<String>,
    /// Only with these labels.
    pub labels: BTreeMap<String, String>,
    /// Only with these fields, of those that the server can select by: `spec.nodeName` of pods.
    pub fields: BTreeMap<String, String>,
}

impl ListOptions {
    /// Everything, in all namespaces.
    pub fn all() -> Self {
        Self::default()
    }

    /// Only in `namespace`.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Only with the label `key=value`.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Only with the field `path=value`.
    #[must_use]
    pub fn field(mut self, path: impl Into<String>, value: impl Into<String>) -> Self {
        self.fields.insert(path.into(), value.into());
        self
    }
}

/// What a watch tells.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum WatchEvent {
    /// All objects that there are: the first that is told, and told again where changes may have been missed.
    Snapshot(Vec<Value>),
    /// An object was made or changed.
    Applied(Value),
    /// An object is gone; what it was last.
    Deleted(Value),
}

/// What happens to objects, as it happens. Errors are told and do not end it: it goes on by itself, after a growing wait. Dropping it ends it.
pub type Watch = BoxStream<'static, Result<WatchEvent>>;

/// A handle of one cluster.
///
/// Implemented over kube by `platform_k8s::KubeCluster`; called by [`Platform`](crate::Platform), by telemetry sources and by
/// applications. `platform_testkit::conformance::cluster` checks an implementation.
///
/// # Behavior
/// - Writes go by server-side apply under one field manager. An object that exists and does not bear the owner's
///   label is not ours: applying over it is a conflict, deleting it with a set is refused.
/// - A second [`apply`](Self::apply) of the same set writes nothing.
/// - Every method has a deadline, its own or the one given, and fails with [`Timeout`](crate::ErrorKind::Timeout) when it passes.
///
/// # Cancel safety
/// Dropping a future stops at the request under way; applying again finishes the set.
#[async_trait]
pub trait Cluster: Send + Sync + fmt::Debug {
    /// The cluster's name.
    fn name(&self) -> &ClusterName;

    /// The version that the API server reports: `v1.34.4`.
    async fn version(&self) -> Result<String>;

    /// What [`apply`](Self::apply) would do, asked of the server by dry run. Writes nothing.
    async fn diff(&self, set: &ManifestSet, options: &ApplyOptions) -> Result<Vec<ObjectDiff>>;

    /// [`diff`](Self::diff) for several sets, in their order. Implementations ask about all at once where that takes fewer requests; the
    /// default asks about one after the other.
    async fn diff_all(&self, sets: &[&ManifestSet], options: &ApplyOptions) -> Result<Vec<Vec<ObjectDiff>>> {
        let mut diffs = Vec::with_capacity(sets.len());
        for set in sets {
            diffs.push(self.diff(set, options).await?);
        }
        Ok(diffs)
    }

    /// Applies a set: CustomResourceDefinitions and namespaces first, then the rest, then prunes.
    async fn apply(&self, set: &ManifestSet, options: &ApplyOptions) -> Result<ApplyReport>;

    /// The health of objects, in the order given.
    async fn health(&self, objects: &[ObjectRef]) -> Result<Vec<ObjectHealth>>;

    /// Waits until all `objects` are [`Readiness::Current`], telling `progress` what is missing.
    ///
    /// Fails with [`Failed`](crate::ErrorKind::Failed) as soon as one cannot become ready, saying why in the words of its pod, and
    /// with [`Timeout`](crate::ErrorKind::Timeout) after `deadline`.
    async fn wait_ready(&self, objects: &[ObjectRef], deadline: Duration, progress: &Progress) -> Result<()>;

    /// Deletes a set by the name under which it was applied, with all its members that are ours, and waits until they are gone.
    async fn delete_set(&self, name: &str, options: &ApplyOptions) -> Result<DeleteReport>;

    /// The names of the sets that `owner` applied here, sorted.
    async fn sets(&self, owner: &SetOwner) -> Result<Vec<String>>;

    /// Reads one object.
    async fn get(&self, object: &ObjectRef) -> Result<Option<Value>>;

    /// Lists objects of a kind, in order of namespace and name, following pagination to the end.
    async fn list(&self, api_version: &str, kind: &str, options: &ListOptions) -> Result<Vec<Value>>;

    /// Asks for the deletion of one object, whoever made it, and says whether it was there. It does not wait until the object is gone, which its
    /// finalizers may delay. For clusters that are taken down as a whole; what a platform applied is removed by [`delete_set`](Self::delete_set).
    ///
    /// Fails with [`Unsupported`](crate::ErrorKind::Unsupported) where single objects cannot be deleted, which is the default.
    async fn delete(&self, object: &ObjectRef) -> Result<bool> {
        Err(Error::new(ErrorKind::Unsupported, "this cluster deletes no single objects")
            .operation("delete")
            .subject(format!("{object} in cluster {}", self.name())))
    }

    /// Follows the objects of a kind. Returns once the kind is known; the [`Snapshot`](WatchEvent::Snapshot) comes with the stream.
    ///
    /// Fails with [`NotFound`](crate::ErrorKind::NotFound) for a kind that is not served, and with [`Unsupported`](crate::ErrorKind::Unsupported) where nothing can be
    /// followed, which is the default: callers list from time to time then.
    async fn watch(&self, api_version: &str, kind: &str, options: &ListOptions) -> Result<Watch> {
        let _ = options;
        Err(Error::new(ErrorKind::Unsupported, "this cluster tells no changes")
            .operation("watch")
            .subject(format!("{kind} of {api_version} in cluster {}", self.name())))
    }

    /// What of a set is not as it was applied, object by object and field by field, with who changed it and when, in the order of the set.
    /// Writes nothing. What the manifests changed since the last apply is not drift.
    ///
    /// Fails with [`Unsupported`](crate::ErrorKind::Unsupported) where nobody remembers who wrote what, which is the default.
    async fn drift(&self, set: &ManifestSet, options: &ApplyOptions) -> Result<Vec<ObjectDrift>> {
        let _ = options;
        Err(Error::new(ErrorKind::Unsupported, "this cluster does not tell who changed what")
            .operation("look for drift in")
            .subject(format!("set {} in cluster {}", set.name(), self.name())))
    }

    /// Reads something inside of the cluster over HTTP, through the proxy of its API server, and answers with the body.
    ///
    /// Not tried again: what runs there may be gone. Fails with [`Unavailable`](crate::ErrorKind::Unavailable) where nothing answers or anything but 2xx is
    /// answered, with [`NotFound`](crate::ErrorKind::NotFound) where there is no such pod, Service or node, with
    /// [`Exhausted`](crate::ErrorKind::Exhausted) beyond the request's limit, and with [`Unsupported`](crate::ErrorKind::Unsupported) where nothing
    /// really runs, which is the default.
    async fn proxy(&self, request: &ProxyRequest) -> Result<Vec<u8>> {
        Err(Error::new(ErrorKind::Unsupported, "nothing that answers runs in this cluster")
            .operation("read")
            .subject(format!("{request} in cluster {}", self.name())))
    }
}
