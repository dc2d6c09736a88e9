//! Finalizers, propagation, owners and namespaces.

use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::fixture::{Cluster, apply, config_map, eventually, object, refusal};

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn owned(name: &str, owner: &DynamicObject, blocks: bool) -> Value {
    let mut map = config_map(name, json!({}));
    map["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "v1", "kind": "ConfigMap", "name": owner.name_any(), "uid": owner.uid(), "blockOwnerDeletion": blocks,
    }]);
    map
}

async fn is_gone(api: &Api<DynamicObject>, name: &str) -> bool {
    api.get_opt(name).await.expect("an answer").is_none()
}

#[tokio::test]
async fn a_finalizer_holds_an_object_until_it_is_removed() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    let mut held = config_map("a", json!({}));
    held["metadata"]["finalizers"] = json!(["example.io/hold"]);
    apply(&maps, "a", "m", &held).await.expect("applied");
    let answer = maps.delete("a", &DeleteParams::default()).await.expect("accepted");
    let marked = answer.left().expect("the object, since it is still there");
    assert!(marked.metadata.deletion_timestamp.is_some());
    let more = Patch::Merge(json!({"metadata": {"finalizers": ["example.io/hold", "example.io/more"]}}));
    let (code, _, message) = refusal(maps.patch("a", &PatchParams::default(), &more).await);
    assert_eq!(code, 422);
    assert!(message.contains("no new finalizers can be added if the object is being deleted"), "{message}");
    let none = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("a", &PatchParams::default(), &none).await.expect("patched");
    assert!(is_gone(&maps, "a").await);
}

#[tokio::test]
async fn dependents_follow_their_owner_in_the_background() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    let owner = apply(&maps, "owner", "m", &config_map("owner", json!({}))).await.expect("applied");
    let child = apply(&maps, "child", "m", &owned("child", &owner, false)).await.expect("applied");
    apply(&maps, "grandchild", "m", &owned("grandchild", &child, false)).await.expect("applied");
    maps.delete("owner", &DeleteParams::background()).await.expect("deleted");
    assert!(is_gone(&maps, "owner").await);
    eventually("the dependents go", || async {
        is_gone(&maps, "child").await && is_gone(&maps, "grandchild").await
    })
    .await;
}

#[tokio::test]
async fn an_owner_deleted_in_the_foreground_goes_last() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    let owner = apply(&maps, "owner", "m", &config_map("owner", json!({}))).await.expect("applied");
    let mut child = owned("child", &owner, true);
    child["metadata"]["finalizers"] = json!(["example.io/hold"]);
    apply(&maps, "child", "m", &child).await.expect("applied");
    maps.delete("owner", &DeleteParams::foreground()).await.expect("accepted");
    eventually("the child is marked", || async {
        maps.get("child").await.expect("still held").metadata.deletion_timestamp.is_some()
    })
    .await;
    assert!(!is_gone(&maps, "owner").await);
    let none = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("child", &PatchParams::default(), &none).await.expect("patched");
    eventually("the owner goes", || is_gone(&maps, "owner")).await;
}

#[tokio::test]
async fn orphans_stay_without_their_owner() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    let owner = apply(&maps, "owner", "m", &config_map("owner", json!({}))).await.expect("applied");
    apply(&maps, "child", "m", &owned("child", &owner, false)).await.expect("applied");
    maps.delete("owner", &DeleteParams::orphan()).await.expect("accepted");
    eventually("the owner goes", || is_gone(&maps, "owner")).await;
    let child = maps.get("child").await.expect("the orphan");
    assert!(child.owner_references().is_empty());
}

#[tokio::test]
async fn an_object_whose_owner_never_was_is_collected() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    let mut nobody = object(config_map("nobody", json!({})));
    nobody.metadata.uid = Some("00000000-0000-4000-8000-000000000000".to_owned());
    apply(&maps, "child", "m", &owned("child", &nobody, false)).await.expect("applied");
    eventually("the child goes", || is_gone(&maps, "child")).await;
}

#[tokio::test]
async fn a_namespace_takes_its_content_along() {
    let cluster = Cluster::start().await;
    let namespaces = cluster.objects("v1", "Namespace", "namespaces");
    apply(&namespaces, "team", "m", &namespace("team")).await.expect("applied");
    let maps = cluster.config_maps_in("team");
    let names: Vec<_> = maps
        .list(&ListParams::default())
        .await
        .expect("a list")
        .items
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    assert_eq!(names, ["kube-root-ca.crt"]);
    let mut held = config_map("held", json!({}));
    held["metadata"]["finalizers"] = json!(["example.io/hold"]);
    apply(&maps, "held", "m", &held).await.expect("applied");
    let terminating = namespaces.delete("team", &DeleteParams::default()).await.expect("accepted");
    let terminating = terminating.left().expect("the namespace, since it is still there");
    assert_eq!(terminating.data["status"]["phase"], "Terminating");
    let (code, reason, message) =
        refusal(maps.create(&PostParams::default(), &object(config_map("late", json!({})))).await);
    assert_eq!((code, reason.as_str()), (403, "Forbidden"));
    let expected = "configmaps \"late\" is forbidden: unable to create new content in namespace team because it is being \
                    terminated";
    assert_eq!(message, expected);
    eventually("the rest goes", || is_gone(&maps, "kube-root-ca.crt")).await;
    assert!(!is_gone(&namespaces, "team").await);
    let none = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("held", &PatchParams::default(), &none).await.expect("patched");
    eventually("the namespace goes", || is_gone(&namespaces, "team")).await;
    apply(&namespaces, "team", "m", &namespace("team")).await.expect("applied anew");
}

#[tokio::test]
async fn a_collection_is_deleted_by_its_labels() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    for (name, tier) in [("a", "front"), ("b", "front"), ("c", "back")] {
        let mut map = config_map(name, json!({}));
        map["metadata"]["labels"] = json!({"tier": tier});
        apply(&maps, name, "m", &map).await.expect("applied");
    }
    let front = ListParams::default().labels("tier=front");
    maps.delete_collection(&DeleteParams::default(), &front).await.expect("deleted");
    let names: Vec<_> = maps
        .list(&ListParams::default())
        .await
        .expect("a list")
        .items
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    assert_eq!(names, ["c", "kube-root-ca.crt"]);
}

#[tokio::test]
async fn a_definition_is_held_only_while_it_is_deleted() {
    let cluster = Cluster::start().await;
    let definitions =
        cluster.objects("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions");
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "boxes.example.io"},
        "spec": {
            "group": "example.io", "scope": "Namespaced", "names": {"plural": "boxes", "kind": "Box"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    });
    let created = apply(&definitions, "boxes.example.io", "m", &definition).await.expect("applied");
    assert!(created.finalizers().is_empty());
    let boxes = cluster.objects("example.io/v1", "Box", "boxes");
    let held = json!({"apiVersion": "example.io/v1", "kind": "Box", "metadata": {"name": "a", "finalizers": ["example.io/hold"]}});
    apply(&boxes, "a", "m", &held).await.expect("applied");
    definitions.delete("boxes.example.io", &DeleteParams::default()).await.expect("accepted");
    let deleted = definitions.get("boxes.example.io").await.expect("still there");
    assert_eq!(deleted.finalizers(), ["customresourcecleanup.apiextensions.k8s.io"]);
    let none = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    boxes.patch("a", &PatchParams::default(), &none).await.expect("patched");
    eventually("the definition goes", || is_gone(&definitions, "boxes.example.io")).await;
}
