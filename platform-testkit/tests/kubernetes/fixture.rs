//! A cluster and a client for each test.

use std::time::Duration;

use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Client, Config};
use platform_testkit::kubernetes::EmbeddedApi;
use serde_json::{Value, json};

/// Long enough for a loaded machine; no test waits this long when all is well.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Cluster {
    pub(crate) api: EmbeddedApi,
    pub(crate) client: Client,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::of(EmbeddedApi::builder().start().await.expect("the cluster starts"))
    }

    pub(crate) fn of(api: EmbeddedApi) -> Self {
        let client = client(&api.url());
        Self { api, client }
    }

    /// Objects of one kind in `default`, or of a cluster-scoped kind.
    pub(crate) fn objects(&self, api_version: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
        let resource = resource(api_version, kind, plural);
        match kind {
            "Namespace" | "CustomResourceDefinition" | "Node" => {
                Api::all_with(self.client.clone(), &resource)
            }
            _ => Api::namespaced_with(self.client.clone(), "default", &resource),
        }
    }

    pub(crate) fn config_maps(&self) -> Api<DynamicObject> {
        self.objects("v1", "ConfigMap", "configmaps")
    }

    pub(crate) fn config_maps_in(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &resource("v1", "ConfigMap", "configmaps"))
    }

    pub(crate) fn deployments(&self) -> Api<DynamicObject> {
        self.objects("apps/v1", "Deployment", "deployments")
    }

    /// What a raw request answers: status code and body.
    pub(crate) async fn raw(
        &self,
        method: &str,
        path: &str,
        media_type: &str,
        body: impl Into<String>,
    ) -> (u16, Value) {
        let method = method.parse().expect("a method");
        let request = reqwest::Client::new().request(method, format!("{}{path}", self.api.url()));
        let answer =
            request.header("content-type", media_type).body(body.into()).send().await.expect("an answer");
        let code = answer.status().as_u16();
        let text = answer.text().await.expect("a body");
        (code, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }
}

pub(crate) fn client(url: &str) -> Client {
    let mut config = Config::new(url.parse().expect("a URL"));
    // Machines without CA certificates run these tests too.
    config.root_cert = Some(Vec::new());
    Client::try_from(config).expect("a client")
}

pub(crate) fn resource(api_version: &str, kind: &str, plural: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

pub(crate) fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).expect("an object")
}

pub(crate) fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

pub(crate) fn deployment(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": image, "ports": [{"containerPort": 80}]}]},
            },
        },
    })
}

pub(crate) async fn apply(
    api: &Api<DynamicObject>,
    name: &str,
    manager: &str,
    value: &Value,
) -> kube::Result<DynamicObject> {
    api.patch(name, &PatchParams::apply(manager), &Patch::Apply(value)).await
}

/// The code, reason and message of a refusal.
pub(crate) fn refusal<T: std::fmt::Debug>(outcome: kube::Result<T>) -> (u16, String, String) {
    match outcome {
        Err(kube::Error::Api(status)) => (status.code, status.reason.clone(), status.message.clone()),
        other => panic!("a refusal was expected, this came: {other:?}"),
    }
}

/// Waits until `condition` holds.
pub(crate) async fn eventually<F, T>(what: &str, mut condition: F)
where
    F: FnMut() -> T,
    T: Future<Output = bool>,
{
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("this did not happen: {what}"));
}
