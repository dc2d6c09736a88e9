//! Isolation on embedded clusters: the API is as strict as a real one, the network is simulated.

use crate::{apply, breaches, log, surprises};
use platform_core::{
    Application, Environment, Image, Isolation, Platform,
    cluster::{ApplyOptions, ClusterProvider},
    event::Progress,
    isolation::{Action, Barrier, DataFate, Holder, NotTried, Verdict},
    manifest::{Manifest, ManifestSet},
    name::{ClusterName, EnvironmentName, Namespace, PlatformName},
    platform::DeletionTarget,
};
use platform_k8s::Kubernetes;
use platform_testkit::EmbeddedProvider;
use serde_json::{Value, json};

fn platform(isolation: Isolation) -> (Platform, EmbeddedProvider) {
    log();
    let provider = EmbeddedProvider::in_memory();
    let image = Image::parse("registry.example.com/api:1").unwrap();
    let platform = Platform::builder("shop")
        .unwrap()
        .isolation(isolation)
        .environment(Environment::new("testing").unwrap())
        .environment(Environment::new("production").unwrap().protected(true))
        .application(Application::new("api1", image.clone()).unwrap().port(8080).route("api1.example.com"))
        .application(Application::new("api2", image).unwrap().port(8080))
        .provider(provider.clone())
        .orchestrator(Kubernetes::default())
        .build()
        .unwrap();
    (platform, provider)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_isolation_holds_and_says_that_the_network_is_simulated() {
    for isolation in [
        Isolation::NamespacePerEnvironment,
        Isolation::NamespacePerApplication,
        Isolation::ClusterPerEnvironment,
    ] {
        let (platform, _) = platform(isolation);
        apply(&platform).await;
        let report = platform.verify().await.unwrap();
        assert!(report.holds(), "{isolation}: {:#?}", surprises(&report));
        assert!(report.simulated && report.of(Action::Connect).count() > 0);
        let simulated = Verdict::NotTried { why: NotTried::Simulated };
        assert!(report.of(Action::Connect).all(|attempt| attempt.verdict == simulated));
        let is_shared = isolation != Isolation::ClusterPerEnvironment;
        let abroad = report.of(Action::ReadSecrets).filter(|a| a.target.contains("production"));
        assert_eq!(abroad.count() > 0, is_shared);
        let refused = Verdict::Stopped { by: Barrier::Authentication };
        assert!(report.of(Action::Authenticate).all(|attempt| attempt.verdict == refused));
    }
}

#[tokio::test]
async fn what_is_not_applied_cannot_be_verified() {
    let (platform, _) = platform(Isolation::NamespacePerEnvironment);
    let error = platform.verify().await.unwrap_err().to_string();
    assert!(error.contains("apply the platform first"), "{error}");
}

/// Applies objects of somebody else.
async fn bring(platform: &Platform, owner: &str, cluster: &str, objects: Vec<Value>) {
    let cluster = platform.cluster(&ClusterName::new(cluster).unwrap()).await.unwrap();
    let manifests = objects.into_iter().map(|object| Manifest::new(object).unwrap()).collect();
    let set = ManifestSet::new(format!("{owner}.extra"), manifests).unwrap();
    cluster.apply(&set, &ApplyOptions::new(PlatformName::new(owner).unwrap())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_reaches_into_another_environment_is_found() {
    let (platform, _) = platform(Isolation::NamespacePerEnvironment);
    apply(&platform).await;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "helpful", "namespace": "production"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"},
        "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": "testing"}],
    });
    bring(&platform, "rival", "shop-shared", vec![binding]).await;
    let report = platform.verify().await.unwrap();
    let found = breaches(&report);
    assert!(!report.holds());
    for action in [Action::Read, Action::List, Action::ReadSecrets, Action::Create, Action::Apply] {
        assert!(found.contains(&action), "{action:?} {found:?}");
    }
    // The right to act is not the right to give rights.
    assert!(!found.contains(&Action::BindRole) && !found.contains(&Action::DeleteNamespace), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_blast_radius_tells_what_is_there_and_whose_it_is() {
    let (platform, provider) = platform(Isolation::NamespacePerEnvironment);
    apply(&platform).await;
    let (testing, production) =
        (EnvironmentName::new("testing").unwrap(), EnvironmentName::new("production").unwrap());
    let api1 = "api1".try_into().unwrap();
    platform.promote(&api1, &testing, &production).await.unwrap().await.unwrap();
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "ledger", "namespace": "production"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "3Gi"}}},
    });
    let door = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "door", "namespace": "default"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
    });
    let job = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "report", "namespace": "production"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "report"}}, "template": {
            "metadata": {"labels": {"app": "report"}},
            "spec": {"containers": [{"name": "report", "image": "registry.example.com/report:1"}]}}},
    });
    bring(&platform, "rival", "shop-shared", vec![claim, door, job]).await;

    let cluster = ClusterName::new("shop-shared").unwrap();
    let namespace = DeletionTarget::Namespace {
        cluster: cluster.clone(),
        namespace: Namespace::new("production").unwrap(),
    };
    let radius = platform.blast_radius(&namespace).await.unwrap();
    let contents = &radius.contents;
    assert_eq!(radius.applications(), [(&production, &api1)]);
    assert!(radius.hits_others() && contents.namespaces[0].protected);
    let names: Vec<&str> = contents.workloads.iter().map(|workload| workload.object.name.as_str()).collect();
    assert_eq!(names, ["api1", "report"]);
    let rival = Holder::Foreign { manager: Some("platform rival".into()) };
    assert_eq!((&contents.workloads[1].holder, &contents.volumes[0].holder), (&rival, &rival));
    assert_eq!((contents.volumes[0].size.as_str(), contents.volumes[0].fate), ("3Gi", DataFate::Lost));
    assert_eq!(contents.routes[0].names, ["api1.example.com"]);
    assert!(contents.load_balancers.is_empty());
    let text = radius.to_string();
    for part in [
        "deleting namespace production of cluster shop-shared would lose 2 workloads (1 not of the platform), 1 volume claim, 1 route",
        "1 application: api1 in production",
        "namespace production of environment production, protected",
        "Deployment production/report, 0 pods ready (not the platform's, but of platform rival)",
        "Ingress production/api1, api1.example.com (application api1 in production)",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }

    let whole = platform.blast_radius(&DeletionTarget::Cluster(cluster)).await.unwrap();
    assert_eq!(whole.applications().len(), 3);
    assert_eq!(whole.contents.load_balancers.len(), 1);
    // What is not there is no loss, and what has never been made is an error.
    let nowhere = DeletionTarget::Namespace {
        cluster: ClusterName::new("shop-shared").unwrap(),
        namespace: Namespace::new("nowhere").unwrap(),
    };
    assert!(platform.blast_radius(&nowhere).await.unwrap().is_empty());
    let name = ClusterName::new("shop-control-plane").unwrap();
    provider.delete(&platform.spec().name, &name, &Progress::silent()).await.unwrap();
    assert!(platform.blast_radius(&DeletionTarget::Cluster(name)).await.is_err());
}
