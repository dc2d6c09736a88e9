//! The network, on clusters of kind: their nodes run pods and enforce network policies.
//!
//! `PLATFORM_KIND_IMAGE` names the nodes' image and `PLATFORM_IMAGES` a file with the image of `probe`, where the public ones cannot be pulled.

use crate::{breaches, is_stopped, log, surprises};
use platform_core::{
    Application, Confirmation, Environment, Image, ImageOverrides, Isolation, Platform,
    cluster::ListOptions,
    isolation::{Action, Barrier, Expectation, Verdict},
    manifest::ObjectRef,
    name::{ClusterName, EnvironmentName, Namespace},
    platform::DeletionTarget,
};
use platform_k8s::{
    Kubernetes,
    kind::{Clusters, KindProvider},
};
use serde_json::json;
use std::time::Duration;

fn images() -> ImageOverrides {
    match std::env::var_os("PLATFORM_IMAGES") {
        Some(file) => ImageOverrides::from_file(file).unwrap(),
        None => ImageOverrides::default(),
    }
}

fn platform(isolation: Isolation) -> Platform {
    log();
    let public = Image::parse("docker.io/library/busybox:1.37.0").unwrap();
    let probe = images().resolve("probe", &public).unwrap();
    let mut kind = KindProvider::builder();
    if probe != public {
        kind = kind.load_image(Clusters::All, probe.as_str());
    }
    if let Ok(image) = std::env::var("PLATFORM_KIND_IMAGE") {
        kind = kind.node_image(image);
    }
    Platform::builder("isolation")
        .unwrap()
        .isolation(isolation)
        .environment(Environment::new("testing").unwrap())
        .environment(Environment::new("production").unwrap().protected(true))
        .application(Application::new("api1", probe.clone()).unwrap().replicas(0).port(8080))
        .application(Application::new("api2", probe).unwrap().replicas(0).port(8080))
        .provider(kind.build().unwrap())
        .orchestrator(Kubernetes::default().images(images()))
        .ready_deadline(Duration::from_secs(120))
        .build()
        .unwrap()
}

async fn apply(platform: &Platform) {
    let plan = platform.plan().await.unwrap();
    platform.apply(&plan).unwrap().await.unwrap();
}

async fn destroy(platform: &Platform) {
    platform.destroy(&Confirmation::parse("isolation production")).await.unwrap().await.unwrap();
}

/// One cluster after another: each takes the machine.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kind"]
async fn pods_reach_their_own_environment_and_no_other() {
    for isolation in [Isolation::NamespacePerEnvironment, Isolation::NamespacePerApplication] {
        let platform = platform(isolation);
        apply(&platform).await;
        let report = platform.verify().await.unwrap();
        println!("{report}");
        assert!(report.holds(), "{:#?}", surprises(&report));
        let connections: Vec<_> = report.of(Action::Connect).collect();
        let controls = connections.iter().filter(|a| a.expected == Expectation::Allowed);
        // A pod and a Service, from each environment.
        assert_eq!(controls.clone().count(), 4);
        assert!(controls.clone().all(|attempt| attempt.verdict == Verdict::Allowed));
        assert!(connections.iter().filter(|attempt| is_stopped(attempt)).count() >= 8);
        no_probe_is_left(&platform).await;
    }
    // The second layout is in the same cluster as the first: what is no longer wanted there was removed, but for what is protected.
    let platform = platform(Isolation::NamespacePerApplication);
    a_missing_policy_is_seen(&platform).await;
    the_live_cluster_tells_what_would_be_lost(&platform).await;
    destroy(&platform).await;
}

async fn no_probe_is_left(platform: &Platform) {
    let cluster = platform.cluster(&ClusterName::new("isolation-shared").unwrap()).await.unwrap();
    let options = ListOptions::all().label("platform.dev/probe", "isolation");
    for kind in ["Pod", "Service"] {
        let left = cluster.list("v1", kind, &options).await.unwrap();
        let alive: Vec<_> =
            left.iter().filter(|object| object["metadata"].get("deletionTimestamp").is_none()).collect();
        assert!(alive.is_empty(), "{alive:?}");
    }
}

/// Somebody removes the network policies of both environments.
async fn a_missing_policy_is_seen(platform: &Platform) {
    let name = ClusterName::new("isolation-shared").unwrap();
    let cluster = platform.cluster(&name).await.unwrap();
    for namespace in ["testing-api1", "testing-api2", "production-api1", "production-api2"] {
        let policy = json!({"metadata": {"name": "open-door", "namespace": namespace},
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "spec": {"podSelector": {}, "ingress": [{}], "egress": [{}], "policyTypes": ["Ingress", "Egress"]}});
        let set = platform_core::manifest::ManifestSet::new(
            format!("door.{namespace}"),
            vec![platform_core::manifest::Manifest::new(policy).unwrap()],
        );
        let options = platform_core::cluster::ApplyOptions::new(platform.spec().name.clone());
        cluster.apply(&set.unwrap(), &options).await.unwrap();
    }
    let report = platform.verify().await.unwrap();
    assert!(!report.holds());
    assert_eq!(breaches(&report), [Action::Connect], "{:#?}", surprises(&report));
    let reached: Vec<String> = report.breaches().map(ToString::to_string).collect();
    assert!(reached.iter().any(|attempt| attempt.contains("pod of production")), "{reached:?}");
    assert!(reached.iter().any(|attempt| attempt.contains("Service of testing")), "{reached:?}");
    // Applying takes away what the spec does not have.
    apply(platform).await;
    let report = platform.verify().await.unwrap();
    assert!(report.holds(), "{:#?}", surprises(&report));
}

async fn the_live_cluster_tells_what_would_be_lost(platform: &Platform) {
    let cluster = ClusterName::new("isolation-shared").unwrap();
    let (api1, environment) = ("api1".try_into().unwrap(), |name| EnvironmentName::new(name).unwrap());
    let promotion = platform.promote(&api1, &environment("testing"), &environment("production")).await;
    promotion.unwrap().await.unwrap();
    let namespace = Namespace::new("production-api1").unwrap();
    let deletion = DeletionTarget::Namespace { cluster, namespace };
    let radius = platform.blast_radius(&deletion).await.unwrap();
    println!("{radius}");
    let deployment = ObjectRef::new("apps/v1", "Deployment", "api1").in_namespace("production-api1");
    assert!(radius.contents.workloads.iter().any(|workload| workload.object == deployment));
    assert!(radius.contents.namespaces[0].protected && !radius.contents.namespaces[0].confirmed);
    assert_eq!(radius.applications().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kind"]
async fn a_cluster_of_its_own_is_another_network_and_another_api() {
    let platform = platform(Isolation::ClusterPerEnvironment);
    apply(&platform).await;
    let report = platform.verify().await.unwrap();
    println!("{report}");
    assert!(report.holds(), "{:#?}", surprises(&report));
    let verdicts = |action| report.of(action).map(|attempt| &attempt.verdict).collect::<Vec<_>>();
    let refused = Verdict::Stopped { by: Barrier::Authentication };
    // Each of two deployers in two other clusters, that of the control plane being one.
    assert_eq!(verdicts(Action::Authenticate), [&refused; 4]);
    let elsewhere = Verdict::Stopped { by: Barrier::OtherNetwork };
    assert!(verdicts(Action::Connect).contains(&&elsewhere));
    destroy(&platform).await;
}
