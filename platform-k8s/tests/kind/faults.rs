//! Creations that are interrupted or cannot succeed.

use crate::{builder, clean, containers, machine, run, spec};
use platform_core::{
    ErrorKind,
    cluster::{ClusterChange, ClusterPhase, ClusterProvider, ClusterSpec},
    event::Progress,
};
use platform_k8s::kind::{Clusters, KindProvider, PortMapping};
use std::{process::Command, time::Duration};

/// Begins to make a cluster and drops it as soon as `reached` says so of the node.
async fn interrupt(kind: &KindProvider, spec: &ClusterSpec, reached: impl Fn(&str) -> bool) {
    let node = format!("{}-control-plane", spec.name);
    let watch = async {
        while !reached(&node) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let progress = Progress::silent();
    tokio::select! {
        created = kind.create(spec, &progress) => panic!("it was not interrupted: {created:?}"),
        () = watch => {}
    }
}

/// Whether a command succeeds in a node.
fn succeeds(node: &str, command: &[&str]) -> bool {
    Command::new("docker").arg("exec").arg(node).args(command).output().is_ok_and(|o| o.status.success())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kind"]
async fn an_interrupted_creation_is_made_anew() {
    let _machine = machine().await;
    let (kind, spec) = (builder().build().unwrap(), spec("kind-cut"));
    clean(&kind, &spec).await;
    // Once with nothing but a container, once when the API server has its credentials and the rest is missing.
    interrupt(&kind, &spec, |_| !containers(&spec.name).is_empty()).await;
    let half = kind.describe(&spec.platform, &spec.name).await.unwrap().unwrap();
    assert_eq!(half.phase, ClusterPhase::Broken);
    assert_eq!(kind.plan(&spec).await.unwrap(), ClusterChange::Create);
    let first = containers(&spec.name);
    interrupt(&kind, &spec, |node| {
        containers(&spec.name).is_disjoint(&first)
            && succeeds(node, &["test", "-e", "/etc/kubernetes/admin.conf"])
    })
    .await;
    let half = kind.describe(&spec.platform, &spec.name).await.unwrap().unwrap();
    assert_eq!(half.phase, ClusterPhase::Broken);
    let second = containers(&spec.name);

    let status = kind.create(&spec, &Progress::silent()).await.unwrap();
    assert_eq!(status.phase, ClusterPhase::Running);
    assert!(containers(&spec.name).is_disjoint(&second), "a half-made cluster was adopted");
    assert_eq!(kind.describe(&spec.platform, &spec.name).await.unwrap(), Some(status.clone()));

    // All was made, but whoever made it ended before it could say so.
    let made = containers(&spec.name);
    run("docker", &["exec", &format!("{}-control-plane", spec.name), "rm", "/platform.dev/complete"]);
    assert_eq!(kind.create(&spec, &Progress::silent()).await.unwrap(), status);
    assert_eq!(containers(&spec.name), made, "a complete cluster was made anew");
    clean(&kind, &spec).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kind"]
async fn a_node_image_that_is_nowhere_leaves_logs_and_nothing_else() {
    let _machine = machine().await;
    let logs = tempfile::tempdir().unwrap();
    let kind = KindProvider::builder()
        .node_image("registry.invalid/node:v1.34.4")
        .logs_directory(logs.path())
        .build()
        .unwrap();
    let spec = spec("kind-absent");
    let error = kind.create(&spec, &Progress::silent()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let kept: Vec<_> = std::fs::read_dir(logs.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [directory] = kept.as_slice() else { panic!("{kept:?}") };
    assert!(error.to_string().contains(&directory.display().to_string()), "{error}");
    let said = std::fs::read_to_string(directory.join("kind.log")).unwrap();
    assert!(said.contains("failed to pull image \"registry.invalid/node:v1.34.4\""), "{said}");
    assert!(containers(&spec.name).is_empty());
    assert_eq!(kind.plan(&spec).await.unwrap(), ClusterChange::Create);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kind"]
async fn a_node_that_does_not_become_one_is_removed_and_its_logs_are_kept() {
    let _machine = machine().await;
    let logs = tempfile::tempdir().unwrap();
    // The API server ends at once, so that kubeadm gives up.
    let kind = builder()
        .kubeadm_patch(
            "kind: ClusterConfiguration\napiServer:\n  extraArgs:\n    no-such-flag: \"true\"\ntimeouts: {}\n",
        )
        .create_timeout(Duration::from_secs(60))
        .logs_directory(logs.path())
        .build()
        .unwrap();
    let spec = spec("kind-broken");
    clean(&kind, &spec).await;
    let error = kind.create(&spec, &Progress::silent()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Failed | ErrorKind::Timeout), "{error:?}");
    let directory = std::fs::read_dir(logs.path()).unwrap().next().unwrap().unwrap().path();
    assert!(error.to_string().contains(&directory.display().to_string()), "{error}");
    let node = directory.join(format!("{}-control-plane", spec.name));
    assert!(node.join("kubelet.log").is_file() || node.join("journal.log").is_file(), "no logs of the node");
    assert!(containers(&spec.name).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kind"]
async fn a_port_that_is_taken_is_told_by_its_number() {
    let _machine = machine().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let logs = tempfile::tempdir().unwrap();
    let kind = builder()
        .port_mapping(Clusters::All, PortMapping::new(30080).host_port(port))
        .logs_directory(logs.path())
        .build()
        .unwrap();
    let spec = spec("kind-port");
    clean(&kind, &spec).await;
    let error = kind.create(&spec, &Progress::silent()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.to_string().contains(&format!("port {port} of this machine is taken")), "{error}");
    assert!(containers(&spec.name).is_empty());
}
