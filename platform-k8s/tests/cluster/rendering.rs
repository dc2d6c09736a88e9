//! What is rendered, as servers take it.

use crate::{log, name, platform, two_handles};
use platform_core::{
    Application, Environment, ErrorKind, Image, Isolation, Quantity, Quota,
    application::Resources,
    cluster::{ApplyOptions, Cluster, ClusterRole, ObjectChange},
    component::{ComponentSpec, ComponentTarget},
    manifest::{Manifest, ManifestSet},
    name::{ComponentName, Namespace},
    orchestrator::{IsolationScope, Orchestrator, Placement},
};
use platform_k8s::{Kubernetes, access_from_kubeconfig, components};
use std::path::PathBuf;

fn sets(protected: bool) -> Vec<ManifestSet> {
    let kubernetes = Kubernetes::default();
    let environment = Environment::new("testing").unwrap().protected(protected).quota(Quota::new(
        Quantity::cores(4),
        Quantity::gibibytes(8),
        50,
    ));
    let namespaces = ["testing-api1", "testing-api2"].map(|name| (Namespace::new(name).unwrap(), Vec::new()));
    let scope = IsolationScope::new(
        platform(),
        environment.clone(),
        Isolation::NamespacePerApplication,
        name(),
        namespaces.to_vec(),
    );
    let set = |name: &str, manifests: Vec<Manifest>| ManifestSet::new(name, manifests).unwrap();
    let mut sets = vec![set("isolation.testing", kubernetes.isolation(&scope).unwrap())];

    let image = Image::parse("registry.example.com/api:1.4.0").unwrap();
    let mut limited = Resources::new(Quantity::millicores(50), Quantity::mebibytes(64));
    limited.cpu_limit = Some(Quantity::millicores(500));
    limited.memory_limit = Some(Quantity::mebibytes(96));
    let small = Application::new("api1", image.clone()).unwrap().replicas(0);
    let full = Application::new("api2", image.clone())
        .unwrap()
        .port(8080)
        .port(9090)
        .scaling(2, 4, 70)
        .resources(limited)
        .env("GREETING", "hello")
        .env("EMPTY", "")
        .readiness_path("/ready")
        .route("api2.example.com");
    for application in [small, full] {
        let namespace = Namespace::new(format!("testing-{}", application.name)).unwrap();
        let placement = Placement::new(platform(), environment.clone(), name(), namespace);
        let rendered = kubernetes.application(&application, &image, &placement).unwrap();
        sets.push(set(&format!("application.testing.{}", application.name), rendered));
    }
    let system = Namespace::new("platform-system").unwrap();
    let target = ComponentTarget::new(platform(), name(), ClusterRole::ControlPlane, system);
    for component in components::names() {
        let spec = ComponentSpec::new(ComponentName::new(component).unwrap());
        let rendered = kubernetes.component(&spec).unwrap().manifests(&target).unwrap();
        sets.push(set(&format!("component.{component}"), rendered));
    }
    sets
}

/// Every set is taken under strict validation, and is then recognised without so much as a dry run.
pub(crate) async fn is_accepted_and_stable(cluster: &dyn Cluster) {
    let options = ApplyOptions::new(platform());
    for set in sets(true) {
        cluster.apply(&set, &options).await.unwrap();
        let diff = cluster.diff(&set, &options).await.unwrap();
        let differing: Vec<_> = diff.iter().filter(|one| one.change != ObjectChange::Unchanged).collect();
        assert!(differing.is_empty(), "{differing:?}");
        assert!(!cluster.apply(&set, &options).await.unwrap().wrote());
    }
    // What is protected is not deleted with its set.
    let refused = cluster.delete_set("isolation.testing", &options).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    for set in sets(false) {
        cluster.apply(&set, &options).await.unwrap();
    }
    for name in cluster.sets(&options.owner).await.unwrap() {
        let report = cluster.delete_set(&name, &options).await.unwrap();
        assert!(report.left.is_empty(), "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubernetes"]
async fn a_real_cluster_takes_it() {
    log();
    let kubeconfig = PathBuf::from(std::env::var_os("KUBECONFIG").expect("KUBECONFIG names a cluster"));
    let (cluster, _) = two_handles(&access_from_kubeconfig(&kubeconfig, None, name()).unwrap());
    is_accepted_and_stable(&cluster).await;
}
