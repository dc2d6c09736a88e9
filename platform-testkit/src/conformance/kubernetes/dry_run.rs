//! What would be, without it being.

use super::{check::checks, expect::*, scope::Scope};
use crate::conformance::{Outcome, ensure, ensure_eq};
use serde_json::json;

checks! {
    "a dry creation answers with the object and keeps nothing" => create,
    "a dry update changes nothing" => update,
    "a dry patch changes nothing" => patch,
    "a dry apply answers with the merged object and changes nothing" => apply,
    "a dry apply finds conflicts" => conflict,
    "a dry deletion deletes nothing" => delete,
    "a dry deletion of a collection deletes nothing" => collection,
    "a dry creation is validated and finds what exists" => validated,
    "an unknown value of dryRun is refused" => unknown,
    "a dry run of a status or a scale changes nothing" => subresources,
}

async fn create(scope: &Scope<'_>) -> Outcome {
    let object = service("a", json!([{"port": 80}]));
    let made = scope.post(scope.home(&object), &object).dry().ok().await?;
    text(&made, "/metadata/uid")?;
    equal(&made, "/spec/ports/0/protocol", json!("TCP"))?;
    absent(&made, "/metadata/resourceVersion")?;
    ensure(!scope.exists(&scope.at("v1", "services", "a")).await?, || "it is there".to_owned())
}

async fn update(scope: &Scope<'_>) -> Outcome {
    let before = scope.create(&config_map("a", json!({"a": "1"}))).await?;
    let dry = scope.put(scope.map("a"), &config_map("a", json!({"a": "2"}))).dry().ok().await?;
    equal(&dry, "/data/a", json!("2"))?;
    ensure_eq(&scope.get(scope.map("a")).ok().await?, &before, "the object")
}

async fn patch(scope: &Scope<'_>) -> Outcome {
    let before = scope.create(&config_map("a", json!({"a": "1"}))).await?;
    let dry = scope.merge(scope.map("a"), &json!({"data": {"a": "2"}})).dry().ok().await?;
    equal(&dry, "/data/a", json!("2"))?;
    same_version(&before, &dry)?;
    ensure_eq(&scope.get(scope.map("a")).ok().await?, &before, "the object")
}

async fn apply(scope: &Scope<'_>) -> Outcome {
    let before =
        scope.apply(scope.map("a"), "one", &config_map("a", json!({"a": "1", "b": "1"}))).ok().await?;
    let dry = scope.apply(scope.map("a"), "one", &config_map("a", json!({"a": "2"}))).dry().ok().await?;
    equal(&dry, "/data", json!({"a": "2"}))?;
    ensure_eq(&scope.get(scope.map("a")).ok().await?, &before, "the object")?;
    scope.apply(scope.map("b"), "one", &config_map("b", json!({}))).dry().ok().await?;
    ensure(!scope.exists(&scope.map("b")).await?, || "the other is there".to_owned())
}

async fn conflict(scope: &Scope<'_>) -> Outcome {
    scope.apply(scope.map("a"), "one", &config_map("a", json!({"a": "1"}))).ok().await?;
    let other = config_map("a", json!({"a": "2"}));
    let status = scope.apply(scope.map("a"), "two", &other).dry().refused(409, "Conflict").await?;
    blames(&status, ".data.a", "FieldManagerConflict")
}

async fn delete(scope: &Scope<'_>) -> Outcome {
    let before = scope.create(&config_map("a", json!({}))).await?;
    scope.delete(scope.map("a")).dry().ok().await?;
    ensure_eq(&scope.get(scope.map("a")).ok().await?, &before, "the object")?;
    scope.delete(scope.map("a")).options(&json!({"dryRun": ["All"]})).ok().await?;
    ensure_eq(&scope.get(scope.map("a")).ok().await?, &before, "the object")
}

async fn collection(scope: &Scope<'_>) -> Outcome {
    scope.create(&labelled("a", json!({"x": "y"}))).await?;
    scope.delete(scope.all("v1", "configmaps")).query("labelSelector", "x=y").dry().ok().await?;
    ensure(scope.exists(&scope.map("a")).await?, || "it is gone".to_owned())
}

async fn validated(scope: &Scope<'_>) -> Outcome {
    let maps = scope.all("v1", "configmaps");
    scope.post(&maps, &config_map("Upper", json!({}))).dry().refused(422, "Invalid").await?;
    scope.create(&config_map("a", json!({}))).await?;
    scope.post(&maps, &config_map("a", json!({}))).dry().refused(409, "AlreadyExists").await.map(drop)
}

async fn unknown(scope: &Scope<'_>) -> Outcome {
    let map = config_map("a", json!({}));
    let status = scope.post(scope.home(&map), &map).query("dryRun", "Some").refused(422, "Invalid").await?;
    blames(&status, "dryRun", "FieldValueNotSupported")
}

async fn subresources(scope: &Scope<'_>) -> Outcome {
    scope.create(&deployment("a")).await?;
    let scale = format!("{}/scale", scope.deployment("a"));
    let dry = scope.merge(&scale, &json!({"spec": {"replicas": 4}})).dry().ok().await?;
    equal(&dry, "/spec/replicas", json!(4))?;
    equal(&scope.get(&scale).ok().await?, "/spec/replicas", json!(0))?;
    let status = format!("{}/status", scope.deployment("a"));
    scope.merge(&status, &json!({"status": {"collisionCount": 7}})).dry().ok().await?;
    absent(&scope.get(&status).ok().await?, "/status/collisionCount")
}
