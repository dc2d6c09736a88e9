//! Clusters that are made, adopted, repaired and deleted.

use crate::{builder, clean, containers, machine, run, spec};
use platform_core::{
    ErrorKind,
    cluster::{ClusterChange, ClusterPhase, ClusterProvider, ClusterRole, Deletion},
    event::Progress,
};
use platform_k8s::kind::{Clusters, PortMapping};
use std::{env, fs, path::PathBuf};

/// The user's own kubeconfig, as it is now.
fn kubeconfig() -> Option<Vec<u8>> {
    let home = || PathBuf::from(env::var_os("HOME").expect("HOME is set")).join(".kube/config");
    fs::read(env::var_os("KUBECONFIG").map_or_else(home, PathBuf::from)).ok()
}

/// What this program left in the temporary directory, locks and logs included.
fn leftovers(name: &str) -> Vec<String> {
    let entries = fs::read_dir(env::temp_dir()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|file| file.starts_with("platform-kind-") && file.contains(name)).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kind"]
async fn a_cluster_of_two_nodes_lives_through_a_stop_and_leaves_nothing() {
    let _machine = machine().await;
    let (kind, progress) = (builder().build().unwrap(), Progress::silent());
    let mut spec = spec("kind-life");
    clean(&kind, &spec).await;
    let before = kubeconfig();

    let status = kind.create(&spec, &progress).await.unwrap();
    assert_eq!((status.phase, status.nodes), (ClusterPhase::Running, 1));
    assert_eq!(kubeconfig(), before);
    let made = containers(&spec.name);

    // Another provider knows it without having made it, and what it was made with.
    let other = builder().build().unwrap();
    assert_eq!(other.list(&spec.platform).await.unwrap(), std::slice::from_ref(&status));
    spec.role = ClusterRole::ControlPlane;
    assert_eq!(other.plan(&spec).await.unwrap(), ClusterChange::Unchanged);
    let mapping = PortMapping::new(30080).host_port(18_080);
    let mapped = builder().port_mapping(Clusters::Named(spec.name.clone()), mapping).build().unwrap();
    let differences = vec!["port mappings: default -> 127.0.0.1:18080 -> 30080/TCP".to_owned()];
    assert_eq!(mapped.plan(&spec).await.unwrap(), ClusterChange::Recreate { differences });
    assert_eq!(mapped.create(&spec, &progress).await.unwrap_err().kind(), ErrorKind::Unsupported);

    let node = format!("{}-control-plane", spec.name);
    run("docker", &["stop", "--time", "1", &node]);
    let stopped = other.describe(&spec.platform, &spec.name).await.unwrap().unwrap();
    assert_eq!(stopped.phase, ClusterPhase::Broken);
    assert_eq!(other.access(&spec.platform, &spec.name).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let ClusterChange::Update { differences } = other.plan(&spec).await.unwrap() else { panic!("no update") };
    assert_eq!(differences, [format!("node {node}: exited -> running")]);
    assert_eq!(other.create(&spec, &progress).await.unwrap(), status);
    assert_eq!(containers(&spec.name), made, "it was made anew");

    assert_eq!(other.delete(&spec.platform, &spec.name, &progress).await.unwrap(), Deletion::Deleted);
    assert!(containers(&spec.name).is_empty());
    assert_eq!(kubeconfig(), before);
    assert_eq!(leftovers(spec.name.as_str()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kind"]
async fn workers_run_workloads_and_ports_are_mapped_on_the_first() {
    let _machine = machine().await;
    let progress = Progress::silent();
    let mut spec = spec("kind-workers");
    spec.nodes = 2;
    // A free port, given back before it is used.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mapping = PortMapping::new(30080).host_port(port);
    let kind = builder()
        .port_mapping(Clusters::All, mapping)
        .pod_subnet("10.201.0.0/16")
        .node_label("disk", "fast")
        .build()
        .unwrap();
    clean(&kind, &spec).await;
    let status = kind.create(&spec, &progress).await.unwrap();
    assert_eq!(status.nodes, 2);
    assert_eq!(containers(&spec.name).len(), 3);
    let mapped = run("docker", &["port", &format!("{}-worker", spec.name), "30080/tcp"]);
    assert_eq!(mapped, format!("127.0.0.1:{port}"));
    assert_eq!(kind.plan(&spec).await.unwrap(), ClusterChange::Unchanged);

    let access = kind.access(&spec.platform, &spec.name).await.unwrap();
    let cluster = platform_k8s::Kubernetes::default().connect_kube(&access).unwrap();
    let nodes: kube::Api<k8s_openapi::api::core::v1::Node> = kube::Api::all(cluster.client());
    let nodes = nodes.list(&kube::api::ListParams::default().labels("disk=fast")).await.unwrap().items;
    assert_eq!(nodes.len(), 3);
    for node in nodes {
        let subnet = node.spec.unwrap().pod_cidr.unwrap();
        assert!(subnet.starts_with("10.201."), "{subnet}");
        assert_eq!(node.metadata.labels.unwrap()["platform.dev/platform"], "kind-workers");
    }
    clean(&kind, &spec).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kind"]
async fn two_providers_that_make_the_same_cluster_make_one() {
    let _machine = machine().await;
    let (first, second) = (builder().build().unwrap(), builder().build().unwrap());
    let (spec, progress) = (spec("kind-race"), Progress::silent());
    clean(&first, &spec).await;
    let phase = async {
        // While one makes it, others see that.
        loop {
            let status = first.describe(&spec.platform, &spec.name).await.unwrap();
            if let Some(status) = status {
                return status.phase;
            }
        }
    };
    let (one, other, phase) =
        tokio::join!(first.create(&spec, &progress), second.create(&spec, &progress), phase);
    assert_eq!(one.unwrap(), other.unwrap());
    assert_eq!(phase, ClusterPhase::Creating);
    assert_eq!(containers(&spec.name).len(), 1);
    clean(&first, &spec).await;
}
