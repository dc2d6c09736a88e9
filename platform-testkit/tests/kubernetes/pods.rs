//! Subresources of pods: logs, evictions, and what a simulated container cannot do.

use std::time::Duration;

use kube::api::{Api, DeleteParams, DynamicObject};
use serde_json::{Value, json};

use crate::fixture::{Cluster, DEADLINE, apply, eventually};

const POD: &str = "/api/v1/namespaces/default/pods/web";

fn pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"app": "web"}}, "spec": {
        "containers": [{"name": "main", "image": "app:1"}]}})
}

async fn running(cluster: &Cluster) -> Api<DynamicObject> {
    let pods = cluster.objects("v1", "Pod", "pods");
    apply(&pods, "web", "m", &pod()).await.expect("applied");
    eventually("the pod is ready", || async {
        let pod = pods.get("web").await.expect("read");
        pod.data["status"]["containerStatuses"][0]["ready"] == true
    })
    .await;
    pods
}

#[tokio::test]
async fn a_followed_log_ends_with_its_pod() {
    let cluster = Cluster::start().await;
    let pods = running(&cluster).await;
    let path = format!("{POD}/log?follow=true&tailLines=1");
    let following = cluster.raw("GET", &path, "text/plain", "");
    let ending = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        cluster.api.store().logs().append("default", "web", "main", jiff::Timestamp::now(), "one line more");
        tokio::time::sleep(Duration::from_millis(50)).await;
        pods.delete("web", &DeleteParams::default()).await.expect("deleted");
    };
    let both = async { tokio::join!(following, ending) };
    let ((code, text), ()) = tokio::time::timeout(DEADLINE, both).await.expect("the log ends");
    assert_eq!((code, text), (200, json!("ready\none line more\n")));
}

#[tokio::test]
async fn an_eviction_needs_the_consent_of_the_budget() {
    let cluster = Cluster::start().await;
    let pods = running(&cluster).await;
    let budgets = cluster.objects("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets");
    let budget = |available: u64| {
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"}, "spec": {
            "minAvailable": available, "selector": {"matchLabels": {"app": "web"}}}})
    };
    let allows = |wanted: i64| {
        let budgets = budgets.clone();
        async move {
            let status = budgets.get("web").await.expect("read").data["status"].clone();
            status["disruptionsAllowed"] == wanted && status["currentHealthy"] == 1
        }
    };
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web"}}).to_string();
    let path = format!("{POD}/eviction");
    apply(&budgets, "web", "m", &budget(1)).await.expect("applied");
    eventually("the budget counts the pod", || allows(0)).await;
    let (code, answer) = cluster.raw("POST", &path, "application/json", eviction.clone()).await;
    assert_eq!((code, answer["reason"].as_str()), (429, Some("TooManyRequests")));
    assert_eq!(answer["message"], "Cannot evict pod as it would violate the pod's disruption budget.");
    assert!(pods.get("web").await.expect("still there").metadata.deletion_timestamp.is_none());
    apply(&budgets, "web", "m", &budget(0)).await.expect("applied");
    eventually("the budget allows it", || allows(1)).await;
    let (code, _) = cluster.raw("POST", &path, "application/json", eviction).await;
    assert_eq!(code, 201);
    eventually("the pod goes", || async { pods.get_opt("web").await.expect("an answer").is_none() }).await;
}

#[tokio::test]
async fn simulated_containers_say_that_they_are() {
    let cluster = Cluster::start().await;
    running(&cluster).await;
    for (subresource, method) in [("exec?command=ls", "POST"), ("attach", "GET"), ("portforward", "POST")] {
        let (code, answer) = cluster.raw(method, &format!("{POD}/{subresource}"), "", "").await;
        assert_eq!(code, 400, "{subresource}");
        assert!(answer["message"].as_str().is_some_and(|why| why.contains("simulated")), "{answer}");
    }
}
