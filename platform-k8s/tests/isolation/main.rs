//! Isolation as it is tried: on a real API server where `KUBECONFIG` names one, on kind where the network is to be tried too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

mod embedded;
mod existing;
mod guard;
mod kind;
mod verify;

use existing::Existing;
use platform_core::{
    Application, Environment, Image, Isolation, Platform, Quantity, Quota,
    cluster::Cluster,
    isolation::{Action, Attempt, IsolationReport, Principal, Verdict},
    name::ClusterName,
};
use platform_k8s::Kubernetes;
use std::{path::PathBuf, sync::Arc, time::Duration};

/// Logs of what fails, with `RUST_LOG`.
fn log() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
}

/// The kubeconfig of a real API server.
fn kubeconfig() -> PathBuf {
    PathBuf::from(std::env::var_os("KUBECONFIG").expect("KUBECONFIG names a cluster"))
}

/// A platform of two environments, the second of them protected, named after `name` so that tests share a cluster. The application has no pods: where
/// there is no node, it is ready without.
async fn platform(name: &str, isolation: Isolation, protected: bool) -> Platform {
    log();
    let quota = Quota::new(Quantity::cores(2), Quantity::gibibytes(2), 20);
    let environment = |which: &str| Environment::new(format!("{name}-{which}")).unwrap().quota(quota.clone());
    let image = Image::parse("registry.example.com/api1:1").unwrap();
    Platform::builder(name)
        .unwrap()
        .isolation(isolation)
        .environment(environment("a"))
        .environment(environment("b").protected(protected))
        .application(Application::new("api1", image).unwrap().replicas(0).port(8080))
        .provider(Existing::of([("-shared", kubeconfig())]).await)
        .orchestrator(Kubernetes::default())
        .ready_deadline(Duration::from_secs(60))
        .build()
        .unwrap()
}

async fn apply(platform: &Platform) {
    let plan = platform.plan().await.unwrap();
    platform.apply(&plan).unwrap_or_else(|error| panic!("{error}\n{plan}")).await.unwrap();
}

async fn shared(platform: &Platform) -> Arc<dyn Cluster> {
    let name = ClusterName::new(format!("{}-shared", platform.spec().name)).unwrap();
    platform.cluster(&name).await.unwrap()
}

/// What of a report is not as it should be, as text.
fn surprises(report: &IsolationReport) -> Vec<String> {
    report.surprises().map(ToString::to_string).collect()
}

/// Those whom nothing stopped, with their actions.
fn breaches(report: &IsolationReport) -> Vec<Action> {
    let mut actions: Vec<Action> = report.breaches().map(|attempt| attempt.action).collect();
    actions.sort();
    actions.dedup();
    actions
}

fn is_administrator(attempt: &Attempt) -> bool {
    matches!(attempt.principal, Principal::Administrator { .. })
}

fn is_stopped(attempt: &Attempt) -> bool {
    matches!(attempt.verdict, Verdict::Stopped { .. })
}
