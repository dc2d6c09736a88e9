//! All is well: documents of both signals get where they belong, once.

use super::{
    servers::Server,
    world::{DEADLINE, World, settled, variable},
};
use platform_core::{
    clock::{Clock, SystemClock},
    telemetry::document::{self, Signal, Topic},
};
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
#[ignore = "needs kafka, elasticsearch"]
async fn a_clock_that_steps_loses_no_record_of_either_side() {
    let world = World::new("clock").await;
    let (now, year) = (SystemClock.now(), Duration::from_secs(365 * 86_400));
    let times = [now, now + year, now, now - 10 * year, now - Duration::from_millis(1), now];
    let messages: Vec<_> =
        times.iter().enumerate().map(|(line, time)| world.log_at(&format!("line {line}"), *time)).collect();
    world.send(&messages).await;
    let ingester = world.ingester(&world.elasticsearch).await.start().unwrap();
    let total = settled(&ingester, times.len() as u64).await.total();
    assert_eq!((total.indexed, total.dead_lettered), (times.len() as u64, 0));
    world.assert_lines(times.len()).await;
    let mut stored: Vec<String> = world
        .documents(Signal::Logs)
        .await
        .iter()
        .map(|document| document["@timestamp"].as_str().unwrap().to_owned())
        .collect();
    let mut sent: Vec<String> = times.iter().map(ToString::to_string).collect();
    stored.sort();
    sent.sort();
    assert_eq!(stored, sent, "each keeps its own time");
    ingester.shutdown(Duration::from_secs(30)).await.unwrap();
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
