//! Pod Security.

use serde_json::{Value, json};

use super::super::fixture::{Cluster, deployment};
use super::pod;

const ALL_OF_IT: &str = "allowPrivilegeEscalation != false (container \"web\" must set \
    securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"web\" must set \
    securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"web\" must set \
    securityContext.runAsNonRoot=true), seccompProfile (pod or container \"web\" must set \
    securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")";

fn pods(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods")
}

fn hardened(name: &str) -> Value {
    let mut pod = pod(name, json!({}));
    pod["spec"]["securityContext"] =
        json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    pod["spec"]["containers"][0]["securityContext"] =
        json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    pod
}

#[tokio::test]
async fn a_restricted_namespace_takes_hardened_pods_alone() {
    let cluster = Cluster::start().await;
    cluster.namespace("strict", json!({"pod-security.kubernetes.io/enforce": "restricted"})).await;
    let answer = cluster.ask("POST", &pods("strict"), pod("a", json!({}))).await;
    let why = format!("pods \"a\" is forbidden: violates PodSecurity \"restricted:latest\": {ALL_OF_IT}");
    assert_eq!((answer.code, answer.message()), (403, why.as_str()));
    let created = cluster.ask("POST", &pods("strict"), hardened("b")).await;
    assert_eq!((created.code, created.warnings.len()), (201, 0), "{}", created.body);
    let path = "/apis/apps/v1/namespaces/strict/deployments?dryRun=All";
    let warned = cluster.ask("POST", path, deployment("web", "app:1")).await;
    assert_eq!(warned.code, 201);
    let told = format!(
        "would violate PodSecurity \"restricted:latest\": {}",
        ALL_OF_IT.replace("\"web\"", "\"main\"")
    );
    assert_eq!(warned.warnings, [told]);
    // A change of what the checks do not look at is nobody's business.
    let labelled = json!({"metadata": {"labels": {"a": "b"}}});
    assert_eq!(cluster.ask("PATCH", &format!("{}/b", pods("strict")), labelled).await.code, 200);
}

#[tokio::test]
async fn a_namespace_may_warn_of_more_than_it_enforces() {
    let cluster = Cluster::start().await;
    let labels = json!({
        "pod-security.kubernetes.io/enforce": "baseline",
        "pod-security.kubernetes.io/enforce-version": "v1.25",
        "pod-security.kubernetes.io/warn": "restricted",
    });
    cluster.namespace("mild", labels).await;
    let warned = cluster.ask("POST", &pods("mild"), pod("a", json!({}))).await;
    let told = format!("would violate PodSecurity \"restricted:latest\": {ALL_OF_IT}");
    assert_eq!((warned.code, warned.warnings.as_slice()), (201, &[told][..]));
    let mut hosted = pod("b", json!({}));
    hosted["spec"]["hostNetwork"] = json!(true);
    hosted["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    let answer = cluster.ask("POST", &pods("mild"), hosted).await;
    let why = "pods \"b\" is forbidden: violates PodSecurity \"baseline:v1.25\": host namespaces (hostNetwork=true), \
               privileged (container \"web\" must not set securityContext.privileged=true)";
    assert_eq!((answer.code, answer.message()), (403, why));
}

#[tokio::test]
async fn labels_are_checked_and_a_stricter_level_warns_of_what_is_there() {
    let cluster = Cluster::start().await;
    let labels = json!({"pod-security.kubernetes.io/enforce": "bogus"});
    let wrong = json!({"metadata": {"name": "bad", "labels": labels}});
    let answer = cluster.ask("POST", "/api/v1/namespaces", wrong).await;
    let why = "Namespace \"bad\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"bogus\": \
               must be one of privileged, baseline, restricted";
    assert_eq!((answer.code, answer.message()), (422, why));
    cluster.namespace("later", json!({})).await;
    cluster.create(&pods("later"), pod("a", json!({}))).await;
    for name in ["b", "c"] {
        let mut hosted = pod(name, json!({}));
        hosted["spec"]["hostNetwork"] = json!(true);
        cluster.create(&pods("later"), hosted).await;
    }
    let stricter = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    let answer = cluster.ask("PATCH", "/api/v1/namespaces/later", stricter).await;
    let common =
        "allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile";
    assert_eq!(answer.code, 200);
    assert_eq!(
        answer.warnings,
        [
            "existing pods in namespace \"later\" violate the new PodSecurity enforce level \"restricted:latest\"".to_owned(),
            format!("a: {common}"),
            format!("b (and 1 other pod): host namespaces, {common}"),
        ]
    );
}
