//! Lines of containers.

use crate::{CLUSTER, PATIENCE, cluster::Shop, emitted, lua, script};
use platform_core::telemetry::{
    Labels, LogRecord,
    document::{self, Signal, Topic},
};
use platform_telemetry::sources::{FileTail, PodMetadata, StartAt};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// The name of what belongs to no environment, where two share the cluster.
const OTHERWISE: &str = "shared";

/// Folders as a node has them under `/var/log`.
struct Node(tempfile::TempDir);

impl Node {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("containers")).unwrap();
        Self(folder)
    }

    fn containers(&self) -> PathBuf {
        self.0.path().join("containers")
    }

    /// The file of a pod's container `main`, with its link.
    fn write(&self, pod: &Value, content: &[u8]) {
        let of = |field: &str| pod["metadata"][field].as_str().unwrap();
        let (namespace, name, uid) = (of("namespace"), of("name"), of("uid"));
        let folder = self.0.path().join(format!("pods/{namespace}_{name}_{uid}/main"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("0.log"), content).unwrap();
        let link = self.containers().join(format!("{name}_{namespace}_main-{ID}.log"));
        std::os::unix::fs::symlink(folder.join("0.log"), link).unwrap();
    }
}

/// What the agent's tail gives for the files of a node.
fn tail(containers: &Path, metadata: PodMetadata) -> FileTail {
    FileTail::builder([containers.join("*.log").to_string_lossy()])
        .start_at(StartAt::Beginning)
        .poll_interval(Duration::from_millis(10))
        .labels(Labels::from_iter([("cluster", CLUSTER)]))
        .metadata(metadata)
        .metadata_wait(PATIENCE)
        .build()
        .unwrap()
}

fn metadata(shop: &Shop, node: &str) -> PodMetadata {
    PodMetadata::builder(shop.handle()).node(node).environments(["testing", "production"]).build()
}

/// A line of a container as the runtime takes it.
#[derive(Debug, Clone)]
struct Taken {
    stream: &'static str,
    nanos: u32,
    text: Vec<u8>,
}

/// 2025-11-25T22:00:00Z.
const SECONDS: i64 = 1_764_108_000;

/// The file that a runtime by CRI writes, splitting each line into pieces.
fn cri(lines: &[Taken]) -> Vec<u8> {
    let mut file = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let size = line.text.len().div_ceil(at % 3 + 1).max(1);
        let pieces: Vec<&[u8]> =
            if line.text.is_empty() { vec![b""] } else { line.text.chunks(size).collect() };
        for (number, piece) in pieces.iter().enumerate() {
            let tag = if number + 1 == pieces.len() { "F" } else { "P" };
            // A later piece is taken later.
            let nanos = line.nanos + u32::try_from(number).unwrap() * 5_000_000;
            file.extend(format!("2025-11-25T22:00:00.{nanos:09}Z {} {tag} ", line.stream).bytes());
            file.extend_from_slice(piece);
            file.push(b'\n');
        }
    }
    file
}

/// What Fluent Bit has of a line behind its input `tail` with the parser `cri` and its filter `kubernetes`, by its manual: pieces joined under `log` with the
/// time of the first; `stream`; under `kubernetes` what is known of the pod, under `kubernetes_namespace` what is of its namespace; and where the whole line is an
/// object of JSON, that under `structured`, as the configuration names it.
fn record(line: &Taken, pod: &Value, environment: Option<&str>) -> ((i64, u32), String) {
    let of = |path: &str| pod.pointer(path).cloned().unwrap_or_default();
    let mut fields = vec![
        format!("log = {}", lua::text(&[line.text.as_slice(), b"\n"].concat())),
        format!("stream = {}", lua::text(line.stream.as_bytes())),
        "_p = \"F\"".to_owned(),
    ];
    let kubernetes = json!({
        "pod_name": of("/metadata/name"),
        "namespace_name": of("/metadata/namespace"),
        "pod_id": of("/metadata/uid"),
        "labels": of("/metadata/labels"),
        "host": of("/spec/nodeName"),
        "container_name": "main",
        "docker_id": ID,
        "container_image": "web:1",
    });
    fields.push(format!("kubernetes = {}", lua::value(&kubernetes)));
    let mut namespace = json!({"name": of("/metadata/namespace"), "labels": {"kubernetes.io/metadata.name": of("/metadata/namespace")}});
    if let Some(environment) = environment {
        namespace["labels"]["platform.dev/environment"] = environment.into();
    }
    fields.push(format!("kubernetes_namespace = {}", lua::value(&namespace)));
    if let Ok(structured @ Value::Object(_)) = serde_json::from_slice(&line.text) {
        fields.push(format!("structured = {}", lua::value(&structured)));
    }
    ((SECONDS, line.nanos), format!("{{ {} }}", fields.join(", ")))
}

/// What programs write: severities in all their forms, behind times in all theirs, and texts that are hard to carry.
fn lines() -> Vec<Taken> {
    let times: [&str; 14] = [
        "",
        "2026-11-23T20:36:28.5Z ",
        "2026-11-23 21:36:28,250+01:00 ",
        "[2026-11-23T15:36:28-0500] ",
        "2026/11/23 20:36:28 ",
        "<11>1 2026-11-23T20:36:28.003Z host app 1 ID - ",
        "<12>",
        "<300>",
        "<+11>",
        "E1122 08:00:00.000001       1 main.go:1] ",
        "Nov 23 20:36:28 host app[7]: ",
        "Eleven 12:00 ",
        "   ",
        "{",
    ];
    let texts: [&str; 15] = [
        "",
        "hello",
        "WARN disk",
        "level=error msg=\"a b\"",
        "lvl=\"warn\" x",
        "severity=loud error",
        "error=none",
        "one two three four five six seven error",
        "one two three four five six seven eight error",
        "a.b.c.d.e.f.warn",
        "msg=\"x\" a=1 b=2 c=3 d=4 e=5 f=6 level=fatal",
        "panic: no",
        "Information, not a warning",
        "tabs\tand \u{1} and \"quotes\" \\ and é and 😀",
        "ends with a carriage return\r",
    ];
    let json = [
        r#"{"level":"fatal","trace_id":"0af7","span_id":"b7ad"}"#,
        r#"{"level":50,"time":1795466000250}"#,
        r#"{"level":"loud","severity":"error"}"#,
        r#"{"lvl":"warn","msg":"x","trace_id":""}"#,
        r#"{"log.level":"debug"}"#,
        r#"{"log":{"level":"debug"}}"#,
        r#"{"level":5}"#,
        r#"{"level":70}"#,
        r#"{"level":35.5}"#,
        r#"{"level":true,"trace_id":7}"#,
        r#"{"level":null}"#,
        "{}",
        "[1]",
        "{\"level\":\"error\"",
    ];
    let bytes: [&[u8]; 8] = [
        b"bad \xff byte",
        b"cut \xe2\x82",
        b"cut \xe2\x82 within",
        b"cut \xf0\x9f\x98 and \xf0\x9f",
        b"surrogate \xed\xa0\x80",
        b"too long \xc0\xaf \xf5\x80\x80\x80",
        b"stray \x80\x80 \xc3",
        b"nul \x00 error",
    ];
    let text =
        times.iter().flat_map(|time| texts.iter().map(move |text| format!("{time}{text}").into_bytes()));
    let all =
        text.chain(json.iter().map(|json| json.as_bytes().to_vec())).chain(bytes.iter().map(|b| b.to_vec()));
    all.enumerate()
        .map(|(at, text)| Taken {
            stream: ["stdout", "stderr"][at % 2],
            nanos: u32::try_from(at).unwrap() * 1_000_000 + 999_999,
            text,
        })
        .collect()
}

fn sorted(records: Vec<LogRecord>) -> Vec<LogRecord> {
    let mut records = records;
    records.sort_by_key(|record| record.timestamp);
    records
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs lua"]
async fn both_lanes_make_the_same_document_of_a_line() {
    let shop = Shop::start().await;
    let node = shop.nodes().await.remove(0);
    shop.namespace("production-api1", Some("production")).await;
    shop.namespace("tools", None).await;
    shop.namespace("odd", Some("nowhere")).await;
    let lines = lines();
    let labels = json!({"app.kubernetes.io/name": "api1", "team": "data"});
    for (namespace, environment, labels) in [
        ("production-api1", Some("production"), labels.clone()),
        ("tools", None, json!({"team": "data"})),
        // Nobody has topics for it.
        ("odd", Some("nowhere"), labels),
    ] {
        let place = Node::new();
        let pod = shop.pod(namespace, "api1-7d", &node, labels).await;
        place.write(&pod, &cri(&lines));
        let tail = Arc::new(tail(&place.containers(), metadata(&shop, &node)));
        let ours = emitted(tail.clone(), |batch| batch.logs.len() >= lines.len()).await;
        assert_eq!(tail.stats().lines_unwrapped, 0);
        let ours = sorted(ours.logs);

        let records: Vec<_> = lines.iter().map(|line| record(line, &pod, environment)).collect();
        let theirs = lua::run(&script(&["testing", "production"]), "of_container", &records);
        for ((line, ours), theirs) in lines.iter().zip(&ours).zip(&theirs) {
            let said = String::from_utf8_lossy(&line.text);
            let document = document::log(ours, OTHERWISE);
            document::check(Signal::Logs, &document).unwrap();
            let [message] = theirs.as_slice() else { panic!("{said:?}: {theirs:?}") };
            assert_eq!(fields(&document), fields(&message.document), "{said:?}");
            let owner = ours.labels.get("environment").unwrap_or(OTHERWISE);
            assert_eq!(message.topic, Topic::Logs.name(owner), "{said:?}");
        }
        let owner = if environment == Some("production") { "production" } else { OTHERWISE };
        assert!(theirs.iter().flatten().all(|message| message.topic == format!("{owner}.logs.v1")));
    }
}

/// A document field by field.
fn fields(document: &Value) -> BTreeMap<String, Value> {
    fn walk(path: &str, value: &Value, to: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                for (name, value) in inner {
                    walk(&format!("{path}/{name}"), value, to);
                }
            }
            leaf => drop(to.insert(path.to_owned(), leaf.clone())),
        }
    }
    let mut all = BTreeMap::new();
    walk("", document, &mut all);
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_a_line_is_comes_from_watches_and_not_from_a_call_for_each() {
    let shop = Shop::start().await;
    let nodes = shop.nodes().await;
    shop.namespace("testing-web", Some("testing")).await;
    let metadata = metadata(&shop, &nodes[0]);
    let place = Node::new();
    let here = shop.pod("testing-web", "web-1", &nodes[0], json!({"app.kubernetes.io/name": "web"})).await;
    shop.pod("testing-web", "web-2", &nodes[1], json!({})).await;
    let line =
        |number: usize| Taken { stream: "stdout", nanos: 0, text: format!("line {number}").into_bytes() };
    place.write(&here, &cri(&(0..5000).map(line).collect::<Vec<_>>()));
    let reads = || shop.reads();
    let before = reads();
    let source = Arc::new(tail(&place.containers(), metadata.clone()));
    let first = emitted(source, |batch| batch.logs.len() >= 5000).await;
    assert!(reads() - before < 20, "{} requests", reads() - before);
    assert_eq!(metadata.pods(), 1, "those of other nodes are not watched");
    let labels = [
        ("cluster", CLUSTER),
        ("container", "main"),
        ("environment", "testing"),
        ("namespace", "testing-web"),
        ("node", nodes[0].as_str()),
        ("pod", "web-1"),
        ("pod_uid", here["metadata"]["uid"].as_str().unwrap()),
        ("service", "web"),
        ("stream", "stdout"),
    ];
    assert_eq!(first.logs[0].labels, Labels::from_iter(labels));
    assert_eq!(metadata.namespace_labels("testing-web").unwrap().get("environment"), Some("testing"));
    assert_eq!(metadata.namespace_labels("default"), None);

    // A pod that comes while the tail runs, and one that is gone before its last lines are read.
    let shutdown = tokio_util::sync::CancellationToken::new();
    let watching = {
        let (metadata, shutdown) = (metadata.clone(), shutdown.clone());
        tokio::spawn(async move { metadata.run(&shutdown).await })
    };
    let late = shop.pod("testing-web", "web-3", &nodes[0], json!({})).await;
    let uid = late["metadata"]["uid"].as_str().unwrap();
    let known = || metadata.labels("testing-web", "web-3", Some(uid));
    eventually("the new pod is known", || known().is_some()).await;
    shop.delete_pod("testing-web", "web-3").await;
    eventually("it is gone", || metadata.pods() == 1).await;
    assert_eq!(known().unwrap().get("pod_uid"), Some(uid), "its last lines are still to be read");
    assert_eq!(metadata.labels("testing-web", "web-3", Some("another")), None);
    shutdown.cancel();
    watching.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_nobody_knows_is_waited_for_and_not_for_ever() {
    let shop = Shop::start().await;
    let node = shop.nodes().await.remove(0);
    let place = Node::new();
    let stranger = json!({"metadata": {"namespace": "gone", "name": "web-1", "uid": "u-1"}});
    place.write(&stranger, &cri(&[Taken { stream: "stdout", nanos: 0, text: b"last words".to_vec() }]));
    let build = |wait: Duration| {
        let pattern = place.containers().join("*.log");
        FileTail::builder([pattern.to_string_lossy()])
            .start_at(StartAt::Beginning)
            .poll_interval(Duration::from_millis(10))
            .metadata(metadata(&shop, &node))
            .metadata_wait(wait)
            .build()
            .unwrap()
    };
    let patient = Arc::new(build(PATIENCE));
    let nothing = tokio::time::timeout(
        Duration::from_millis(300),
        emitted(patient.clone(), |batch| !batch.logs.is_empty()),
    );
    assert!(nothing.await.is_err(), "it was not waited for");
    let hasty = Arc::new(build(Duration::from_millis(50)));
    let read = emitted(hasty.clone(), |batch| !batch.logs.is_empty()).await;
    let labels = [
        ("container", "main"),
        ("namespace", "gone"),
        ("pod", "web-1"),
        ("pod_uid", "u-1"),
        ("stream", "stdout"),
    ];
    assert_eq!(read.logs[0].labels, Labels::from_iter(labels));
    assert_eq!(hasty.stats().pods_unknown, 1);
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "never came to pass: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
