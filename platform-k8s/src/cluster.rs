//! One cluster over kube.

use crate::{
    apply,
    connection::{
        api::{Api, Request},
        proxy,
        resource::Discovery,
        watch,
    },
    isolation::guard,
    readiness,
};
use async_trait::async_trait;
use platform_core::{
    Error, ErrorKind, Result,
    cluster::{
        ApplyOptions, ApplyReport, Cluster, DeleteReport, ListOptions, ObjectDiff, ObjectDrift, ObjectHealth,
        ProxyRequest, SetOwner, Watch,
    },
    event::Progress,
    manifest::{ManifestSet, ObjectRef},
    name::ClusterName,
};
use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};
use tokio::time::Instant;

/// How long reading may take, retries and pages included.
const READ_DEADLINE: Duration = Duration::from_secs(60);
/// How long something inside of a cluster may take to answer.
const PROXY_DEADLINE: Duration = Duration::from_secs(30);
/// How much later than a deadline work is cut off that minds the deadline itself.
const GRACE: Duration = Duration::from_secs(1);

/// A cluster, reached through `kube`.
///
/// Made by [`Kubernetes::connect`](platform_core::orchestrator::Orchestrator::connect). Cheap to clone; clones share connections, the limit on concurrent
/// requests and what they know of the kinds that the server serves.
#[derive(Clone)]
pub struct KubeCluster {
    name: ClusterName,
    api: Api,
    discovery: Arc<Discovery>,
}

impl KubeCluster {
    pub(crate) fn new(name: ClusterName, api: Api) -> Self {
        Self { name, api, discovery: Arc::default() }
    }

    /// The client underneath, for what the platform has no word for. Its credentials stay fresh; timeouts and retries are the caller's.
    pub fn client(&self) -> kube::Client {
        self.api.client().clone()
    }

    async fn within<T>(
        &self,
        deadline: Duration,
        operation: &str,
        subject: String,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let result = match tokio::time::timeout(deadline, work).await {
            Ok(result) => result,
            Err(_) => Err(Error::new(ErrorKind::Timeout, format!("it was not done within {deadline:?}"))
                .help("run it again: what was done stays, and it goes on from there")),
        };
        result.map_err(|e| e.operation(operation).subject(format!("{subject} in cluster {}", self.name)))
    }
}

impl fmt::Debug for KubeCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubeCluster")
            .field("name", &self.name)
            .field("api", &self.api)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Cluster for KubeCluster {
    fn name(&self) -> &ClusterName {
        &self.name
    }

    async fn version(&self) -> Result<String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            git_version: String,
        }
        let work = async {
            let version: Version = self.api.read(Request::get("/version".to_owned())).await?;
            Ok(version.git_version)
        };
        self.within(READ_DEADLINE, "read", "the version".to_owned(), work).await
    }

    async fn diff(&self, set: &ManifestSet, options: &ApplyOptions) -> Result<Vec<ObjectDiff>> {
        let diffs = self.diff_all(&[set], options).await?;
        diffs.into_iter().next().ok_or_else(|| Error::internal("a set has no diff"))
    }

    async fn diff_all(&self, sets: &[&ManifestSet], options: &ApplyOptions) -> Result<Vec<Vec<ObjectDiff>>> {
        let work = apply::diff_all(&self.api, &self.discovery, sets, options);
        let subject = match sets {
            [set] => format!("set {}", set.name()),
            sets => format!("{} sets", sets.len()),
        };
        self.within(options.deadline, "plan", subject, work).await
    }

    async fn drift(&self, set: &ManifestSet, options: &ApplyOptions) -> Result<Vec<ObjectDrift>> {
        let work = apply::drift(&self.api, &self.discovery, set, options);
        self.within(options.deadline, "look for drift in", format!("set {}", set.name()), work).await
    }

    async fn apply(&self, set: &ManifestSet, options: &ApplyOptions) -> Result<ApplyReport> {
        let work = apply::apply(&self.api, &self.discovery, set, options);
        self.within(options.deadline, "apply", format!("set {}", set.name()), work).await
    }

    async fn health(&self, objects: &[ObjectRef]) -> Result<Vec<ObjectHealth>> {
        let work = readiness::health(&self.api, &self.discovery, objects);
        self.within(READ_DEADLINE, "read", "the health of objects".to_owned(), work).await
    }

    async fn wait_ready(&self, objects: &[ObjectRef], deadline: Duration, progress: &Progress) -> Result<()> {
        let until = Instant::now() + deadline;
        readiness::wait_ready(&self.api, &self.discovery, objects, until, progress).await?;
        guard::wait_active(&self.api, objects, until, progress).await
    }

    async fn delete_set(&self, name: &str, options: &ApplyOptions) -> Result<DeleteReport> {
        let until = Instant::now() + options.deadline;
        let work = async {
            guard::refuse_unconfirmed(&self.api, name, options).await?;
            apply::delete_set(&self.api, &self.discovery, name, options, until).await
        };
        // It knows the deadline and says what is left at it.
        self.within(options.deadline + GRACE, "delete", format!("set {name}"), work).await
    }

    async fn sets(&self, owner: &SetOwner) -> Result<Vec<String>> {
        let work = apply::list_sets(&self.api, owner);
        self.within(READ_DEADLINE, "list", format!("the sets of {}", owner.platform), work).await
    }

    async fn get(&self, object: &ObjectRef) -> Result<Option<Value>> {
        let work = async {
            let resource = self.discovery.find(&self.api, &object.api_version, &object.kind).await?;
            // Of a kind that is not served there are no objects.
            let Some(resource) = resource else { return Ok(None) };
            if resource.namespaced && object.namespace.is_none() {
                return Err(Error::invalid("its kind lives in namespaces, and it names none"));
            }
            Ok(self.api.get(&resource, object.namespace.as_deref(), &object.name).await?)
        };
        self.within(READ_DEADLINE, "read", object.to_string(), work).await
    }

    async fn list(&self, api_version: &str, kind: &str, options: &ListOptions) -> Result<Vec<Value>> {
        let work = async {
            let resource = self.discovery.expect(&self.api, api_version, kind).await?;
            let namespace = options.namespace.as_deref();
            let (labels, fields) = (selector(&options.labels), selector(&options.fields));
            let mut items =
                self.api.select(&resource, namespace, labels.as_deref(), fields.as_deref()).await?;
            items.sort_by_cached_key(|item| {
                let reference = resource.reference(item);
                (reference.namespace, reference.name)
            });
            Ok(items)
        };
        self.within(READ_DEADLINE, "list", format!("{kind} of {api_version}"), work).await
    }

    async fn delete(&self, object: &ObjectRef) -> Result<bool> {
        let work = async {
            let resource = self.discovery.find(&self.api, &object.api_version, &object.kind).await?;
            let Some(resource) = resource else { return Ok(false) };
            let Some(there) = self.api.get(&resource, object.namespace.as_deref(), &object.name).await?
            else {
                return Ok(false);
            };
            let uid = there.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
            Ok(self.api.delete(&resource, object, uid, "Background").await?)
        };
        self.within(READ_DEADLINE, "delete", object.to_string(), work).await
    }

    async fn watch(&self, api_version: &str, kind: &str, options: &ListOptions) -> Result<Watch> {
        let work = async {
            let resource = self.discovery.expect(&self.api, api_version, kind).await?;
            Ok(watch::follow(
                self.api.client().clone(),
                &resource,
                options.namespace.as_deref(),
                selector(&options.labels).as_deref(),
                selector(&options.fields).as_deref(),
            ))
        };
        self.within(READ_DEADLINE, "watch", format!("{kind} of {api_version}"), work).await
    }

    async fn proxy(&self, request: &ProxyRequest) -> Result<Vec<u8>> {
        let work = proxy::get(self.api.client(), request);
        self.within(PROXY_DEADLINE, "read", request.to_string(), work).await
    }
}

/// `key=value,key=value`; `None` where there is nothing to select by.
fn selector(pairs: &BTreeMap<String, String>) -> Option<String> {
    let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
    (!pairs.is_empty()).then(|| pairs.join(","))
}
