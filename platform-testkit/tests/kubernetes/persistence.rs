//! A cluster that comes back.

use std::fs;
use std::path::{Path, PathBuf};

use kube::ResourceExt;
use kube::api::DeleteParams;
use platform_testkit::kubernetes::{DataError, EmbeddedApi, StartError};
use serde_json::json;

use crate::fixture::{Cluster, apply, config_map};

async fn start(directory: &Path) -> Result<Cluster, StartError> {
    EmbeddedApi::builder().data_dir(Some(directory.to_owned())).start().await.map(Cluster::of)
}

async fn refused(directory: &Path) -> StartError {
    match start(directory).await {
        Ok(_) => panic!("the cluster started"),
        Err(error) => error,
    }
}

fn log(directory: &Path) -> PathBuf {
    let mut found =
        fs::read_dir(directory).expect("a directory").filter_map(Result::ok).map(|entry| entry.path());
    found.find(|path| path.extension().is_some_and(|extension| extension == "jsonl")).expect("a log")
}

#[tokio::test]
async fn a_stopped_cluster_comes_back_as_it_was() {
    let directory = tempfile::tempdir().expect("a directory");
    let cluster = start(directory.path()).await.expect("started");
    let maps = cluster.config_maps();
    let kept = apply(&maps, "kept", "m", &config_map("kept", json!({"k": "1"}))).await.expect("applied");
    apply(&maps, "gone", "m", &config_map("gone", json!({}))).await.expect("applied");
    maps.delete("gone", &DeleteParams::default()).await.expect("deleted");
    let revision = cluster.api.store().revision();
    cluster.api.stop().await;
    let cluster = start(directory.path()).await.expect("started again");
    let maps = cluster.config_maps();
    let back = maps.get("kept").await.expect("it is back");
    assert_eq!((back.uid(), back.resource_version()), (kept.uid(), kept.resource_version()));
    assert!(maps.get_opt("gone").await.expect("an answer").is_none());
    assert_eq!(cluster.api.store().revision(), revision);
    let again = apply(&maps, "kept", "m", &config_map("kept", json!({"k": "1"}))).await.expect("applied");
    assert_eq!(again.resource_version(), kept.resource_version());
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_crash() {
    let directory = tempfile::tempdir().expect("a directory");
    let crashed = tempfile::tempdir().expect("a directory");
    let cluster = start(directory.path()).await.expect("started");
    let maps = cluster.config_maps();
    for index in 0..50 {
        let name = format!("m{index}");
        apply(&maps, &name, "m", &config_map(&name, json!({}))).await.expect("applied");
    }
    // The files as they are while the cluster runs are what a crash would leave.
    for entry in fs::read_dir(directory.path()).expect("a directory").filter_map(Result::ok) {
        fs::copy(entry.path(), crashed.path().join(entry.file_name())).expect("copied");
    }
    // The last line was being written when it happened.
    let path = log(crashed.path());
    let mut text = fs::read(&path).expect("a log");
    text.extend_from_slice(b"{\"revision\":");
    fs::write(&path, text).expect("written");
    let recovered = start(crashed.path()).await.expect("started");
    let maps = recovered.config_maps();
    for index in 0..50 {
        assert!(maps.get_opt(&format!("m{index}")).await.expect("an answer").is_some(), "m{index}");
    }
    assert_eq!(recovered.api.store().revision(), cluster.api.store().revision());
}

#[tokio::test]
async fn one_directory_serves_one_cluster_at_a_time() {
    let directory = tempfile::tempdir().expect("a directory");
    let cluster = start(directory.path()).await.expect("started");
    assert!(matches!(refused(directory.path()).await, StartError::Data(DataError::InUse(_))));
    cluster.api.stop().await;
    start(directory.path()).await.expect("started again");
}

#[tokio::test]
async fn damaged_and_foreign_files_are_errors() {
    let directory = tempfile::tempdir().expect("a directory");
    start(directory.path()).await.expect("started").api.stop().await;
    let snapshot = directory.path().join("snapshot.json");
    let good = fs::read_to_string(&snapshot).expect("a snapshot");
    let lines: Vec<&str> = good.lines().collect();
    let damages: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("foreign", b"{\"format\": \"other\"}\n".to_vec()),
        ("not text", vec![0xff, 0xfe, 0x00]),
        ("cut short", good.as_bytes()[..good.len() / 2].to_vec()),
        ("a line less", lines[..lines.len() - 1].join("\n").into_bytes()),
    ];
    for (what, bytes) in damages {
        fs::write(&snapshot, bytes).expect("written");
        let error = refused(directory.path()).await;
        assert!(matches!(error, StartError::Data(DataError::Foreign { .. })), "{what}: {error}");
    }
    fs::write(&snapshot, &good).expect("written");
    fs::write(log(directory.path()), "{\"revision\": 999999}\n").expect("written");
    let error = refused(directory.path()).await;
    assert!(matches!(error, StartError::Data(DataError::Foreign { .. })), "{error}");
}
