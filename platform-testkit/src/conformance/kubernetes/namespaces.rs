//! Namespaces from their creation to their end.

use super::{
    check::checks,
    expect::*,
    scope::{FINALIZER, Scope, eventually},
};
use crate::conformance::{Outcome, ensure};
use serde_json::json;

checks! {
    "a namespace is active, labelled with its name and held by the server" => created,
    "a namespace gets a default account and the cluster's root certificates" => furnished,
    "a namespace that is not there takes nothing" => missing,
    "a deleted namespace takes its content along" => deleted,
    "a namespace that is being deleted takes nothing new" => terminating,
    "a namespace waits for what finalizers hold" => held,
    "the default and the system's namespaces cannot be deleted" => protected,
    "a namespace's name label cannot be changed" => name_label,
}

async fn created(scope: &Scope<'_>) -> Outcome {
    let made = scope.get(format!("/api/v1/namespaces/{}", scope.name)).ok().await?;
    equal_all(
        &made,
        [
            ("/status/phase", json!("Active")),
            ("/metadata/labels/kubernetes.io~1metadata.name", json!(scope.name)),
            ("/spec/finalizers", json!(["kubernetes"])),
        ],
    )
}

async fn furnished(scope: &Scope<'_>) -> Outcome {
    scope.account().await?;
    let roots = scope.map("kube-root-ca.crt");
    eventually("the root certificates are there", || scope.exists(&roots)).await?;
    let roots = scope.get(roots).ok().await?;
    ensure(roots["data"]["ca.crt"].is_string(), || format!("its data are {}", roots["data"]))
}

async fn missing(scope: &Scope<'_>) -> Outcome {
    let maps = format!("/api/v1/namespaces/{}-absent/configmaps", scope.name);
    let status = scope.post(&maps, &config_map("a", json!({}))).refused(404, "NotFound").await?;
    equal(&status, "/message", json!(format!("namespaces \"{}-absent\" not found", scope.name)))?;
    lists(&scope.get(&maps).ok().await?, &[])
}

async fn deleted(scope: &Scope<'_>) -> Outcome {
    let name = format!("{}-other", scope.name);
    scope.namespace(&name, &json!({})).await?;
    let path = format!("/api/v1/namespaces/{name}");
    scope.post(format!("{path}/configmaps"), &config_map("a", json!({}))).ok().await?;
    let deployments = format!("/apis/apps/v1/namespaces/{name}/deployments");
    scope.post(&deployments, &deployment("a")).ok().await?;
    let marked = scope.delete(&path).ok().await?;
    equal(&marked, "/status/phase", json!("Terminating"))?;
    text(&marked, "/metadata/deletionTimestamp")?;
    scope.gone(&path).await?;
    lists(&scope.get(format!("{path}/configmaps")).ok().await?, &[])?;
    lists(&scope.get(deployments).ok().await?, &[])
}

/// Makes a namespace that a finalizer of a config map holds, and deletes it.
async fn held_namespace(scope: &Scope<'_>) -> Result<String, String> {
    let name = format!("{}-other", scope.name);
    scope.namespace(&name, &json!({})).await?;
    let path = format!("/api/v1/namespaces/{name}");
    let mut map = config_map("a", json!({}));
    map["metadata"]["finalizers"] = json!([FINALIZER]);
    scope.post(format!("{path}/configmaps"), &map).ok().await?;
    scope.remember(format!("{path}/configmaps/a"));
    scope.delete(&path).ok().await?;
    Ok(path)
}

async fn terminating(scope: &Scope<'_>) -> Outcome {
    let path = held_namespace(scope).await?;
    let request = scope.post(format!("{path}/configmaps"), &config_map("late", json!({})));
    let status = request.refused(403, "Forbidden").await?;
    says(&status, "because it is being terminated")?;
    blames(&status, "metadata.namespace", "NamespaceTerminating")?;
    let patch = json!({"data": {"a": "1"}});
    scope.merge(format!("{path}/configmaps/a"), &patch).ok().await.map(drop)
}

async fn held(scope: &Scope<'_>) -> Outcome {
    let path = held_namespace(scope).await?;
    let map = format!("{path}/configmaps/a");
    eventually("its content is marked", || async {
        Ok(scope.get(&map).ok().await?["metadata"]["deletionTimestamp"].is_string())
    })
    .await?;
    eventually("a condition tells of the finalizer", || async {
        let namespace = scope.get(&path).ok().await?;
        let conditions = namespace["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let condition = conditions.iter().find(|one| one["type"] == "NamespaceFinalizersRemaining");
        Ok(condition
            .is_some_and(|one| one["status"] == "True" && one["message"].to_string().contains(FINALIZER)))
    })
    .await?;
    scope.merge(&map, &json!({"metadata": {"finalizers": null}})).ok().await?;
    scope.gone(&path).await
}

async fn protected(scope: &Scope<'_>) -> Outcome {
    for name in ["default", "kube-system", "kube-public"] {
        let path = format!("/api/v1/namespaces/{name}");
        let status = scope.delete(path).dry().refused(403, "Forbidden").await?;
        equal(
            &status,
            "/message",
            json!(format!("namespaces \"{name}\" is forbidden: this namespace may not be deleted")),
        )?;
    }
    Ok(())
}

async fn name_label(scope: &Scope<'_>) -> Outcome {
    let path = format!("/api/v1/namespaces/{}", scope.name);
    let patch = json!({"metadata": {"labels": {"kubernetes.io/metadata.name": "other"}}});
    let answer = scope.merge(&path, &patch).send().await?;
    let label = answer.body["metadata"]["labels"]["kubernetes.io/metadata.name"].clone();
    ensure(answer.code >= 400 || label == scope.name.as_str(), || format!("it is {label}"))
}
