//! The agent straight to the embedded store.

use crate::support::{Lines, PATIENCE, eventually};
use async_trait::async_trait;
use platform_core::Result;
use platform_core::{
    clock::Timestamp,
    telemetry::{
        Batch, Emitter, Labels, LogOrder, LogQuery, MetricKind, Sample, TelemetrySink, TelemetrySource,
        TelemetryStore, TimeRange, metric,
    },
};
use platform_telemetry::{
    agent::Agent,
    message::StoreMessages,
    store::{EmbeddedStore, StoreOptions},
};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Three samples, one of which JSON cannot say.
#[derive(Debug)]
struct Samples;

#[async_trait]
impl TelemetrySource for Samples {
    fn name(&self) -> &'static str {
        "samples"
    }

    async fn run(&self, out: &Emitter, _: &CancellationToken) -> Result<()> {
        let sample = |second: i64, value| Sample {
            metric: "requests_total".into(),
            labels: Labels::from_iter([("job", "shop"), ("instance", "a:1")]),
            timestamp: Timestamp::from_millis(1_795_437_296_789 + 1000 * second),
            value,
            kind: MetricKind::Counter,
        };
        let batch = Batch::samples(vec![sample(0, 0.1), sample(1, f64::NAN), sample(2, 0.3)]);
        out.emit(batch).await?.durable(PATIENCE).await
    }
}

#[tokio::test]
async fn everything_arrives_in_the_store_with_the_agent_s_own_samples() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(EmbeddedStore::open(&dir.path().join("store"), StoreOptions::default()).unwrap());
    let agent = Agent::builder(dir.path().join("agent"), Arc::new(StoreMessages::new(store.clone())))
        .name("shop")
        .labels(Labels::from_iter([("cluster", "shop-testing"), ("environment", "testing")]))
        .source(Lines::new("n", 50, 1))
        .source_with_labels(Arc::new(Samples), Labels::from_iter([("team", "shop")]))
        .self_metrics(Duration::from_millis(20))
        .start()
        .await
        .unwrap();
    eventually("everything is sent, own samples too", || {
        let stats = agent.stats();
        stats.not_finite == 1 && stats.forward.sent_messages > 150
    })
    .await;
    agent.shutdown(PATIENCE).await.unwrap();
    assert_eq!(agent.stats().spool.waiting_records, 0);

    let all = TimeRange::new(Timestamp::from_millis(0), Timestamp::from_millis(i64::MAX));
    let page = store.logs(&LogQuery::new(all).limit(100).order(LogOrder::OldestFirst)).await.unwrap();
    assert_eq!(page.total, 50);
    let labels = Labels::from_iter([("cluster", "shop-testing"), ("environment", "testing"), ("file", "n")]);
    assert!(page.records.iter().all(|record| record.labels == labels));
    let requests = store.select(&metric("requests_total"), all).await.unwrap();
    assert_eq!(requests[0].labels.get("team"), Some("shop"));
    let values: Vec<u64> = requests[0].points.iter().map(|(_, value)| value.to_bits()).collect();
    assert_eq!(values, [0.1_f64.to_bits(), 0.3_f64.to_bits()]);
    for name in [
        "platform_agent_sent_messages_total",
        "platform_agent_spool_disk_bytes",
        "platform_pipeline_accepted_total",
    ] {
        let own = store.select(&metric(name), all).await.unwrap();
        assert_eq!(own[0].labels.get("agent"), Some("shop"), "{name}");
        assert_eq!(own[0].labels.get("cluster"), Some("shop-testing"));
    }
    store.close().await.unwrap();
}
