//! Following the objects of a kind, over faults.

use crate::{log, name, platform, two_handles};
use futures::StreamExt;
use platform_core::{
    ErrorKind,
    cluster::{ApplyOptions, Cluster, ClusterAccess, ListOptions, Watch, WatchEvent},
    manifest::{Manifest, ManifestSet},
};
use platform_k8s::KubeCluster;
use platform_testkit::kubernetes::{Effect, EmbeddedApi, Fault};
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

async fn start() -> (EmbeddedApi, KubeCluster) {
    log();
    let api = EmbeddedApi::builder().start().await.unwrap();
    let (cluster, _) = two_handles(&ClusterAccess::new(name(), api.url()));
    (api, cluster)
}

async fn apply(cluster: &KubeCluster, values: &[(&str, &str)]) {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}});
    let maps = values.iter().map(|(name, value)| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"value": value},
            "metadata": {"name": name, "namespace": "a", "labels": {"of": "test"}},
        })
    });
    let manifests = std::iter::once(namespace).chain(maps).map(|one| Manifest::new(one).unwrap()).collect();
    cluster
        .apply(&ManifestSet::new("test", manifests).unwrap(), &ApplyOptions::new(platform()))
        .await
        .unwrap();
}

async fn next(watch: &mut Watch) -> platform_core::Result<WatchEvent> {
    tokio::time::timeout(PATIENCE, watch.next())
        .await
        .expect("something is told")
        .expect("a watch has no end")
}

fn told(objects: &[Value]) -> Vec<(&str, &str)> {
    let mut all: Vec<(&str, &str)> = objects
        .iter()
        .map(|one| (one["metadata"]["name"].as_str().unwrap(), one["data"]["value"].as_str().unwrap()))
        .collect();
    all.sort_unstable();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_told_as_they_happen_and_again_where_some_may_have_been_missed() {
    let (api, cluster) = start().await;
    apply(&cluster, &[("one", "1"), ("two", "1")]).await;
    let options = ListOptions::all().namespace("a").label("of", "test");
    let mut watch = cluster.watch("v1", "ConfigMap", &options).await.unwrap();
    let WatchEvent::Snapshot(all) = next(&mut watch).await.unwrap() else { panic!("no snapshot first") };
    assert_eq!(told(&all), [("one", "1"), ("two", "1")]);
    apply(&cluster, &[("one", "2"), ("two", "1")]).await;
    let WatchEvent::Applied(one) = next(&mut watch).await.unwrap() else { panic!("it was changed") };
    assert_eq!(told(&[one]), [("one", "2")]);
    apply(&cluster, &[("one", "2")]).await;
    let WatchEvent::Deleted(two) = next(&mut watch).await.unwrap() else { panic!("it was deleted") };
    assert_eq!(told(&[two]), [("two", "1")]);

    // A second one begins while the server fails: it says so, and goes on by itself.
    api.faults().inject(Fault::new(Effect::Status(500)).path("/configmaps").times(2));
    let one = ListOptions::all().field("metadata.name", "one");
    let mut watch = cluster.watch("v1", "ConfigMap", &one).await.unwrap();
    let error = next(&mut watch).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let event = loop {
        match next(&mut watch).await {
            Ok(event) => break event,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable),
        }
    };
    let WatchEvent::Snapshot(all) = event else { panic!("no snapshot first") };
    assert_eq!(told(&all), [("one", "2")], "only the field that was asked for");
    assert_eq!(api.faults().clear(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_is_not_served_cannot_be_watched() {
    let (_api, cluster) = start().await;
    let refused = cluster.watch("example.com/v1", "Widget", &ListOptions::all()).await;
    let error = refused.err().expect("there are no widgets");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().starts_with("cannot watch Widget of example.com/v1 in cluster"), "{error}");
}
