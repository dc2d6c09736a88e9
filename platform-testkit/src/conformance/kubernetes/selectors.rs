//! Selecting by labels and by fields.

use super::{check::checks, expect::*, scope::Scope};
use crate::conformance::Outcome;
use serde_json::{Value, json};

checks! {
    "labels are selected by equality and inequality" => equality,
    "labels are selected by sets" => sets,
    "labels are selected by being there or not" => existence,
    "several conditions hold together" => several,
    "an unreadable label selector is refused" => unreadable,
    "objects are selected by name and namespace" => metadata,
    "pods are selected by node and phase" => pods,
    "secrets are selected by type" => secrets,
    "an unknown field is refused" => unknown_field,
    "fields and labels hold together" => both,
}

async fn selected(scope: &Scope<'_>, selector: &str) -> Result<Value, String> {
    scope.get(scope.all("v1", "configmaps")).query("labelSelector", selector).ok().await
}

async fn three(scope: &Scope<'_>) -> Outcome {
    for (name, labels) in [
        ("a", json!({"suite": "x", "tier": "front", "env": "testing"})),
        ("b", json!({"suite": "x", "tier": "back"})),
        ("c", json!({"suite": "x", "env": ""})),
    ] {
        scope.create(&labelled(name, labels)).await?;
    }
    Ok(())
}

async fn each(scope: &Scope<'_>, cases: &[(&str, &[&str])]) -> Outcome {
    three(scope).await?;
    for (selector, wanted) in cases {
        let selector = format!("suite,{selector}");
        lists(&selected(scope, &selector).await?, wanted).map_err(|why| format!("{selector}: {why}"))?;
    }
    Ok(())
}

async fn equality(scope: &Scope<'_>) -> Outcome {
    let cases: &[(&str, &[&str])] =
        &[("tier=front", &["a"]), ("tier==back", &["b"]), ("tier!=front", &["b", "c"]), ("env=", &["c"])];
    each(scope, cases).await
}

async fn sets(scope: &Scope<'_>) -> Outcome {
    let cases: &[(&str, &[&str])] = &[
        ("tier in (front, back)", &["a", "b"]),
        ("tier notin (front)", &["b", "c"]),
        ("tier in (other)", &[]),
    ];
    each(scope, cases).await
}

async fn existence(scope: &Scope<'_>) -> Outcome {
    each(scope, &[("tier", &["a", "b"]), ("!tier", &["c"]), ("env", &["a", "c"])]).await
}

async fn several(scope: &Scope<'_>) -> Outcome {
    each(scope, &[("tier,env", &["a"]), ("tier in (front,back),env!=testing", &["b"]), ("!tier,!env", &[])])
        .await
}

async fn unreadable(scope: &Scope<'_>) -> Outcome {
    for selector in ["tier in front", "=x", "tier=a b", "tier in (a"] {
        let request = scope.get(scope.all("v1", "configmaps")).query("labelSelector", selector);
        request.refused(400, "BadRequest").await.map_err(|why| format!("{selector}: {why}"))?;
    }
    Ok(())
}

async fn fields(scope: &Scope<'_>, plural: &str, selector: &str) -> Result<Value, String> {
    scope.get(scope.all("v1", plural)).query("fieldSelector", selector).ok().await
}

async fn metadata(scope: &Scope<'_>) -> Outcome {
    three(scope).await?;
    lists(&fields(scope, "configmaps", "metadata.name=b").await?, &["b"])?;
    let rest = fields(scope, "configmaps", "metadata.name!=b,metadata.name!=kube-root-ca.crt").await?;
    lists(&rest, &["a", "c"])?;
    let everywhere = scope.get("/api/v1/configmaps");
    let selector = format!("metadata.namespace={},metadata.name=a", scope.name);
    lists(&everywhere.query("fieldSelector", selector).ok().await?, &["a"])
}

async fn pods(scope: &Scope<'_>) -> Outcome {
    scope.account().await?;
    scope.create(&pod("a")).await?;
    let mut bound = pod("b");
    bound["spec"]["nodeName"] = json!("conformance-no-such-node");
    scope.create(&bound).await?;
    lists(&fields(scope, "pods", "spec.nodeName=conformance-no-such-node").await?, &["b"])?;
    lists(&fields(scope, "pods", "spec.nodeName=").await?, &["a"])?;
    lists(&fields(scope, "pods", "status.phase=Pending").await?, &["a", "b"])?;
    lists(&fields(scope, "pods", "status.phase!=Pending").await?, &[])
}

async fn secrets(scope: &Scope<'_>) -> Outcome {
    for (name, kind) in [("a", "Opaque"), ("b", "example.com/other")] {
        scope
            .create(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind}))
            .await?;
    }
    lists(&fields(scope, "secrets", "type=example.com/other").await?, &["b"])
}

async fn unknown_field(scope: &Scope<'_>) -> Outcome {
    let request = scope.get(scope.all("v1", "configmaps")).query("fieldSelector", "data.a=b");
    let status = request.refused(400, "BadRequest").await?;
    says(&status, "field label not supported")
}

async fn both(scope: &Scope<'_>) -> Outcome {
    three(scope).await?;
    let request = scope.get(scope.all("v1", "configmaps"));
    let list = request.query("labelSelector", "tier").query("fieldSelector", "metadata.name!=a").ok().await?;
    lists(&list, &["b"])
}
