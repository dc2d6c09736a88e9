//! Watches, as clients use them to keep a copy of the cluster.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::{Value, json};

use crate::fixture::{Cluster, DEADLINE, apply, config_map};

async fn newest(api: &Api<DynamicObject>) -> String {
    api.list(&ListParams::default().limit(1))
        .await
        .expect("a list")
        .metadata
        .resource_version
        .expect("a version")
}

#[tokio::test]
async fn a_watch_replays_what_happened_since_its_version() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    let since = newest(&maps).await;
    apply(&maps, "a", "m", &config_map("a", json!({"k": "1"}))).await.expect("applied");
    apply(&maps, "a", "m", &config_map("a", json!({"k": "2"}))).await.expect("applied");
    maps.delete("a", &DeleteParams::default()).await.expect("deleted");
    let mut events = maps.watch(&WatchParams::default(), &since).await.expect("a watch").boxed();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        match tokio::time::timeout(DEADLINE, events.try_next()).await.expect("in time").expect("an event") {
            Some(WatchEvent::Added(object)) => seen.push(format!("added {}", object.data["data"]["k"])),
            Some(WatchEvent::Modified(object)) => seen.push(format!("modified {}", object.data["data"]["k"])),
            Some(WatchEvent::Deleted(object)) => seen.push(format!("deleted {}", object.data["data"]["k"])),
            other => panic!("not expected: {other:?}"),
        }
    }
    assert_eq!(seen, ["added \"1\"", "modified \"2\"", "deleted \"2\""]);
}

#[tokio::test]
async fn an_object_that_leaves_the_selection_is_deleted_for_its_watch() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    let labelled = |value: &str| {
        let mut map = config_map("a", json!({}));
        map["metadata"]["labels"] = json!({"tier": value});
        map
    };
    apply(&maps, "a", "m", &labelled("front")).await.expect("applied");
    let config = watcher::Config::default().labels("tier=front");
    let mut events = watcher(maps.clone(), config).default_backoff().boxed();
    let mut next =
        async || tokio::time::timeout(DEADLINE, events.try_next()).await.expect("in time").expect("an event");
    assert!(matches!(next().await, Some(watcher::Event::Init)));
    assert!(matches!(next().await, Some(watcher::Event::InitApply(object)) if object.name_any() == "a"));
    assert!(matches!(next().await, Some(watcher::Event::InitDone)));
    apply(&maps, "a", "m", &labelled("back")).await.expect("applied");
    assert!(matches!(next().await, Some(watcher::Event::Delete(object)) if object.name_any() == "a"));
    apply(&maps, "a", "m", &labelled("front")).await.expect("applied");
    assert!(matches!(next().await, Some(watcher::Event::Apply(object)) if object.name_any() == "a"));
}

#[tokio::test]
async fn a_streaming_list_ends_with_its_bookmark() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    for name in ["a", "b"] {
        apply(&maps, name, "m", &config_map(name, json!({}))).await.expect("applied");
    }
    let mut events = watcher(maps, watcher::Config::default().streaming_lists()).boxed();
    let mut names = Vec::new();
    loop {
        match tokio::time::timeout(DEADLINE, events.try_next()).await.expect("in time").expect("an event") {
            Some(watcher::Event::InitApply(object)) => names.push(object.name_any()),
            Some(watcher::Event::InitDone) => break,
            Some(watcher::Event::Init) => {}
            other => panic!("not expected: {other:?}"),
        }
    }
    assert_eq!(names, ["a", "b", "kube-root-ca.crt"]);
}

#[tokio::test]
async fn versions_beyond_the_history_are_gone() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    let created = apply(&maps, "a", "m", &config_map("a", json!({"k": "0"}))).await.expect("applied");
    let old = created.resource_version().expect("a version");
    let maps_id = platform_testkit::kubernetes::GroupResource::new("", "configmaps");
    for count in 1..10_100 {
        let mut object = config_map("a", json!({"k": count.to_string()}));
        object["metadata"]["namespace"] = json!("default");
        cluster.api.store().update(&maps_id, object, "m").expect("updated");
    }
    let mut events = maps.watch(&WatchParams::default(), &old).await.expect("a watch").boxed();
    let event = tokio::time::timeout(DEADLINE, events.try_next()).await.expect("in time").expect("an event");
    let Some(WatchEvent::Error(status)) = event else { panic!("not expected: {event:?}") };
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
    let exact = ListParams::default().at(&old).matching(kube::api::VersionMatch::Exact);
    let outcome = maps.list(&exact).await;
    assert!(matches!(&outcome, Err(kube::Error::Api(status)) if status.code == 410), "{outcome:?}");
}

#[tokio::test]
async fn a_watch_ends_when_its_time_is_over_after_a_last_bookmark() {
    let cluster = Cluster::start().await;
    let version = cluster.api.store().revision();
    let query = format!("watch=1&timeoutSeconds=1&allowWatchBookmarks=true&resourceVersion={version}");
    let path = format!("/api/v1/configmaps?{query}");
    let waiting = cluster.raw("GET", &path, "", "");
    let (code, answer) = tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("in time");
    assert_eq!((code, answer["type"].as_str()), (200, Some("BOOKMARK")));
    assert_eq!(answer["object"]["metadata"]["resourceVersion"], version.to_string());
}

#[tokio::test]
async fn one_object_can_be_watched_by_its_path() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    let since = newest(&maps).await;
    apply(&maps, "other", "m", &config_map("other", json!({}))).await.expect("applied");
    apply(&maps, "a", "m", &config_map("a", json!({}))).await.expect("applied");
    let changed = Patch::Merge(json!({"data": {"k": "1"}}));
    maps.patch("a", &PatchParams::default(), &changed).await.expect("patched");
    let path =
        format!("/api/v1/namespaces/default/configmaps/a?watch=1&timeoutSeconds=1&resourceVersion={since}");
    let url = format!("{}{path}", cluster.api.url());
    let text = reqwest::get(url).await.expect("an answer").text().await.expect("a body");
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let kinds: Vec<_> = events
        .iter()
        .map(|event| (event["type"].clone(), event["object"]["metadata"]["name"].clone()))
        .collect();
    assert_eq!(kinds, [(json!("ADDED"), json!("a")), (json!("MODIFIED"), json!("a"))]);
}
