//! The peer: what one writes with the same crates when one reads their documentation. Messages become `serde_json::Value`s, operations of the
//! `elasticsearch` crate are made of them, the answer is read as a `Value`, and offsets are committed after a batch.

use crate::{
    events::{EVENTS, Topics},
    table::{Taken, cpu_time},
};
use elasticsearch::{BulkOperation, BulkOperations, BulkParts, Elasticsearch, http::transport::Transport};
use rdkafka::{
    ClientConfig, Message,
    consumer::{CommitMode, Consumer, StreamConsumer},
};
use serde_json::Value;
use std::time::Instant;

const BATCH_BYTES: usize = 5 << 20;

pub(crate) async fn run(topics: &Topics, url: &str, round: usize) -> Taken {
    let client = Elasticsearch::new(Transport::single_node(url).unwrap());
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", &topics.bootstrap_servers)
        .set("group.id", format!("obvious-{}-{round}", topics.environment))
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&[&topics.topic()]).unwrap();
    let mut began = None;
    let (mut operations, mut bytes, mut done, mut pending) = (BulkOperations::new(), 0, 0, 0);
    while done < EVENTS {
        let message = consumer.recv().await.unwrap();
        began.get_or_insert_with(|| (cpu_time(), Instant::now()));
        let payload = message.payload().unwrap();
        let document: Value = serde_json::from_slice(payload).unwrap();
        let stream = &document["data_stream"];
        let text = |field: &str| stream[field].as_str().unwrap();
        let index = format!("{}-{}-{}", text("type"), text("dataset"), text("namespace"));
        let id = format!("{}-{}-{}", message.topic(), message.partition(), message.offset());
        operations.push(BulkOperation::create(document).id(id).index(index)).unwrap();
        bytes += payload.len();
        pending += 1;
        if bytes >= BATCH_BYTES || done + pending == EVENTS {
            let batch = std::mem::replace(&mut operations, BulkOperations::new());
            let answer = client.bulk(BulkParts::None).body(vec![batch]).send().await.unwrap();
            let answer: Value = answer.json().await.unwrap();
            assert_eq!(answer["errors"], false);
            assert_eq!(answer["items"].as_array().unwrap().len() as u64, pending);
            consumer.commit_message(&message, CommitMode::Async).unwrap();
            done += pending;
            (bytes, pending) = (0, 0);
        }
    }
    let (cpu, began) = began.unwrap();
    Taken { wall: began.elapsed(), cpu: cpu_time().saturating_sub(cpu) }
}
