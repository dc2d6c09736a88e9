//! What is read: log documents of 1 KB in a topic of a real Kafka.

use platform_core::{
    clock::{Clock, SystemClock},
    telemetry::{
        Labels, LogRecord, Severity,
        document::{self, Topic},
    },
};
use platform_telemetry::{
    kafka::{Kafka, KafkaSink},
    message::{Message, MessageSink},
};
use std::time::Duration;

/// How many events a round has.
pub(crate) const EVENTS: u64 = 200_000;
const BYTES: usize = 1024;
const PODS: u64 = 64;

pub(crate) struct Topics {
    pub(crate) kafka: Kafka,
    pub(crate) bootstrap_servers: String,
    pub(crate) environment: String,
}

impl Topics {
    /// Topics of a new environment with so many log documents in them.
    pub(crate) async fn fill(events: u64) -> Self {
        let servers = std::env::var("PLATFORM_KAFKA").expect("PLATFORM_KAFKA names a server");
        let kafka = Kafka::new(&servers);
        let environment = format!("bench{}", SystemClock.now().as_millis() % 1_000_000_000);
        kafka.topics().partitions(8).create(&[&environment], Duration::from_secs(60)).await.unwrap();
        let sink = KafkaSink::builder(kafka.clone()).build().unwrap();
        let topics = Self { kafka, bootstrap_servers: servers, environment };
        let numbers: Vec<u64> = (0..events).collect();
        for group in numbers.chunks(10_000) {
            let messages: Vec<Message> = group.iter().map(|number| topics.event(*number)).collect();
            sink.send(&messages).await.unwrap();
        }
        topics
    }

    pub(crate) fn topic(&self) -> String {
        Topic::Logs.name(&self.environment)
    }

    /// A document as a container's line makes it, padded to the size.
    fn event(&self, number: u64) -> Message {
        let pod = format!("checkout-7d9c5b8f6d-{:05}", number % PODS);
        let labels = Labels::from_iter([
            ("environment", self.environment.as_str()),
            ("cluster", "shop-testing"),
            ("namespace", "checkout"),
            ("pod", pod.as_str()),
            ("container", "checkout"),
            ("stream", "stdout"),
            ("trace_id", "0af7651916cd43dd8448eb211c80319c"),
        ]);
        let mut record = LogRecord {
            timestamp: SystemClock.now(),
            severity: Severity::Info,
            body: format!("order {number} \"paid\" in {} ms ", number * 7919 % 997),
            labels,
        };
        let missing = BYTES.saturating_sub(document::log(&record, "none").to_string().len());
        record.body.extend("the quick brown fox jumps over the lazy dog ".chars().cycle().take(missing));
        Message {
            topic: self.topic().into(),
            key: pod.into_bytes().into(),
            payload: document::log(&record, "none").to_string().into_bytes().into(),
        }
    }
}
