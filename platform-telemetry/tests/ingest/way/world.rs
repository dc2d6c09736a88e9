//! An environment of its own for each test, in servers that all share.

use platform_core::{
    clock::{Clock, SystemClock, Timestamp},
    telemetry::{
        Labels, LogRecord, MetricKind, Sample, Severity,
        document::{self, Signal, Topic, data_stream},
    },
};
use platform_telemetry::{
    elasticsearch::{Elasticsearch, ElasticsearchDestination},
    ingest::{Ingester, IngesterBuilder, IngesterHandle, Ledger},
    kafka::{Kafka, KafkaSink},
    message::{Message, MessageSink},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("this test needs {name}, see CONTRIBUTING"))
}

pub(crate) struct World {
    pub(crate) environment: String,
    pub(crate) kafka: Kafka,
    pub(crate) elasticsearch: String,
    http: reqwest::Client,
}

impl World {
    /// An environment with topics in the servers that the variables name.
    pub(crate) async fn new(name: &str) -> Self {
        Self::within(name, &variable("PLATFORM_KAFKA"), &variable("PLATFORM_ELASTICSEARCH")).await
    }

    pub(crate) async fn within(name: &str, kafka: &str, elasticsearch: &str) -> Self {
        let run = SystemClock.now().as_millis() % 100_000_000;
        let world = Self::joined(&format!("{name}{run}"), kafka, elasticsearch);
        let made = world.kafka.topics().partitions(4).create(&[&world.environment], DEADLINE).await.unwrap();
        assert_eq!(made.len(), 3, "{made:?}");
        world
    }

    /// An environment that is there already.
    pub(crate) fn joined(environment: &str, kafka: &str, elasticsearch: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            environment: environment.to_owned(),
            // So that tests need not wait for what takes its time in production.
            kafka: Kafka::new(kafka)
                .property("session.timeout.ms", "6000")
                .property("heartbeat.interval.ms", "500"),
            elasticsearch: elasticsearch.trim_end_matches('/').to_owned(),
            http: reqwest::Client::builder().timeout(DEADLINE).build().unwrap(),
        }
    }

    /// An ingester of this environment into Elasticsearch at `url`.
    pub(crate) async fn ingester(&self, url: &str) -> IngesterBuilder {
        let server = Elasticsearch::builder(url).build().unwrap();
        let destination = ElasticsearchDestination::builder(server)
            .request_timeout(Duration::from_secs(5))
            .install(DEADLINE)
            .await
            .unwrap();
        Ingester::builder(self.kafka.clone(), Arc::new(destination))
            .group(format!("ingester-{}", self.environment))
            .environments([self.environment.as_str()])
            .batch_wait(Duration::from_millis(100))
    }

    pub(crate) fn topic(&self, topic: Topic) -> String {
        topic.name(&self.environment)
    }

    pub(crate) fn log(&self, body: &str) -> Message {
        self.log_at(body, SystemClock.now())
    }

    pub(crate) fn log_at(&self, body: &str, timestamp: Timestamp) -> Message {
        let record = LogRecord {
            timestamp,
            severity: Severity::Info,
            body: body.to_owned(),
            labels: Labels::from_iter([
                ("environment", self.environment.as_str()),
                ("pod", "api1-7d"),
                ("user", "7"),
            ]),
        };
        self.message(Topic::Logs, body, document::log(&record, "none").to_string())
    }

    pub(crate) fn metric(&self, series: usize, second: u64) -> Message {
        let instance = format!("node-{series}");
        let sample = Sample {
            metric: "node_load1".into(),
            labels: Labels::from_iter([
                ("environment", self.environment.as_str()),
                ("instance", instance.as_str()),
            ]),
            timestamp: SystemClock.now() - Duration::from_secs(second),
            value: 0.5,
            kind: MetricKind::Gauge,
        };
        self.message(Topic::Metrics, &instance, document::metric(&sample, "none").unwrap().to_string())
    }

    pub(crate) fn message(&self, topic: Topic, key: &str, payload: impl Into<Vec<u8>>) -> Message {
        Message {
            topic: self.topic(topic).into(),
            key: key.to_owned().into_bytes().into(),
            payload: payload.into().into(),
        }
    }

    pub(crate) async fn send(&self, messages: &[Message]) {
        KafkaSink::builder(self.kafka.clone()).build().unwrap().send(messages).await.unwrap();
    }

    /// Sends the log lines `first..end`, each of which says its number.
    pub(crate) async fn send_lines(&self, lines: std::ops::Range<usize>) {
        let messages: Vec<Message> = lines.map(|line| self.log(&format!("line {line}"))).collect();
        self.send(&messages).await;
    }

    /// How often each body is there, of all log documents of the environment.
    pub(crate) async fn bodies(&self) -> BTreeMap<String, usize> {
        let mut bodies = BTreeMap::new();
        for document in self.documents(Signal::Logs).await {
            *bodies.entry(document["body"]["text"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        bodies
    }

    pub(crate) async fn documents(&self, signal: Signal) -> Vec<Value> {
        let pattern = format!("{}*", data_stream(signal, &self.environment));
        self.call("POST", &format!("/{pattern}/_refresh"), Value::Null).await;
        let query = json!({"size": 10_000, "query": {"match_all": {}}, "track_total_hits": true});
        let found = self.call("POST", &format!("/{pattern}/_search"), query).await;
        let hits = found["hits"]["hits"].as_array().cloned().unwrap_or_default();
        assert_eq!(found["hits"]["total"]["value"], hits.len(), "more than one page");
        hits.into_iter().map(|hit| hit["_source"].clone()).collect()
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> Value {
        let request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.elasticsearch));
        let request = if body.is_null() { request } else { request.json(&body) };
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let body: Value = answer.json().await.unwrap();
        assert!(status.is_success(), "{method} {path}: {status} {body}");
        body
    }

    /// Each of the log lines `0..count` is there, and once.
    pub(crate) async fn assert_lines(&self, count: usize) {
        let bodies = self.bodies().await;
        let missing: Vec<usize> =
            (0..count).filter(|line| !bodies.contains_key(&format!("line {line}"))).collect();
        assert!(missing.is_empty(), "{} of {count} lines are lost: {missing:?}", missing.len());
        let repeated: Vec<&String> =
            bodies.iter().filter(|(_, times)| **times > 1).map(|(body, _)| body).collect();
        assert!(repeated.is_empty(), "{} lines are there twice: {repeated:?}", repeated.len());
        assert_eq!(bodies.len(), count);
    }
}

/// Waits until an ingester has read `count` events and all of them have met their fate.
pub(crate) async fn settled(ingester: &IngesterHandle, count: u64) -> Ledger {
    let until = Instant::now() + DEADLINE;
    loop {
        let ledger = ingester.ledger();
        if ledger.total().read >= count && ledger.is_balanced() {
            return ledger;
        }
        let trouble = ingester.trouble();
        assert!(Instant::now() < until, "not settled, for {trouble:?}:\n{ledger}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
