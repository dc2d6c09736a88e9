//! The topics of environments.

use super::{Kafka, failure};
use platform_core::{Error, ErrorKind, Result, telemetry::document::Topic};
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    error::KafkaError,
    types::RDKafkaErrorCode,
};
use std::time::Duration;

/// Room for what says why a document became a dead letter, beside the document.
const DEAD_LETTER_BYTES: &str = "2097152";

/// Creates the topics of environments: documents of metrics and logs, and dead letters.
#[derive(Debug, Clone)]
pub struct Topics {
    kafka: Kafka,
    partitions: i32,
    replication: i32,
    retention: Duration,
    dead_letter_retention: Duration,
}

impl Topics {
    pub(super) fn new(kafka: Kafka) -> Self {
        let day = Duration::from_secs(24 * 3600);
        Self { kafka, partitions: 8, replication: -1, retention: day, dead_letter_retention: 14 * day }
    }

    /// How many partitions each topic of documents gets: at most as many ingesters share its work. Default: 8. Dead letters have one.
    #[must_use]
    pub fn partitions(mut self, partitions: u16) -> Self {
        self.partitions = i32::from(partitions.max(1));
        self
    }

    /// How many brokers have a copy. Default: what the brokers are set to.
    #[must_use]
    pub fn replication(mut self, copies: u16) -> Self {
        self.replication = i32::from(copies.max(1));
        self
    }

    /// How long documents are kept. Shorter than an index of metrics takes late documents, or those read late are refused. Default: a day.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// How long dead letters are kept. Default: 14 days.
    #[must_use]
    pub fn dead_letter_retention(mut self, retention: Duration) -> Self {
        self.dead_letter_retention = retention;
        self
    }

    /// Creates those topics of `environments` that are missing, and says which they were. Topics that are there are left as they are.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open which topics were made; calling again makes the rest.
    pub async fn create<S: AsRef<str>>(&self, environments: &[S], deadline: Duration) -> Result<Vec<String>> {
        let wanted: Vec<(String, Topic)> = environments
            .iter()
            .flat_map(|environment| Topic::ALL.map(|topic| (topic.name(environment.as_ref()), topic)))
            .collect();
        let (retention, longer) = (millis(self.retention), millis(self.dead_letter_retention));
        let topics: Vec<NewTopic<'_>> = wanted
            .iter()
            .map(|(name, topic)| {
                let (partitions, kept) = match topic {
                    Topic::DeadLetters => (1, &longer),
                    Topic::Metrics | Topic::Logs => (self.partitions, &retention),
                };
                let made = NewTopic::new(name, partitions, TopicReplication::Fixed(self.replication));
                let made = made.set("retention.ms", kept).set("compression.type", "producer");
                if *topic == Topic::DeadLetters {
                    made.set("max.message.bytes", DEAD_LETTER_BYTES)
                } else {
                    made
                }
            })
            .collect();
        let admin: AdminClient<DefaultClientContext> = self
            .kafka
            .client("platform-topics")
            .create()
            .map_err(|error| failure("reach", "Kafka", error))?;
        let options = AdminOptions::new().request_timeout(Some(deadline)).operation_timeout(Some(deadline));
        let answer = tokio::time::timeout(deadline, admin.create_topics(&topics, &options)).await;
        let outcomes = answer
            .map_err(|_| {
                Error::new(ErrorKind::Timeout, format!("no answer within {deadline:?}")).retryable(true)
            })
            .and_then(|outcome| outcome.map_err(|error| failure("create", "topics", error)))
            .map_err(|error| {
                let brokers = self.kafka.bootstrap_servers();
                error
                    .operation("create")
                    .subject("topics")
                    .help(format!("see whether Kafka answers at {brokers}"))
            })?;
        let mut made = Vec::new();
        for outcome in outcomes {
            match outcome {
                Ok(name) => made.push(name),
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code)) => {
                    let subject = format!("topic {name}");
                    return Err(failure("create", subject, KafkaError::AdminOp(code)));
                }
            }
        }
        Ok(made)
    }
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}
