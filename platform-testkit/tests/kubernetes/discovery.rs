//! What clients ask before they ask for objects.

use kube::core::GroupVersionKind;
use kube::discovery::{Discovery, Scope};
use serde_json::json;

use crate::fixture::Cluster;

#[tokio::test]
async fn kube_discovers_kinds_in_both_ways() {
    let cluster = Cluster::start().await;
    let legacy = Discovery::new(cluster.client.clone()).run().await.expect("discovered");
    let aggregated = Discovery::new(cluster.client.clone()).run_aggregated().await.expect("discovered");
    for discovery in [legacy, aggregated] {
        for (group, kind, scope) in [
            ("", "Namespace", Scope::Cluster),
            ("", "ConfigMap", Scope::Namespaced),
            ("apps", "Deployment", Scope::Namespaced),
            ("batch", "Job", Scope::Namespaced),
            ("networking.k8s.io", "NetworkPolicy", Scope::Namespaced),
            ("rbac.authorization.k8s.io", "ClusterRole", Scope::Cluster),
            ("apiextensions.k8s.io", "CustomResourceDefinition", Scope::Cluster),
        ] {
            let found = discovery.resolve_gvk(&GroupVersionKind::gvk(group, "v1", kind));
            assert_eq!(found.map(|(_, capabilities)| capabilities.scope), Some(scope), "{kind}");
        }
    }
}

#[tokio::test]
async fn the_server_says_what_and_how_it_is() {
    let cluster = Cluster::start().await;
    assert_eq!(cluster.client.apiserver_version().await.expect("a version").minor, "34");
    for path in ["/healthz", "/readyz", "/livez"] {
        assert_eq!(cluster.raw("GET", path, "", "").await, (200, json!("ok")));
    }
    let (_, index) = cluster.raw("GET", "/openapi/v3", "", "").await;
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().expect("a URL").to_owned();
    let (code, document) = cluster.raw("GET", &url, "", "").await;
    assert_eq!(code, 200);
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    let names: Vec<_> =
        patch["parameters"].as_array().into_iter().flatten().map(|one| one["name"].clone()).collect();
    assert!(names.contains(&json!("fieldValidation")), "{names:?}");
    let asked = json!({"spec": {"resourceAttributes": {"verb": "list", "resource": "pods"}}}).to_string();
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let (code, review) = cluster.raw("POST", path, "application/json", asked).await;
    assert_eq!((code, &review["status"]["allowed"]), (201, &json!(true)));
}

#[tokio::test]
async fn a_new_cluster_has_what_every_cluster_has() {
    let api = platform_testkit::kubernetes::EmbeddedApi::builder()
        .nodes(3)
        .name("three")
        .start()
        .await
        .expect("started");
    let cluster = Cluster::of(api);
    assert!(cluster.api.kubeconfig().contains("current-context: \"three\""));
    let names = async |path: &str| {
        let (_, list) = cluster.raw("GET", path, "", "").await;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items
            .iter()
            .filter_map(|item| item["metadata"]["name"].as_str().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names("/api/v1/namespaces").await,
        ["default", "kube-node-lease", "kube-public", "kube-system"]
    );
    assert_eq!(names("/api/v1/nodes").await, ["node-1", "node-2", "node-3"]);
    assert_eq!(names("/api/v1/services").await, ["kubernetes"]);
    assert_eq!(names("/apis/storage.k8s.io/v1/storageclasses").await, ["standard"]);
    assert_eq!(names("/api/v1/namespaces/default/serviceaccounts").await, ["default"]);
}
