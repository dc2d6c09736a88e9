//! Owners and their dependents.

use super::{
    check::checks,
    expect::*,
    scope::{FINALIZER, Scope, eventually},
};
use crate::conformance::{Outcome, ensure};
use serde_json::{Value, json};

checks! {
    "dependents follow their owner in the background" => background,
    "an owner deleted in the foreground goes last" => foreground,
    "orphans stay without their owner" => orphan,
    "an object whose owner never was is collected" => absent_owner,
    "an object with another owner left stays" => other_owner,
    "a deployment's replica sets go with it" => deployment_goes,
    "an owner in the foreground does not wait for dependents that do not block" => not_blocking,
    "a cluster-wide object is no dependent of a namespaced one" => cluster_wide,
}

fn owned(name: &str, owners: &[&Value], blocks: bool) -> Value {
    let mut map = config_map(name, json!({}));
    let references: Vec<Value> = owners
        .iter()
        .map(|owner| {
            let (name, uid) = (&owner["metadata"]["name"], &owner["metadata"]["uid"]);
            json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, "blockOwnerDeletion": blocks})
        })
        .collect();
    map["metadata"]["ownerReferences"] = json!(references);
    map
}

fn policy(policy: &str) -> Value {
    json!({"propagationPolicy": policy})
}

async fn background(scope: &Scope<'_>) -> Outcome {
    let owner = scope.create(&config_map("owner", json!({}))).await?;
    let child = scope.create(&owned("child", &[&owner], false)).await?;
    scope.create(&owned("grandchild", &[&child], false)).await?;
    let answer = scope.delete(scope.map("owner")).options(&policy("Background")).ok().await?;
    equal(&answer, "/status", json!("Success"))?;
    for name in ["owner", "child", "grandchild"] {
        scope.gone(&scope.map(name)).await?;
    }
    Ok(())
}

async fn foreground(scope: &Scope<'_>) -> Outcome {
    let owner = scope.create(&config_map("owner", json!({}))).await?;
    let mut child = owned("child", &[&owner], true);
    child["metadata"]["finalizers"] = json!([FINALIZER]);
    scope.create(&child).await?;
    scope.remember(scope.map("child"));
    let marked = scope.delete(scope.map("owner")).options(&policy("Foreground")).ok().await?;
    equal(&marked, "/metadata/finalizers", json!(["foregroundDeletion"]))?;
    eventually("the child is marked", || async {
        Ok(scope.get(scope.map("child")).ok().await?["metadata"]["deletionTimestamp"].is_string())
    })
    .await?;
    ensure(scope.exists(&scope.map("owner")).await?, || "the owner went first".to_owned())?;
    scope.merge(scope.map("child"), &json!({"metadata": {"finalizers": null}})).ok().await?;
    scope.gone(&scope.map("owner")).await
}

async fn orphan(scope: &Scope<'_>) -> Outcome {
    let owner = scope.create(&config_map("owner", json!({}))).await?;
    scope.create(&owned("child", &[&owner], false)).await?;
    // The collector learns of dependents by its watches.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    scope.delete(scope.map("owner")).options(&policy("Orphan")).ok().await?;
    scope.gone(&scope.map("owner")).await?;
    let child = scope.get(scope.map("child")).ok().await?;
    absent(&child, "/metadata/ownerReferences")
}

async fn absent_owner(scope: &Scope<'_>) -> Outcome {
    let nobody = json!({"metadata": {"name": "nobody", "uid": "00000000-0000-4000-8000-000000000000"}});
    scope.create(&owned("child", &[&nobody], false)).await?;
    scope.gone(&scope.map("child")).await
}

async fn other_owner(scope: &Scope<'_>) -> Outcome {
    let first = scope.create(&config_map("first", json!({}))).await?;
    let second = scope.create(&config_map("second", json!({}))).await?;
    scope.create(&owned("child", &[&first, &second], false)).await?;
    scope.create(&owned("witness", &[&first], false)).await?;
    scope.delete(scope.map("first")).options(&policy("Background")).ok().await?;
    scope.gone(&scope.map("witness")).await?;
    eventually("the reference to the owner that is gone is removed", || async {
        let child = scope.get(scope.map("child")).ok().await?;
        let owners = child["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
        Ok(owners.len() == 1 && owners.iter().all(|owner| owner["name"] == "second"))
    })
    .await
}

async fn deployment_goes(scope: &Scope<'_>) -> Outcome {
    scope.create(&deployment("a")).await?;
    let sets = scope.all("apps/v1", "replicasets");
    eventually("there is a replica set", || async { Ok(names(&scope.get(&sets).ok().await?).len() == 1) })
        .await?;
    let set = scope.get(&sets).ok().await?;
    equal_all(
        &set["items"][0]["metadata"]["ownerReferences"][0],
        [("/kind", json!("Deployment")), ("/controller", json!(true)), ("/blockOwnerDeletion", json!(true))],
    )?;
    scope.delete(scope.deployment("a")).ok().await?;
    eventually("the replica set goes", || async { Ok(names(&scope.get(&sets).ok().await?).is_empty()) }).await
}

async fn not_blocking(scope: &Scope<'_>) -> Outcome {
    let owner = scope.create(&config_map("owner", json!({}))).await?;
    let mut child = owned("child", &[&owner], false);
    child["metadata"]["finalizers"] = json!([FINALIZER]);
    scope.create(&child).await?;
    scope.remember(scope.map("child"));
    scope.delete(scope.map("owner")).options(&policy("Foreground")).ok().await?;
    scope.gone(&scope.map("owner")).await
}

async fn cluster_wide(scope: &Scope<'_>) -> Outcome {
    let owner = scope.create(&config_map("owner", json!({}))).await?;
    let class = json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 7,
        "metadata": {"name": scope.name, "ownerReferences": [{
            "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"],
        }]},
    });
    scope.create_global(&class).await?;
    let child = scope.create(&owned("child", &[&owner], false)).await?;
    scope.delete(scope.map("owner")).options(&policy("Background")).ok().await?;
    scope.gone(&scope.map("child")).await?;
    text(&child, "/metadata/uid")?;
    ensure(scope.exists(&format!("/apis/scheduling.k8s.io/v1/priorityclasses/{}", scope.name)).await?, || {
        "the cluster-wide object went".to_owned()
    })
}
