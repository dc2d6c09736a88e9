//! Telemetry by itself, without clusters: this host's metrics and a log file through the pipeline into a store, then queries and an alert.
//!
//! ```text
//! cargo run --example 05_telemetry
//! ```

use platform_core::{
    alert::{AlertRule, Condition},
    clock::{Clock, SystemClock},
    telemetry::{
        Expression, Labels, LogQuery, MetricQuery, TelemetrySink, TelemetryStore, TimeRange, metric,
    },
};
use platform_telemetry::{
    alerting::AlertEngine,
    notifiers::Terminal,
    pipeline::Pipeline,
    sources::{FileTail, HostSource, StartAt},
    store::{EmbeddedStore, StoreOptions},
};
use std::{io::Write, sync::Arc, time::Duration};

#[tokio::main]
async fn main() -> platform_examples::Result {
    platform_examples::log_to_stderr();
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("api1.log");
    let store = Arc::new(EmbeddedStore::open(&directory.path().join("store"), StoreOptions::default())?);

    // Sources run by themselves and wait when the store is busy; what is acknowledged survives a crash.
    let second = Duration::from_secs(1);
    let host =
        HostSource::builder().interval(second / 2).labels(Labels::from_iter([("cluster", "none")])).build();
    let tail = FileTail::builder([log.display().to_string()]).start_at(StartAt::Beginning).build()?;
    let pipeline = Pipeline::builder(store.clone()).source(Arc::new(host)).source(Arc::new(tail)).start();

    // A rule over the store, told on the terminal. This threshold is met by any machine that does something.
    let cpu = metric("node_cpu_seconds_total");
    let busy = 100.0 * cpu.clone().ne("mode", "idle").rate(10 * second).sum_by(["cluster"])
        / cpu.rate(10 * second).sum_by(["cluster"]);
    let rule =
        AlertRule::new("CpuInUse", busy.clone(), Condition::Above(0.0))?.summary("CPU is at {{value}} %");
    println!("{}", rule.promql());
    let alerts = AlertEngine::builder(store.clone())
        .platform("example")
        .interval(second)
        .rule(rule)
        .notifier(Arc::new(Terminal::stderr()))
        .start()
        .await?;

    let mut file = std::fs::File::create(&log)?;
    for (request, status) in [200, 200, 500, 200].iter().enumerate() {
        writeln!(
            file,
            "level={} request={request} status={status}",
            if *status < 500 { "info" } else { "error" }
        )?;
    }
    tokio::time::sleep(4 * second).await;

    let range = TimeRange::last(60 * second, SystemClock.now());
    let memory: Expression = metric("node_memory_MemAvailable_bytes") / metric("node_memory_MemTotal_bytes");
    for (what, expression) in [("CPU in use, %", busy), ("memory available, %", 100.0 * memory)] {
        for series in store.query(&MetricQuery::new(expression, range, second)?).await? {
            let latest = series.points.last().map_or(f64::NAN, |(_, value)| *value);
            println!("{what} {}: {latest:.1} in {} points", series.labels, series.points.len());
        }
    }
    for record in store.logs(&LogQuery::new(range).text("status=500")).await?.records {
        println!("{} {} {}", record.timestamp, record.severity, record.body);
    }

    // In this order nothing is lost: sources end, the channel drains, the store closes.
    alerts.stop(10 * second).await;
    pipeline.shutdown(10 * second).await?;
    let stats = pipeline.stats();
    println!("{} samples and {} log records are stored", stats.samples_stored, stats.logs_stored);
    store.close().await?;
    Ok(())
}
