//! Patches: JSON, merge and strategic merge.

use super::{
    check::checks,
    expect::*,
    scope::{FINALIZER, Scope},
};
use crate::conformance::{Outcome, ensure_eq};
use serde_json::{Value, json};

checks! {
    "a JSON patch adds, replaces and removes" => json_patch,
    "a JSON patch whose test fails changes nothing" => json_test,
    "a JSON patch of a missing path is refused" => json_missing,
    "a malformed JSON patch is refused" => json_malformed,
    "a merge patch removes by null and replaces lists" => merge,
    "a patch with an old resourceVersion is a conflict" => old_version,
    "a patch that changes nothing keeps the version" => nothing,
    "a strategic patch merges containers by name" => strategic,
    "a strategic patch merges ports by their number" => strategic_ports,
    "a strategic patch deletes items by $patch" => strategic_delete,
    "a strategic patch replaces by $patch" => strategic_replace,
    "a strategic patch keeps only what $retainKeys names" => strategic_retain,
    "a strategic patch deletes from lists of plain values" => strategic_primitive,
    "a strategic patch orders by $setElementOrder" => strategic_order,
    "a strategic patch removes by null" => strategic_null,
    "a patch of a missing object is not found" => missing,
    "a patch of an unknown type is refused" => unknown_type,
    "a patch cannot change the name" => name,
    "a patch to the status changes the status alone" => status,
}

async fn json_patch(scope: &Scope<'_>) -> Outcome {
    scope.create(&config_map("a", json!({"a": "1", "b": "2", "a/b": "3"}))).await?;
    let patch = json!([
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "replace", "path": "/data/a", "value": "9"},
        {"op": "remove", "path": "/data/b"},
        {"op": "add", "path": "/data/c", "value": "4"},
        {"op": "move", "from": "/data/a~1b", "path": "/data/d"},
    ]);
    let patched = scope.json_patch(scope.map("a"), &patch).ok().await?;
    equal(&patched, "/data", json!({"a": "9", "c": "4", "d": "3"}))
}

async fn json_test(scope: &Scope<'_>) -> Outcome {
    let before = scope.create(&config_map("a", json!({"a": "1"}))).await?;
    let patch = json!([
        {"op": "replace", "path": "/data/a", "value": "9"},
        {"op": "test", "path": "/data/a", "value": "1"},
    ]);
    let status = scope.json_patch(scope.map("a"), &patch).refused(422, "Invalid").await?;
    says(&status, "the server rejected our request due to an error in our request")?;
    ensure_eq(&scope.get(scope.map("a")).ok().await?, &before, "the object")
}

async fn json_missing(scope: &Scope<'_>) -> Outcome {
    scope.create(&config_map("a", json!({"a": "1"}))).await?;
    let patch = json!([{"op": "remove", "path": "/data/absent"}]);
    scope.json_patch(scope.map("a"), &patch).refused(422, "Invalid").await.map(drop)
}

async fn json_malformed(scope: &Scope<'_>) -> Outcome {
    scope.create(&config_map("a", json!({"a": "1"}))).await?;
    scope.json_patch(scope.map("a"), &json!({"op": "add"})).refused(400, "BadRequest").await.map(drop)
}

async fn merge(scope: &Scope<'_>) -> Outcome {
    let mut object = deployment("a");
    object["metadata"]["labels"] = json!({"a": "1", "b": "2"});
    scope.create(&object).await?;
    let containers = json!([{"name": "other", "image": "other:1"}]);
    let patch = json!({
        "metadata": {"labels": {"a": null, "c": "3"}}, "spec": {"template": {"spec": {"containers": containers}}},
    });
    let patched = scope.merge(scope.deployment("a"), &patch).ok().await?;
    equal(&patched, "/metadata/labels", json!({"b": "2", "c": "3"}))?;
    equal(&patched, "/spec/template/spec/containers/0/name", json!("other"))?;
    absent(&patched, "/spec/template/spec/containers/1")
}

async fn old_version(scope: &Scope<'_>) -> Outcome {
    let old = scope.create(&config_map("a", json!({"a": "1"}))).await?;
    scope.merge(scope.map("a"), &json!({"data": {"a": "2"}})).ok().await?;
    let version = &old["metadata"]["resourceVersion"];
    let patch = json!({"metadata": {"resourceVersion": version}, "data": {"a": "3"}});
    scope.merge(scope.map("a"), &patch).refused(409, "Conflict").await.map(drop)
}

async fn nothing(scope: &Scope<'_>) -> Outcome {
    let before = scope.create(&config_map("a", json!({"a": "1"}))).await?;
    for patched in [
        scope.merge(scope.map("a"), &json!({"data": {"a": "1"}})).ok().await?,
        scope.strategic(scope.map("a"), &json!({"data": {"a": "1"}})).ok().await?,
        scope.json_patch(scope.map("a"), &json!([])).ok().await?,
    ] {
        same_version(&before, &patched)?;
    }
    Ok(())
}

fn template_patch(spec: Value) -> Value {
    json!({"spec": {"template": {"spec": spec}}})
}

async fn strategic(scope: &Scope<'_>) -> Outcome {
    scope.create(&deployment("a")).await?;
    let containers = json!([{"name": "side", "image": "side:1"}, {"name": "main", "image": "main:2"}]);
    let patch = template_patch(json!({"containers": containers}));
    let patched = scope.strategic(scope.deployment("a"), &patch).ok().await?;
    let containers =
        patched["spec"]["template"]["spec"]["containers"].as_array().cloned().unwrap_or_default();
    let mut images: Vec<String> =
        containers.iter().map(|one| format!("{} {}", one["name"], one["image"])).collect();
    images.sort();
    ensure_eq(
        &images,
        &vec!["\"main\" \"main:2\"".to_owned(), "\"side\" \"side:1\"".to_owned()],
        "the containers",
    )
}

async fn strategic_ports(scope: &Scope<'_>) -> Outcome {
    scope.create(&service("a", json!([{"port": 80, "name": "http"}]))).await?;
    let patch = json!({"spec": {"ports": [{"port": 80, "targetPort": 8080}, {"port": 81, "name": "more"}]}});
    let patched = scope.strategic(scope.at("v1", "services", "a"), &patch).ok().await?;
    let ports = patched["spec"]["ports"].as_array().cloned().unwrap_or_default();
    ensure_eq(&ports.len(), &2, "the number of ports")?;
    let first = ports.iter().find(|port| port["port"] == 80).ok_or("port 80 is gone")?;
    equal_all(first, [("/name", json!("http")), ("/targetPort", json!(8080))])
}

async fn strategic_delete(scope: &Scope<'_>) -> Outcome {
    let mut object = deployment("a");
    object["spec"]["template"]["spec"]["containers"] =
        json!([{"name": "main", "image": "main:1"}, {"name": "side", "image": "side:1"}]);
    scope.create(&object).await?;
    let patch = template_patch(json!({"containers": [{"name": "side", "$patch": "delete"}]}));
    let patched = scope.strategic(scope.deployment("a"), &patch).ok().await?;
    equal(&patched, "/spec/template/spec/containers/0/name", json!("main"))?;
    absent(&patched, "/spec/template/spec/containers/1")
}

async fn strategic_replace(scope: &Scope<'_>) -> Outcome {
    scope.create(&deployment("a")).await?;
    let containers = json!([{"$patch": "replace"}, {"name": "only", "image": "only:1"}]);
    let patch = template_patch(json!({"containers": containers}));
    let patched = scope.strategic(scope.deployment("a"), &patch).ok().await?;
    equal(&patched, "/spec/template/spec/containers/0/name", json!("only"))?;
    absent(&patched, "/spec/template/spec/containers/1")?;
    scope.create(&config_map("a", json!({"a": "1", "b": "2"}))).await?;
    let replaced =
        scope.strategic(scope.map("a"), &json!({"data": {"$patch": "replace", "c": "3"}})).ok().await?;
    equal(&replaced, "/data", json!({"c": "3"}))
}

async fn strategic_retain(scope: &Scope<'_>) -> Outcome {
    scope.create(&deployment("a")).await?;
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    let patched = scope.strategic(scope.deployment("a"), &patch).ok().await?;
    equal(&patched, "/spec/strategy", json!({"type": "Recreate"}))
}

async fn strategic_primitive(scope: &Scope<'_>) -> Outcome {
    let mut map = config_map("a", json!({}));
    map["metadata"]["finalizers"] = json!([FINALIZER, "conformance.example.com/other"]);
    scope.create(&map).await?;
    scope.remember(scope.map("a"));
    let patch =
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["conformance.example.com/other"]}});
    let patched = scope.strategic(scope.map("a"), &patch).ok().await?;
    equal(&patched, "/metadata/finalizers", json!([FINALIZER]))
}

async fn strategic_order(scope: &Scope<'_>) -> Outcome {
    let mut object = deployment("a");
    let env =
        |names: &[&str]| names.iter().map(|name| json!({"name": name, "value": "1"})).collect::<Vec<_>>();
    object["spec"]["template"]["spec"]["containers"][0]["env"] = json!(env(&["A", "B"]));
    scope.create(&object).await?;
    let container = json!({
        "name": "main", "$setElementOrder/env": [{"name": "C"}, {"name": "B"}, {"name": "A"}], "env": env(&["C"]),
    });
    let patch = template_patch(json!({"containers": [container]}));
    let patched = scope.strategic(scope.deployment("a"), &patch).ok().await?;
    let env = patched.pointer("/spec/template/spec/containers/0/env").and_then(Value::as_array);
    let names: Vec<&str> = env.into_iter().flatten().filter_map(|one| one["name"].as_str()).collect();
    ensure_eq(&names, &vec!["C", "B", "A"], "the variables")
}

async fn strategic_null(scope: &Scope<'_>) -> Outcome {
    scope.create(&config_map("a", json!({"a": "1", "b": "2"}))).await?;
    let patched = scope.strategic(scope.map("a"), &json!({"data": {"a": null}})).ok().await?;
    equal(&patched, "/data", json!({"b": "2"}))
}

async fn missing(scope: &Scope<'_>) -> Outcome {
    scope.merge(scope.map("a"), &json!({"data": {}})).refused(404, "NotFound").await?;
    scope.json_patch(scope.map("a"), &json!([])).refused(404, "NotFound").await.map(drop)
}

async fn unknown_type(scope: &Scope<'_>) -> Outcome {
    scope.create(&config_map("a", json!({}))).await?;
    let status = scope
        .patch(scope.map("a"), "application/json", &json!({}))
        .refused(415, "UnsupportedMediaType")
        .await?;
    says(
        &status,
        "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml",
    )
}

async fn name(scope: &Scope<'_>) -> Outcome {
    scope.create(&config_map("a", json!({}))).await?;
    let status =
        scope.merge(scope.map("a"), &json!({"metadata": {"name": "b"}})).refused(400, "BadRequest").await?;
    says(&status, "the name of the object (b) does not match the name on the URL (a)")
}

async fn status(scope: &Scope<'_>) -> Outcome {
    scope.create(&service("a", json!([{"port": 80}]))).await?;
    let path = format!("{}/status", scope.at("v1", "services", "a"));
    let patch = json!({"metadata": {"labels": {"x": "y"}}, "spec": {"sessionAffinity": "ClientIP"}, "status": {"loadBalancer": {}}});
    let patched = scope.merge(path, &patch).ok().await?;
    equal(&patched, "/spec/sessionAffinity", json!("None"))
}
