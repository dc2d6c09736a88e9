//! Clusters of kind, made for real: `kind` and a container engine in the `PATH`, and `PLATFORM_KIND_IMAGE` for the nodes' image
//! where kind's own cannot be pulled.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

/// So that `cargo test -- --ignored kind` finds them.
#[path = "."]
mod kind {
    mod conformance;
    mod faults;
    mod images;
    mod lifecycle;
    mod strangers;
}

use platform_core::{
    cluster::{ClusterProvider, ClusterRole, ClusterSpec},
    event::Progress,
    name::{ClusterName, EnvironmentName, PlatformName},
};
use platform_k8s::kind::{KindProvider, KindProviderBuilder};
use std::{collections::BTreeSet, process::Command};
use tokio::sync::{Mutex, MutexGuard};

/// One test at a time makes clusters: each takes the machine.
async fn machine() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::const_new(());
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
    MACHINE.lock().await
}

fn builder() -> KindProviderBuilder {
    let builder = KindProvider::builder();
    match std::env::var("PLATFORM_KIND_IMAGE") {
        Ok(image) => builder.node_image(image),
        Err(_) => builder,
    }
}

fn platform(name: &str) -> PlatformName {
    PlatformName::new(name).unwrap()
}

fn spec(platform_name: &str) -> ClusterSpec {
    let environment = EnvironmentName::new("testing").unwrap();
    ClusterSpec::new(
        platform(platform_name),
        ClusterName::new(format!("{platform_name}-testing")).unwrap(),
        ClusterRole::Environments(vec![environment]),
    )
}

/// Removes what a former run may have left.
async fn clean(provider: &KindProvider, spec: &ClusterSpec) {
    provider.delete(&spec.platform, &spec.name, &Progress::silent()).await.unwrap();
}

/// Runs a program and answers with what it printed.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect(program);
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {messages}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The containers of a cluster, by their ids.
fn containers(cluster: &ClusterName) -> BTreeSet<String> {
    let filter = format!("label=io.x-k8s.kind.cluster={cluster}");
    let ids = run("docker", &["ps", "--all", "--no-trunc", "--quiet", "--filter", &filter]);
    ids.split_whitespace().map(str::to_owned).collect()
}
