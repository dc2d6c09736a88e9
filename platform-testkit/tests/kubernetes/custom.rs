//! Custom resources, from their definition to their removal.

use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::fixture::{Cluster, apply, eventually, refusal};

fn definition() -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {
        "spec": {"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "minimum": 1},
            "color": {"type": "string", "default": "red"},
            "parts": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                "items": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}, "v": {"type": "string"}}},
            },
        }},
        "status": {"type": "object", "properties": {"size": {"type": "integer"}}},
    }}});
    let subresources = json!({"status": {}, "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}});
    let columns = json!([{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}]);
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.io"},
        "spec": {
            "group": "example.io",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [
                {"name": "v1", "served": true, "storage": true, "schema": schema, "subresources": subresources, "additionalPrinterColumns": columns},
                {"name": "v1beta1", "served": true, "storage": false, "schema": schema, "subresources": subresources},
            ],
        },
    })
}

fn widget(spec: &Value) -> Value {
    json!({"apiVersion": "example.io/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec})
}

async fn defined() -> Cluster {
    let cluster = Cluster::start().await;
    let definitions =
        cluster.objects("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions");
    let made = apply(&definitions, "widgets.example.io", "m", &definition()).await.expect("applied");
    let conditions = made.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
    for kind in ["NamesAccepted", "Established"] {
        assert!(
            conditions.iter().any(|one| one["type"] == kind && one["status"] == "True"),
            "{conditions:?}"
        );
    }
    assert_eq!(made.data["spec"]["names"]["listKind"], "WidgetList");
    cluster
}

#[tokio::test]
async fn objects_are_held_to_their_schema() {
    let cluster = defined().await;
    let widgets = cluster.objects("example.io/v1", "Widget", "widgets");
    let made = apply(&widgets, "w", "m", &widget(&json!({"size": 3}))).await.expect("applied");
    assert_eq!(made.data["spec"]["color"], "red");
    assert_eq!(made.metadata.generation, Some(1));
    let (code, reason, message) = refusal(apply(&widgets, "w", "m", &widget(&json!({"size": 0}))).await);
    assert_eq!((code, reason.as_str()), (422, "Invalid"));
    let expected = "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1";
    assert_eq!(message, format!("Widget.example.io \"w\" is invalid: {expected}"));
    let (code, _, message) = refusal(apply(&widgets, "w", "m", &widget(&json!({"size": 3, "no": 1}))).await);
    assert_eq!(code, 500);
    assert!(message.ends_with(".spec.no: field not declared in schema"), "{message}");
}

#[tokio::test]
async fn metadata_has_its_types_and_scale_its_bounds() {
    let cluster = defined().await;
    let path = "/apis/example.io/v1/namespaces/default/widgets";
    for metadata in [
        json!({"name": "w", "labels": "x"}),
        json!({"name": "w", "managedFields": 3}),
        json!({"name": "w", "ownerReferences": {}}),
    ] {
        let body = json!({"apiVersion": "example.io/v1", "kind": "Widget", "metadata": metadata, "spec": {"size": 1}});
        let (code, answer) = cluster.raw("POST", path, "application/json", body.to_string()).await;
        assert_eq!(code, 400, "{answer}");
    }
    let widgets = cluster.objects("example.io/v1", "Widget", "widgets");
    apply(&widgets, "w", "m", &widget(&json!({"size": 3}))).await.expect("applied");
    for replicas in [json!(-1), json!("x"), json!(1.5)] {
        let body = json!({"spec": {"replicas": replicas}}).to_string();
        let (code, answer) =
            cluster.raw("PATCH", &format!("{path}/w/scale"), "application/merge-patch+json", body).await;
        assert_eq!(code, 422, "{answer}");
    }
}

#[tokio::test]
async fn lists_merge_by_the_keys_of_the_schema() {
    let cluster = defined().await;
    let widgets = cluster.objects("example.io/v1", "Widget", "widgets");
    let part = |id: &str| widget(&json!({"size": 1, "parts": [{"id": id, "v": "1"}]}));
    apply(&widgets, "w", "first", &part("a")).await.expect("applied");
    let both = apply(&widgets, "w", "second", &part("b")).await.expect("applied");
    assert_eq!(both.data["spec"]["parts"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn every_version_serves_the_same_objects() {
    let cluster = defined().await;
    let widgets = cluster.objects("example.io/v1", "Widget", "widgets");
    let made = apply(&widgets, "w", "m", &widget(&json!({"size": 3}))).await.expect("applied");
    let older = cluster.objects("example.io/v1beta1", "Widget", "widgets").get("w").await.expect("read");
    assert_eq!(older.uid(), made.uid());
    assert_eq!(older.types.map(|types| types.api_version).as_deref(), Some("example.io/v1beta1"));
    let path = "/apis/example.io/v1beta1/namespaces/default/widgets";
    let (_, list) = cluster.raw("GET", path, "", "").await;
    assert_eq!(list["items"][0]["apiVersion"], "example.io/v1beta1");
}

#[tokio::test]
async fn status_and_scale_are_subresources() {
    let cluster = defined().await;
    let widgets = cluster.objects("example.io/v1", "Widget", "widgets");
    apply(&widgets, "w", "m", &widget(&json!({"size": 3}))).await.expect("applied");
    let status = Patch::Merge(json!({"spec": {"size": 9}, "status": {"size": 2}}));
    let patched = widgets.patch_status("w", &PatchParams::default(), &status).await.expect("patched");
    assert_eq!((&patched.data["spec"]["size"], &patched.data["status"]["size"]), (&json!(3), &json!(2)));
    assert_eq!(patched.metadata.generation, Some(1));
    let scale = widgets.get_scale("w").await.expect("a scale");
    assert_eq!(scale.spec.and_then(|spec| spec.replicas), Some(3));
    assert_eq!(scale.status.map(|status| status.replicas), Some(2));
    let five = Patch::Merge(json!({"spec": {"replicas": 5}}));
    widgets.patch_scale("w", &PatchParams::default(), &five).await.expect("scaled");
    assert_eq!(widgets.get("w").await.expect("read").data["spec"]["size"], 5);
}

#[tokio::test]
async fn tables_have_the_columns_of_the_definition() {
    let cluster = defined().await;
    let widgets = cluster.objects("example.io/v1", "Widget", "widgets");
    apply(&widgets, "w", "m", &widget(&json!({"size": 3}))).await.expect("applied");
    let client = reqwest::Client::new();
    let url = format!("{}/apis/example.io/v1/namespaces/default/widgets", cluster.api.url());
    let request = client.get(url).header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let text = request.send().await.expect("an answer").text().await.expect("a body");
    let table: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(table["columnDefinitions"][1]["name"], "Size");
    assert_eq!(table["rows"][0]["cells"], json!(["w", 3]));
}

#[tokio::test]
async fn a_definition_takes_its_objects_along() {
    let cluster = defined().await;
    let widgets = cluster.objects("example.io/v1", "Widget", "widgets");
    apply(&widgets, "w", "m", &widget(&json!({"size": 3}))).await.expect("applied");
    let definitions =
        cluster.objects("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions");
    definitions.delete("widgets.example.io", &DeleteParams::default()).await.expect("accepted");
    eventually("the definition goes", || async {
        definitions.get_opt("widgets.example.io").await.expect("an answer").is_none()
    })
    .await;
    let (code, _, message) = refusal(widgets.get("w").await);
    assert_eq!(code, 404, "{message}");
    apply(&definitions, "widgets.example.io", "m", &definition()).await.expect("applied anew");
    assert!(widgets.get_opt("w").await.expect("an answer").is_none());
}
