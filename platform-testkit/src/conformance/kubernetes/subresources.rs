//! Scale, status, binding, eviction.

use super::{
    check::checks,
    expect::*,
    scope::{Scope, eventually},
};
use crate::conformance::{Outcome, ensure, ensure_eq};
use serde_json::{Value, json};

checks! {
    "a scale is read and written" => scale,
    "an old scale is a conflict" => scale_conflict,
    "stateful sets and replica sets scale too" => other_scales,
    "a status write leaves the specification alone" => status,
    "an object's write leaves its status alone" => status_isolated,
    "a status is read by itself" => status_read,
    "a binding gives a pod its node" => binding,
    "a pod that has a node is not bound again" => bound_twice,
    "an eviction deletes a pod" => eviction,
    "an eviction that a budget forbids is refused" => eviction_refused,
    "a dry eviction deletes nothing" => eviction_dry,
    "an ephemeral container is added by its subresource" => ephemeral,
    "a log of a pod without a node is refused" => log_unscheduled,
}

async fn scale(scope: &Scope<'_>) -> Outcome {
    scope.create(&deployment("a")).await?;
    scope.merge(scope.deployment("a"), &json!({"spec": {"paused": true}})).ok().await?;
    let path = format!("{}/scale", scope.deployment("a"));
    let mut scale = scope.get(&path).ok().await?;
    equal_all(
        &scale,
        [
            ("/kind", json!("Scale")),
            ("/apiVersion", json!("autoscaling/v1")),
            ("/metadata/name", json!("a")),
            ("/spec", json!({})),
            ("/status/replicas", json!(0)),
            ("/status/selector", json!("app=a")),
        ],
    )
    .or_else(|_| equal(&scale, "/spec/replicas", json!(0)))?;
    scale["spec"]["replicas"] = json!(1);
    // A controller may have written the status in between.
    scale["metadata"]["resourceVersion"] = json!("");
    let written = scope.put(&path, &scale).ok().await?;
    equal(&written, "/spec/replicas", json!(1))?;
    equal(&scope.get(scope.deployment("a")).ok().await?, "/spec/replicas", json!(1))?;
    scope.merge(&path, &json!({"spec": {"replicas": -1}})).refused(422, "Invalid").await.map(drop)
}

async fn scale_conflict(scope: &Scope<'_>) -> Outcome {
    scope.create(&deployment("a")).await?;
    let path = format!("{}/scale", scope.deployment("a"));
    let mut old = scope.get(&path).ok().await?;
    scope.merge(scope.deployment("a"), &json!({"metadata": {"labels": {"a": "b"}}})).ok().await?;
    old["spec"]["replicas"] = json!(1);
    scope.put(&path, &old).refused(409, "Conflict").await.map(drop)
}

async fn other_scales(scope: &Scope<'_>) -> Outcome {
    for (kind, plural) in [("StatefulSet", "statefulsets"), ("ReplicaSet", "replicasets")] {
        let mut object = deployment("a");
        object["kind"] = json!(kind);
        if kind == "StatefulSet" {
            object["spec"]["serviceName"] = json!("a");
        }
        scope.create(&object).await?;
        let scale = scope.get(format!("{}/scale", scope.at("apps/v1", plural, "a"))).ok().await?;
        equal_all(&scale, [("/kind", json!("Scale")), ("/status/replicas", json!(0))])?;
    }
    Ok(())
}

fn load_balancer() -> Value {
    let mut object = service("a", json!([{"port": 80}]));
    object["spec"]["type"] = json!("LoadBalancer");
    // Nobody but the suite gives it an address.
    object["spec"]["loadBalancerClass"] = json!("conformance.example.com/none");
    object
}

async fn status(scope: &Scope<'_>) -> Outcome {
    let mut object = scope.create(&load_balancer()).await?;
    object["spec"]["sessionAffinity"] = json!("ClientIP");
    object["metadata"]["labels"] = json!({"x": "y"});
    object["status"] = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}});
    let path = format!("{}/status", scope.at("v1", "services", "a"));
    let written = scope.put(path, &object).ok().await?;
    equal_all(
        &written,
        [("/spec/sessionAffinity", json!("None")), ("/status/loadBalancer/ingress/0/ip", json!("192.0.2.1"))],
    )
}

async fn status_isolated(scope: &Scope<'_>) -> Outcome {
    let mut object = load_balancer();
    object["status"] = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}});
    let mut made = scope.create(&object).await?;
    equal(&made, "/status", json!({"loadBalancer": {}}))?;
    made["status"] = object["status"].clone();
    made["spec"]["sessionAffinity"] = json!("ClientIP");
    let written = scope.put(scope.at("v1", "services", "a"), &made).ok().await?;
    equal_all(
        &written,
        [("/spec/sessionAffinity", json!("ClientIP")), ("/status", json!({"loadBalancer": {}}))],
    )
}

async fn status_read(scope: &Scope<'_>) -> Outcome {
    let made = scope.create(&load_balancer()).await?;
    let read = scope.get(format!("{}/status", scope.at("v1", "services", "a"))).ok().await?;
    ensure_eq(&read, &made, "what is read")
}

fn to_node(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
        "target": {"apiVersion": "v1", "kind": "Node", "name": "conformance-no-such-node"},
    })
}

async fn binding(scope: &Scope<'_>) -> Outcome {
    scope.account().await?;
    scope.create(&pod("a")).await?;
    let path = scope.at("v1", "pods", "a");
    let answer = scope.post(format!("{path}/binding"), &to_node("a")).ok().await?;
    equal(&answer, "/status", json!("Success"))?;
    let bound = scope.get(&path).ok().await?;
    equal(&bound, "/spec/nodeName", json!("conformance-no-such-node"))?;
    let conditions = bound["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let scheduled = conditions.iter().any(|one| one["type"] == "PodScheduled" && one["status"] == "True");
    ensure(scheduled, || format!("its conditions are {conditions:?}"))
}

async fn bound_twice(scope: &Scope<'_>) -> Outcome {
    scope.account().await?;
    scope.create(&pod("a")).await?;
    let path = format!("{}/binding", scope.at("v1", "pods", "a"));
    scope.post(&path, &to_node("a")).ok().await?;
    let status = scope.post(&path, &to_node("a")).refused(409, "Conflict").await?;
    says(&status, "pod a is already assigned to node \"conformance-no-such-node\"")
}

fn evict(name: &str) -> Value {
    json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}})
}

async fn eviction(scope: &Scope<'_>) -> Outcome {
    scope.account().await?;
    scope.create(&pod("a")).await?;
    let path = scope.at("v1", "pods", "a");
    let answer = scope.post(format!("{path}/eviction"), &evict("a")).answers_ok().await?;
    ensure_eq(&answer.code, &201, "the code")?;
    equal(&answer.body, "/status", json!("Success"))?;
    scope.gone(&path).await
}

/// A pod that is said to run and to be ready, with a budget that needs it.
async fn guarded(scope: &Scope<'_>) -> Outcome {
    scope.account().await?;
    let mut object = pod("a");
    object["metadata"]["labels"] = json!({"app": "guarded"});
    object["spec"]["nodeName"] = json!("conformance-no-such-node");
    scope.create(&object).await?;
    let time = "2024-01-01T00:00:00Z";
    let conditions = json!([{"type": "Ready", "status": "True", "lastTransitionTime": time}]);
    let path = format!("{}/status", scope.at("v1", "pods", "a"));
    scope.merge(path, &json!({"status": {"phase": "Running", "conditions": conditions}})).ok().await?;
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "a"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "guarded"}}},
    });
    scope.create(&budget).await?;
    let path = scope.at("policy/v1", "poddisruptionbudgets", "a");
    eventually("the budget is counted", || async {
        let budget = scope.get(&path).ok().await?;
        Ok(budget["status"]["observedGeneration"] == 1 && budget["status"]["currentHealthy"] == 1)
    })
    .await
}

async fn eviction_refused(scope: &Scope<'_>) -> Outcome {
    guarded(scope).await?;
    let path = scope.at("v1", "pods", "a");
    let status = scope.post(format!("{path}/eviction"), &evict("a")).refused(429, "TooManyRequests").await?;
    says(&status, "Cannot evict pod as it would violate the pod's disruption budget.")?;
    equal(&status, "/details/causes/0/reason", json!("DisruptionBudget"))?;
    let message = "The disruption budget a needs 1 healthy pods and has 1 currently";
    equal(&status, "/details/causes/0/message", json!(message))?;
    absent(&scope.get(&path).ok().await?, "/metadata/deletionTimestamp")?;
    scope.delete(path).options(&json!({"gracePeriodSeconds": 0})).ok().await.map(drop)
}

async fn eviction_dry(scope: &Scope<'_>) -> Outcome {
    scope.account().await?;
    scope.create(&pod("a")).await?;
    let path = scope.at("v1", "pods", "a");
    scope.post(format!("{path}/eviction"), &evict("a")).dry().ok().await?;
    absent(&scope.get(path).ok().await?, "/metadata/deletionTimestamp")
}

async fn ephemeral(scope: &Scope<'_>) -> Outcome {
    scope.account().await?;
    scope.create(&pod("a")).await?;
    let path = scope.at("v1", "pods", "a");
    let containers = json!([{"name": "debug", "image": "debug:1"}]);
    let patch = json!({"spec": {"ephemeralContainers": containers}});
    let patched = scope.strategic(format!("{path}/ephemeralcontainers"), &patch).ok().await?;
    equal(&patched, "/spec/ephemeralContainers/0/name", json!("debug"))?;
    equal(&patched, "/spec/ephemeralContainers/0/terminationMessagePolicy", json!("File"))
}

async fn log_unscheduled(scope: &Scope<'_>) -> Outcome {
    scope.account().await?;
    scope.create(&pod("a")).await?;
    let log = format!("{}/log", scope.at("v1", "pods", "a"));
    let answer = scope.get(&log).send().await?;
    // The real server has nothing to say of a pod that nobody has placed.
    ensure(answer.code == 200 && answer.bytes.is_empty() || answer.code == 400, || {
        format!("it is answered {} {}", answer.code, answer.text())
    })?;
    let status = scope.get(log).query("container", "absent").refused(400, "BadRequest").await?;
    says(&status, "container absent is not valid for pod a")
}
