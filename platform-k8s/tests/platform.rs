//! A whole platform on embedded clusters: core's composition, this crate's clusters, the testkit's provider.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

use futures::StreamExt;
use platform_core::{
    Application, Confirmation, Environment, ErrorKind, Image, Platform, PlatformBuilder,
    cluster::{ClusterProvider, Readiness},
    event::{Event, StepOutcome},
    manifest::ObjectRef,
    name::{ApplicationName, ClusterName, EnvironmentName},
};
use platform_k8s::{
    Kubernetes,
    components::{KubeStateMetrics, NodeExporter},
};
use platform_testkit::EmbeddedProvider;
use std::time::Duration;

fn image(tag: &str) -> Image {
    Image::parse(format!("registry.example.com/api1:{tag}")).unwrap()
}

fn api1() -> ApplicationName {
    ApplicationName::new("api1").unwrap()
}

fn testing() -> EnvironmentName {
    EnvironmentName::new("testing").unwrap()
}

fn production() -> EnvironmentName {
    EnvironmentName::new("production").unwrap()
}

/// Two environments and a control plane.
fn environments(provider: &EmbeddedProvider) -> PlatformBuilder {
    Platform::builder("shop")
        .unwrap()
        .environment(Environment::new("testing").unwrap())
        .environment(Environment::new("production").unwrap().protected(true))
        .provider(provider.clone())
        .orchestrator(Kubernetes::default())
        .ready_deadline(Duration::from_secs(60))
}

fn shop(provider: &EmbeddedProvider) -> Platform {
    let application =
        Application::new("api1", image("1")).unwrap().replicas(2).port(8080).route("api1.example.com");
    environments(provider)
        .component(NodeExporter::new().unwrap())
        .component(KubeStateMetrics::new().unwrap())
        .application(application)
        .build()
        .unwrap()
}

async fn apply(platform: &Platform) -> platform_core::platform::Applied {
    let plan = platform.plan().await.unwrap();
    platform.apply(&plan).unwrap().await.unwrap()
}

/// The image of api1 in an environment, as the status has it.
async fn running(platform: &Platform, environment: &EnvironmentName) -> Option<String> {
    let status = platform.status().await.unwrap();
    let environment = status.environments.into_iter().find(|e| e.name == *environment).unwrap();
    environment.applications[0].image.as_ref().map(|image| image.tag().unwrap().to_owned())
}

#[tokio::test]
async fn a_second_apply_writes_nothing() {
    let provider = EmbeddedProvider::in_memory();
    let platform = shop(&provider);
    let plan = platform.plan().await.unwrap();
    assert_eq!(plan.summary().clusters_to_create, 3);
    assert!(provider.list(&platform.spec().name).await.unwrap().is_empty(), "planning made something");
    let applied = platform.apply(&plan).unwrap().await.unwrap();
    assert_eq!(applied.objects.created, plan.summary().objects_to_create);

    let writes = provider.writes().await;
    let plan = platform.plan().await.unwrap();
    assert!(plan.is_empty(), "{plan}");
    let again = platform.apply(&plan).unwrap().await.unwrap();
    assert_eq!((again.objects.written(), again.objects.unchanged), (0, applied.objects.created));
    assert_eq!(again.report.count(StepOutcome::Unchanged), again.report.steps.len(), "{}", again.report);
    assert_eq!(provider.writes().await, writes);

    // Another handle with the same spec agrees, since there is no state but the clusters'.
    assert!(shop(&provider).plan().await.unwrap().is_empty());
}

#[tokio::test]
async fn status_says_what_is_ready_and_what_is_not_there() {
    let provider = EmbeddedProvider::in_memory();
    let platform = shop(&provider);
    let before = platform.status().await.unwrap();
    assert!(before.clusters.iter().all(|c| c.phase.is_none()));
    apply(&platform).await;
    let status = platform.status().await.unwrap();
    let components = status.clusters.iter().flat_map(|c| &c.components);
    let readiness: Vec<_> = components.map(|c| (c.name.as_str(), c.readiness)).collect();
    assert_eq!(readiness.len(), 6);
    assert!(readiness.iter().all(|(_, readiness)| *readiness == Readiness::Current), "{readiness:?}");
    assert_eq!(running(&platform, &testing()).await.as_deref(), Some("1"));
    // Production waits for a promotion.
    assert_eq!(running(&platform, &production()).await, None);
}

#[tokio::test]
async fn an_application_is_promoted_and_rolled_back() {
    let provider = EmbeddedProvider::in_memory();
    let platform = shop(&provider);
    apply(&platform).await;
    platform.promote(&api1(), &testing(), &production()).await.unwrap().await.unwrap();
    platform.deploy(&api1(), &testing(), image("2")).await.unwrap().await.unwrap();
    platform.promote(&api1(), &testing(), &production()).await.unwrap().await.unwrap();
    assert_eq!(running(&platform, &production()).await.as_deref(), Some("2"));
    platform.rollback(&api1(), &production()).await.unwrap().await.unwrap();
    assert_eq!(running(&platform, &production()).await.as_deref(), Some("1"));

    // Applying leaves production as promotion left it, and brings the spec's image back to testing.
    apply(&platform).await;
    assert_eq!(running(&platform, &production()).await.as_deref(), Some("1"));
    assert_eq!(running(&platform, &testing()).await.as_deref(), Some("1"));

    let backwards = platform.promote(&api1(), &production(), &testing()).await.unwrap_err();
    assert_eq!(backwards.kind(), ErrorKind::Refused);
    let releases = platform.releases(&api1(), &testing()).await.unwrap();
    let tags: Vec<_> = releases.iter().map(|r| r.image.tag().unwrap()).collect();
    assert_eq!(tags, ["1", "2", "1"]);
}

#[tokio::test]
async fn what_cannot_start_fails_at_once_and_is_not_promoted() {
    let provider = EmbeddedProvider::in_memory();
    let platform = shop(&provider);
    apply(&platform).await;
    let broken = Image::parse("registry.example.com/image-pull-back-off:3").unwrap();
    let error = platform.deploy(&api1(), &testing(), broken).await.unwrap().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed, "{error}");
    assert!(error.to_string().contains("ImagePullBackOff"), "{error}");
    let refused = platform.promote(&api1(), &testing(), &production()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused, "{refused}");
    platform.rollback(&api1(), &testing()).await.unwrap().await.unwrap();
    assert_eq!(running(&platform, &testing()).await.as_deref(), Some("1"));
    platform.promote(&api1(), &testing(), &production()).await.unwrap().await.unwrap();
}

#[tokio::test]
async fn what_is_no_longer_wanted_is_removed() {
    let provider = EmbeddedProvider::in_memory();
    apply(&shop(&provider)).await;
    let smaller = environments(&provider).component(NodeExporter::new().unwrap()).build().unwrap();
    let plan = smaller.plan().await.unwrap();
    assert!(plan.to_string().contains("- application.testing.api1"), "{plan}");
    assert!(plan.to_string().contains("- component.kube-state-metrics"), "{plan}");
    smaller.apply(&plan).unwrap().await.unwrap();
    let cluster = smaller.cluster(&ClusterName::new("shop-testing").unwrap()).await.unwrap();
    let deployment = ObjectRef::new("apps/v1", "Deployment", "api1").in_namespace("api1");
    assert_eq!(cluster.get(&deployment).await.unwrap(), None);
    assert!(smaller.plan().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_cancelled_apply_is_resumed_by_applying_again() {
    let provider = EmbeddedProvider::in_memory();
    let platform = shop(&provider);
    let plan = platform.plan().await.unwrap();
    let mut applying = platform.apply(&plan).unwrap();
    let mut events = applying.events();
    let cancellation = applying.cancellation();
    let applying = tokio::spawn(applying);
    while let Some(event) = events.next().await {
        // In the middle: a cluster is there, its content is not.
        if matches!(event, Event::StepFinished { outcome: StepOutcome::Done, .. }) {
            cancellation.cancel();
            break;
        }
    }
    let error = applying.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    assert!(!platform.plan().await.unwrap().is_empty());
    apply(&platform).await;
    assert!(platform.plan().await.unwrap().is_empty());
}

#[tokio::test]
async fn destroying_asks_for_every_protected_name_and_leaves_nothing() {
    let provider = EmbeddedProvider::in_memory();
    let platform = shop(&provider);
    apply(&platform).await;
    assert_eq!(platform.confirmation_text(), "shop production");
    for too_little in [Confirmation::new("shop"), Confirmation::new("other").including("production")] {
        let error = platform.destroy(&too_little).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.to_string().contains("confirm with \"shop production\""), "{error}");
    }
    platform.destroy(&Confirmation::parse("shop production")).await.unwrap().await.unwrap();
    assert!(provider.list(&platform.spec().name).await.unwrap().is_empty());
    // A second time there is nothing to do.
    platform.destroy(&Confirmation::parse("shop production")).await.unwrap().await.unwrap();
}

#[tokio::test]
async fn a_cluster_that_left_the_spec_is_told_and_left_alone() {
    let provider = EmbeddedProvider::in_memory();
    apply(&shop(&provider)).await;
    let fewer = Platform::builder("shop")
        .unwrap()
        .environment(Environment::new("production").unwrap())
        .provider(provider.clone())
        .orchestrator(Kubernetes::default())
        .build()
        .unwrap();
    let plan = fewer.plan().await.unwrap();
    assert_eq!(plan.warnings.len(), 1);
    assert!(
        plan.warnings[0].starts_with("cluster shop-testing belongs to this platform"),
        "{}",
        plan.warnings[0]
    );
    fewer.apply(&plan).unwrap().await.unwrap();
    assert_eq!(provider.list(&fewer.spec().name).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_name_that_is_unknown_is_answered_with_those_that_are_known() {
    let platform = shop(&EmbeddedProvider::in_memory());
    let unknown = ApplicationName::new("api9").unwrap();
    let error = platform.releases(&unknown, &testing()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot list the releases of api9: the platform has no such application, it has api1"
    );
    let error = environments(&EmbeddedProvider::in_memory())
        .component_named(platform_core::name::ComponentName::new("prometheuz").unwrap())
        .build()
        .unwrap_err();
    assert!(error.to_string().contains("node-exporter"), "{error}");
}
