//! What the run makes and cleans up on the server besides what it measures.

use crate::objects::{self, LABEL};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Namespace, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Client,
    api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How long nothing may change until controllers are taken for idle.
const QUIET: Duration = Duration::from_secs(3);
/// How long controllers may take to see to 1,000 objects.
const SETTLE: Duration = Duration::from_secs(180);
/// How many of the bare requests are under way at once, as many as ours are.
const CONCURRENCY: usize = platform_k8s::Kubernetes::DEFAULT_CONCURRENCY;

pub(crate) struct Server {
    pub(crate) client: Client,
}

impl Server {
    pub(crate) async fn make_namespaces(&self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        for name in objects::namespaces() {
            let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
            match namespaces.create(&PostParams::default(), &namespace).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {}
                Err(error) => panic!("namespace {name}: {error}"),
            }
        }
    }

    pub(crate) async fn delete_namespaces(&self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        for name in objects::namespaces() {
            let _ = namespaces.delete(&name, &DeleteParams::default()).await;
        }
    }

    /// Deletes the objects, and waits until nothing of them or of what controllers made for them is left.
    pub(crate) async fn clear(&self) {
        let labelled = ListParams::default().labels(&format!("{}={}", LABEL.0, LABEL.1));
        let background = DeleteParams::background();
        for name in objects::namespaces() {
            let client = &self.client;
            let deployments: Api<Deployment> = Api::namespaced(client.clone(), &name);
            let services: Api<Service> = Api::namespaced(client.clone(), &name);
            let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &name);
            let (a, b, c) = tokio::join!(
                deployments.delete_collection(&background, &labelled),
                services.delete_collection(&background, &labelled),
                maps.delete_collection(&background, &labelled),
            );
            a.map(drop).and(b.map(drop)).and(c.map(drop)).unwrap();
        }
        self.until("gone", |left| left.values().all(|count| *count == 0)).await;
    }

    /// Waits until controllers have made what belongs to the objects, so that they are idle while others are measured.
    pub(crate) async fn settle(&self) {
        self.until("settled", |there| there["endpointslices"] >= there["services"]).await;
        // The last statuses come after the last objects.
        let mut versions = self.versions().await;
        loop {
            tokio::time::sleep(QUIET).await;
            let now = self.versions().await;
            if now == versions {
                return;
            }
            versions = now;
        }
    }

    async fn until(&self, what: &str, is_reached: impl Fn(&BTreeMap<&'static str, usize>) -> bool) {
        let deadline = Instant::now() + SETTLE;
        loop {
            let counts = BTreeMap::from([
                ("deployments", count::<Deployment>(&self.client).await),
                ("services", count::<Service>(&self.client).await),
                ("endpointslices", count::<EndpointSlice>(&self.client).await),
                ("configmaps", count::<ConfigMap>(&self.client).await),
            ]);
            if is_reached(&counts) {
                return;
            }
            assert!(Instant::now() < deadline, "not {what} after {SETTLE:?}: {counts:?}");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// The resource versions of all objects of the run and of all parents of sets.
    pub(crate) async fn versions(&self) -> BTreeMap<(String, String, String), String> {
        let mut versions = BTreeMap::new();
        for (group, kind, plural) in [
            ("", "ConfigMap", "configmaps"),
            ("", "Service", "services"),
            ("apps", "Deployment", "deployments"),
        ] {
            let list =
                dynamic(&self.client, group, kind, plural, None).list(&ListParams::default()).await.unwrap();
            for object in list.items {
                let metadata = object.metadata;
                let key = (
                    kind.to_owned(),
                    metadata.namespace.unwrap_or_default(),
                    metadata.name.unwrap_or_default(),
                );
                if key.1.starts_with("bench-apply-") || key.1 == "platform-system" {
                    versions.insert(key, metadata.resource_version.unwrap_or_default());
                }
            }
        }
        versions
    }

    /// The bare minimum: one server-side apply for each object, as many at once as ours are, and nothing asked.
    pub(crate) async fn apply_bare(&self, objects: &[Value]) {
        stream::iter(objects)
            .map(|object| async move {
                let (group, plural) = match object["kind"].as_str().unwrap() {
                    "Deployment" => ("apps", "deployments"),
                    "Service" => ("", "services"),
                    _ => ("", "configmaps"),
                };
                let text = |path: &str| object.pointer(path).unwrap().as_str().unwrap();
                let api =
                    dynamic(&self.client, group, text("/kind"), plural, Some(text("/metadata/namespace")));
                api.patch(text("/metadata/name"), &PatchParams::apply("bare"), &Patch::Apply(object)).await
            })
            .buffer_unordered(CONCURRENCY)
            .try_for_each(|_| async { Ok(()) })
            .await
            .unwrap();
    }

    /// Changes a field of ours in one object of each kind, as somebody would by hand, and names the fields.
    pub(crate) async fn drift(&self) -> Vec<(&'static str, &'static str)> {
        let by_hand = PatchParams { field_manager: Some("somebody".into()), ..PatchParams::default() };
        for (group, kind, plural, name, patch) in [
            (
                "apps",
                "Deployment",
                "deployments",
                "app-0",
                json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "registry.example.com/evil:1"}]),
            ),
            (
                "",
                "Service",
                "services",
                "app-1",
                json!([{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 99}]),
            ),
            (
                "",
                "ConfigMap",
                "configmaps",
                "app-2",
                json!([{"op": "replace", "path": "/data/shard", "value": "elsewhere"}]),
            ),
        ] {
            let number: usize = name.trim_start_matches("app-").parse().unwrap();
            let namespace = format!("bench-apply-{}", number % objects::NAMESPACES);
            let patch = Patch::<()>::Json(serde_json::from_value(patch).unwrap());
            let api = dynamic(&self.client, group, kind, plural, Some(&namespace));
            api.patch(name, &by_hand, &patch).await.unwrap();
        }
        vec![
            ("app-0", ".spec.template.spec.containers[name=\"web\"].image"),
            ("app-1", ".spec.ports[port=8001,protocol=\"TCP\"].targetPort"),
            ("app-2", ".data.shard"),
        ]
    }
}

/// How many objects of a kind there are in the namespaces of the run, the certificates that every namespace has left out.
async fn count<K>(client: &Client) -> usize
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let all: Api<K> = Api::all(client.clone());
    let list = all.list_metadata(&ListParams::default()).await.unwrap();
    let is_of_run = |metadata: &kube::core::ObjectMeta| {
        metadata.namespace.as_deref().is_some_and(|n| n.starts_with("bench-apply-"))
            && metadata.name.as_deref() != Some("kube-root-ca.crt")
    };
    list.items.iter().filter(|item| is_of_run(&item.metadata)).count()
}

fn dynamic(
    client: &Client,
    group: &str,
    kind: &str,
    plural: &str,
    namespace: Option<&str>,
) -> Api<DynamicObject> {
    let api_version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
    let resource = ApiResource {
        group: group.to_owned(),
        version: "v1".to_owned(),
        api_version,
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    };
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}
