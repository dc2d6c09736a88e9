//! What `verify` finds, and that it finds what is broken.

use crate::{apply, breaches, is_administrator, is_stopped, kubeconfig, platform, shared, surprises};
use platform_core::{
    Isolation, Platform,
    cluster::ApplyOptions,
    isolation::{Action, Barrier, NotTried, Verdict},
};
use platform_k8s::{Kubernetes, access_from_kubeconfig};
use serde_json::json;

async fn remove(platform: &Platform) {
    let cluster = shared(platform).await;
    let options = ApplyOptions::new(platform.spec().name.clone());
    for set in cluster.sets(&options.owner).await.unwrap() {
        cluster.delete_set(&set, &options).await.unwrap();
    }
}

/// An administrator's client, to break things with.
fn administrator() -> kube::Client {
    let name = platform_core::name::ClusterName::new("admin").unwrap();
    let access = access_from_kubeconfig(&kubeconfig(), None, name).unwrap();
    Kubernetes::default().connect_kube(&access).unwrap().client()
}

async fn request(method: &str, path: &str, body: serde_json::Value) {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header(
            "content-type",
            if method == "PATCH" { "application/merge-patch+json" } else { "application/json" },
        )
        .body(body.to_string().into_bytes())
        .unwrap();
    administrator().request_text(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubernetes"]
async fn environments_in_one_cluster_are_kept_apart_by_a_real_server() {
    for (name, isolation) in
        [("apart-e", Isolation::NamespacePerEnvironment), ("apart-a", Isolation::NamespacePerApplication)]
    {
        let guarded = platform(name, isolation, true).await;
        apply(&guarded).await;
        let report = guarded.verify().await.unwrap();
        println!("{report}");
        assert!(report.holds(), "{:#?}", surprises(&report));
        assert!(report.of(Action::Connect).count() >= 8);
        for attempt in report.of(Action::Connect) {
            assert_eq!(attempt.verdict, Verdict::NotTried { why: NotTried::NoNodes }, "{attempt}");
        }
        let by = |action: Action| {
            let stopped = report.of(action).filter(|a| is_administrator(a) && is_stopped(a));
            stopped.map(|attempt| attempt.verdict.clone()).next()
        };
        let stopped = |by: Barrier| Some(Verdict::Stopped { by });
        assert_eq!(by(Action::RunPrivileged), stopped(Barrier::PodSecurity));
        assert_eq!(by(Action::ExceedQuota), stopped(Barrier::ResourceQuota { name: "platform".into() }));
        let guard = Barrier::AdmissionPolicy { name: format!("deletion-guard.{name}.{name}-b") };
        assert_eq!(by(Action::DeleteNamespace), stopped(guard));
        let open = platform(name, isolation, false).await;
        apply(&open).await;
        remove(&open).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubernetes"]
async fn what_is_broken_is_found() {
    let guarded = platform("broken", Isolation::NamespacePerEnvironment, true).await;
    apply(&guarded).await;
    assert!(guarded.verify().await.unwrap().holds());

    // Somebody lets the deployer of one environment edit another.
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "helpful", "namespace": "broken-b"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": "broken-a"}],
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/broken-b/rolebindings";
    request("POST", bindings, binding).await;
    let found = breaches(&guarded.verify().await.unwrap());
    assert!(
        [Action::Read, Action::List, Action::ReadSecrets, Action::Apply, Action::Delete, Action::Exec]
            .iter()
            .all(|action| found.contains(action)),
        "{found:?}"
    );
    request("DELETE", &format!("{bindings}/helpful"), json!({})).await;

    // Somebody removes what limits an environment.
    request("DELETE", "/api/v1/namespaces/broken-a/resourcequotas/platform", json!({})).await;
    let enforce = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}});
    request("PATCH", "/api/v1/namespaces/broken-a", enforce).await;
    let policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
    request("DELETE", &format!("{policies}/deletion-guard.broken.broken-b"), json!({})).await;
    // Until the server has forgotten the guard.
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    let found = loop {
        let found = breaches(&guarded.verify().await.unwrap());
        if found.contains(&Action::Unprotect) || tokio::time::Instant::now() > deadline {
            break found;
        }
    };
    assert_eq!(
        found,
        [
            Action::ExceedQuota,
            Action::OpenNodePort,
            Action::RunPrivileged,
            Action::MountHostPath,
            Action::UseHostNetwork,
            Action::UseHostPort,
            Action::DeleteNamespace,
            Action::Unprotect
        ]
    );
    // What got through is taken back.
    let pods =
        shared(&guarded).await.list("v1", "Pod", &platform_core::cluster::ListOptions::all()).await.unwrap();
    let left: Vec<_> = pods
        .iter()
        .filter(|pod| pod["metadata"]["labels"]["platform.dev/probe"] == "isolation")
        .filter(|pod| pod["metadata"]["namespace"] == "broken-a")
        .filter(|pod| pod["metadata"].get("deletionTimestamp").is_none())
        .collect();
    assert!(left.is_empty(), "{left:?}");

    // The label is somebody else's now, who has to give it back; applying again mends the rest.
    let enforce = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    request("PATCH", "/api/v1/namespaces/broken-a", enforce).await;
    apply(&guarded).await;
    let report = guarded.verify().await.unwrap();
    assert!(report.holds(), "{:#?}", surprises(&report));
    let open = platform("broken", Isolation::NamespacePerEnvironment, false).await;
    apply(&open).await;
    remove(&open).await;
}
