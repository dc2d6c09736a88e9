//! Elasticsearch misbehaves: each fault is seen to happen, then everything is there, and once.

use super::{
    proxy::{self, Fault},
    world::{DEADLINE, World, settled},
};
use platform_core::telemetry::document::{Signal, daily_index};
use serde_json::json;
use std::time::{Duration, Instant};

/// Sends 300 lines through the faults. Answers with the number of duplicates.
async fn through(name: &str, faults: Vec<Fault>) -> u64 {
    let world = World::new(name).await;
    world.send_lines(0..300).await;
    let spoiled = proxy::start(&world.elasticsearch, faults.clone()).await;
    let ingester = world.ingester(&spoiled.url).await.write_timeout(Duration::from_secs(5)).start().unwrap();
    let total = settled(&ingester, 300).await.total();
    let seen = spoiled.proxy.seen();
    assert!(!seen.is_empty() && spoiled.proxy.is_through(), "the fault did not happen: {seen:?}");
    assert_eq!(total.indexed + total.duplicate, 300);
    assert_eq!(total.dead_lettered, 0);
    let until = Instant::now() + DEADLINE;
    while let Some(trouble) = ingester.trouble() {
        assert!(Instant::now() < until, "still in trouble: {trouble}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let ledger = ingester.shutdown(Duration::from_secs(30)).await.unwrap();
    assert!(ledger.is_balanced(), "{ledger}");
    world.assert_lines(300).await;
    total.duplicate
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kafka, elasticsearch"]
async fn a_request_that_is_refused_for_a_time_is_repeated() {
    for status in [429, 503, 502, 401, 403, 408] {
        assert_eq!(through("refused", vec![Fault::Status(status); 3]).await, 0, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kafka, elasticsearch"]
async fn a_request_that_is_too_large_is_halved() {
    through("halved", vec![Fault::LargerThan(4000)]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kafka, elasticsearch"]
async fn of_mixed_answers_only_what_failed_is_repeated() {
    for status in [429, 503, 403] {
        let duplicates = through("mixed", vec![Fault::EverySecond(status), Fault::EverySecond(status)]).await;
        assert_eq!(duplicates, 0, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kafka, elasticsearch"]
async fn what_was_written_without_an_answer_is_found_to_be_there() {
    for fault in [Fault::Truncated, Fault::Closed, Fault::Silent] {
        assert!(through("unanswered", vec![fault.clone()]).await > 0, "{fault:?} made no duplicates");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kafka, elasticsearch"]
async fn an_index_that_is_full_is_waited_for() {
    let world = World::new("full").await;
    world.send_lines(0..100).await;
    let ingester = world.ingester(&world.elasticsearch).await.start().unwrap();
    settled(&ingester, 100).await;
    let today = jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC).date();
    let settings = format!("/{}/_settings", daily_index(Signal::Logs, &world.environment, today));
    world.call("PUT", &settings, json!({"index.blocks.read_only_allow_delete": true})).await;
    world.send_lines(100..200).await;
    let until = Instant::now() + DEADLINE;
    while ingester.trouble().is_none() {
        assert!(Instant::now() < until, "the full index was not noticed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let trouble = ingester.trouble().unwrap();
    assert!(trouble.contains("cluster_block_exception"), "{trouble}");
    let stuck = ingester.shutdown(Duration::from_secs(1)).await.unwrap_err();
    assert!(stuck.to_string().contains("100 events were not written"), "{stuck}");

    world.call("PUT", &settings, json!({"index.blocks.read_only_allow_delete": null})).await;
    let ingester = world.ingester(&world.elasticsearch).await.start().unwrap();
    assert_eq!(settled(&ingester, 100).await.total().indexed, 100);
    ingester.shutdown(Duration::from_secs(30)).await.unwrap();
    world.assert_lines(200).await;
}
