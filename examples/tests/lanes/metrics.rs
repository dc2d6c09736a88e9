//! Samples of the exporters that both lanes scrape.

use crate::{CLUSTER, emitted, lua, script};
use async_trait::async_trait;
use platform_core::{
    Error, ErrorKind, Result,
    clock::{ManualClock, Timestamp},
    cluster::{
        ApplyOptions, ApplyReport, Cluster, DeleteReport, ListOptions, ObjectDiff, ObjectHealth,
        ProxyRequest, SetOwner,
    },
    event::Progress,
    manifest::{ManifestSet, ObjectRef},
    name::ClusterName,
    telemetry::{
        Labels,
        document::{self, Signal, Topic},
    },
};
use platform_telemetry::sources::ClusterScrapeSource;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A cluster with one pod, which answers with its metrics.
#[derive(Debug)]
struct Exporter {
    cluster: ClusterName,
    pod: Value,
    metrics: &'static str,
}

impl Exporter {
    fn new(name: &str, port: u16, metrics: &'static str) -> Self {
        let pod = json!({
            "metadata": {"name": format!("{name}-x"), "namespace": "platform-system", "labels": {"app.kubernetes.io/name": name}},
            "spec": {
                "nodeName": "node-1",
                "containers": [{"name": name, "ports": [{"name": "metrics", "containerPort": port}]}],
            },
            "status": {"phase": "Running", "podIP": "10.0.0.7"},
        });
        Self { cluster: ClusterName::new(CLUSTER).unwrap(), pod, metrics }
    }
}

fn only_lists<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, "it only lists"))
}

#[async_trait]
impl Cluster for Exporter {
    fn name(&self) -> &ClusterName {
        &self.cluster
    }

    async fn list(&self, _: &str, _: &str, _: &ListOptions) -> Result<Vec<Value>> {
        Ok(vec![self.pod.clone()])
    }

    async fn proxy(&self, _: &ProxyRequest) -> Result<Vec<u8>> {
        Ok(self.metrics.as_bytes().to_vec())
    }

    async fn version(&self) -> Result<String> {
        only_lists()
    }

    async fn diff(&self, _: &ManifestSet, _: &ApplyOptions) -> Result<Vec<ObjectDiff>> {
        only_lists()
    }

    async fn apply(&self, _: &ManifestSet, _: &ApplyOptions) -> Result<ApplyReport> {
        only_lists()
    }

    async fn health(&self, _: &[ObjectRef]) -> Result<Vec<ObjectHealth>> {
        only_lists()
    }

    async fn wait_ready(&self, _: &[ObjectRef], _: Duration, _: &Progress) -> Result<()> {
        only_lists()
    }

    async fn delete_set(&self, _: &str, _: &ApplyOptions) -> Result<DeleteReport> {
        only_lists()
    }

    async fn sets(&self, _: &SetOwner) -> Result<Vec<String>> {
        only_lists()
    }

    async fn get(&self, _: &ObjectRef) -> Result<Option<Value>> {
        only_lists()
    }
}

const NODE: &str = r#"# TYPE node_load1 gauge
node_load1 1.62
# TYPE node_cpu_seconds_total counter
node_cpu_seconds_total{cpu="0",mode="idle"} 123456.78
node_cpu_seconds_total{cpu="0",mode="user"} 0
# TYPE node_filesystem_size_bytes gauge
node_filesystem_size_bytes{device="/dev/sda1",mountpoint="/a\"b\\c,d=\"e"} 1.8446744073709552e+19
# TYPE node_hwmon_temp_celsius gauge
node_hwmon_temp_celsius{sensor="é",chip=""} -12.5
# TYPE node_odd gauge
node_odd NaN
node_odd{a="1"} +Inf
# TYPE rpc_seconds summary
rpc_seconds{quantile="0.5"} 0.1
rpc_seconds{quantile="0.9"} 0.25
rpc_seconds_sum 2
rpc_seconds_count 7
# TYPE http_seconds histogram
http_seconds_bucket{code="200",le="0.5"} 1
http_seconds_bucket{code="200",le="+Inf"} 3
http_seconds_sum{code="200"} 1.5
http_seconds_count{code="200"} 3
"#;

/// The same as the output `stdout` of Fluent Bit prints it: a line for each series, of histograms and summaries with all their values; label values as they
/// are; numbers with 17 digits, the sums of histograms and summaries with 6.
const NODE_PRINTED: &str = r#"node_load1{job="node-exporter"} = 1.6200000000000001
node_cpu_seconds_total{cpu="0",mode="idle",job="node-exporter"} = 123456.78
node_cpu_seconds_total{cpu="0",mode="user",job="node-exporter"} = 0
node_filesystem_size_bytes{device="/dev/sda1",mountpoint="/a"b\c,d="e",job="node-exporter"} = 18446744073709551616
node_hwmon_temp_celsius{sensor="é",chip="",job="node-exporter"} = -12.5
node_odd{job="node-exporter"} = nan
node_odd{a="1",job="node-exporter"} = inf
rpc_seconds{job="node-exporter"} = { quantiles = { 0.5=0.1, 0.9=0.25 }, sum=2, count=7 }
http_seconds{code="200",job="node-exporter"} = { buckets = { 0.5=1, +Inf=3 }, sum=1.5, count=3 }
"#;

const STATE: &str = r#"# TYPE kube_pod_info gauge
kube_pod_info{namespace="production-api1",pod="api1-7d",node="n2"} 1
kube_pod_info{namespace="testing",pod="web-1",node="n1"} 1
kube_pod_info{namespace="platform-system",pod="x",node="n1"} 1
# TYPE kube_node_info gauge
kube_node_info{node="n1"} 1
"#;

const STATE_PRINTED: &str = r#"kube_pod_info{namespace="production-api1",pod="api1-7d",node="n2",job="kube-state-metrics"} = 1
kube_pod_info{namespace="testing",pod="web-1",node="n1",job="kube-state-metrics"} = 1
kube_pod_info{namespace="platform-system",pod="x",node="n1",job="kube-state-metrics"} = 1
kube_node_info{node="n1",job="kube-state-metrics"} = 1
"#;

/// 2025-11-25T22:00:00.123Z.
const NOW: Timestamp = Timestamp::from_millis(1_764_108_000_123);

/// The documents of a scrape by their labels. What only our own lane tells, how the scrape went, is left out.
async fn ours(
    exporter: Exporter,
    environment: Option<&str>,
) -> BTreeMap<String, (Value, Value, Option<f64>)> {
    let of_namespace = |namespace: &str| match namespace {
        "production-api1" => Some(Labels::from_iter([("environment", "production")])),
        "testing" => Some(Labels::from_iter([("environment", "testing")])),
        _ => None,
    };
    let source = ClusterScrapeSource::builder(Arc::new(exporter))
        .interval(Duration::from_millis(50))
        .labels(Labels::from_iter([("environment", environment.unwrap_or_default())]))
        .namespace_labels(of_namespace)
        .clock(Arc::new(ManualClock::new(NOW)))
        .build();
    let batch = emitted(Arc::new(source), |batch| !batch.samples.is_empty()).await;
    let told = ["up", "platform_scrape_rejected_lines"];
    let samples =
        batch.samples.into_iter().filter(|s| !told.contains(&&*s.metric) && !s.metric.starts_with("scrape_"));
    let documents: Vec<Value> =
        samples.filter_map(|sample| document::metric(&sample, environment.unwrap_or("shared"))).collect();
    by_labels(&documents)
}

fn theirs(environments: &[&str], printed: &str) -> Vec<lua::Message> {
    let lines = printed.lines().map(|line| format!("2025-11-25T22:00:00.123456789Z {line}"));
    let records: Vec<_> = lines
        .map(|line| ((1, 0), format!("{{ stream = \"stdout\", log = {} }}", lua::text(line.as_bytes()))))
        .collect();
    lua::run(&script(environments), "of_own_output", &records).into_iter().flatten().collect()
}

/// Everything else of each document: its time, its stream, its value.
fn by_labels(documents: &[Value]) -> BTreeMap<String, (Value, Value, Option<f64>)> {
    let all: BTreeMap<String, (Value, Value, Option<f64>)> = documents
        .iter()
        .map(|document| {
            document::check(Signal::Metrics, document).unwrap();
            let name = document["labels"]["__name__"].as_str().unwrap();
            let metrics = document["metrics"].as_object().unwrap();
            assert_eq!(metrics.len(), 1);
            let value = metrics.get(name).unwrap().as_f64();
            (
                document["labels"].to_string(),
                (document["@timestamp"].clone(), document["data_stream"].clone(), value),
            )
        })
        .collect();
    assert_eq!(all.len(), documents.len(), "labels are there twice");
    all
}

#[tokio::test]
#[ignore = "needs lua"]
async fn both_lanes_make_the_same_documents_of_a_node_s_metrics() {
    let ours = ours(Exporter::new("node-exporter", 9100, NODE), Some("testing")).await;
    let messages = theirs(&["testing"], NODE_PRINTED);
    let documents: Vec<Value> = messages.iter().map(|message| message.document.clone()).collect();
    assert_eq!(ours.len(), 13, "what is not finite has no document");
    assert_eq!(by_labels(&documents), ours);
    assert!(messages.iter().all(|message| message.topic == Topic::Metrics.name("testing")));
}

#[tokio::test]
#[ignore = "needs lua"]
async fn both_lanes_make_the_same_documents_of_a_cluster_s_state() {
    let ours = ours(Exporter::new("kube-state-metrics", 8080, STATE), None).await;
    let messages = theirs(&["testing", "production"], STATE_PRINTED);
    let documents: Vec<Value> = messages.iter().map(|message| message.document.clone()).collect();
    assert_eq!(by_labels(&documents), ours);
    let mut topics: Vec<&str> = messages.iter().map(|message| message.topic.as_str()).collect();
    topics.sort_unstable();
    assert_eq!(
        topics,
        ["production.metrics.v1", "shared.metrics.v1", "shared.metrics.v1", "testing.metrics.v1"]
    );
}
