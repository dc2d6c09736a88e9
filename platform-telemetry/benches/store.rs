//! What the embedded store costs: `cargo bench -p platform-telemetry --bench store`.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark ends when something is wrong")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use platform_core::{
    clock::Timestamp,
    telemetry::{
        Batch, Labels, LogQuery, LogRecord, Matcher, MetricKind, MetricQuery, RangeFunction, Sample,
        Severity, TelemetrySink, TelemetryStore, TimeRange, metric,
    },
};
use platform_telemetry::store::{EmbeddedStore, StoreOptions};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::runtime::Runtime;

const START: Timestamp = Timestamp::from_millis(1_795_392_000_000);
const HOUR: Duration = Duration::from_secs(3600);
const WORDS: [&str; 24] = [
    "request",
    "completed",
    "timeout",
    "upstream",
    "connection",
    "reset",
    "user",
    "order",
    "payment",
    "cache",
    "miss",
    "latency",
    "retry",
    "shard",
    "commit",
    "failed",
    "accepted",
    "queue",
    "worker",
    "session",
    "token",
    "invalid",
    "items",
    "status",
];

criterion_group!(benches, writing, latency, reading);
criterion_main!(benches);

/// From the call until everything is in partitions, by two batches of 10,000 and closing.
fn writing(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = c.benchmark_group("write and flush");
    group.sample_size(10);
    let cases = [("logs", logs(0..20_000)), ("samples", samples(0..20, 1000))];
    for (name, batch) in cases {
        group.throughput(Throughput::Elements(batch.len() as u64));
        group.bench_function(name, |b| {
            b.to_async(&runtime).iter_batched(
                || (tempfile::tempdir().unwrap(), batch.clone()),
                |(dir, batch)| async move {
                    let store = open(dir.path());
                    store.write(batch).await.unwrap();
                    store.close().await.unwrap();
                    dir
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// From the call until the acknowledgement.
fn latency(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()));
    let mut group = c.benchmark_group("acknowledge");
    let batches = [
        ("one line", logs(0..1)),
        ("500 samples", samples(0..1, 500)),
        ("10,000 samples", samples(0..10, 1000)),
    ];
    for (name, batch) in batches {
        group.throughput(Throughput::Elements(batch.len() as u64));
        group.bench_function(name, |b| {
            b.to_async(&runtime).iter_batched(
                || (store.clone(), batch.clone()),
                |(store, batch)| async move { store.write(batch).await.unwrap() },
                BatchSize::SmallInput,
            );
        });
    }
    group.throughput(Throughput::Elements(64));
    group.bench_function("64 writers, one line each", |b| {
        b.to_async(&runtime).iter(|| {
            let writes = (0..64).map(|i| {
                let store = store.clone();
                async move { store.write(logs(i..i + 1)).await.unwrap() }
            });
            futures::future::join_all(writes)
        });
    });
    group.finish();
}

/// Three hours of a thousand series each 15 s, and of 300,000 log records.
fn reading(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    runtime.block_on(async {
        for scrape in 0..720 {
            store.write(samples(scrape..scrape + 1, 1000)).await.unwrap();
        }
        for part in 0..30 {
            store.write(logs(part * 10_000..(part + 1) * 10_000)).await.unwrap();
        }
        store.close().await.unwrap();
    });
    drop(store);
    let store = open(dir.path());
    let hour = TimeRange::new(START + HOUR, START + 2 * HOUR);
    let all = TimeRange::new(START, START + 3 * HOUR);
    let step = Duration::from_secs(60);
    let mut group = c.benchmark_group("query");

    let one = metric("metric_7").eq("pod", "pod-3").over(RangeFunction::Avg, step);
    let hundred = metric("metric_7").rate(5 * step).avg_by(["node"]);
    let expressions = [
        ("1 series, 1 h, 1-min averages", one.clone(), hour),
        ("1 series, 3 h, 1-min averages", one, all),
        ("100 series, 1 h, 5-min rates by node", hundred, hour),
    ];
    for (name, expression, range) in expressions {
        let query = MetricQuery::new(expression, range, step).unwrap();
        assert!(!runtime.block_on(store.query(&query)).unwrap().is_empty());
        group.bench_function(name, |b| {
            b.to_async(&runtime).iter(|| async { store.query(&query).await.unwrap() });
        });
    }

    let searches = [
        (
            "word and label, 1 h, first 20",
            LogQuery::new(hour).text("timeout").matching(Matcher::equal("app", "app-7")),
        ),
        ("phrase, 3 h, first 20", LogQuery::new(all).text("\"connection reset\"")),
        ("errors, 1 h, first 20", LogQuery::new(hour).min_severity(Severity::Error)),
        ("rare word, 3 h, first 20", LogQuery::new(all).text("id123456")),
    ];
    for (name, query) in searches {
        let query = query.limit(20);
        assert!(runtime.block_on(store.logs(&query)).unwrap().total > 0, "{name}");
        group.bench_function(name, |b| {
            b.to_async(&runtime).iter(|| async { store.logs(&query).await.unwrap() });
        });
    }
    group.finish();
}

fn open(dir: &Path) -> EmbeddedStore {
    EmbeddedStore::open(dir, StoreOptions::default()).unwrap()
}

/// Scrapes of `series` series, 15 s apart, in ten metrics.
fn samples(scrapes: std::ops::Range<u32>, series: u32) -> Batch {
    let all = scrapes.flat_map(|scrape| (0..series).map(move |i| (scrape, i)));
    let sample = |(scrape, i): (u32, u32)| Sample {
        metric: format!("metric_{}", i % 10).into(),
        labels: Labels::from_iter([
            ("pod", format!("pod-{}", i / 10)),
            ("node", format!("node-{}", i / 10 % 20)),
            ("namespace", format!("team-{}", i % 40)),
        ]),
        timestamp: START + Duration::from_secs(15) * scrape,
        value: f64::from(scrape) * f64::from(i) * 0.37,
        kind: MetricKind::Counter,
    };
    Batch::samples(all.map(sample).collect())
}

/// Records 36 ms apart, of 16 words each.
fn logs(numbers: std::ops::Range<u32>) -> Batch {
    let record = |i: u32| {
        let mut random = i.wrapping_mul(2_654_435_761);
        let words: Vec<&str> = (0..14)
            .map(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                WORDS[(random >> 16) as usize % WORDS.len()]
            })
            .collect();
        let body = format!("{} id{i} dur={}ms", words.join(" "), random % 5000);
        LogRecord {
            timestamp: START + Duration::from_millis(36) * i,
            severity: if i.is_multiple_of(50) { Severity::Error } else { Severity::Info },
            body,
            labels: Labels::from_iter([
                ("app", format!("app-{}", i % 50)),
                ("namespace", format!("team-{}", i % 40)),
                ("cluster", "eu-1".to_owned()),
            ]),
        }
    };
    Batch::logs(numbers.map(record).collect())
}
