use super::{NOW, open};
use platform_core::telemetry::TelemetrySink;
use platform_telemetry::store::{EmbeddedStore, StoreOptions};
use platform_testkit::conformance;
use std::time::Duration;

#[tokio::test]
async fn the_embedded_store_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let report = conformance::store::run(&store, NOW).await;
    assert_eq!(report.failed(), 0, "{report}");
    store.close().await.unwrap();
}

/// Everything is flushed as soon as it is written, so that queries meet partitions and heads in any mixture.
#[tokio::test]
async fn the_embedded_store_conforms_while_it_flushes() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        flush_interval: Duration::ZERO,
        partition: Duration::from_secs(60),
        ..StoreOptions::default()
    };
    let store = EmbeddedStore::open(dir.path(), options).unwrap();
    let report = conformance::store::run(&store, NOW).await;
    assert_eq!(report.failed(), 0, "{report}");
}
