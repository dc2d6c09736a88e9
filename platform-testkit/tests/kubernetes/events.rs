//! Events: one collection that two API groups show.

use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use serde_json::{Value, json};

use crate::fixture::{Cluster, object, refusal, resource};

fn core_event(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": "default"},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": "default", "name": "p", "uid": "1"},
        "reason": "Started",
        "message": "hello",
        "type": "Normal",
        "count": 3,
        "firstTimestamp": "2024-01-01T00:00:00Z",
        "lastTimestamp": "2024-01-01T00:05:00Z",
        "source": {"component": "kubelet", "host": "n1"},
    })
}

fn new_event(name: &str) -> Value {
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": "default"},
        "regarding": {"apiVersion": "v1", "kind": "Pod", "namespace": "default", "name": "q", "uid": "2"},
        "reason": "Started",
        "note": "hello",
        "type": "Normal",
        "action": "Starting",
        "eventTime": "2024-01-01T00:00:00.000000Z",
        "reportingController": "example.io/controller",
        "reportingInstance": "controller-1",
    })
}

fn both(cluster: &Cluster) -> (Api<DynamicObject>, Api<DynamicObject>) {
    let events = |version: &str| {
        Api::namespaced_with(cluster.client.clone(), "default", &resource(version, "Event", "events"))
    };
    (events("v1"), events("events.k8s.io/v1"))
}

#[tokio::test]
async fn both_groups_show_the_same_events() {
    let cluster = Cluster::start().await;
    let (core, new) = both(&cluster);
    core.create(&PostParams::default(), &object(core_event("old"))).await.expect("created");
    let shown = new.get("old").await.expect("it is there");
    assert_eq!(shown.types.as_ref().map(|types| types.api_version.as_str()), Some("events.k8s.io/v1"));
    let data = &shown.data;
    assert_eq!((&data["note"], &data["regarding"]["name"]), (&json!("hello"), &json!("p")));
    assert_eq!((&data["deprecatedCount"], &data["deprecatedSource"]["host"]), (&json!(3), &json!("n1")));
    assert!(data.get("involvedObject").is_none() && data.get("message").is_none(), "{data}");
    new.create(&PostParams::default(), &object(new_event("new"))).await.expect("created");
    let shown = core.get("new").await.expect("it is there").data;
    assert_eq!((&shown["message"], &shown["involvedObject"]["name"]), (&json!("hello"), &json!("q")));
    assert_eq!(shown["reportingComponent"], "example.io/controller");
    let taken = core.create(&PostParams::default(), &object(core_event("new"))).await;
    assert_eq!(refusal(taken).0, 409);
}

#[tokio::test]
async fn events_are_selected_changed_and_watched_in_the_words_of_their_group() {
    let cluster = Cluster::start().await;
    let (core, new) = both(&cluster);
    for event in [core_event("old"), new_event("new")] {
        let events = if event["apiVersion"] == "v1" { &core } else { &new };
        events.create(&PostParams::default(), &object(event)).await.expect("created");
    }
    let named = |selector: &str| ListParams::default().fields(selector);
    let found = new.list(&named("regarding.name=p")).await.expect("listed");
    assert_eq!(found.items.len(), 1);
    assert_eq!(found.items[0].data["note"], "hello");
    let listed = core.list(&named("involvedObject.name=q")).await.expect("listed");
    assert_eq!(listed.items.len(), 1);
    assert_eq!(refusal(new.list(&named("involvedObject.name=p")).await).0, 400);
    let since = listed.metadata.resource_version.unwrap_or_default();
    let watch = new.watch(&WatchParams::default().timeout(20), &since).await.expect("a watch");
    let merge = Patch::Merge(
        json!({"note": "again", "series": {"count": 2, "lastObservedTime": "2024-01-01T00:06:00.000000Z"}}),
    );
    new.patch("new", &PatchParams::default(), &merge).await.expect("patched");
    let shown = core.get("new").await.expect("it is there").data;
    assert_eq!((&shown["message"], &shown["series"]["count"]), (&json!("again"), &json!(2)));
    let mut watch = std::pin::pin!(watch);
    let seen = futures::StreamExt::next(&mut watch).await.expect("an event").expect("no error");
    match seen {
        WatchEvent::Modified(event) => assert_eq!(event.data["note"], "again"),
        other => panic!("a change was expected, this came: {other:?}"),
    }
    let mut applied = new_event("new");
    applied["note"] = json!("applied");
    let force = PatchParams::apply("test").force();
    new.patch("new", &force, &Patch::Apply(applied)).await.expect("applied");
    assert_eq!(core.get("new").await.expect("it is there").data["message"], "applied");
    let mut replaced = new.get("new").await.expect("it is there");
    replaced.data["note"] = json!("replaced");
    new.replace("new", &PostParams::default(), &replaced).await.expect("replaced");
    assert_eq!(core.get("new").await.expect("it is there").data["message"], "replaced");
}
