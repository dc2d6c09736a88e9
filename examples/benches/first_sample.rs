//! From `apply` to the first sample on the page: a platform of four embedded clusters, and its telemetry.

#![allow(clippy::panic, reason = "a benchmark that fails ends")]

use criterion::{Criterion, criterion_group, criterion_main};
use platform_core::{
    Confirmation, Environment, Platform,
    clock::{Clock, SystemClock},
    telemetry::{MetricQuery, metric},
};
use platform_examples::Result;
use platform_k8s::{Kubernetes, components::NodeExporter};
use platform_telemetry::plane::EmbeddedTelemetry;
use platform_testkit::EmbeddedProvider;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Applies, and takes the time until every cluster's CPU is in the store that the page asks; then takes it down again.
async fn first_sample() -> Result<Duration> {
    let telemetry = Arc::new(EmbeddedTelemetry::builder().temporary().build()?);
    let platform = Platform::builder("shop")?
        .environment(Environment::new("testing")?)
        .environment(Environment::new("staging")?)
        .environment(Environment::new("production")?)
        .component(NodeExporter::new()?)
        .provider(EmbeddedProvider::in_memory())
        .orchestrator(Kubernetes::default())
        .telemetry(telemetry.clone())
        .build()?;
    let started = Instant::now();
    let plan = platform.plan().await?;
    let applying = platform.apply(&plan)?;
    let seen = async {
        loop {
            if let Some(store) = telemetry.store() {
                let query = MetricQuery::instant(metric("node_load1"), SystemClock.now());
                if store.query(&query).await?.len() == 4 {
                    return Result::Ok(started.elapsed());
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let (applied, seen) = tokio::join!(applying, seen);
    applied?;
    platform.destroy(&Confirmation::new("shop")).await?.await?;
    seen
}

fn benchmark(c: &mut Criterion) {
    let Ok(runtime) = tokio::runtime::Runtime::new() else { return };
    let mut group = c.benchmark_group("platform");
    group.sample_size(10).measurement_time(Duration::from_secs(15));
    group.bench_function("apply to first sample, 4 clusters", |b| {
        b.iter_custom(|times| {
            let run = || runtime.block_on(first_sample());
            (0..times).map(|_| run().unwrap_or_else(|e| panic!("{e}"))).sum()
        });
    });
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
