//! Whose objects and fields are: kubectl's and Helm's are left alone, ours are told apart from what others made of them.

use super::{PATIENCE, Place, dynamic, kubeconfig};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use platform_core::{
    ErrorKind,
    cluster::{Cluster, ClusterAccess, Drift, FieldDrift, ObjectChange, ObjectDrift, ObjectOutcome},
    manifest::{Manifest, ManifestSet, ObjectRef},
};
use platform_testkit::kubernetes::EmbeddedApi;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    process::{Output, Stdio},
};
use tokio::{io::AsyncWriteExt, process::Command};

/// A place on an embedded API server.
async fn embedded(test: &str) -> (EmbeddedApi, Place) {
    let api = EmbeddedApi::builder().start().await.unwrap();
    let place = Place::at(ClusterAccess::new(crate::name(), api.url()), test).await;
    (api, place)
}

/// The real kubectl, with the kubeconfig of the run.
async fn kubectl(arguments: &[&str], input: &Value) -> Output {
    let program = std::env::var_os("PLATFORM_KUBECTL").unwrap_or_else(|| "kubectl".into());
    let mut child = Command::new(program)
        .arg("--kubeconfig")
        .arg(kubeconfig())
        .args(arguments)
        .env("KUBECTL_APPLYSET", "true")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("kubectl starts");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.to_string().as_bytes()).await.unwrap();
    drop(stdin);
    tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("in time").unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubernetes"]
async fn what_kubectl_made_is_left_alone() {
    let place = Place::new("kubectl").await;
    place.cluster.apply(&place.set([place.config("ours", "1")]), &place.options).await.unwrap();
    let theirs = kubectl(&["apply", "-f", "-"], &place.config("theirs", "1")).await;
    assert!(theirs.status.success(), "{}", said(&theirs));
    let before = place.cluster.get(&place.config_ref("theirs")).await.unwrap();

    let over = place.set([place.config("ours", "2"), place.config("theirs", "2")]);
    let error = place.cluster.apply(&over, &place.options.clone().force(true)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.to_string().contains("ConfigMap real-kubectl/theirs: it exists already"), "{error}");
    assert!(error.to_string().contains("kubectl-client-side-apply"), "{error}");
    let ours = place.cluster.get(&place.config_ref("ours")).await.unwrap().unwrap();
    assert_eq!(ours["data"]["value"], "1", "nothing of a refused set is written");

    // A field of ours that kubectl takes is a conflict that names it.
    let taken =
        kubectl(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &place.config("ours", "3"))
            .await;
    assert!(taken.status.success(), "{}", said(&taken));
    let set = place.set([place.config("ours", "2")]);
    let error = place.cluster.apply(&set, &place.options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains(".data.value is owned by \"kubectl\""), "{error}");
    place.cluster.apply(&set, &place.options.clone().force(true)).await.unwrap();
    assert!(!place.cluster.apply(&set, &place.options).await.unwrap().wrote());

    assert_eq!(place.cluster.get(&place.config_ref("theirs")).await.unwrap(), before);
    place.clear().await;
}

/// An object of a Helm release is neither taken nor deleted, not even where it bears our set's label.
async fn helm_is_left_alone(place: &Place) {
    place.cluster.apply(&place.set([place.config("ours", "1")]), &place.options).await.unwrap();
    let ours = place.cluster.get(&place.config_ref("ours")).await.unwrap().unwrap();
    let part_of = ours["metadata"]["labels"]["applyset.kubernetes.io/part-of"].clone();
    let mut theirs = place.config("theirs", "1");
    theirs["metadata"]["labels"] =
        json!({"app.kubernetes.io/managed-by": "Helm", "applyset.kubernetes.io/part-of": part_of});
    theirs["metadata"]["annotations"] =
        json!({"meta.helm.sh/release-name": "shop", "meta.helm.sh/release-namespace": place.namespace});
    place.maps().create(&PostParams::default(), &dynamic(theirs)).await.unwrap();
    let before = place.cluster.get(&place.config_ref("theirs")).await.unwrap();

    let over = place.set([place.config("ours", "1"), place.config("theirs", "2")]);
    let error = place.cluster.apply(&over, &place.options.clone().force(true)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.to_string().contains("it belongs to Helm's release \"shop\""), "{error}");
    // It is not pruned, and not deleted with the set.
    place.cluster.apply(&place.set([]), &place.options).await.unwrap();
    assert_eq!(place.cluster.get(&place.config_ref("theirs")).await.unwrap(), before);
    let without_namespace = ManifestSet::new(
        format!("{}-maps", place.namespace),
        vec![Manifest::new(place.config("more", "1")).unwrap()],
    )
    .unwrap();
    place.cluster.apply(&without_namespace, &place.options).await.unwrap();
    let more = place.cluster.get(&place.config_ref("more")).await.unwrap().unwrap();
    let part_of = &more["metadata"]["labels"]["applyset.kubernetes.io/part-of"];
    let relabel = json!({"metadata": {"labels": {"applyset.kubernetes.io/part-of": part_of}}});
    place.maps().patch("theirs", &PatchParams::default(), &Patch::Merge(&relabel)).await.unwrap();
    let report = place.cluster.delete_set(without_namespace.name(), &place.options).await.unwrap();
    assert_eq!(report.deleted, [place.config_ref("more")]);
    let left: Vec<&ObjectRef> = report.left.iter().map(|(object, _)| object).collect();
    assert_eq!(left, [&place.config_ref("theirs")]);
    assert!(place.cluster.get(&place.config_ref("theirs")).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_helm_made_is_left_alone() {
    let (_api, place) = embedded("helm").await;
    helm_is_left_alone(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubernetes"]
async fn what_helm_made_is_left_alone_on_a_real_server() {
    let place = Place::new("helm").await;
    helm_is_left_alone(&place).await;
    place.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubernetes"]
async fn kubectl_reads_our_sets() {
    let place = Place::new("applyset").await;
    let set = place.set([place.config("keep", "1"), place.config("drop", "1"), place.deployment("web", 0)]);
    place.cluster.apply(&set, &place.options).await.unwrap();
    // kubectl applies to the namespace of the parent and to none alone, but prunes wherever the parent says.
    let kept = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place.namespace}});
    let parent = format!("applyset.{}", set.name());
    let applyset = format!("--applyset=configmap/{parent}");
    let in_system = |line: &str| {
        let line = format!("-n platform-system {line}");
        let input = kept.clone();
        async move { kubectl(&line.split(' ').collect::<Vec<_>>(), &input).await }
    };
    let apply = format!("apply --server-side --force-conflicts --prune {applyset} -f -");

    // It sees that the set is managed by another tool, and keeps away.
    let refused = in_system(&apply).await;
    assert!(!refused.status.success(), "{}", said(&refused));
    assert!(said(&refused).contains("managed by tooling \"platform\""), "{}", said(&refused));

    // Handed over to it, it finds the members by what the parent says, and prunes them.
    let version = in_system("version --client -o json").await;
    let version: Value = serde_json::from_slice(&version.stdout).unwrap();
    let tooling = format!(
        "applyset.kubernetes.io/tooling=kubectl/{}",
        version["clientVersion"]["gitVersion"].as_str().unwrap()
    );
    let annotated = in_system(&format!("annotate --overwrite configmap {parent} {tooling}")).await;
    assert!(annotated.status.success(), "{}", said(&annotated));
    let applied = in_system(&apply).await;
    assert!(applied.status.success(), "{}", said(&applied));
    for pruned in ["configmap/keep pruned", "configmap/drop pruned", "deployment.apps/web pruned"] {
        assert!(said(&applied).contains(pruned), "{}", said(&applied));
    }
    assert!(place.cluster.get(&place.config_ref("drop")).await.unwrap().is_none());

    // And back: what it pruned comes again.
    let report = place.cluster.apply(&set, &place.options.clone().force(true)).await.unwrap();
    assert_eq!(report.count(ObjectOutcome::Created), 3);
    assert!(!place.cluster.apply(&set, &place.options).await.unwrap().wrote());
    place.clear().await;
}

async fn drift_is_told(place: &Place) {
    let mut labelled = place.config("labelled", "1");
    labelled["metadata"]["labels"] = json!({"team": "a"});
    let set = place.set([
        place.deployment("web", 0),
        labelled,
        place.config("deleted", "1"),
        place.config("same", "1"),
    ]);
    assert_eq!(
        place.cluster.drift(&set, &place.options).await.unwrap(),
        [],
        "never applied, nothing has drifted"
    );
    place.cluster.apply(&set, &place.options).await.unwrap();
    assert_eq!(place.cluster.drift(&set, &place.options).await.unwrap(), []);

    let by =
        |manager: &str| PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
    let deployments = place.objects("apps/v1", "Deployment", "deployments", Some(&place.namespace));
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "registry.example.com/evil:1"}]}}}});
    deployments.patch("web", &by("kubectl-edit"), &Patch::Strategic(&image)).await.unwrap();
    let unlabel = json!({"metadata": {"labels": {"team": null}}});
    place.maps().patch("labelled", &by("kubectl-label"), &Patch::Merge(&unlabel)).await.unwrap();
    place.maps().delete("deleted", &DeleteParams::default()).await.unwrap();
    // A manifest that is newer than the last apply has not drifted.
    let newer =
        place.set([place.deployment("web", 0), place.config("same", "2"), place.config("deleted", "1"), {
            let mut labelled = place.config("labelled", "1");
            labelled["metadata"]["labels"] = json!({"team": "a"});
            labelled
        }]);
    let drift = place.cluster.drift(&newer, &place.options).await.unwrap();
    let [web, deleted, labelled] = drift.as_slice() else { panic!("{drift:?}") };
    let ObjectDrift { drift: Drift::Changed { fields }, .. } = web else { panic!("{web:?}") };
    let [image] = fields.as_slice() else { panic!("{fields:?}") };
    assert_eq!(image.path, ".spec.template.spec.containers[name=\"web\"].image");
    assert_eq!(image.applied, Some(json!("registry.example.com/web:1")));
    assert_eq!(image.live, Some(json!("registry.example.com/evil:1")));
    assert_eq!(image.manager.as_deref(), Some("kubectl-edit"));
    assert!(image.at.is_some());
    assert_eq!(deleted, &ObjectDrift { object: place.config_ref("deleted"), drift: Drift::Missing });
    let team = FieldDrift::new(".metadata.labels.team", Some(json!("a")), None);
    assert_eq!(
        labelled,
        &ObjectDrift { object: place.config_ref("labelled"), drift: Drift::Changed { fields: vec![team] } }
    );

    place.cluster.apply(&set, &place.options.clone().force(true)).await.unwrap();
    assert_eq!(place.cluster.drift(&set, &place.options).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_names_fields_and_who_changed_them() {
    let (_api, place) = embedded("drift").await;
    drift_is_told(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubernetes"]
async fn drift_names_fields_and_who_changed_them_on_a_real_server() {
    let place = Place::new("drift").await;
    drift_is_told(&place).await;
    place.clear().await;
}

/// Two programs roll out different versions of the same set, again and again: wherever members end up, the parent names their kinds.
async fn writers_forget_nothing(place: &Place) {
    let account =
        |name: &str| json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": place.metadata(name)});
    let secret = |name: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": place.metadata(name), "stringData": {"a": "1"}});
    place.cluster.apply(&place.set([]), &place.options).await.unwrap();
    let (one, other) = (place.another(), place.another());
    let parents = place.objects("v1", "ConfigMap", "configmaps", Some("platform-system"));
    for round in 0..8 {
        let first = place.set([place.config("one", &round.to_string()), account("one")]);
        let second = place.set([place.config("other", &round.to_string()), secret("other")]);
        let (a, b) = tokio::join!(one.apply(&first, &place.options), other.apply(&second, &place.options));
        a.unwrap();
        b.unwrap();
        let parent = parents.get(&format!("applyset.{}", place.namespace)).await.unwrap();
        let annotations = parent.metadata.annotations.unwrap_or_default();
        let hinted: BTreeSet<&str> =
            annotations["applyset.kubernetes.io/contains-group-kinds"].split(',').collect();
        for (kind, plural) in
            [("ConfigMap", "configmaps"), ("ServiceAccount", "serviceaccounts"), ("Secret", "secrets")]
        {
            let members = kube::api::ListParams::default().labels("applyset.kubernetes.io/part-of");
            let objects = place.objects("v1", kind, plural, Some(&place.namespace));
            let there = objects.list(&members).await.unwrap().items.len();
            assert!(
                there == 0 || hinted.contains(kind),
                "round {round}: {there} members of kind {kind}, not in {hinted:?}"
            );
        }
    }
    // Therefore the next run finds them all.
    place.cluster.apply(&place.set([]), &place.options).await.unwrap();
    assert!(!place.cluster.apply(&place.set([]), &place.options).await.unwrap().wrote());
    for object in [
        place.config_ref("one"),
        place.config_ref("other"),
        ObjectRef::new("v1", "ServiceAccount", "one").in_namespace(&place.namespace),
        ObjectRef::new("v1", "Secret", "other").in_namespace(&place.namespace),
    ] {
        assert!(place.cluster.get(&object).await.unwrap().is_none(), "{object} is forgotten");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_programs_with_one_set_forget_no_member() {
    let (_api, place) = embedded("writers").await;
    writers_forget_nothing(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubernetes"]
async fn two_programs_with_one_set_forget_no_member_on_a_real_server() {
    let place = Place::new("writers").await;
    writers_forget_nothing(&place).await;
    place.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubernetes"]
async fn what_cannot_change_is_told_of_every_kind_and_never_made_anew() {
    let place = Place::new("immutable").await;
    let template = json!({
        "metadata": {"labels": {"app": "a"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "registry.example.com/a:1"}]},
    });
    let mut always = template.clone();
    always["spec"]["restartPolicy"] = json!("Always");
    let of = |api_version: &str, kind: &str, more: Value| {
        let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": place.metadata("one")});
        object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object
    };
    let claim = |class: &str| json!({"spec": {"storageClassName": class, "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let stateful = |service: &str| json!({"spec": {"serviceName": service, "replicas": 0, "selector": {"matchLabels": {"app": "a"}}, "template": always}});
    let job = |image: &str| {
        let mut template = template.clone();
        template["spec"]["containers"][0]["image"] = json!(image);
        json!({"spec": {"suspend": true, "template": template}})
    };
    let role = |name: &str| json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}});
    let secret = |kind: &str| json!({"type": kind, "data": {"a": "MQ=="}});
    let cases = [
        ("v1", "PersistentVolumeClaim", claim("a"), claim("b")),
        ("apps/v1", "StatefulSet", stateful("a"), stateful("b")),
        ("batch/v1", "Job", job("registry.example.com/a:1"), job("registry.example.com/a:2")),
        ("rbac.authorization.k8s.io/v1", "RoleBinding", role("a"), role("b")),
        ("v1", "Secret", secret("platform.dev/a"), secret("platform.dev/b")),
        (
            "v1",
            "Service",
            json!({"spec": {"clusterIP": "None", "selector": {"a": "b"}, "ports": [{"port": 80}]}}),
            json!({"spec": {"clusterIP": "10.0.77.77", "selector": {"a": "b"}, "ports": [{"port": 80}]}}),
        ),
    ];
    let first = place.set(cases.iter().map(|(version, kind, before, _)| of(version, kind, before.clone())));
    place.cluster.apply(&first, &place.options).await.unwrap();
    for (version, kind, _, after) in &cases {
        let reference = ObjectRef::new(*version, *kind, "one").in_namespace(&place.namespace);
        let uid = |object: Option<Value>| object.unwrap()["metadata"]["uid"].clone();
        let before = uid(place.cluster.get(&reference).await.unwrap());
        let others = cases.iter().filter(|(_, other, ..)| other != kind);
        let others = others.map(|(version, kind, before, _)| of(version, kind, before.clone()));
        let changed = place.set(others.chain([of(version, kind, after.clone())]));
        let diff = place.cluster.diff(&changed, &place.options).await.unwrap();
        let change = &diff.iter().find(|one| one.object == reference).unwrap().change;
        assert!(matches!(change, ObjectChange::Recreate { .. }), "{kind}: {change:?}");
        let error = place.cluster.apply(&changed, &place.options.clone().force(true)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{kind}: {error}");
        assert_eq!(uid(place.cluster.get(&reference).await.unwrap()), before, "{kind} was made anew");
    }
    assert!(!place.cluster.apply(&first, &place.options).await.unwrap().wrote());
    place.clear().await;
}
