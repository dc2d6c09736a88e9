//! Events of the tracing crate.

use crate::support::{PATIENCE, TestSink, eventually};
use platform_core::telemetry::{Labels, Severity};
use platform_telemetry::{pipeline::Pipeline, sources::tracing_source};
use std::{fmt, sync::Arc, time::Duration};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::prelude::*;

#[tokio::test]
async fn events_become_records_with_their_fields_and_spans() {
    let (layer, source) = tracing_source(64);
    let _guard = tracing_subscriber::registry().with(layer).set_default();
    let sink = TestSink::new();
    tracing::info_span!("outer").in_scope(|| {
        tracing::info_span!("inner", ignored = 1).in_scope(|| {
            tracing::error!(code = 7, path = "/tmp/x", ok = false, "cannot open {}", "it");
        });
    });
    tracing::debug!("too fine");
    let pipeline = Pipeline::builder(sink.clone())
        .source_with_labels(Arc::new(source), Labels::from_iter([("cluster", "c")]))
        .start();
    eventually("the event is stored", || !sink.logs().is_empty()).await;
    pipeline.shutdown(PATIENCE).await.unwrap();
    let records = sink.logs();
    let record = &records[0];
    assert_eq!((record.body.as_str(), record.severity), ("cannot open it", Severity::Error));
    for (name, value) in [
        ("code", "7"),
        ("path", "/tmp/x"),
        ("ok", "false"),
        ("span", "outer:inner"),
        ("source", "tracing"),
        ("target", "sources::events"),
        ("cluster", "c"),
    ] {
        assert_eq!(record.labels.get(name), Some(value), "{}", record.labels);
    }
    assert!(!records.iter().any(|r| r.body == "too fine"));
}

#[tokio::test]
async fn what_the_sink_and_the_pipeline_say_does_not_come_back() {
    let (layer, source) = tracing_source(64);
    let _guard = tracing_subscriber::registry().with(layer.except_target("noise")).set_default();
    let sink = TestSink::new();
    sink.fail([crate::support::Fault::Unavailable]);
    tracing::info!("once");
    tracing::info!(target: "noise::within", "left out");
    tracing::info!(target: "noisette", "taken");
    let pipeline =
        Pipeline::builder(sink.clone()).source(Arc::new(source)).batch_wait(Duration::from_millis(5)).start();
    eventually("the events are stored", || sink.logs().len() == 2).await;
    // The test's sink logs at every write: would that come back, it would go on for ever.
    tokio::time::sleep(Duration::from_millis(500)).await;
    pipeline.shutdown(PATIENCE).await.unwrap();
    assert_eq!(sink.bodies(), ["once", "taken"]);
}

/// Logs while it is printed.
struct Chatty;

impl fmt::Debug for Chatty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        tracing::error!("within an event");
        f.write_str("chatty")
    }
}

#[tokio::test]
async fn a_full_queue_drops_counts_and_tells() {
    let (layer, source) = tracing_source(3);
    let source = Arc::new(source);
    let guard = tracing_subscriber::registry().with(layer.level(LevelFilter::TRACE)).set_default();
    tracing::trace!(value = ?Chatty, "first");
    tracing::info!(long = "é".repeat(2_000), "second");
    for number in 0..10 {
        tracing::info!(number, "more");
    }
    drop(guard);
    assert_eq!((source.stats().queued, source.stats().dropped), (3, 9));
    let sink = TestSink::new();
    let pipeline = Pipeline::builder(sink.clone()).source(source).start();
    eventually("all is stored", || sink.logs().len() == 4).await;
    pipeline.shutdown(PATIENCE).await.unwrap();
    let records = sink.logs();
    assert_eq!(records[0].labels.get("value"), Some("chatty"));
    assert_eq!(records[1].labels.get("long").map(str::len), Some(1024));
    assert_eq!(
        (records[3].body.as_str(), records[3].severity),
        ("9 events were dropped: the queue was full", Severity::Warn)
    );
}
