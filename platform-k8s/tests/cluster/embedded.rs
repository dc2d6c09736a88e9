//! What only a server shows that can be looked into and disturbed.

use crate::{log, name, platform, rendering, two_handles};
use async_trait::async_trait;
use http::Method;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams};
use platform_core::{
    ErrorKind, Result,
    cluster::{
        ApplyOptions, Cluster, ClusterAccess, Credential, CredentialSource, ObjectChange, ObjectOutcome,
    },
    event::Progress,
    manifest::{Manifest, ManifestSet, ObjectRef},
};
use platform_k8s::KubeCluster;
use platform_testkit::kubernetes::{Effect, EmbeddedApi, Fault};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

async fn start() -> (EmbeddedApi, KubeCluster) {
    log();
    let api = EmbeddedApi::builder().start().await.unwrap();
    let (cluster, _) = two_handles(&ClusterAccess::new(name(), api.url()));
    (api, cluster)
}

fn options() -> ApplyOptions {
    ApplyOptions::new(platform())
}

fn config(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "a"}, "data": {"value": value}})
}

fn set(objects: impl IntoIterator<Item = Value>) -> ManifestSet {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}});
    let manifests = std::iter::once(namespace).chain(objects).map(|o| Manifest::new(o).unwrap()).collect();
    ManifestSet::new("test", manifests).unwrap()
}

fn config_ref(name: &str) -> ObjectRef {
    ObjectRef::new("v1", "ConfigMap", name).in_namespace("a")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_apply_of_many_objects_takes_a_handful_of_requests() {
    let (api, cluster) = start().await;
    let set = set((0..600).map(|i| config(&format!("map-{i}"), "1")));
    assert_eq!(cluster.apply(&set, &options()).await.unwrap().count(ObjectOutcome::Created), 601);
    let before = api.requests();
    assert!(!cluster.apply(&set, &options()).await.unwrap().wrote());
    let diff = cluster.diff(&set, &options()).await.unwrap();
    assert!(diff.iter().all(|one| one.change == ObjectChange::Unchanged));
    let counts = api.requests().since(&before);
    assert_eq!((counts.writes(), counts.of("dry-run")), (0, 0), "{counts:?}");
    // Each time: the parent; the namespace's list; two pages of ConfigMaps in one namespace, one in the other.
    assert!(counts.of("get") + counts.of("list") <= 10, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sets_are_compared_with_the_requests_of_one() {
    let (api, cluster) = start().await;
    cluster.apply(&set([]), &options()).await.unwrap();
    let sets: Vec<ManifestSet> = (0..10)
        .map(|i| {
            let maps = (0..3).map(|j| Manifest::new(config(&format!("map-{i}-{j}"), "1")).unwrap());
            ManifestSet::new(format!("set-{i}"), maps.collect()).unwrap()
        })
        .collect();
    for set in &sets {
        cluster.apply(set, &options()).await.unwrap();
    }
    let changed = ManifestSet::new("set-3", vec![Manifest::new(config("map-3-0", "2")).unwrap()]).unwrap();
    let all: Vec<&ManifestSet> = sets.iter().take(3).chain([&changed]).chain(sets.iter().skip(4)).collect();
    let before = api.requests();
    let diffs = cluster.diff_all(&all, &options()).await.unwrap();
    let counts = api.requests().since(&before);
    // The parents, the ConfigMaps of two namespaces, and a dry run of the one that differs.
    assert_eq!((counts.of("list"), counts.of("dry-run"), counts.of("get")), (3, 1, 0), "{counts:?}");
    for (at, (diff, set)) in diffs.iter().zip(&all).enumerate() {
        assert_eq!(diff, &cluster.diff(set, &options()).await.unwrap());
        assert_eq!(diff.iter().all(|one| one.change == ObjectChange::Unchanged), at != 3, "{diff:?}");
    }
    assert_eq!(diffs[3].iter().filter(|one| one.change == ObjectChange::Prune).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn alike_objects_are_asked_about_once_and_those_that_are_taken_each() {
    let (api, cluster) = start().await;
    cluster.apply(&set([]), &options()).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), "a");
    let taken = serde_json::from_value(config("map-7", "theirs")).unwrap();
    maps.create(&kube::api::PostParams::default(), &taken).await.unwrap();
    let many = || (0..40).map(|i| config(&format!("map-{i}"), &i.to_string()));
    let before = api.requests();
    let error = cluster.apply(&set(many()), &options()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.to_string().contains("ConfigMap a/map-7"), "{error}");
    let counts = api.requests().since(&before);
    assert_eq!((counts.writes(), counts.of("dry-run")), (0, 2), "{counts:?}");

    // One that the server refuses is asked about, however many others are like each other.
    let mut wrong = config("wrong", "1");
    wrong["dta"] = json!({});
    let refused = set(many().filter(|m| m["metadata"]["name"] != "map-7").chain([wrong]));
    let error = cluster.apply(&refused, &options()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("a/wrong"), "{error}");
    assert!(
        cluster.get(&config_ref("map-1")).await.unwrap().is_none(),
        "nothing of a refused set is written"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_lost_answers_are_outlasted() {
    let (api, cluster) = start().await;
    let set = set((0..20).map(|i| config(&format!("map-{i}"), "1")));
    for (effect, path) in [
        (Effect::Status(503), "/configmaps/map-1"),
        (Effect::Status(429), "/configmaps/map-2"),
        (Effect::Drop, "/configmaps/map-3"),
        (Effect::DropAnswer, "/configmaps/map-4"),
        (Effect::DropAnswer, "/configmaps/applyset"),
        (Effect::Status(500), "/apis"),
    ] {
        api.faults().inject(Fault::new(effect).path(path).times(2));
    }
    let report = cluster.apply(&set, &options()).await.unwrap();
    assert_eq!(report.count(ObjectOutcome::Created), 21);
    api.faults().clear();
    assert!(!cluster.apply(&set, &options()).await.unwrap().wrote());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_ends_the_tries_and_says_that_later_may_help() {
    let (api, cluster) = start().await;
    api.faults().inject(Fault::new(Effect::Status(503)).times(1000));
    let error = cluster.version().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.is_retryable());
    assert!(error.to_string().starts_with("cannot read the version in cluster shop-testing"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_meets_the_deadline() {
    let (api, cluster) = start().await;
    api.faults().inject(Fault::new(Effect::Delay(Duration::from_secs(60))).times(1000));
    let error = cluster.diff(&set([]), &options().deadline(Duration::from_millis(200))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_pruned_after_a_failed_apply_and_the_next_one_finishes() {
    let (api, cluster) = start().await;
    cluster.apply(&set([config("old", "1"), config("changed", "1")]), &options()).await.unwrap();
    let next = set([config("new", "1"), config("changed", "2")]);
    // The dry run passes, the write behind it fails.
    let patch = |effect| Fault::new(effect).method(Method::PATCH).path("/configmaps/changed");
    api.faults().inject(patch(Effect::Delay(Duration::ZERO)));
    api.faults().inject(patch(Effect::Status(403)));
    let error = cluster.apply(&next, &options()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().contains("ConfigMap a/changed"), "{error}");
    assert!(cluster.get(&config_ref("old")).await.unwrap().is_some());

    let report = cluster.apply(&next, &options()).await.unwrap();
    assert_eq!(report.objects.last(), Some(&(config_ref("old"), ObjectOutcome::Pruned)));
    assert!(cluster.get(&config_ref("old")).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_held_ends_the_deletion_at_its_deadline_and_the_next_one_finishes() {
    let (_api, cluster) = start().await;
    let mut held = config("held", "1");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    cluster.apply(&set([held]), &options()).await.unwrap();
    let short = options().deadline(Duration::from_secs(3));
    let error = cluster.delete_set("test", &short).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("ConfigMap a/held (held by example.com/hold)"), "{error}");
    assert_eq!(cluster.sets(&options().owner).await.unwrap(), ["test"]);

    let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), "a");
    let release = json!({"metadata": {"finalizers": null}});
    maps.patch("held", &PatchParams::default(), &Patch::Merge(&release)).await.unwrap();
    cluster.delete_set("test", &options()).await.unwrap();
    assert!(cluster.sets(&options().owner).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_survives_the_end_of_its_watches() {
    let (api, cluster) = start().await;
    let missing = config_ref("late");
    cluster.apply(&set([]), &options()).await.unwrap();
    api.faults().inject(Fault::new(Effect::Drop).method(Method::GET).path("/configmaps").times(2));
    let waiting = {
        let (cluster, missing) = (cluster.clone(), missing.clone());
        tokio::spawn(async move {
            cluster.wait_ready(&[missing], Duration::from_secs(60), &Progress::silent()).await
        })
    };
    cluster.apply(&set([config("late", "1")]), &options()).await.unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_outlasts_one_rejected_credential_and_no_more() {
    let (api, cluster) = start().await;
    cluster.apply(&set([config("one", "1")]), &options()).await.unwrap();
    let reject = |times| Fault::new(Effect::Status(401)).method(Method::GET).path("/configmaps").times(times);
    let wait = || async {
        cluster.wait_ready(&[config_ref("one")], Duration::from_secs(60), &Progress::silent()).await
    };
    api.faults().inject(reject(1));
    wait().await.unwrap();
    api.faults().inject(reject(1000));
    assert_eq!(wait().await.unwrap_err().kind(), ErrorKind::Denied);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_takes_the_replicas_over_as_they_are() {
    let (_api, cluster) = start().await;
    let deployment = |replicas: Option<u32>| {
        let mut deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "a"},
            "spec": {
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "web", "image": "example.com/web:1"}]},
                },
            },
        });
        if let Some(replicas) = replicas {
            deployment["spec"]["replicas"] = replicas.into();
        }
        deployment
    };
    cluster.apply(&set([deployment(Some(5))]), &options()).await.unwrap();
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web", "namespace": "a"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 2, "maxReplicas": 9,
        },
    });
    let scaled = set([deployment(None), autoscaler]);
    let diff = cluster.diff(&scaled, &options()).await.unwrap();
    assert!(!format!("{diff:?}").contains(".spec.replicas"), "{diff:?}");
    cluster.apply(&scaled, &options()).await.unwrap();
    let reference = ObjectRef::new("apps/v1", "Deployment", "web").in_namespace("a");
    assert_eq!(cluster.get(&reference).await.unwrap().unwrap()["spec"]["replicas"], 5);
    assert!(!cluster.apply(&scaled, &options()).await.unwrap().wrote());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_may_take_a_moment_to_be_served() {
    let (api, cluster) = start().await;
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    });
    let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "one", "namespace": "a"}});
    api.faults().inject(Fault::new(Effect::Status(404)).path("/apis/example.com/v1").times(4));
    let report = cluster.apply(&set([definition, widget]), &options()).await.unwrap();
    assert_eq!(report.count(ObjectOutcome::Created), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_deleted_is_not_taken_for_applied() {
    let (_api, cluster) = start().await;
    let mut held = config("held", "1");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let set = set([held]);
    cluster.apply(&set, &options()).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), "a");
    maps.delete("held", &kube::api::DeleteParams::default()).await.unwrap();
    let error = cluster.apply(&set, &options()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("ConfigMap a/held: it is being deleted"), "{error}");
}

/// A token of an account of the cluster.
async fn token(cluster: &KubeCluster) -> String {
    let request = http::Request::post("/api/v1/namespaces/default/serviceaccounts/default/token")
        .header("content-type", "application/json")
        .body(br#"{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}"#.to_vec())
        .unwrap();
    let answer: Value = cluster.client().request(request).await.unwrap();
    answer["status"]["token"].as_str().unwrap().to_owned()
}

/// Counts how often it is asked.
#[derive(Debug)]
struct Counted {
    token: String,
    asked: AtomicU32,
    lasts: Duration,
}

#[async_trait]
impl CredentialSource for Counted {
    async fn credential(&self) -> Result<Credential> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let expires = Some(SystemTime::now() + self.lasts);
        Ok(Credential::Bearer { token: self.token.clone().into(), expires })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_asked_for_when_they_end_or_are_rejected() {
    let api = EmbeddedApi::builder().start().await.unwrap();
    let token = token(&two_handles(&ClusterAccess::new(name(), api.url())).0).await;
    let connect = |lasts: u64| {
        let token = token.clone();
        let source = Arc::new(Counted { token, asked: AtomicU32::new(0), lasts: Duration::from_secs(lasts) });
        let (cluster, _) = two_handles(&ClusterAccess::new(name(), api.url()).credentials(source.clone()));
        (source, cluster)
    };
    let asked = |source: &Counted| source.asked.load(Ordering::SeqCst);

    let (long, cluster) = connect(3600);
    for _ in 0..5 {
        cluster.version().await.unwrap();
    }
    assert_eq!(asked(&long), 1);
    api.faults().inject(Fault::new(Effect::Status(401)));
    cluster.version().await.unwrap();
    assert_eq!(asked(&long), 2);

    // Good for half a minute, it is about to end, and asked for each time.
    let (short, cluster) = connect(30);
    for _ in 0..5 {
        cluster.version().await.unwrap();
    }
    assert_eq!(asked(&short), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rendered_is_accepted_and_stable() {
    let (_api, cluster) = start().await;
    rendering::is_accepted_and_stable(&cluster).await;
}
