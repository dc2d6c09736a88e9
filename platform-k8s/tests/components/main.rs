//! The catalogue of components: its variants against a real API server, its configuration against the programs' own checkers, and the whole at work.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

mod checkers;
mod grafana;
mod http;
mod kind;
mod programs;
mod strict;
mod variants;

use platform_core::{
    cluster::ClusterRole,
    component::{ComponentTarget, SYSTEM_NAMESPACE},
    name::{ClusterName, Namespace, PlatformName},
};

fn cluster_name() -> ClusterName {
    ClusterName::new("shop-testing").unwrap()
}

fn platform() -> PlatformName {
    PlatformName::new("shop").unwrap()
}

/// A cluster of these environments.
fn target(environments: &[&str]) -> ComponentTarget {
    let environments = environments.iter().map(|name| (*name).try_into().unwrap()).collect();
    ComponentTarget::new(
        platform(),
        cluster_name(),
        ClusterRole::Environments(environments),
        Namespace::new(SYSTEM_NAMESPACE).unwrap(),
    )
}
