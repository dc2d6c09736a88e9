//! What the cluster lets be written, word for word as kube-apiserver 1.34 answers.

mod fields;
mod limits;
mod policies;
mod quotas;
mod security;

use serde_json::{Value, json};

use super::fixture::Cluster;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// What an answer says: its code, its body and its warnings.
struct Answer {
    code: u16,
    body: Value,
    warnings: Vec<String>,
}

impl Answer {
    fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }
}

impl Cluster {
    /// A request with a JSON body, `null` for none.
    async fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        let media_type = match method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, path, media_type, body).await
    }

    async fn send(&self, method: &str, path: &str, media_type: &str, body: impl Into<String>) -> Answer {
        let method = method.parse().expect("a method");
        let request = reqwest::Client::new().request(method, format!("{}{path}", self.api.url()));
        let answer =
            request.header("content-type", media_type).body(body.into()).send().await.expect("an answer");
        let code = answer.status().as_u16();
        let warnings = answer.headers().get_all("warning").iter();
        let warnings = warnings.map(|value| {
            let text = value.to_str().expect("text");
            let text =
                text.strip_prefix("299 - \"").and_then(|text| text.strip_suffix('"')).expect("a warning");
            text.replace("\\\"", "\"").replace("\\\\", "\\")
        });
        let warnings = warnings.collect();
        let text = answer.text().await.expect("a body");
        Answer { code, body: serde_json::from_str(&text).unwrap_or(Value::String(text)), warnings }
    }

    /// Creates what must be taken.
    async fn create(&self, path: &str, body: Value) -> Value {
        let answer = self.ask("POST", path, body).await;
        assert_eq!(answer.code, 201, "{path}: {}", answer.body);
        answer.body
    }

    /// A namespace with labels.
    async fn namespace(&self, name: &str, labels: Value) {
        self.create("/api/v1/namespaces", json!({"metadata": {"name": name, "labels": labels}})).await;
    }
}

/// A pod of one container, with more of its specification.
fn pod(name: &str, resources: Value) -> Value {
    let container = json!({"name": "web", "image": "app:1", "resources": resources});
    json!({"metadata": {"name": name}, "spec": {"containers": [container]}})
}

#[tokio::test]
async fn a_namespace_that_is_going_away_takes_nothing_new() {
    let cluster = Cluster::start().await;
    cluster.namespace("term", json!({})).await;
    let maps = "/api/v1/namespaces/term/configmaps";
    cluster.create(maps, json!({"metadata": {"name": "held", "finalizers": ["example.io/f"]}})).await;
    assert_eq!(cluster.ask("DELETE", "/api/v1/namespaces/term", Value::Null).await.code, 200);
    for path in [maps.to_owned(), format!("{maps}?dryRun=All")] {
        let answer = cluster.ask("POST", &path, json!({"metadata": {"name": "new"}})).await;
        let why = "configmaps \"new\" is forbidden: unable to create new content in namespace term because it is being \
                   terminated";
        assert_eq!((answer.code, answer.message()), (403, why));
        assert_eq!(answer.body["details"]["causes"][0]["reason"], "NamespaceTerminating");
    }
    let missing = cluster.ask("POST", "/api/v1/namespaces/nope/pods", pod("a", json!({}))).await;
    assert_eq!((missing.code, missing.message()), (404, "namespaces \"nope\" not found"));
    for name in ["default", "kube-system", "kube-public"] {
        let answer =
            cluster.ask("DELETE", &format!("/api/v1/namespaces/{name}?dryRun=All"), Value::Null).await;
        let why = format!("namespaces \"{name}\" is forbidden: this namespace may not be deleted");
        assert_eq!((answer.code, answer.message()), (403, why.as_str()));
    }
}

#[tokio::test]
async fn pods_get_their_account_its_token_and_their_priority() {
    let cluster = Cluster::start().await;
    let created = cluster.create(PODS, pod("a", json!({}))).await;
    let spec = &created["spec"];
    assert_eq!(spec["serviceAccountName"], "default");
    assert_eq!((&spec["priority"], &spec["preemptionPolicy"]), (&json!(0), &json!("PreemptLowerPriority")));
    let volume = spec["volumes"][0]["name"].as_str().expect("a volume");
    assert!(volume.starts_with("kube-api-access-"), "{volume}");
    assert_eq!(spec["containers"][0]["volumeMounts"][0]["name"], volume);
    let mut without = pod("b", json!({}));
    without["spec"]["automountServiceAccountToken"] = json!(false);
    without["spec"]["priorityClassName"] = json!("system-node-critical");
    let created = cluster.create(PODS, without).await;
    assert!(created["spec"]["volumes"].is_null());
    assert_eq!(created["spec"]["priority"], 2_000_001_000);
    for (field, value, why) in [
        (
            "serviceAccountName",
            json!("nope"),
            "error looking up service account default/nope: serviceaccount \"nope\" not found",
        ),
        ("priorityClassName", json!("nope"), "no PriorityClass with name nope was found"),
        (
            "priority",
            json!(5),
            "the integer value of priority (5) must not be provided in pod spec; priority admission controller computed \
             0 from the given PriorityClass name",
        ),
    ] {
        let mut wrong = pod("c", json!({}));
        wrong["spec"][field] = value;
        let answer = cluster.ask("POST", PODS, wrong).await;
        assert_eq!(
            (answer.code, answer.message()),
            (403, format!("pods \"c\" is forbidden: {why}").as_str())
        );
    }
}
