//! Server-side apply and the other patches through the whole server.

use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::fixture::{Cluster, apply, config_map, deployment, refusal};

#[tokio::test]
async fn managers_that_disagree_conflict_until_one_forces() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    apply(&maps, "a", "first", &config_map("a", json!({"k": "1"}))).await.expect("applied");
    let other = config_map("a", json!({"k": "2"}));
    let outcome = apply(&maps, "a", "second", &other).await;
    let Err(kube::Error::Api(status)) = &outcome else { panic!("a conflict was expected: {outcome:?}") };
    let causes: Vec<_> = status.details.iter().flat_map(|details| &details.causes).collect();
    assert_eq!(causes.len(), 1);
    assert_eq!((causes[0].reason.as_str(), causes[0].field.as_str()), ("FieldManagerConflict", ".data.k"));
    assert_eq!(causes[0].message, "conflict with \"first\"");
    let (code, reason, message) = refusal(outcome);
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert_eq!(message, "Apply failed with 1 conflict: conflict with \"first\": .data.k");
    let forced =
        maps.patch("a", &PatchParams::apply("second").force(), &Patch::Apply(&other)).await.expect("forced");
    assert_eq!(forced.data["data"]["k"], "2");
}

#[tokio::test]
async fn a_field_that_is_no_longer_applied_goes_away() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    apply(&maps, "a", "m", &config_map("a", json!({"k": "1", "gone": "1"}))).await.expect("applied");
    let kept = apply(&maps, "a", "m", &config_map("a", json!({"k": "1"}))).await.expect("applied");
    assert_eq!(kept.data["data"], json!({"k": "1"}));
}

#[tokio::test]
async fn containers_merge_by_name_in_apply_and_in_strategic_patches() {
    let cluster = Cluster::start().await;
    let api = cluster.deployments();
    apply(&api, "web", "m", &deployment("web", "app:1")).await.expect("applied");
    let sidecar =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "side:1"}]}}}});
    let mut applied = sidecar.clone();
    applied["apiVersion"] = json!("apps/v1");
    applied["kind"] = json!("Deployment");
    applied["metadata"] = json!({"name": "web"});
    let both = apply(&api, "web", "other", &applied).await.expect("applied");
    assert_eq!(both.data["spec"]["template"]["spec"]["containers"].as_array().map(Vec::len), Some(2));
    let newer =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "side:2"}]}}}});
    let patched = api.patch("web", &PatchParams::default(), &Patch::Strategic(newer)).await.expect("patched");
    let containers =
        patched.data["spec"]["template"]["spec"]["containers"].as_array().cloned().expect("containers");
    let images: Vec<_> = containers.iter().map(|one| one["image"].clone()).collect();
    assert!(images.contains(&json!("app:1")) && images.contains(&json!("side:2")), "{images:?}");
    let merged = api.patch("web", &PatchParams::default(), &Patch::Merge(sidecar)).await.expect("patched");
    assert_eq!(merged.data["spec"]["template"]["spec"]["containers"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_json_patch_whose_test_fails_changes_nothing() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    let before = apply(&maps, "a", "m", &config_map("a", json!({"k": "1"}))).await.expect("applied");
    let path = "/api/v1/namespaces/default/configmaps/a";
    let body = json!([{"op": "test", "path": "/data/k", "value": "9"}, {"op": "remove", "path": "/data/k"}])
        .to_string();
    let (code, answer) = cluster.raw("PATCH", path, "application/json-patch+json", body).await;
    assert_eq!((code, answer["reason"].as_str()), (422, Some("Invalid")));
    assert_eq!(maps.get("a").await.expect("read").resource_version(), before.resource_version());
}

#[tokio::test]
async fn writers_at_once_lose_nothing() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    apply(&maps, "a", "m", &config_map("a", json!({}))).await.expect("applied");
    let writers = (0..20).map(|index| {
        let maps = maps.clone();
        tokio::spawn(async move {
            let patch = Patch::Merge(json!({"data": {format!("k{index}"): "1"}}));
            maps.patch("a", &PatchParams::default(), &patch).await
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("no panic").expect("patched");
    }
    let data = maps.get("a").await.expect("read").data["data"].as_object().cloned().expect("data");
    assert_eq!(data.len(), 20);
}

#[tokio::test]
async fn services_get_addresses_of_their_own() {
    let cluster = Cluster::start().await;
    let services = cluster.objects("v1", "Service", "services");
    let service = |name: &str| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
    let one = apply(&services, "one", "m", &service("one")).await.expect("applied");
    let two = apply(&services, "two", "m", &service("two")).await.expect("applied");
    let address = |service: &kube::api::DynamicObject| service.data["spec"]["clusterIP"].clone();
    assert!(address(&one).is_string() && address(&one) != address(&two));
    let port = |service: &kube::api::DynamicObject| service.data["spec"]["ports"][0]["nodePort"].as_u64();
    assert!(port(&one).is_some_and(|port| (30_000..=32_767).contains(&port)) && port(&one) != port(&two));
    let again = apply(&services, "one", "m", &service("one")).await.expect("applied");
    assert_eq!(again.resource_version(), one.resource_version());
    let taken = json!({"spec": {"clusterIP": address(&one)}});
    let (code, _, message) =
        refusal(services.patch("two", &PatchParams::default(), &Patch::Merge(taken)).await);
    assert_eq!(code, 422, "{message}");
}
