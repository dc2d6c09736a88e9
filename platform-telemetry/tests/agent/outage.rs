//! Sinks that are down, refuse or stall.

use crate::support::{Lines, PATIENCE, TestMessages, assert_complete_and_in_order, eventually};
use platform_core::{ErrorKind, telemetry::Labels};
use platform_telemetry::{
    agent::{Agent, AgentBuilder, ForwardOptions},
    sources::tracing_source,
    spool::SpoolOptions,
};
use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tracing_subscriber::prelude::*;

/// Groups of a few messages, so that many are under way.
fn agent(dir: &Path, sink: &Arc<TestMessages>) -> AgentBuilder {
    Agent::builder(dir.join("agent"), sink.clone()).environment("testing").forward(ForwardOptions {
        group_bytes: 8 << 10,
        group_records: 40,
        commit_interval: Duration::from_millis(5),
        longest_wait: Duration::from_millis(40),
        ..ForwardOptions::default()
    })
}

/// A spool that is soon full.
fn small() -> SpoolOptions {
    SpoolOptions {
        max_bytes: 512 << 10,
        segment_bytes: 64 << 10,
        queue_bytes: 256 << 10,
        max_record_bytes: 16 << 10,
        ..SpoolOptions::default()
    }
}

#[tokio::test]
async fn a_sink_that_is_down_gets_everything_in_order_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let sink = TestMessages::new();
    // One after the other: down, without rights, half-way, and with a bug.
    sink.down(ErrorKind::Unavailable);
    let (one, two) = (Lines::new("one", 500, 20), Lines::new("two", 500, 20));
    let agent = agent(dir.path(), &sink).source(one.clone()).source(two.clone()).start().await.unwrap();
    for (kind, panics) in [
        (ErrorKind::Unavailable, 0),
        (ErrorKind::Unavailable, 3),
        (ErrorKind::Denied, 0),
        (ErrorKind::NotFound, 0),
        (ErrorKind::Timeout, 0),
    ] {
        sink.panics.store(panics, Ordering::SeqCst);
        sink.down(kind);
        let (attempts, retries) = (sink.attempts.load(Ordering::SeqCst), agent.stats().forward.retries);
        eventually("it is seen to be down", || {
            let stats = agent.stats().forward;
            sink.attempts.load(Ordering::SeqCst) >= attempts + 3
                && stats.retries >= retries + 3
                && stats.failing
                && sink.panics.load(Ordering::SeqCst) == 0
        })
        .await;
    }
    eventually("everything is durable", || {
        one.durable.load(Ordering::SeqCst) + two.durable.load(Ordering::SeqCst) == 1000
    })
    .await;
    let stats = agent.stats();
    assert_eq!((stats.forward.sent_messages, stats.spool.waiting_records), (0, 1000));
    assert!(stats.forward.last_error.contains("it is down"), "{}", stats.forward.last_error);
    sink.up();
    eventually("everything is sent", || agent.stats().spool.waiting_records == 0).await;
    let stats = agent.stats();
    assert_eq!((stats.forward.sent_messages, stats.forward.dead_letters), (1000, 0));
    assert!(!stats.forward.failing && stats.forward.bytes_in_flight == 0);
    for (name, numbers) in sink.numbers() {
        assert_complete_and_in_order(&name, &numbers, 500);
    }
    agent.shutdown(PATIENCE).await.unwrap();
    agent.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn the_refused_message_is_found_and_becomes_a_dead_letter() {
    let dir = tempfile::tempdir().unwrap();
    // Five of the lines of "bad".
    let sink = TestMessages::refusing("bad..-7");
    let (good, bad) = (Lines::new("good", 200, 2), Lines::new("bad", 74, 2));
    let agent = agent(dir.path(), &sink).source(good).source(bad).start().await.unwrap();
    eventually("everything is forwarded", || {
        let stats = agent.stats();
        stats.spool.waiting_records == 0 && stats.forward.sent_messages + stats.forward.dead_letters == 274
    })
    .await;
    agent.shutdown(PATIENCE).await.unwrap();
    assert_eq!(agent.stats().forward.dead_letters, 5);
    let numbers = sink.numbers();
    assert_eq!(numbers["good.."], (0..200).collect::<Vec<_>>());
    assert_eq!(numbers["bad.."], (0..74).filter(|n| *n != 7 && *n < 70).collect::<Vec<_>>());
    let letters = std::fs::read_to_string(dir.path().join("agent/dead-letters.ndjson")).unwrap();
    let letters: Vec<serde_json::Value> = letters.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(letters.len(), 5);
    assert!(
        letters
            .iter()
            .all(|l| l["payload"].as_str().unwrap().contains("bad..-7") && l["topic"] == "testing.logs.v1")
    );
    assert!(letters[0]["reason"].as_str().unwrap().contains("poison"));
}

#[tokio::test]
async fn a_full_spool_holds_sources_back_and_everything_held_stays_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let sink = TestMessages::new();
    sink.stall();
    let source = Lines::new("n", 12_000, 400);
    let builder = agent(dir.path(), &sink).spool(small()).source(source.clone());
    let agent = builder.self_metrics(Duration::from_secs(3600)).start().await.unwrap();
    let is_bounded = || {
        let stats = agent.stats();
        assert!(stats.spool.disk_bytes <= small().max_bytes, "{stats:?}");
        assert!(stats.spool.queued_bytes <= small().queue_bytes, "{stats:?}");
        // Four groups under way, one that waits and one that was just read; each may pass its size by a message.
        assert!(stats.forward.bytes_in_flight <= 6 * (10 << 10), "{stats:?}");
        stats
    };
    eventually("the spool is full", || is_bounded().spool.full).await;
    let emitted = source.emitted.load(Ordering::SeqCst);
    eventually("the source waits", || {
        // The channel of the pipeline fills up behind the spool.
        source.emitted.load(Ordering::SeqCst) > source.durable.load(Ordering::SeqCst)
            && is_bounded().spool.waits > 0
    })
    .await;
    assert!(emitted < 12_000, "the source was not held back");
    assert!(source.emitted.load(Ordering::SeqCst) < 12_000, "the source was not held back");
    assert_eq!(sink.len(), 0);
    sink.resume();
    eventually("everything is sent", || {
        let stats = is_bounded();
        source.durable.load(Ordering::SeqCst) == 12_000 && stats.spool.waiting_records == 0
    })
    .await;
    let stats = agent.stats();
    assert_eq!((stats.spool.dropped_newest, stats.spool.dropped_oldest), (0, 0));
    assert!(stats.pipeline.dropped.is_empty(), "{:?}", stats.pipeline.dropped);
    let (name, numbers) = sink.numbers().pop_first().unwrap();
    assert_complete_and_in_order(&name, &numbers, 12_000);
    agent.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn what_was_not_sent_at_the_end_is_sent_by_the_next_agent() {
    let dir = tempfile::tempdir().unwrap();
    let sink = TestMessages::new();
    sink.down(ErrorKind::Unavailable);
    let source = Lines::new("n", 100, 1);
    let labels = Labels::from_iter([("cluster", "c"), ("environment", "production")]);
    let first = agent(dir.path(), &sink).labels(labels).source(source.clone()).start().await.unwrap();
    let error = agent(dir.path(), &sink).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    eventually("everything is durable", || source.durable.load(Ordering::SeqCst) == 100).await;
    // Nothing is lost by that: it is no failure.
    first.shutdown(Duration::from_millis(400)).await.unwrap();
    assert_eq!((first.stats().spool.waiting_records, sink.len()), (100, 0));
    assert!(first.add_source(source, &Labels::empty()).is_err());
    drop(first);

    sink.up();
    let second = agent(dir.path(), &sink).start().await.unwrap();
    second.shutdown(PATIENCE).await.unwrap();
    assert_eq!(second.stats().spool.waiting_records, 0);
    let records = sink.records();
    assert_complete_and_in_order("n", &sink.numbers()["n."], 100);
    assert!(records.iter().all(|r| r.labels.get("cluster") == Some("c")));
}

#[tokio::test]
async fn what_is_said_while_it_sends_does_not_come_back() {
    let (layer, source) = tracing_source(64);
    let _guard = tracing_subscriber::registry().with(layer).set_default();
    let dir = tempfile::tempdir().unwrap();
    let sink = TestMessages::new();
    sink.down(ErrorKind::Unavailable);
    tracing::info!("once");
    let agent = agent(dir.path(), &sink).source(Arc::new(source)).start().await.unwrap();
    eventually("it is seen to be down", || agent.stats().forward.retries >= 3).await;
    sink.up();
    eventually("the event is sent", || sink.len() == 1).await;
    // The test's sink logs at every send: would that come back, it would go on for ever.
    tokio::time::sleep(Duration::from_millis(500)).await;
    agent.shutdown(PATIENCE).await.unwrap();
    let bodies: Vec<String> = sink.records().into_iter().map(|record| record.body).collect();
    assert_eq!(bodies, ["once"]);
}
