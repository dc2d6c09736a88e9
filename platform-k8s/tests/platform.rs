//! A whole platform on embedded clusters: core's composition, this crate's clusters, the testkit's provider.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

use async_trait::async_trait;
use futures::StreamExt;
use platform_core::{
    Application, Confirmation, Environment, ErrorKind, Image, Isolation, Platform, PlatformBuilder,
    cluster::{
        ApplyOptions, ClusterAccess, ClusterChange, ClusterProvider, ClusterSpec, ClusterStatus, Deletion,
        ProviderCapabilities, Readiness,
    },
    event::{Event, Progress, StepOutcome},
    manifest::{Manifest, ManifestSet, ObjectRef},
    name::{ApplicationName, ClusterName, EnvironmentName, PlatformName},
    telemetry::{TelemetryPlane, TelemetrySummary, Topology},
};
use platform_k8s::{
    Kubernetes,
    components::{KubeStateMetrics, NodeExporter},
};
use platform_testkit::EmbeddedProvider;
use serde_json::json;
use std::{sync::Arc, time::Duration};

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
    // ErrImagePull at first, ImagePullBackOff soon after.
    assert!(error.to_string().contains("ImagePull"), "{error}");
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

/// The tags in the history of releases of api1, the latest first.
async fn history(platform: &Platform, environment: &EnvironmentName) -> Vec<String> {
    let releases = platform.releases(&api1(), environment).await.unwrap();
    releases.iter().map(|release| release.image.tag().unwrap().to_owned()).collect()
}

/// Replaces the content of the ConfigMap that holds production's history.
async fn edit_history(platform: &Platform, data: serde_json::Value) {
    let cluster = platform.cluster(&ClusterName::new("shop-production").unwrap()).await.unwrap();
    let map = Manifest::new(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "api1-releases", "namespace": "api1"}, "data": data,
    }));
    let reference = ObjectRef::new("v1", "ConfigMap", "api1-releases").in_namespace("api1");
    let there = cluster.get(&reference).await.unwrap().unwrap();
    let deployment = ObjectRef::new("apps/v1", "Deployment", "api1").in_namespace("api1");
    assert!(cluster.get(&deployment).await.unwrap().is_some());
    let labels: Vec<(String, String)> = there["metadata"]["labels"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned()))
        .collect();
    let map = map.unwrap().with_labels(labels.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    // Without pruning: the rest of the set stays as it is.
    let options = ApplyOptions::new(platform.spec().name.clone()).force(true).prune(false);
    let set = ManifestSet::new("application.production.api1", vec![map]).unwrap();
    cluster.apply(&set, &options).await.unwrap();
}

#[tokio::test]
async fn a_plan_that_has_become_old_takes_no_promotion_back() {
    let provider = EmbeddedProvider::in_memory();
    let platform = shop(&provider);
    apply(&platform).await;
    platform.promote(&api1(), &testing(), &production()).await.unwrap().await.unwrap();
    let old = platform.plan().await.unwrap();
    platform.deploy(&api1(), &testing(), image("2")).await.unwrap().await.unwrap();
    platform.promote(&api1(), &testing(), &production()).await.unwrap().await.unwrap();

    let error = platform.apply(&old).unwrap().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.to_string().contains("meanwhile registry.example.com/api1:2 was deployed"), "{error}");
    assert_eq!(running(&platform, &production()).await.as_deref(), Some("2"));
    assert_eq!(history(&platform, &production()).await, ["2", "1"]);
    // The spec has the last word in testing, and its history has lost nothing by it.
    assert_eq!(history(&platform, &testing()).await, ["1", "2", "1"]);
}

#[tokio::test]
#[allow(clippy::async_yields_async, reason = "all are started before the first is awaited")]
async fn deployments_at_the_same_time_all_stay_in_the_history() {
    let provider = EmbeddedProvider::in_memory();
    let platform = shop(&provider);
    apply(&platform).await;
    let tags = ["2", "3", "4", "5"];
    let started = futures::future::join_all(tags.map(|tag| {
        let platform = &platform;
        async move { platform.deploy(&api1(), &testing(), image(tag)).await.unwrap() }
    }))
    .await;
    for result in futures::future::join_all(started).await {
        result.unwrap();
    }
    let history = history(&platform, &testing()).await;
    let mut sorted = history.clone();
    sorted.sort();
    assert_eq!(sorted, ["1", "2", "3", "4", "5"]);
    assert_eq!(running(&platform, &testing()).await, Some(history[0].clone()));
}

#[tokio::test]
async fn rolling_back_twice_at_once_goes_one_release_back() {
    let provider = EmbeddedProvider::in_memory();
    let platform = shop(&provider);
    apply(&platform).await;
    for tag in ["2", "3"] {
        platform.deploy(&api1(), &testing(), image(tag)).await.unwrap().await.unwrap();
    }
    let first = platform.rollback(&api1(), &testing()).await.unwrap();
    let second = platform.rollback(&api1(), &testing()).await.unwrap();
    let (first, second) = futures::future::join(first, second).await;
    first.unwrap();
    second.unwrap();
    assert_eq!(history(&platform, &testing()).await, ["2", "1"]);
}

#[tokio::test]
async fn production_outlives_the_loss_of_its_history() {
    let provider = EmbeddedProvider::in_memory();
    let platform = shop(&provider);
    apply(&platform).await;
    platform.promote(&api1(), &testing(), &production()).await.unwrap().await.unwrap();

    edit_history(&platform, json!({"releases": "[{"})).await;
    let error = platform.plan().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("delete the ConfigMap api1-releases"), "{error}");

    edit_history(&platform, json!({"releases": "[]"})).await;
    let plan = platform.plan().await.unwrap();
    assert_eq!(plan.summary().sets_to_delete, 0, "{plan}");
    platform.apply(&plan).unwrap().await.unwrap();
    assert_eq!(running(&platform, &production()).await.as_deref(), Some("1"));
    assert_eq!(history(&platform, &production()).await, ["1"]);
}

#[tokio::test]
async fn a_promotion_to_a_cluster_that_does_not_exist_says_so() {
    let provider = EmbeddedProvider::in_memory();
    let platform = shop(&provider);
    apply(&platform).await;
    let name = ClusterName::new("shop-production").unwrap();
    provider.delete(&platform.spec().name, &name, &Progress::silent()).await.unwrap();
    let error = platform.promote(&api1(), &testing(), &production()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot promote api1 in production: its cluster shop-production does not exist (apply the platform first)"
    );
}

#[tokio::test]
async fn a_cluster_that_vanished_after_the_plan_is_made_again() {
    let provider = EmbeddedProvider::in_memory();
    let platform = shop(&provider);
    apply(&platform).await;
    let plan = platform.plan().await.unwrap();
    assert!(plan.is_empty());
    let name = ClusterName::new("shop-testing").unwrap();
    provider.delete(&platform.spec().name, &name, &Progress::silent()).await.unwrap();
    platform.apply(&plan).unwrap().await.unwrap();
    assert_eq!(running(&platform, &testing()).await.as_deref(), Some("1"));
    assert!(platform.plan().await.unwrap().is_empty());
}

/// Embedded clusters, of which those of one name do not answer, or are what a broken one is.
#[derive(Debug, Clone)]
struct Troubled {
    provider: EmbeddedProvider,
    cluster: &'static str,
    broken: bool,
}

#[async_trait]
impl ClusterProvider for Troubled {
    fn name(&self) -> &str {
        self.provider.name()
    }
    fn capabilities(&self) -> ProviderCapabilities {
        self.provider.capabilities()
    }
    async fn preflight(&self) -> platform_core::Result<()> {
        self.provider.preflight().await
    }
    async fn plan(&self, spec: &ClusterSpec) -> platform_core::Result<ClusterChange> {
        if spec.name == self.cluster && self.broken {
            return Ok(ClusterChange::Update { differences: vec!["it does not answer".to_owned()] });
        }
        self.provider.plan(spec).await
    }
    async fn warnings(&self, spec: &ClusterSpec) -> platform_core::Result<Vec<String>> {
        let is_broken = spec.name == self.cluster && self.broken;
        Ok(is_broken.then(|| format!("cluster {} runs an old version", spec.name)).into_iter().collect())
    }
    async fn create(&self, spec: &ClusterSpec, progress: &Progress) -> platform_core::Result<ClusterStatus> {
        self.provider.create(spec, progress).await
    }
    async fn list(&self, platform: &PlatformName) -> platform_core::Result<Vec<ClusterStatus>> {
        self.provider.list(platform).await
    }
    async fn describe(
        &self,
        platform: &PlatformName,
        name: &ClusterName,
    ) -> platform_core::Result<Option<ClusterStatus>> {
        if *name == self.cluster {
            if !self.broken {
                return std::future::pending().await;
            }
            let phase = platform_core::cluster::ClusterPhase::Broken;
            return Ok(Some(ClusterStatus::new(name.clone(), platform.clone(), phase)));
        }
        self.provider.describe(platform, name).await
    }
    async fn access(
        &self,
        platform: &PlatformName,
        name: &ClusterName,
    ) -> platform_core::Result<ClusterAccess> {
        self.provider.access(platform, name).await
    }
    async fn delete(
        &self,
        platform: &PlatformName,
        name: &ClusterName,
        progress: &Progress,
    ) -> platform_core::Result<Deletion> {
        self.provider.delete(platform, name, progress).await
    }
}

fn troubled(provider: &EmbeddedProvider, cluster: &'static str, broken: bool) -> Platform {
    let application = Application::new("api1", image("1")).unwrap().replicas(2).port(8080);
    environments(provider)
        .provider(Troubled { provider: provider.clone(), cluster, broken })
        .application(application)
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_cluster_that_hangs_ends_no_page_and_no_plan_but_its_own() {
    let provider = EmbeddedProvider::in_memory();
    apply(&troubled(&provider, "none", false)).await;
    let hanging = troubled(&provider, "shop-production", false);
    let (status, plan) = futures::future::join(hanging.status(), async {
        // The whole wait of a plan is two minutes: enough to see that it does not answer before the status does.
        tokio::time::timeout(Duration::from_secs(5), hanging.plan()).await
    })
    .await;
    let status = status.unwrap();
    assert!(plan.is_err(), "a plan has to see every cluster");
    let of = |name: &str| status.clusters.iter().find(|c| c.name == name).unwrap();
    assert!(
        of("shop-production").message.contains("no answer after 15s"),
        "{}",
        of("shop-production").message
    );
    assert!(of("shop-testing").phase.is_some());
    let testing = status.environments.iter().find(|e| e.name == "testing").unwrap();
    assert_eq!(testing.applications[0].readiness, Readiness::Current);
}

#[tokio::test]
async fn what_is_in_a_broken_cluster_is_known_after_apply() {
    let provider = EmbeddedProvider::in_memory();
    apply(&troubled(&provider, "none", false)).await;
    let platform = troubled(&provider, "shop-testing", true);
    let plan = platform.plan().await.unwrap();
    let text = plan.to_string();
    assert!(text.contains("~ cluster shop-testing"), "{text}");
    assert!(text.contains("it does not answer"), "{text}");
    // Repairing it finds everything as it was.
    let applied = platform.apply(&plan).unwrap().await.unwrap();
    assert_eq!(applied.objects.written(), 0, "{:?}", applied.objects);
    assert_eq!(history(&platform, &testing()).await, ["1"]);
}

#[tokio::test]
async fn what_a_provider_warns_of_is_in_the_plan() {
    let provider = EmbeddedProvider::in_memory();
    let platform = troubled(&provider, "shop-production", true);
    // The provider plans an update of this one; the others are to be created, and nothing can be said of them.
    let plan = platform.plan().await.unwrap();
    assert_eq!(plan.warnings, ["cluster shop-production runs an old version"]);
    assert!(plan.to_string().contains("cluster shop-production runs an old version"), "{plan}");
    let plan = troubled(&provider, "none", true).plan().await.unwrap();
    assert_eq!(plan.warnings, [""; 0]);
}

/// A plane whose data cannot be deleted.
#[derive(Debug)]
struct Undeletable;

#[async_trait]
impl TelemetryPlane for Undeletable {
    fn describe(&self) -> Vec<String> {
        Vec::new()
    }
    fn is_running(&self) -> bool {
        true
    }
    async fn start(&self, _: Topology, _: &Progress) -> platform_core::Result<bool> {
        Ok(false)
    }
    async fn summary(&self) -> platform_core::Result<TelemetrySummary> {
        Ok(TelemetrySummary::default())
    }
    async fn stop(&self) -> platform_core::Result<()> {
        Ok(())
    }
    async fn destroy(&self) -> platform_core::Result<()> {
        Err(platform_core::Error::new(ErrorKind::Denied, "the directory is read-only"))
    }
}

#[tokio::test]
async fn clusters_are_deleted_even_if_telemetry_is_not() {
    let provider = EmbeddedProvider::in_memory();
    let platform = environments(&provider).telemetry(Arc::new(Undeletable)).build().unwrap();
    apply(&platform).await;
    let error = platform.destroy(&Confirmation::parse("shop production")).await.unwrap().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(provider.list(&platform.spec().name).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_cluster_that_left_the_spec_is_destroyed_only_by_name() {
    let provider = EmbeddedProvider::in_memory();
    apply(&shop(&provider)).await;
    // Production was protected; a spec without it cannot know.
    let shared = environments(&provider).isolation(Isolation::NamespacePerEnvironment).build().unwrap();
    let error = shared.destroy(&Confirmation::parse("shop production")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    let wanted = "confirm with \"shop production shop-production shop-testing\"";
    assert!(error.to_string().contains(wanted), "{error}");
    assert_eq!(provider.list(&shared.spec().name).await.unwrap().len(), 3);
    let confirmation = Confirmation::parse("shop production shop-production shop-testing");
    shared.destroy(&confirmation).await.unwrap().await.unwrap();
    assert!(provider.list(&shared.spec().name).await.unwrap().is_empty());
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

#[tokio::test]
async fn drift_is_told_with_who_did_it() {
    let provider = EmbeddedProvider::in_memory();
    let platform = shop(&provider);
    apply(&platform).await;
    let report = platform.drift().await.unwrap();
    assert!(report.is_empty(), "{report}");
    assert_eq!(report.to_string(), "Platform shop is as it was applied.");

    let name = ClusterName::new("shop-testing").unwrap();
    let access = provider.access(&platform.spec().name, &name).await.unwrap();
    let client = Kubernetes::default().connect_kube(&access).unwrap().client();
    let status = platform.status().await.unwrap();
    let namespace = status.environments[0].applications[0].namespace.as_str();
    let deployments: kube::Api<k8s_openapi::api::apps::v1::Deployment> =
        kube::Api::namespaced(client, namespace);
    let by_hand =
        kube::api::PatchParams { field_manager: Some("kubectl-scale".into()), ..Default::default() };
    let scale = kube::api::Patch::Merge(json!({"spec": {"replicas": 5}}));
    deployments.patch("api1", &by_hand, &scale).await.unwrap();

    let report = platform.drift().await.unwrap();
    assert_eq!(report.objects(), 1, "{report}");
    let said = report.to_string();
    assert!(said.starts_with("cluster shop-testing\n    application api1 in testing"), "{said}");
    assert!(said.contains(".spec.replicas: applied 2, is 5 (kubectl-scale, "), "{said}");
    assert!(said.ends_with("1 object of platform shop is not as it was applied."), "{said}");
}
