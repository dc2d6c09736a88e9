//! How fast the embedded API is, client and server in one process: creates, applies that change nothing, lists and
//! the fan-out of one change to many watches.

// A benchmark that cannot set up its cluster has nothing to measure.
#![allow(clippy::expect_used)]

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::{
    Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, WatchParams,
};
use kube::{Client, Config};
use platform_testkit::kubernetes::EmbeddedApi;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// Requests of one iteration, this many of them under way at once.
const BATCH: u64 = 512;
const AT_ONCE: usize = 32;
const OBJECTS: u64 = 2_000;
const WATCHES: usize = 50;

fn client(runtime: &Runtime, api: &EmbeddedApi) -> Client {
    let _inside = runtime.enter();
    let mut config = Config::new(api.url().parse().expect("a URL"));
    config.root_cert = Some(Vec::new());
    Client::try_from(config).expect("a client")
}

fn api_of(client: Client, api_version: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
    Api::namespaced_with(client, "default", &resource)
}

fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            // No replicas: what is measured is the API, not the controllers behind it.
            "replicas": 0,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": "main",
                    "image": "app:1",
                    "ports": [{"containerPort": 80}],
                    "env": [{"name": "LEVEL", "value": "info"}],
                    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
                }]},
            },
        },
    })
}

async fn apply_all(deployments: &Api<DynamicObject>, names: impl Iterator<Item = String>) {
    let params = PatchParams::apply("bench");
    let applies =
        names.map(|name| {
            let (deployments, params) = (deployments.clone(), params.clone());
            async move {
                deployments.patch(&name, &params, &Patch::Apply(deployment(&name))).await.expect("applied")
            }
        });
    stream::iter(applies)
        .buffer_unordered(AT_ONCE)
        .for_each(|object| async { drop(black_box(object)) })
        .await;
}

fn writes(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let api = runtime.block_on(EmbeddedApi::builder().start()).expect("a cluster");
    let deployments = api_of(client(&runtime, &api), "apps/v1", "Deployment", "deployments");
    let mut group = c.benchmark_group("writes");
    group.throughput(Throughput::Elements(BATCH)).sample_size(10).measurement_time(Duration::from_secs(5));
    let next = AtomicU64::new(0);
    group.bench_function("create", |bencher| {
        bencher.to_async(&runtime).iter(|| {
            let first = next.fetch_add(BATCH, Ordering::Relaxed);
            apply_all(&deployments, (first..first + BATCH).map(|index| format!("new-{index}")))
        });
    });
    runtime.block_on(apply_all(&deployments, (0..BATCH).map(|index| format!("same-{index}"))));
    group.bench_function("apply without a change", |bencher| {
        bencher
            .to_async(&runtime)
            .iter(|| apply_all(&deployments, (0..BATCH).map(|index| format!("same-{index}"))));
    });
    group.finish();
    runtime.block_on(api.stop());
}

fn lists(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let api = runtime.block_on(EmbeddedApi::builder().start()).expect("a cluster");
    let deployments = api_of(client(&runtime, &api), "apps/v1", "Deployment", "deployments");
    runtime.block_on(apply_all(&deployments, (0..OBJECTS).map(|index| format!("web-{index}"))));
    let mut group = c.benchmark_group("lists");
    group.throughput(Throughput::Elements(OBJECTS)).sample_size(10);
    group.bench_function("all", |bencher| {
        bencher
            .to_async(&runtime)
            .iter(async || deployments.list(&ListParams::default()).await.expect("a list"));
    });
    group.bench_function("one of all by its label", |bencher| {
        let params = ListParams::default().labels("app=web-7");
        bencher.to_async(&runtime).iter(async || deployments.list(&params).await.expect("a list"));
    });
    group.finish();
    runtime.block_on(api.stop());
}

fn watches(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let api = runtime.block_on(EmbeddedApi::builder().start()).expect("a cluster");
    let maps = api_of(client(&runtime, &api), "v1", "ConfigMap", "configmaps");
    let counter = AtomicU64::new(0);
    let mut group = c.benchmark_group("watches");
    group.throughput(Throughput::Elements(WATCHES as u64)).sample_size(20);
    group.bench_function("one change to every watch", |bencher| {
        let since = api.store().revision().to_string();
        let opened = runtime.block_on(async {
            let mut opened = Vec::new();
            for _ in 0..WATCHES {
                let watch = maps.watch(&WatchParams::default(), &since).await.expect("a watch");
                opened.push(watch.boxed());
            }
            opened
        });
        let opened = tokio::sync::Mutex::new(opened);
        bencher.to_async(&runtime).iter(async || {
            let count = counter.fetch_add(1, Ordering::Relaxed);
            let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": count.to_string()}});
            maps.patch("a", &PatchParams::apply("bench"), &Patch::Apply(map)).await.expect("applied");
            let mut opened = opened.lock().await;
            for watch in opened.iter_mut() {
                black_box(watch.try_next().await.expect("an event"));
            }
        });
    });
    group.finish();
    runtime.block_on(api.stop());
}

criterion_group!(benches, writes, lists, watches);
criterion_main!(benches);
