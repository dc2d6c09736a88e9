//! Watching.

use super::{check::checks, definitions::Widgets, expect::*, request::Request, scope::Scope, stream::Watch};
use crate::conformance::{Outcome, ensure, ensure_eq};
use serde_json::json;

checks! {
    "a watch gives what happened since a version" => since,
    "a watch gives what happens" => live,
    "a watch without a version begins with what is there" => initial,
    "a watch by labels sees objects come and go" => transitions,
    "a watch of one object by its name sees that alone" => one,
    "a deletion is seen with the last state and a version of its own" => deletion,
    "bookmarks have the kind and a version alone" => bookmarks,
    "a streaming list ends with its bookmark" => streaming_list,
    "a streaming list needs resourceVersionMatch" => streaming_list_match,
    "a version that is no longer known is gone" => too_old,
    "an unreadable version is refused" => unreadable,
    "a watch ends after its time" => timeout,
    "a watch gives metadata alone to who asks for that" => metadata,
    "a watch gives rows to who asks for tables" => table,
    "a status's change is an event" => status,
    "a namespace's watch does not see other namespaces" => namespaces,
}

/// A watch of the scope's config maps that carry the label `suite`, or whatever is added to it.
fn maps(scope: &Scope<'_>) -> Request {
    scope.get(scope.all("v1", "configmaps")).query("timeoutSeconds", 60)
}

async fn version(scope: &Scope<'_>) -> Result<String, String> {
    let list = scope.get(scope.all("v1", "configmaps")).ok().await?;
    Ok(text(&list, "/metadata/resourceVersion")?.to_owned())
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.map(|(kind, name)| (kind.to_owned(), name.to_owned())).to_vec()
}

async fn since(scope: &Scope<'_>) -> Outcome {
    scope.create(&labelled("before", json!({"suite": "x"}))).await?;
    let version = version(scope).await?;
    scope.create(&labelled("a", json!({"suite": "x"}))).await?;
    scope.merge(scope.map("a"), &json!({"data": {"a": "1"}})).ok().await?;
    scope.delete(scope.map("a")).ok().await?;
    let request = maps(scope).query("labelSelector", "suite").query("resourceVersion", version);
    let mut watch = Watch::open(request).await?;
    let wanted = pairs([("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]);
    ensure_eq(&watch.events(3).await?, &wanted, "the events")
}

async fn live(scope: &Scope<'_>) -> Outcome {
    let version = version(scope).await?;
    let request = maps(scope).query("labelSelector", "suite").query("resourceVersion", version);
    let mut watch = Watch::open(request).await?;
    scope.create(&labelled("a", json!({"suite": "x"}))).await?;
    let (kind, object) = watch.event().await?;
    ensure_eq(&kind.as_str(), &"ADDED", "the event")?;
    ensure_eq(&object, &scope.get(scope.map("a")).ok().await?, "its object")?;
    scope.merge(scope.map("a"), &json!({"data": {"a": "1"}})).ok().await?;
    let (kind, object) = watch.event().await?;
    ensure_eq(&kind.as_str(), &"MODIFIED", "the event")?;
    equal(&object, "/data/a", json!("1"))
}

async fn initial(scope: &Scope<'_>) -> Outcome {
    for name in ["a", "b"] {
        scope.create(&labelled(name, json!({"suite": "x"}))).await?;
    }
    let mut watch = Watch::open(maps(scope).query("labelSelector", "suite")).await?;
    let mut events = watch.events(2).await?;
    events.sort();
    ensure_eq(&events, &pairs([("ADDED", "a"), ("ADDED", "b")]), "the events")
}

async fn transitions(scope: &Scope<'_>) -> Outcome {
    let version = version(scope).await?;
    let request = maps(scope).query("labelSelector", "tier=front").query("resourceVersion", version);
    let mut watch = Watch::open(request).await?;
    scope.create(&labelled("a", json!({"tier": "back"}))).await?;
    for tier in ["front", "back"] {
        scope.merge(scope.map("a"), &json!({"metadata": {"labels": {"tier": tier}}})).ok().await?;
    }
    scope.create(&labelled("end", json!({"tier": "front"}))).await?;
    let wanted = pairs([("ADDED", "a"), ("DELETED", "a"), ("ADDED", "end")]);
    ensure_eq(&watch.events(3).await?, &wanted, "the events")
}

async fn one(scope: &Scope<'_>) -> Outcome {
    let version = version(scope).await?;
    for name in ["a", "b"] {
        scope.create(&config_map(name, json!({}))).await?;
    }
    let request = maps(scope).query("fieldSelector", "metadata.name=b").query("resourceVersion", version);
    let mut watch = Watch::open(request).await?;
    ensure_eq(&watch.events(1).await?, &pairs([("ADDED", "b")]), "the events")
}

async fn deletion(scope: &Scope<'_>) -> Outcome {
    let made = scope.create(&config_map("a", json!({"a": "1"}))).await?;
    let version = text(&made, "/metadata/resourceVersion")?;
    scope.delete(scope.map("a")).ok().await?;
    let request = maps(scope).query("fieldSelector", "metadata.name=a").query("resourceVersion", version);
    let (kind, object) = Watch::open(request).await?.event().await?;
    ensure_eq(&kind.as_str(), &"DELETED", "the event")?;
    equal(&object, "/data/a", json!("1"))?;
    other_version(&made, &object)
}

async fn bookmarks(scope: &Scope<'_>) -> Outcome {
    let version = version(scope).await?;
    let request = scope.get(scope.all("v1", "configmaps")).query("timeoutSeconds", 4);
    let request = request.query("resourceVersion", version).query("allowWatchBookmarks", "true");
    let events = Watch::open(request).await?.rest().await?;
    let bookmark = events.iter().find(|event| event["type"] == "BOOKMARK").ok_or("there was no bookmark")?;
    equal_all(bookmark, [("/object/kind", json!("ConfigMap")), ("/object/apiVersion", json!("v1"))])?;
    text(bookmark, "/object/metadata/resourceVersion")?;
    absent(bookmark, "/object/metadata/name")
}

fn streaming(scope: &Scope<'_>) -> Request {
    maps(scope).query("sendInitialEvents", "true").query("allowWatchBookmarks", "true")
}

async fn streaming_list(scope: &Scope<'_>) -> Outcome {
    for name in ["a", "b"] {
        scope.create(&labelled(name, json!({"suite": "x"}))).await?;
    }
    let request =
        streaming(scope).query("resourceVersionMatch", "NotOlderThan").query("labelSelector", "suite");
    let mut watch = Watch::open(request).await?;
    let mut events = watch.events(2).await?;
    events.sort();
    ensure_eq(&events, &pairs([("ADDED", "a"), ("ADDED", "b")]), "the events")?;
    let (kind, bookmark) = watch.event().await?;
    ensure_eq(&kind.as_str(), &"BOOKMARK", "the event after them")?;
    equal(&bookmark, "/metadata/annotations", json!({"k8s.io/initial-events-end": "true"}))?;
    scope.create(&labelled("c", json!({"suite": "x"}))).await?;
    ensure_eq(&watch.events(1).await?, &pairs([("ADDED", "c")]), "the events")
}

async fn streaming_list_match(scope: &Scope<'_>) -> Outcome {
    let status = streaming(scope).query("watch", "true").refused(422, "Invalid").await?;
    blames(&status, "resourceVersionMatch", "FieldValueForbidden")?;
    says(&status, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
}

async fn too_old(scope: &Scope<'_>) -> Outcome {
    // Of a kind that is new the server cannot know what was before it.
    let widgets = Widgets::define(scope).await?;
    let request = scope.get(widgets.all("v1")).query("timeoutSeconds", 60).query("resourceVersion", 1);
    let mut watch = Watch::open(request).await?;
    let (kind, status) = watch.event().await?;
    ensure_eq(&kind.as_str(), &"ERROR", "the event")?;
    equal_all(&status, [("/kind", json!("Status")), ("/code", json!(410)), ("/reason", json!("Expired"))])?;
    says(&status, "too old resource version: 1 (")?;
    ensure(watch.next().await?.is_none(), || "the watch goes on".to_owned())
}

async fn unreadable(scope: &Scope<'_>) -> Outcome {
    let status = maps(scope).query("watch", "true").query("resourceVersion", "soon").refused(500, "").await?;
    says(&status, "resourceVersion: Invalid value: \"soon\"")
}

async fn timeout(scope: &Scope<'_>) -> Outcome {
    let version = version(scope).await?;
    let request = scope.get(scope.all("v1", "secrets")).query("timeoutSeconds", 1);
    let events = Watch::open(request.query("resourceVersion", version)).await?.rest().await?;
    ensure(events.is_empty(), || format!("the events are {events:?}"))
}

async fn metadata(scope: &Scope<'_>) -> Outcome {
    scope.create(&config_map("a", json!({"a": "1"}))).await?;
    let accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let request = maps(scope).query("fieldSelector", "metadata.name=a").header("accept", accept);
    let (_, object) = Watch::open(request).await?.event().await?;
    equal_all(&object, [("/kind", json!("PartialObjectMetadata")), ("/metadata/name", json!("a"))])?;
    absent(&object, "/data")
}

async fn table(scope: &Scope<'_>) -> Outcome {
    scope.create(&config_map("a", json!({"a": "1"}))).await?;
    let accept = "application/json;as=Table;g=meta.k8s.io;v=v1";
    let request = maps(scope).query("fieldSelector", "metadata.name=a").header("accept", accept);
    let mut watch = Watch::open(request).await?;
    let (_, first) = watch.event().await?;
    equal_all(&first, [("/kind", json!("Table")), ("/rows/0/cells/0", json!("a"))])?;
    text(&first, "/columnDefinitions/0/name")?;
    scope.merge(scope.map("a"), &json!({"data": {"b": "1"}})).ok().await?;
    let (_, second) = watch.event().await?;
    equal_all(&second, [("/kind", json!("Table")), ("/rows/0/cells/1", json!(2))])
}

async fn status(scope: &Scope<'_>) -> Outcome {
    let made = scope.create(&service("a", json!([{"port": 80}]))).await?;
    let version = text(&made, "/metadata/resourceVersion")?;
    let request = scope.get(scope.all("v1", "services")).query("timeoutSeconds", 60);
    let mut watch = Watch::open(request.query("resourceVersion", version)).await?;
    let ingress = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
    scope.merge(scope.at("v1", "services", "a"), &json!({"spec": {"type": "LoadBalancer"}})).ok().await?;
    scope.merge(format!("{}/status", scope.at("v1", "services", "a")), &ingress).ok().await?;
    loop {
        let (kind, object) = watch.event().await?;
        ensure_eq(&kind.as_str(), &"MODIFIED", "the event")?;
        if object["status"]["loadBalancer"]["ingress"][0]["ip"] == "192.0.2.1" {
            return Ok(());
        }
    }
}

async fn namespaces(scope: &Scope<'_>) -> Outcome {
    let other = format!("{}-other", scope.name);
    scope.namespace(&other, &json!({})).await?;
    let version = version(scope).await?;
    scope
        .post(format!("/api/v1/namespaces/{other}/configmaps"), &labelled("b", json!({"suite": "x"})))
        .ok()
        .await?;
    scope.create(&labelled("a", json!({"suite": "x"}))).await?;
    let request = maps(scope).query("labelSelector", "suite").query("resourceVersion", version);
    let mut watch = Watch::open(request).await?;
    ensure_eq(&watch.events(1).await?, &pairs([("ADDED", "a")]), "the events")
}
