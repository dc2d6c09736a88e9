//! Deleting.

use super::{
    check::checks,
    expect::*,
    scope::{FINALIZER, Scope},
};
use crate::conformance::{Outcome, ensure_eq};
use serde_json::{Value, json};

checks! {
    "a deletion answers with Success and what was deleted" => delete,
    "a deletion with another UID is a conflict" => other_uid,
    "a deletion of an old version is a conflict" => old_version,
    "a deletion with the right UID and version succeeds" => preconditions_met,
    "a finalizer holds an object until it is removed" => finalizer,
    "an object that is being deleted takes no new finalizers" => new_finalizer,
    "an object that is being deleted can still be changed" => changed_while_deleted,
    "a second deletion keeps the time of the first" => twice,
    "a collection is deleted by its labels" => collection,
    "an unscheduled pod goes at once" => unscheduled_pod,
    "a pod on a node gets its grace period, which can be shortened to nothing" => grace,
    "options are taken from the query too" => query,
    "an unknown propagation policy is refused" => unknown_propagation,
    "orphanDependents and propagationPolicy exclude each other" => both_policies,
    "deleting what is missing is not found" => missing,
}

async fn delete(scope: &Scope<'_>) -> Outcome {
    let map = scope.create(&config_map("a", json!({}))).await?;
    let answer = scope.delete(scope.map("a")).ok().await?;
    equal_all(&answer, [("/kind", json!("Status")), ("/status", json!("Success"))])?;
    let details = json!({"name": "a", "kind": "configmaps", "uid": map["metadata"]["uid"]});
    equal(&answer, "/details", details)?;
    scope.get(scope.map("a")).refused(404, "NotFound").await.map(drop)
}

async fn other_uid(scope: &Scope<'_>) -> Outcome {
    scope.create(&config_map("a", json!({}))).await?;
    let options = json!({"preconditions": {"uid": "00000000-0000-4000-8000-000000000000"}});
    let status = scope.delete(scope.map("a")).options(&options).refused(409, "Conflict").await?;
    says(&status, "UID in precondition: 00000000-0000-4000-8000-000000000000, UID in object meta: ")
}

async fn old_version(scope: &Scope<'_>) -> Outcome {
    let old = scope.create(&config_map("a", json!({}))).await?;
    scope.merge(scope.map("a"), &json!({"data": {"a": "1"}})).ok().await?;
    let options = json!({"preconditions": {"resourceVersion": old["metadata"]["resourceVersion"]}});
    let status = scope.delete(scope.map("a")).options(&options).refused(409, "Conflict").await?;
    says(&status, "ResourceVersion in precondition: ")
}

async fn preconditions_met(scope: &Scope<'_>) -> Outcome {
    let map = scope.create(&config_map("a", json!({}))).await?;
    let (uid, version) = (&map["metadata"]["uid"], &map["metadata"]["resourceVersion"]);
    let options = json!({"preconditions": {"uid": uid, "resourceVersion": version}});
    scope.delete(scope.map("a")).options(&options).ok().await?;
    scope.gone(&scope.map("a")).await
}

async fn held(scope: &Scope<'_>) -> Result<Value, String> {
    let mut map = config_map("a", json!({}));
    map["metadata"]["finalizers"] = json!([FINALIZER]);
    let held = scope.create(&map).await?;
    scope.remember(scope.map("a"));
    Ok(held)
}

async fn finalizer(scope: &Scope<'_>) -> Outcome {
    held(scope).await?;
    let marked = scope.delete(scope.map("a")).ok().await?;
    equal_all(&marked, [("/kind", json!("ConfigMap")), ("/metadata/deletionGracePeriodSeconds", json!(0))])?;
    text(&marked, "/metadata/deletionTimestamp")?;
    scope.get(scope.map("a")).ok().await?;
    scope.merge(scope.map("a"), &json!({"metadata": {"finalizers": null}})).ok().await?;
    scope.get(scope.map("a")).refused(404, "NotFound").await.map(drop)
}

async fn new_finalizer(scope: &Scope<'_>) -> Outcome {
    held(scope).await?;
    scope.delete(scope.map("a")).ok().await?;
    let more = json!({"metadata": {"finalizers": [FINALIZER, "conformance.example.com/more"]}});
    let status = scope.merge(scope.map("a"), &more).refused(422, "Invalid").await?;
    blames(&status, "metadata.finalizers", "FieldValueForbidden")?;
    says(&status, "no new finalizers can be added if the object is being deleted")
}

async fn changed_while_deleted(scope: &Scope<'_>) -> Outcome {
    held(scope).await?;
    let marked = scope.delete(scope.map("a")).ok().await?;
    let changed = scope.merge(scope.map("a"), &json!({"data": {"a": "1"}})).ok().await?;
    equal(&changed, "/data", json!({"a": "1"}))?;
    equal(&changed, "/metadata/deletionTimestamp", marked["metadata"]["deletionTimestamp"].clone())
}

async fn twice(scope: &Scope<'_>) -> Outcome {
    held(scope).await?;
    let first = scope.delete(scope.map("a")).ok().await?;
    let second = scope.delete(scope.map("a")).ok().await?;
    equal(&second, "/metadata/deletionTimestamp", first["metadata"]["deletionTimestamp"].clone())
}

async fn collection(scope: &Scope<'_>) -> Outcome {
    for (name, tier) in [("a", "front"), ("b", "front"), ("c", "back")] {
        scope.create(&labelled(name, json!({"tier": tier}))).await?;
    }
    let all = scope.all("v1", "configmaps");
    scope.delete(&all).query("labelSelector", "tier=front").ok().await?;
    lists(&scope.get(&all).query("labelSelector", "tier").ok().await?, &["c"])
}

async fn unscheduled_pod(scope: &Scope<'_>) -> Outcome {
    scope.account().await?;
    scope.create(&pod("a")).await?;
    scope.delete(scope.at("v1", "pods", "a")).ok().await?;
    scope.get(scope.at("v1", "pods", "a")).refused(404, "NotFound").await.map(drop)
}

async fn grace(scope: &Scope<'_>) -> Outcome {
    scope.account().await?;
    let mut bound = pod("a");
    bound["spec"]["nodeName"] = json!("conformance-no-such-node");
    scope.create(&bound).await?;
    let path = scope.at("v1", "pods", "a");
    let marked = scope.delete(&path).ok().await?;
    equal(&marked, "/metadata/deletionGracePeriodSeconds", json!(30))?;
    let sooner = scope.delete(&path).options(&json!({"gracePeriodSeconds": 5})).ok().await?;
    equal(&sooner, "/metadata/deletionGracePeriodSeconds", json!(5))?;
    scope.delete(&path).options(&json!({"gracePeriodSeconds": 0})).ok().await?;
    scope.get(&path).refused(404, "NotFound").await.map(drop)
}

async fn query(scope: &Scope<'_>) -> Outcome {
    scope.account().await?;
    let mut bound = pod("a");
    bound["spec"]["nodeName"] = json!("conformance-no-such-node");
    scope.create(&bound).await?;
    let path = scope.at("v1", "pods", "a");
    let marked = scope.delete(&path).query("gracePeriodSeconds", 7).ok().await?;
    equal(&marked, "/metadata/deletionGracePeriodSeconds", json!(7))?;
    scope.delete(&path).query("gracePeriodSeconds", 0).query("propagationPolicy", "Background").ok().await?;
    scope.get(&path).refused(404, "NotFound").await.map(drop)
}

async fn unknown_propagation(scope: &Scope<'_>) -> Outcome {
    scope.create(&config_map("a", json!({}))).await?;
    let options = json!({"propagationPolicy": "Sideways"});
    let status = scope.delete(scope.map("a")).options(&options).refused(422, "Invalid").await?;
    blames(&status, "propagationPolicy", "FieldValueNotSupported")?;
    ensure_eq(&scope.exists(&scope.map("a")).await?, &true, "whether it is there")
}

async fn both_policies(scope: &Scope<'_>) -> Outcome {
    scope.create(&config_map("a", json!({}))).await?;
    let options = json!({"propagationPolicy": "Background", "orphanDependents": true});
    let status = scope.delete(scope.map("a")).options(&options).refused(422, "Invalid").await?;
    says(&status, "orphanDependents and deletionPropagation cannot be both set")
}

async fn missing(scope: &Scope<'_>) -> Outcome {
    let status = scope.delete(scope.map("a")).refused(404, "NotFound").await?;
    equal(&status, "/details", json!({"name": "a", "kind": "configmaps"}))
}
