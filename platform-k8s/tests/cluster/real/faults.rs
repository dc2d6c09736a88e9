//! Bad input and a bad server: each ends in a clear error or a completed run, and running again finishes the work.

use super::{
    PATIENCE, Place, dynamic, eventually,
    proxy::{Disturbance, Proxy},
};
use crate::name;
use async_trait::async_trait;
use k8s_openapi::api::{authentication::v1::TokenRequest, core::v1::ServiceAccount};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use platform_core::{
    Error, ErrorKind, Result,
    cluster::{Cluster, ClusterAccess, Credential, CredentialSource, ObjectOutcome},
    event::Progress,
    manifest::ObjectRef,
};
use platform_k8s::Kubernetes;
use serde_json::json;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::net::TcpListener;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubernetes"]
async fn a_kind_that_nobody_serves_is_refused_before_anything_is_written() {
    let place = Place::new("unknown-kind").await;
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.unknown-kind.platform.dev"},
        "spec": {
            "group": "unknown-kind.platform.dev", "scope": "Namespaced", "names": {"plural": "gadgets", "kind": "Gadget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    });
    let gadget = json!({"apiVersion": "unknown-kind.platform.dev/v1", "kind": "Gadget", "metadata": place.metadata("one")});
    let set = place.set([place.config("one", "1"), gadget.clone()]);
    let error = place.cluster.apply(&set, &place.options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("does not serve Gadget of unknown-kind.platform.dev/v1"), "{error}");
    let namespace = ObjectRef::new("v1", "Namespace", &place.namespace);
    assert!(place.cluster.get(&namespace).await.unwrap().is_none());

    let set = place.set([place.config("one", "1"), gadget, definition]);
    let report = place.cluster.apply(&set, &place.options).await.unwrap();
    assert_eq!(report.count(ObjectOutcome::Created), 4);
    assert!(!place.cluster.apply(&set, &place.options).await.unwrap().wrote());
    place.clear().await;
}

/// The API server must reach this test's 127.0.0.1.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubernetes"]
async fn a_webhook_that_does_not_answer_is_named() {
    let place = Place::new("webhook").await;
    let empty = place.set([]);
    place.cluster.apply(&empty, &place.options).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let silent = tokio::spawn({
        let asked = asked.clone();
        async move {
            let mut held = Vec::new();
            loop {
                held.push(listener.accept().await.unwrap());
                asked.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    let webhooks = place.objects(
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        None,
    );
    let _ = webhooks.delete("real-webhook", &DeleteParams::default()).await;
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "real-webhook"},
        "webhooks": [{
            "name": "silent.platform.dev", "clientConfig": {"url": url}, "timeoutSeconds": 1, "failurePolicy": "Fail",
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": place.namespace}},
            "sideEffects": "None", "admissionReviewVersions": ["v1"],
        }],
    });
    webhooks.create(&PostParams::default(), &dynamic(webhook)).await.unwrap();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    eventually("the webhook is asked", || async {
        let _ = place.maps().create(&dry, &dynamic(place.config("probe", "1"))).await;
        asked.load(Ordering::SeqCst) > 0
    })
    .await;

    let set = place.set([place.config("one", "1"), place.config("two", "1")]);
    let error = place.cluster.apply(&set, &place.options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.is_retryable());
    assert!(error.to_string().contains("silent.platform.dev"), "{error}");
    assert!(place.cluster.get(&place.config_ref("one")).await.unwrap().is_none());

    webhooks.delete("real-webhook", &DeleteParams::default()).await.unwrap();
    eventually("running again finishes the work", || async {
        place.cluster.apply(&set, &place.options).await.is_ok()
    })
    .await;
    assert!(!place.cluster.apply(&set, &place.options).await.unwrap().wrote());
    silent.abort();
    place.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubernetes"]
async fn a_quota_refuses_and_the_rest_comes_when_it_is_raised() {
    let place = Place::new("quota").await;
    place.cluster.apply(&place.set([]), &place.options).await.unwrap();
    let quotas = place.objects("v1", "ResourceQuota", "resourcequotas", Some(&place.namespace));
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"count/configmaps": "4"}},
    });
    quotas.create(&PostParams::default(), &dynamic(quota)).await.unwrap();
    eventually("the quota is counted", || async {
        quotas.get("few").await.unwrap().data.pointer("/status/used").is_some()
    })
    .await;

    let set = place.set((0..10).map(|i| place.config(&format!("map-{i}"), "1")));
    let error = place.cluster.apply(&set, &place.options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    assert!(error.to_string().contains("exceeded quota: few"), "{error}");
    let there = place.maps().list(&ListParams::default()).await.unwrap().items.len();
    assert!(there <= 4, "{there} ConfigMaps");

    let more = json!({"spec": {"hard": {"count/configmaps": "100"}}});
    quotas.patch("few", &PatchParams::default(), &Patch::Merge(&more)).await.unwrap();
    eventually("running again finishes the work", || async {
        match place.cluster.apply(&set, &place.options).await {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
                false
            }
        }
    })
    .await;
    let there = place.maps().list(&ListParams::default().labels("platform.dev/platform")).await.unwrap();
    assert_eq!(there.items.len(), 10);
    assert!(!place.cluster.apply(&set, &place.options).await.unwrap().wrote());
    place.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubernetes"]
async fn a_namespace_that_does_not_end_is_told_and_what_is_in_it_comes_back() {
    let place = Place::new("terminating").await;
    let mut held = place.config("held", "1");
    held["metadata"]["finalizers"] = json!(["platform.dev/hold"]);
    let set = place.set([held, place.config("other", "1")]);
    place.cluster.apply(&set, &place.options).await.unwrap();
    let namespaces = place.objects("v1", "Namespace", "namespaces", None);
    namespaces.delete(&place.namespace, &DeleteParams::default()).await.unwrap();
    eventually("the namespace hangs, held by one object", || async {
        let phase = namespaces.get(&place.namespace).await.unwrap().data.pointer("/status/phase").cloned();
        let other = place.cluster.get(&place.config_ref("other")).await.unwrap();
        phase == Some(json!("Terminating")) && other.is_none()
    })
    .await;

    let error = place.cluster.apply(&set, &place.options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(
        error.to_string().contains(&format!("Namespace {}: it is being deleted", place.namespace)),
        "{error}"
    );
    // Without the namespace in the set, the server itself refuses what is to be in it.
    let inside = platform_core::manifest::ManifestSet::new(
        "real-terminating-inside",
        vec![platform_core::manifest::Manifest::new(place.config("new", "1")).unwrap()],
    )
    .unwrap();
    let error = place.cluster.apply(&inside, &place.options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("being terminated"), "{error}");

    let release = json!({"metadata": {"finalizers": null}});
    place.maps().patch("held", &PatchParams::default(), &Patch::Merge(&release)).await.unwrap();
    eventually("the namespace is gone", || async {
        namespaces.get_opt(&place.namespace).await.unwrap().is_none()
    })
    .await;
    let set = place.set([place.config("held", "1"), place.config("other", "1")]);
    let report = place.cluster.apply(&set, &place.options).await.unwrap();
    assert_eq!(report.count(ObjectOutcome::Created), 3);
    assert!(!place.cluster.apply(&set, &place.options).await.unwrap().wrote());
    place.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubernetes"]
async fn a_pod_that_never_starts_is_told_in_the_words_of_the_scheduler() {
    let place = Place::new("unschedulable").await;
    let mut web = place.deployment("web", 1);
    web["spec"]["template"]["spec"]["nodeSelector"] = json!({"platform.dev/nowhere": "true"});
    let set = place.set([web]);
    place.cluster.apply(&set, &place.options).await.unwrap();
    let web = [ObjectRef::new("apps/v1", "Deployment", "web").in_namespace(&place.namespace)];
    eventually("the scheduler finds no node", || async {
        place.cluster.health(&web).await.unwrap()[0].message.contains("is not scheduled: Unschedulable")
    })
    .await;
    let (short, silent) = (Duration::from_secs(2), Progress::silent());
    let error = place.cluster.wait_ready(&web, short, &silent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(
        error.to_string().contains("pod web-") && error.to_string().contains("is not scheduled"),
        "{error}"
    );

    let set = place.set([place.deployment("web", 0)]);
    place.cluster.apply(&set, &place.options).await.unwrap();
    place.cluster.wait_ready(&web, PATIENCE, &Progress::silent()).await.unwrap();
    place.clear().await;
}

/// Gives the token that it holds.
#[derive(Debug)]
struct Holder {
    token: Mutex<String>,
    asked: AtomicUsize,
}

#[async_trait]
impl CredentialSource for Holder {
    async fn credential(&self) -> Result<Credential> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let token = self.token.lock().map_err(|_| Error::internal("poisoned"))?.clone();
        Ok(Credential::Bearer { token: token.into(), expires: None })
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubernetes"]
async fn a_rejected_token_is_renewed_where_its_source_has_another() {
    let place = Place::new("token").await;
    let accounts = ["first", "second"]
        .map(|name| json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": place.metadata(name)}));
    let group = format!("system:serviceaccounts:{}", place.namespace);
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "real-token"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}],
    });
    let set = place.set(accounts.into_iter().chain([binding, place.config("one", "1")]));
    place.cluster.apply(&set, &place.options).await.unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(place.client.clone(), &place.namespace);
    let token = |account: &'static str| {
        let accounts = accounts.clone();
        async move {
            let (options, request) = (PostParams::default(), TokenRequest::default());
            let answer = accounts.create_token_request(account, &options, &request).await.unwrap();
            answer.status.and_then(|status| status.token).unwrap()
        }
    };
    let source = Arc::new(Holder { token: Mutex::new(token("first").await), asked: AtomicUsize::new(0) });
    let mut access = ClusterAccess::new(name(), place.access.server.clone()).credentials(source.clone());
    access.certificate_authority.clone_from(&place.access.certificate_authority);
    let cluster = Kubernetes::default().connect_kube(&access).unwrap();
    let one = place.config_ref("one");
    eventually("the token is good", || async { cluster.get(&one).await.is_ok() }).await;

    let next = token("second").await;
    accounts.delete("first", &DeleteParams::default()).await.unwrap();
    eventually("the token of a deleted account is rejected", || async {
        match cluster.get(&one).await {
            Ok(_) => false,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
                assert!(error.to_string().contains("check that the credentials"), "{error}");
                true
            }
        }
    })
    .await;
    let asked = source.asked.load(Ordering::SeqCst);
    *source.token.lock().unwrap() = next;
    assert!(cluster.get(&one).await.unwrap().is_some());
    assert!(source.asked.load(Ordering::SeqCst) > asked);
    // The same handle finishes the work.
    let report = cluster.apply(&set, &place.options).await.unwrap();
    assert_eq!(report.count(ObjectOutcome::Created), 1);
    place.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubernetes"]
async fn a_server_that_is_overloaded_is_asked_again_when_it_says() {
    let place = Place::new("overload").await;
    let disturbance = Disturbance::overload("PATCH", "/configmaps/", 10);
    let proxy = Proxy::start(place.client.clone(), disturbance).await;
    let cluster = Kubernetes::default().connect_kube(&ClusterAccess::new(name(), proxy.url())).unwrap();
    let set = place.set((0..20).map(|i| place.config(&format!("map-{i}"), "1")));
    let report = cluster.apply(&set, &place.options).await.unwrap();
    assert_eq!(proxy.disturbed(), 10);
    assert_eq!(report.count(ObjectOutcome::Created), 21);
    assert!(!cluster.apply(&set, &place.options).await.unwrap().wrote());
    place.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubernetes"]
async fn a_watch_that_is_too_old_begins_again() {
    let place = Place::new("old-watch").await;
    place.cluster.apply(&place.set([]), &place.options).await.unwrap();
    let proxy = Proxy::start(place.client.clone(), Disturbance::old_watch("/configmaps", 2)).await;
    let cluster = Kubernetes::default().connect_kube(&ClusterAccess::new(name(), proxy.url())).unwrap();
    let late = [place.config_ref("late")];
    let waiting = tokio::spawn(async move { cluster.wait_ready(&late, PATIENCE, &Progress::silent()).await });
    eventually("the server has refused the old watches", || async { proxy.disturbed() == 2 }).await;
    let set = place.set([place.config("late", "1")]);
    place.cluster.apply(&set, &place.options).await.unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(proxy.gone(), 2, "the server answered with 410 to each watch that was too old");
    place.clear().await;
}
