//! All is well: documents of both signals get where they belong, once.

use super::{
    servers::Server,
    world::{DEADLINE, World, settled, variable},
};
use platform_core::telemetry::document::{self, Signal, Topic};
use platform_telemetry::{
    elasticsearch::{Elasticsearch, ElasticsearchDestination},
    ingest::{Event, Ingester},
};
use std::{sync::Arc, time::Duration};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kafka, elasticsearch"]
async fn every_event_is_a_document_and_the_ledger_says_so() {
    let world = World::new("well").await;
    let mut messages: Vec<_> = (0..3000).map(|line| world.log(&format!("line {line}"))).collect();
    messages.extend((0..500).map(|n| world.metric(n % 50, n as u64 / 50)));
    // What has no document is filtered.
    messages.push(world.message(Topic::Logs, "line 7", "{\"body\":{\"text\":\"secret\"}}"));
    world.send(&messages).await;
    let keep = |event: &Event<'_>| !event.payload.windows(6).any(|part| part == b"secret");
    let ingester = world.ingester(&world.elasticsearch).await.filter(keep).start().unwrap();
    settled(&ingester, 3501).await;
    let ledger = ingester.shutdown(Duration::from_secs(30)).await.unwrap();
    let total = ledger.total();
    assert_eq!((total.read, total.indexed, total.filtered), (3501, 3500, 1), "{ledger}");
    assert_eq!((total.duplicate, total.dead_lettered, total.unreadable), (0, 0, 0), "{ledger}");
    assert!(ledger.partitions.len() > 4, "the work is in several partitions:\n{ledger}");

    world.assert_lines(3000).await;
    let metrics = world.documents(Signal::Metrics).await;
    assert_eq!(metrics.len(), 500);
    for document in &metrics {
        document::check(Signal::Metrics, document).unwrap();
    }
    for document in world.documents(Signal::Logs).await {
        document::check(Signal::Logs, &document).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kafka, elasticsearch"]
async fn an_ingester_goes_on_where_the_last_one_ended() {
    let world = World::new("goon").await;
    for round in 0..3 {
        world.send_lines(round * 200..(round + 1) * 200).await;
        let ingester = world.ingester(&world.elasticsearch).await.start().unwrap();
        settled(&ingester, 200).await;
        let total = ingester.shutdown(Duration::from_secs(30)).await.unwrap().total();
        assert_eq!((total.read, total.indexed), (200, 200));
    }
    world.assert_lines(600).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kafka, servers to kill"]
async fn metrics_of_data_streams_are_series_that_have_each_sample_once() {
    // A server of its own: where there are data streams, no template may say otherwise.
    let elasticsearch = Server::start("PLATFORM_ELASTICSEARCH_SERVER");
    let world = World::within("series", &variable("PLATFORM_KAFKA"), &elasticsearch.address).await;
    let samples: Vec<_> = (0..100).map(|n| world.metric(n % 10, n as u64 / 10)).collect();
    // The agent sent them twice: they are other records with the same samples.
    world.send(&samples).await;
    world.send(&samples).await;
    let server = Elasticsearch::builder(&world.elasticsearch).build().unwrap();
    let destination =
        ElasticsearchDestination::builder(server).data_streams(true).install(DEADLINE).await.unwrap();
    let ingester = Ingester::builder(world.kafka.clone(), Arc::new(destination))
        .group(&world.environment)
        .environments([world.environment.as_str()])
        .start()
        .unwrap();
    let total = settled(&ingester, 200).await.total();
    assert_eq!((total.indexed, total.duplicate), (100, 100));
    assert_eq!(world.documents(Signal::Metrics).await.len(), 100);
    ingester.shutdown(Duration::from_secs(30)).await.unwrap();
}
