//! A `KubeCluster` against API servers: the embedded one always, a real one where `KUBECONFIG` names it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

mod conformance;
mod embedded;
mod real;
mod rendering;
mod watch;

use platform_core::{
    cluster::ClusterAccess,
    name::{ClusterName, PlatformName},
};
use platform_k8s::{KubeCluster, Kubernetes};

/// Logs of what fails, with `RUST_LOG`.
fn log() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
}

fn name() -> ClusterName {
    ClusterName::new("shop-testing").unwrap()
}

fn platform() -> PlatformName {
    PlatformName::new("shop").unwrap()
}

/// A handle and a second one that writes under another field manager.
fn two_handles(access: &ClusterAccess) -> (KubeCluster, KubeCluster) {
    let handle = |kubernetes: Kubernetes| kubernetes.connect_kube(access).unwrap();
    (handle(Kubernetes::default()), handle(Kubernetes::default().field_manager("rival")))
}
