//! The embedded provider: the conformance suite, and what only it can do: keep clusters on disk.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use platform_core::{
    ErrorKind,
    cluster::{ClusterProvider, ClusterRole, ClusterSpec},
    event::Progress,
    name::{ClusterName, PlatformName},
};
use platform_testkit::{EmbeddedProvider, conformance};
use std::path::Path;

fn shop() -> PlatformName {
    PlatformName::new("shop").unwrap()
}

fn control_plane() -> ClusterSpec {
    ClusterSpec::new(shop(), ClusterName::new("shop-control-plane").unwrap(), ClusterRole::ControlPlane)
}

async fn open(directory: &Path) -> platform_core::Result<EmbeddedProvider> {
    EmbeddedProvider::builder().state_dir(directory).open().await
}

/// The UID of a namespace, asked of the cluster over HTTP.
async fn uid_of_default(provider: &EmbeddedProvider) -> String {
    let access = provider.access(&shop(), &control_plane().name).await.unwrap();
    let mut config = kube::Config::new(access.server.parse().unwrap());
    // Plain http on loopback: there is nobody to trust.
    config.root_cert = Some(Vec::new());
    let client = kube::Client::try_from(config).unwrap();
    let request = http::Request::get("/api/v1/namespaces/default").body(Vec::new()).unwrap();
    let namespace: serde_json::Value = client.request(request).await.unwrap();
    namespace["metadata"]["uid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn conforms_in_memory() {
    let report = conformance::provider::run(&EmbeddedProvider::in_memory(), &shop()).await;
    println!("{report}");
    report.into_result().unwrap();
}

#[tokio::test]
async fn conforms_with_a_state_directory() {
    let directory = tempfile::tempdir().unwrap();
    let provider = open(&directory.path().join("new")).await.unwrap();
    let report = conformance::provider::run(&provider, &shop()).await;
    println!("{report}");
    report.into_result().unwrap();
}

#[tokio::test]
async fn clusters_are_there_again_with_the_same_objects() {
    let directory = tempfile::tempdir().unwrap();
    let provider = open(directory.path()).await.unwrap();
    provider.create(&control_plane(), &Progress::silent()).await.unwrap();
    let uid = uid_of_default(&provider).await;
    provider.stop().await;
    drop(provider);
    let provider = open(directory.path()).await.unwrap();
    assert_eq!(provider.list(&shop()).await.unwrap().len(), 1);
    assert_eq!(uid_of_default(&provider).await, uid);
}

#[tokio::test]
async fn a_directory_that_is_not_ours_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("thesis.txt");
    std::fs::write(&file, "important").unwrap();
    let error = open(directory.path()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("is not empty and was not made by an embedded provider"), "{error}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    let error = open(&file).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot open state directory"), "{error}");
}

#[tokio::test]
async fn a_directory_has_one_owner_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path()).await.unwrap();
    let error = open(directory.path()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    first.stop().await;
    drop(first);
    open(directory.path()).await.unwrap();
}

#[tokio::test]
async fn damage_is_told_and_nothing_is_thrown_away() {
    let directory = tempfile::tempdir().unwrap();
    let provider = open(directory.path()).await.unwrap();
    provider.create(&control_plane(), &Progress::silent()).await.unwrap();
    provider.stop().await;
    drop(provider);
    let spec = directory.path().join("shop-control-plane/cluster.json");
    std::fs::write(&spec, "{\"name\":").unwrap();
    let error = open(directory.path()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("cluster.json is damaged"), "{error}");
    assert!(directory.path().join("shop-control-plane/data").exists());
}

#[tokio::test]
async fn the_state_directory_goes_when_the_clusters_are_gone() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("state");
    let provider = open(&directory).await.unwrap();
    provider.create(&control_plane(), &Progress::silent()).await.unwrap();
    assert_eq!(provider.remove_state_dir().await.unwrap_err().kind(), ErrorKind::Refused);
    provider.delete(&shop(), &control_plane().name, &Progress::silent()).await.unwrap();
    provider.remove_state_dir().await.unwrap();
    assert!(!directory.exists());
}

#[tokio::test]
async fn another_version_of_kubernetes_is_not_pretended() {
    let mut spec = control_plane();
    spec.kubernetes_version = Some("1.20".to_owned());
    let error = EmbeddedProvider::in_memory().plan(&spec).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    spec.kubernetes_version = Some("1.34".to_owned());
    EmbeddedProvider::in_memory().plan(&spec).await.unwrap();
}
