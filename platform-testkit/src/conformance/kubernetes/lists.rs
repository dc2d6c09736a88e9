//! Server-side apply: lists that are maps, sets, and what is replaced as a whole.

use super::{
    check::checks,
    expect::*,
    scope::{FINALIZER, Scope},
};
use crate::conformance::{Outcome, ensure};
use serde_json::{Value, json};

checks! {
    "containers are merged by name" => containers,
    "container ports are merged by number and protocol" => container_ports,
    "environment variables are merged by name" => variables,
    "service ports are merged by number and protocol" => service_ports,
    "conditions are merged by type" => conditions,
    "an item that left the manifest is removed" => removed_item,
    "items keep the order of the manifest" => order,
    "finalizers are a set" => set,
    "owner references are merged by UID" => owners,
    "volumes are merged by name" => volumes,
    "arguments are one value" => atomic_list,
    "a selector is one value" => atomic_map,
    "resource limits are merged by name" => limits,
    "two items of one key are refused" => duplicates,
    "a conflict within a list names the item" => conflict,
    "the keys of items are owned as kubectl reads them" => key_fields,
}

/// A manifest of a deployment that says something of its template alone.
fn partial(spec: Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"template": {"spec": spec}},
    })
}

async fn deployed(scope: &Scope<'_>) -> Outcome {
    scope.apply(scope.deployment("a"), "one", &deployment("a")).ok().await.map(drop)
}

async fn second(scope: &Scope<'_>, spec: Value) -> Result<Value, String> {
    let applied = scope.apply(scope.deployment("a"), "two", &partial(spec)).ok().await?;
    Ok(applied["spec"]["template"]["spec"].clone())
}

/// A config map that says nothing but its name.
fn bare() -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})
}

fn listed(value: &Value, field: &str) -> Vec<Value> {
    value.as_array().map(|items| items.iter().map(|item| item[field].clone()).collect()).unwrap_or_default()
}

fn fields(value: &Value, pointer: &str, field: &str, wanted: Value) -> Outcome {
    let found = Value::from(listed(value.pointer(pointer).unwrap_or(&Value::Null), field));
    ensure(found == wanted, || format!("{pointer} has {found}, must have {wanted}"))
}

async fn containers(scope: &Scope<'_>) -> Outcome {
    deployed(scope).await?;
    let spec = second(scope, json!({"containers": [{"name": "side", "image": "side:1"}]})).await?;
    fields(&spec, "/containers", "name", json!(["main", "side"]))
}

async fn container_ports(scope: &Scope<'_>) -> Outcome {
    let mut object = deployment("a");
    object["spec"]["template"]["spec"]["containers"][0]["ports"] =
        json!([{"containerPort": 53, "name": "tcp"}]);
    scope.apply(scope.deployment("a"), "one", &object).ok().await?;
    let ports = json!([{"containerPort": 53, "protocol": "UDP", "name": "udp"}, {"containerPort": 54}]);
    let spec = second(scope, json!({"containers": [{"name": "main", "ports": ports}]})).await?;
    fields(&spec, "/containers/0/ports", "protocol", json!(["TCP", "UDP", "TCP"]))?;
    fields(&spec, "/containers/0/ports", "containerPort", json!([53, 53, 54]))
}

async fn variables(scope: &Scope<'_>) -> Outcome {
    let mut object = deployment("a");
    object["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "1"}]);
    scope.apply(scope.deployment("a"), "one", &object).ok().await?;
    let env = json!([{"name": "B", "value": "2"}]);
    let spec = second(scope, json!({"containers": [{"name": "main", "env": env}]})).await?;
    equal(&spec, "/containers/0/env", json!([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]))
}

async fn service_ports(scope: &Scope<'_>) -> Outcome {
    let path = scope.at("v1", "services", "a");
    scope.apply(&path, "one", &service("a", json!([{"port": 53, "name": "tcp"}]))).ok().await?;
    let other = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
        "spec": {"ports": [{"port": 53, "protocol": "UDP", "name": "udp"}]},
    });
    let applied = scope.apply(&path, "two", &other).ok().await?;
    fields(&applied, "/spec/ports", "protocol", json!(["TCP", "UDP"]))
}

async fn conditions(scope: &Scope<'_>) -> Outcome {
    scope.create(&service("a", json!([{"port": 80}]))).await?;
    let path = format!("{}/status", scope.at("v1", "services", "a"));
    let condition = |kind: &str| {
        let time = "2024-01-01T00:00:00Z";
        let condition = json!({"type": kind, "status": "True", "reason": "Tried", "message": "", "lastTransitionTime": time});
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "status": {"conditions": [condition]}})
    };
    scope.apply(&path, "one", &condition("First")).ok().await?;
    let applied = scope.apply(&path, "two", &condition("Second")).ok().await?;
    fields(&applied, "/status/conditions", "type", json!(["First", "Second"]))
}

async fn removed_item(scope: &Scope<'_>) -> Outcome {
    deployed(scope).await?;
    let image = |name: &str| json!({"name": name, "image": "side:1"});
    second(scope, json!({"containers": [image("side"), image("other")]})).await?;
    let spec = second(scope, json!({"containers": [image("other")]})).await?;
    fields(&spec, "/containers", "name", json!(["main", "other"]))
}

async fn order(scope: &Scope<'_>) -> Outcome {
    let env = |names: [&str; 3]| {
        let mut object = deployment("a");
        let env = names.map(|name| json!({"name": name, "value": "1"}));
        object["spec"]["template"]["spec"]["containers"][0]["env"] = json!(env);
        object
    };
    scope.apply(scope.deployment("a"), "one", &env(["A", "B", "C"])).ok().await?;
    let applied = scope.apply(scope.deployment("a"), "one", &env(["C", "A", "B"])).ok().await?;
    fields(&applied, "/spec/template/spec/containers/0/env", "name", json!(["C", "A", "B"]))
}

async fn set(scope: &Scope<'_>) -> Outcome {
    let with = |finalizer: &str| {
        let mut map = bare();
        map["metadata"]["finalizers"] = json!([finalizer]);
        map
    };
    scope.remember(scope.map("a"));
    scope.apply(scope.map("a"), "one", &with(FINALIZER)).ok().await?;
    let both = scope.apply(scope.map("a"), "two", &with("conformance.example.com/other")).ok().await?;
    equal(&both, "/metadata/finalizers", json!([FINALIZER, "conformance.example.com/other"]))?;
    let less = scope.apply(scope.map("a"), "two", &bare()).ok().await?;
    equal(&less, "/metadata/finalizers", json!([FINALIZER]))
}

async fn owners(scope: &Scope<'_>) -> Outcome {
    let mut uids = Vec::new();
    for name in ["x", "y"] {
        uids.push(scope.create(&config_map(name, json!({}))).await?["metadata"]["uid"].clone());
    }
    let owned = |index: usize| {
        let mut map = bare();
        let name = ["x", "y"].get(index);
        map["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uids.get(index)}]);
        map
    };
    scope.apply(scope.map("a"), "one", &owned(0)).ok().await?;
    let both = scope.apply(scope.map("a"), "two", &owned(1)).ok().await?;
    fields(&both, "/metadata/ownerReferences", "name", json!(["x", "y"]))
}

async fn volumes(scope: &Scope<'_>) -> Outcome {
    let mut object = deployment("a");
    object["spec"]["template"]["spec"]["volumes"] = json!([{"name": "x", "emptyDir": {}}]);
    scope.apply(scope.deployment("a"), "one", &object).ok().await?;
    let spec = second(scope, json!({"volumes": [{"name": "y", "emptyDir": {}}]})).await?;
    fields(&spec, "/volumes", "name", json!(["x", "y"]))
}

async fn atomic_list(scope: &Scope<'_>) -> Outcome {
    let mut object = deployment("a");
    object["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["a"]);
    scope.apply(scope.deployment("a"), "one", &object).ok().await?;
    let other = partial(json!({"containers": [{"name": "main", "args": ["a", "b"]}]}));
    let status = scope.apply(scope.deployment("a"), "two", &other).refused(409, "Conflict").await?;
    blames(&status, ".spec.template.spec.containers[name=\"main\"].args", "FieldManagerConflict")
}

async fn atomic_map(scope: &Scope<'_>) -> Outcome {
    deployed(scope).await?;
    let other = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
        "spec": {"selector": {"matchLabels": {"app": "a", "more": "b"}}},
    });
    let status = scope.apply(scope.deployment("a"), "two", &other).refused(409, "Conflict").await?;
    blames(&status, ".spec.selector", "FieldManagerConflict")
}

async fn limits(scope: &Scope<'_>) -> Outcome {
    let mut object = deployment("a");
    object["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "1"}});
    scope.apply(scope.deployment("a"), "one", &object).ok().await?;
    let limits = json!({"limits": {"memory": "64Mi"}});
    let spec = second(scope, json!({"containers": [{"name": "main", "resources": limits}]})).await?;
    equal(&spec, "/containers/0/resources/limits", json!({"cpu": "1", "memory": "64Mi"}))
}

async fn duplicates(scope: &Scope<'_>) -> Outcome {
    let mut object = deployment("a");
    let env = json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]);
    object["spec"]["template"]["spec"]["containers"][0]["env"] = env;
    let status = scope.apply(scope.deployment("a"), "one", &object).refused(500, "").await?;
    says(&status, "duplicate entries for key [name=\"A\"]")
}

async fn conflict(scope: &Scope<'_>) -> Outcome {
    deployed(scope).await?;
    let other = partial(json!({"containers": [{"name": "main", "image": "other:1"}]}));
    let status = scope.apply(scope.deployment("a"), "two", &other).refused(409, "Conflict").await?;
    blames(&status, ".spec.template.spec.containers[name=\"main\"].image", "FieldManagerConflict")
}

async fn key_fields(scope: &Scope<'_>) -> Outcome {
    let mut object = deployment("a");
    object["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80}]);
    let applied = scope.apply(scope.deployment("a"), "one", &object).ok().await?;
    let entry = entry(&applied, "one", "Apply").ok_or("no entry of the manager")?;
    let fields = json!({
        ".": {}, "f:image": {}, "f:name": {},
        "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
    });
    equal(entry, "/fieldsV1/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"main\"}", fields)
}
