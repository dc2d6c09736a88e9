//! Four clusters of kind, made at once by the provider, beside four `kind create cluster --wait` one after the other.
//!
//! ```text
//! cargo bench -p platform-k8s --bench kind -- --check
//! ```
//!
//! Needs `kind` and Docker, and takes the nodes' image from `PLATFORM_KIND_IMAGE`. The clusters are called `kind-bench-…` and are deleted.
//! Ours are ready when their nodes are, and CoreDNS; those of `--wait` when their nodes are.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use futures::future::join_all;
use platform_core::{
    cluster::{ClusterProvider, ClusterRole, ClusterSpec},
    event::Progress,
    name::{ClusterName, PlatformName},
};
use platform_k8s::kind::KindProvider;
use std::{
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

const CLUSTERS: usize = 4;
/// What ours may take of the peer's time.
const GOAL: f64 = 0.7;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |argument: &str| arguments.iter().any(|a| a == argument);
    // `cargo test --benches` runs this too, and is not to make clusters.
    if !has("--bench") {
        println!("four clusters of kind: run by `cargo bench -p platform-k8s --bench kind -- --check`");
        return ExitCode::SUCCESS;
    }
    // The node image is unpacked for the first cluster that uses it; neither side is to pay for that.
    peer(1);
    let peer = peer(CLUSTERS);
    let ours = tokio::runtime::Runtime::new().unwrap().block_on(ours());
    let ratio = ours.as_secs_f64() / peer.as_secs_f64();
    println!("work    {CLUSTERS} clusters of one node, made and ready");
    println!("ours    {:.1} s, all at once", ours.as_secs_f64());
    println!("peer    {:.1} s, `kind create cluster --wait` one after the other", peer.as_secs_f64());
    println!("ratio   {ratio:.2}");
    println!("goal    at most {GOAL}");
    if has("--check") && ratio > GOAL {
        println!("MISSED");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

async fn ours() -> Duration {
    let builder = KindProvider::builder().parallel_creates(CLUSTERS);
    let builder = match std::env::var("PLATFORM_KIND_IMAGE") {
        Ok(image) => builder.node_image(image),
        Err(_) => builder,
    };
    let (kind, progress) = (builder.build().unwrap(), Progress::silent());
    let platform = PlatformName::new("kind-bench").unwrap();
    let specs: Vec<ClusterSpec> = (0..CLUSTERS)
        .map(|i| {
            let name = ClusterName::new(format!("kind-bench-ours-{i}")).unwrap();
            ClusterSpec::new(platform.clone(), name, ClusterRole::ControlPlane)
        })
        .collect();
    let delete = || join_all(specs.iter().map(|spec| kind.delete(&platform, &spec.name, &progress)));
    delete().await;
    let start = Instant::now();
    let created = join_all(specs.iter().map(|spec| kind.create(spec, &progress))).await;
    let elapsed = start.elapsed();
    // Even a failed run leaves nothing.
    let deleted = delete().await;
    created.into_iter().collect::<Result<Vec<_>, _>>().unwrap();
    deleted.into_iter().collect::<Result<Vec<_>, _>>().unwrap();
    elapsed
}

fn peer(clusters: usize) -> Duration {
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    let kind = |action: &str, i: usize, more: &[String]| {
        let mut command = Command::new("kind");
        command.args([action, "cluster", "--name", &format!("kind-bench-peer-{i}"), "--kubeconfig"]);
        command.arg(&kubeconfig).args(more).stderr(Stdio::null());
        assert!(command.status().expect("kind is in the PATH").success(), "kind {action} cluster failed");
    };
    let mut more = vec!["--wait".to_owned(), "5m".to_owned()];
    if let Ok(image) = std::env::var("PLATFORM_KIND_IMAGE") {
        more.extend(["--image".to_owned(), image]);
    }
    for i in 0..clusters {
        kind("delete", i, &[]);
    }
    let start = Instant::now();
    for i in 0..clusters {
        kind("create", i, &more);
    }
    let elapsed = start.elapsed();
    for i in 0..clusters {
        kind("delete", i, &[]);
    }
    elapsed
}
