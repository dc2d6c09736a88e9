//! ResourceQuota.

use futures::future::join_all;
use serde_json::{Value, json};

use super::super::fixture::{Cluster, eventually};
use super::{MAPS, PODS, pod};

const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";

async fn limited(hard: Value) -> Cluster {
    let cluster = Cluster::start().await;
    cluster.create(QUOTAS, json!({"metadata": {"name": "platform"}, "spec": {"hard": hard}})).await;
    cluster
}

async fn used(cluster: &Cluster, name: &str) -> Value {
    let quota = cluster.ask("GET", &format!("{QUOTAS}/platform"), Value::Null).await;
    quota.body["status"]["used"][name].clone()
}

#[tokio::test]
async fn what_is_created_is_charged_and_what_is_deleted_released() {
    let cluster = limited(json!({"requests.cpu": "2", "limits.memory": "1Gi", "pods": "3"})).await;
    let ask = |cpu: &str, memory: &str| json!({"requests": {"cpu": cpu, "memory": "1Mi"}, "limits": {"memory": memory}});
    cluster.create(PODS, pod("a", ask("1", "200Mi"))).await;
    assert_eq!(used(&cluster, "requests.cpu").await, "1");
    assert_eq!(used(&cluster, "limits.memory").await, "200Mi");
    let refused = cluster.ask("POST", PODS, pod("b", ask("2", "900Mi"))).await;
    assert_eq!(
        (refused.code, refused.message()),
        (
            403,
            "pods \"b\" is forbidden: exceeded quota: platform, requested: limits.memory=900Mi,requests.cpu=2, used: \
             limits.memory=200Mi,requests.cpu=1, limited: limits.memory=1Gi,requests.cpu=2"
        )
    );
    let silent = cluster.ask("POST", PODS, pod("c", json!({}))).await;
    let why = "pods \"c\" is forbidden: failed quota: platform: must specify limits.memory for: web; requests.cpu for: web";
    assert_eq!((silent.code, silent.message()), (403, why));
    let dry = cluster.ask("POST", &format!("{PODS}?dryRun=All"), pod("b", ask("1", "1Mi"))).await;
    assert_eq!(dry.code, 201);
    assert_eq!(used(&cluster, "pods").await, "1");
    cluster.ask("DELETE", &format!("{PODS}/a?gracePeriodSeconds=0"), Value::Null).await;
    eventually("the pod is released", || async { used(&cluster, "requests.cpu").await == "0" }).await;
    cluster.create(PODS, pod("b", ask("2", "900Mi"))).await;
}

#[tokio::test]
async fn many_at_once_do_not_exceed_a_quota() {
    let cluster = limited(json!({"configmaps": "6", "count/secrets": "0"})).await;
    let creates =
        (0..20).map(|index| cluster.ask("POST", MAPS, json!({"metadata": {"name": format!("m{index}")}})));
    let codes: Vec<u16> = join_all(creates).await.iter().map(|answer| answer.code).collect();
    // The namespace holds the cluster's root certificates already.
    assert_eq!(codes.iter().filter(|code| **code == 201).count(), 5, "{codes:?}");
    assert!(codes.iter().all(|code| matches!(code, 201 | 403)), "{codes:?}");
    assert_eq!(used(&cluster, "configmaps").await, "6");
    let secret =
        cluster.ask("POST", "/api/v1/namespaces/default/secrets", json!({"metadata": {"name": "s"}})).await;
    let why = "secrets \"s\" is forbidden: exceeded quota: platform, requested: count/secrets=1, used: count/secrets=0, \
               limited: count/secrets=0";
    assert_eq!((secret.code, secret.message()), (403, why));
}

#[tokio::test]
async fn services_and_claims_are_counted_by_what_they_are() {
    let cluster = limited(json!({
        "services.loadbalancers": "0",
        "standard.storageclass.storage.k8s.io/requests.storage": "3Gi",
        "count/deployments.apps": "0",
    }))
    .await;
    let services = "/api/v1/namespaces/default/services";
    let ports = json!([{"port": 80}]);
    cluster.create(services, json!({"metadata": {"name": "web"}, "spec": {"ports": ports}})).await;
    let patch = json!({"spec": {"type": "LoadBalancer"}});
    let answer = cluster.ask("PATCH", &format!("{services}/web"), patch).await;
    let why = "services \"web\" is forbidden: exceeded quota: platform, requested: services.loadbalancers=1, used: \
               services.loadbalancers=0, limited: services.loadbalancers=0";
    assert_eq!((answer.code, answer.message()), (403, why));
    let claim = json!({"metadata": {"name": "v"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "4Gi"}},
    }});
    let answer = cluster.ask("POST", "/api/v1/namespaces/default/persistentvolumeclaims", claim).await;
    assert_eq!(answer.code, 403);
    let asked = "requested: standard.storageclass.storage.k8s.io/requests.storage=4Gi";
    assert!(answer.message().contains(asked), "{}", answer.message());
    let deployment = super::super::fixture::deployment("web", "app:1");
    let answer = cluster.ask("POST", "/apis/apps/v1/namespaces/default/deployments", deployment).await;
    let why = "deployments.apps \"web\" is forbidden: exceeded quota: platform, requested: count/deployments.apps=1, used: \
               count/deployments.apps=0, limited: count/deployments.apps=0";
    assert_eq!((answer.code, answer.message()), (403, why));
}

#[tokio::test]
async fn scopes_choose_the_pods_that_count() {
    let cluster = Cluster::start().await;
    for (name, hard, scope) in [
        ("best", json!({"pods": "1"}), "BestEffort"),
        ("asking", json!({"pods": "1", "requests.cpu": "1"}), "NotBestEffort"),
    ] {
        cluster
            .create(QUOTAS, json!({"metadata": {"name": name}, "spec": {"hard": hard, "scopes": [scope]}}))
            .await;
    }
    cluster.create(PODS, pod("b1", json!({}))).await;
    let answer = cluster.ask("POST", PODS, pod("b2", json!({}))).await;
    let why =
        "pods \"b2\" is forbidden: exceeded quota: best, requested: pods=1, used: pods=1, limited: pods=1";
    assert_eq!((answer.code, answer.message()), (403, why));
    cluster.create(PODS, pod("c1", json!({"requests": {"cpu": "500m"}}))).await;
    let answer = cluster.ask("POST", PODS, pod("c2", json!({"requests": {"memory": "1Mi"}}))).await;
    let why = "pods \"c2\" is forbidden: failed quota: asking: must specify requests.cpu for: web";
    assert_eq!((answer.code, answer.message()), (403, why));
    let wrong = json!({"metadata": {"name": "bad"}, "spec": {"hard": {"bogus": "1"}, "scopes": ["Bogus"]}});
    let answer = cluster.ask("POST", QUOTAS, wrong).await;
    assert_eq!(
        (answer.code, answer.message()),
        (
            422,
            "ResourceQuota \"bad\" is invalid: [spec.hard[bogus]: Invalid value: \"bogus\": must be a standard resource type \
             or fully qualified, spec.hard[bogus]: Invalid value: \"bogus\": must be a standard resource for quota, \
             spec.scopes: Invalid value: [\"Bogus\"]: unsupported scope]"
        )
    );
}

#[tokio::test]
async fn a_deployment_whose_pods_are_refused_says_so() {
    let cluster = limited(json!({"requests.cpu": "1"})).await;
    let deployment = super::super::fixture::deployment("web", "app:1");
    cluster.create("/apis/apps/v1/namespaces/default/deployments", deployment).await;
    let failure = |status: &Value| {
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        conditions.into_iter().find(|condition| condition["type"] == "ReplicaFailure")
    };
    let path = "/apis/apps/v1/namespaces/default/deployments/web";
    eventually("the deployment tells of its pods", || async {
        let answer = cluster.ask("GET", path, Value::Null).await;
        failure(&answer.body["status"]).is_some_and(|condition| {
            let message = condition["message"].as_str().unwrap_or_default();
            condition["reason"] == "FailedCreate"
                && message.starts_with("pods \"web-")
                && message
                    .ends_with("is forbidden: failed quota: platform: must specify requests.cpu for: main")
        })
    })
    .await;
    eventually("there is an event", || async {
        let events = cluster.ask("GET", "/api/v1/namespaces/default/events", Value::Null).await;
        let events = events.body["items"].as_array().cloned().unwrap_or_default();
        events.iter().any(|event| {
            let message = event["message"].as_str().unwrap_or_default();
            event["reason"] == "FailedCreate" && message.starts_with("Error creating: pods \"web-")
        })
    })
    .await;
}
