//! The executor's own cost per step: graphs whose steps do nothing.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use platform_core::execution::{Executor, Step, StepDone, StepGraph};
use std::hint::black_box;

fn step(id: usize) -> Step {
    Step::new(format!("step/{id}"), "nothing", |_| async { Ok(StepDone::unchanged("")) })
}

/// Every step after the one before it: nothing runs side by side.
fn chain(length: usize) -> Vec<Step> {
    (0..length).map(|i| if i == 0 { step(i) } else { step(i).after([format!("step/{}", i - 1)]) }).collect()
}

/// Steps that wait for nothing.
fn wide(count: usize) -> Vec<Step> {
    (0..count).map(step).collect()
}

fn executor(c: &mut Criterion) {
    let Ok(runtime) = tokio::runtime::Runtime::new() else { return };
    let mut group = c.benchmark_group("executor");
    for (name, steps) in [("chain", chain as fn(usize) -> Vec<Step>), ("wide", wide)] {
        const STEPS: usize = 1000;
        group.throughput(Throughput::Elements(STEPS as u64));
        group.bench_function(BenchmarkId::new(name, STEPS), |b| {
            b.to_async(&runtime).iter(|| async {
                let report = match StepGraph::new(steps(STEPS)) {
                    Ok(graph) => Executor::default().start(graph).await,
                    Err(error) => return eprintln!("{error}"),
                };
                black_box(report.succeeded());
            });
        });
    }
    group.finish();
}

criterion_group!(benches, executor);
criterion_main!(benches);
