//! Ours and `kubectl` beside each other, on the same server and the same objects.

use crate::{
    kubectl::Kubectl,
    measure::{Goal, Requests, Row, Sample, measure, median, medians, report},
    objects::{self, OBJECTS},
    platform,
    server::Server,
};
use platform_core::{
    cluster::{ApplyOptions, Cluster, ObjectChange, ObjectOutcome},
    manifest::{Manifest, ManifestSet},
    name::{ClusterName, PlatformName},
};
use platform_k8s::{KubeCluster, Kubernetes, access_from_kubeconfig};
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;
use tracing_subscriber::prelude::*;

/// How long an apply may take on a machine that others use too.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often a round repeats what is quick.
const REPEATED: usize = 5;

#[derive(Default)]
struct Ours {
    first: Vec<Sample>,
    again: Vec<Sample>,
    plan: Vec<Sample>,
}

#[derive(Default)]
struct Theirs {
    first: Vec<Duration>,
    again: Vec<Duration>,
    diff: Vec<Duration>,
}

/// Measures, prints the table, and fails where a goal is missed.
pub(crate) fn check(rounds: usize) -> ExitCode {
    tracing_subscriber::registry().with(Requests).init();
    let kubeconfig = PathBuf::from(std::env::var_os("KUBECONFIG").expect("KUBECONFIG names a cluster"));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("objects.json");
    let objects = objects::objects();
    std::fs::write(&file, json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()).unwrap();
    let kubectl = Kubectl::new(&kubeconfig, directory.path());

    let runtime = Runtime::new().unwrap();
    let rows = runtime.block_on(async {
        eprintln!("the plan of a platform on embedded clusters");
        let (planned, plans) = platform::plans(REPEATED).await;
        let access = access_from_kubeconfig(&kubeconfig, None, ClusterName::new("bench").unwrap()).unwrap();
        let connect = || Kubernetes::default().connect_kube(&access).unwrap();
        let server = Server { client: connect().client() };
        server.make_namespaces().await;
        server.clear().await;
        let set = set(&objects);
        let (mut ours, mut theirs, mut bare) = (Ours::default(), Theirs::default(), Vec::new());
        for round in 1..=rounds {
            eprintln!("round {round} of {rounds}: ours");
            // A handle of its own each time: connections and discovery are part of a first apply.
            our_round(&connect(), &server, &set, &mut ours).await;
            eprintln!("round {round} of {rounds}: kubectl");
            theirs.first.push(kubectl.time(&["apply", "--server-side"], &file));
            server.settle().await;
            let before = server.versions().await;
            theirs.again.push(kubectl.time(&["apply", "--server-side"], &file));
            theirs.again.push(kubectl.time(&["apply", "--server-side"], &file));
            assert_eq!(server.versions().await, before, "kubectl wrote although nothing differs");
            theirs.diff.push(kubectl.time(&["diff", "--server-side"], &file));
            server.clear().await;
            eprintln!("round {round} of {rounds}: bare requests");
            let began = Instant::now();
            server.apply_bare(&objects).await;
            bare.push(began.elapsed());
            server.clear().await;
        }
        server.delete_namespaces().await;
        rows(&ours, &theirs, &bare, planned, &plans)
    });
    if report(&rows) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn set(objects: &[Value]) -> ManifestSet {
    let manifests = objects.iter().map(|object| Manifest::new(object.clone()).unwrap()).collect();
    ManifestSet::new("bench", manifests).unwrap()
}

async fn our_round(cluster: &KubeCluster, server: &Server, set: &ManifestSet, ours: &mut Ours) {
    let options = ApplyOptions::new(PlatformName::new("bench").unwrap()).deadline(PATIENCE);
    let (report, sample) = measure(cluster.apply(set, &options)).await;
    assert_eq!(report.unwrap().count(ObjectOutcome::Created), OBJECTS);
    ours.first.push(sample);

    server.settle().await;
    let before = server.versions().await;
    for _ in 0..REPEATED {
        let (report, sample) = measure(cluster.apply(set, &options)).await;
        assert!(!report.unwrap().wrote(), "it says that it wrote although nothing differs");
        ours.again.push(sample);
        let (diff, sample) = measure(cluster.diff(set, &options)).await;
        assert!(diff.unwrap().iter().all(|one| one.change == ObjectChange::Unchanged));
        ours.plan.push(sample);
    }
    assert_eq!(server.versions().await, before, "it wrote although nothing differs");

    let drifted = server.drift().await;
    let forced = options.clone().force(true);
    let mut seen: Vec<(String, String)> = Vec::new();
    for one in cluster.diff(set, &forced).await.unwrap() {
        match one.change {
            ObjectChange::Unchanged => {}
            ObjectChange::Update { fields } => {
                seen.extend(fields.into_iter().map(|field| (one.object.name.clone(), field.path)));
            }
            other => panic!("{}: {other:?}", one.object),
        }
    }
    let wanted: Vec<(String, String)> =
        drifted.into_iter().map(|(name, path)| (name.to_owned(), path.to_owned())).collect();
    assert_eq!(seen, wanted, "drift of fields that are ours");
    let repaired = cluster.apply(set, &forced).await.unwrap();
    assert_eq!(repaired.count(ObjectOutcome::Configured), wanted.len());
    assert!(!cluster.apply(set, &options).await.unwrap().wrote());

    cluster.delete_set(set.name(), &options).await.unwrap();
    server.clear().await;
}

fn rows(ours: &Ours, theirs: &Theirs, bare: &[Duration], planned: usize, plans: &[Sample]) -> Vec<Row> {
    let bare = median(bare.to_vec());
    let first = medians(&ours.first);
    vec![
        Row {
            work: "apply of 1,000 objects, nothing differs",
            objects: OBJECTS,
            ours: medians(&ours.again),
            peer: Some(("kubectl apply", median(theirs.again.clone()))),
            goal: Goal::Ratio(15.0),
        },
        Row {
            work: "plan of 1,000 objects, nothing differs",
            objects: OBJECTS,
            ours: medians(&ours.plan),
            peer: Some(("kubectl diff", median(theirs.diff.clone()))),
            goal: Goal::None,
        },
        Row {
            work: "first apply of 1,000 objects",
            objects: OBJECTS,
            ours: first,
            peer: Some(("kubectl apply", median(theirs.first.clone()))),
            goal: Goal::Ratio(5.0),
        },
        Row {
            work: "first apply of 1,000 objects, its rate",
            objects: OBJECTS,
            ours: first,
            peer: Some(("bare requests", bare)),
            goal: Goal::Rate { wanted: 400.0, bare: OBJECTS as f64 / bare.as_secs_f64() },
        },
        Row {
            work: "plan of an unchanged platform of 4 clusters",
            objects: planned,
            ours: medians(plans),
            peer: None,
            goal: Goal::Within(Duration::from_secs(1)),
        },
    ]
}
