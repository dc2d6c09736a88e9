//! Events that no destination takes: kept in a topic of their own as they were, with the reason, to be looked at and sent again.
//!
//! ```no_run
//! use platform_telemetry::{ingest::dead_letters::DeadLetters, kafka::Kafka};
//! use std::time::Duration;
//!
//! # async fn example() -> platform_core::Result<()> {
//! let letters = DeadLetters::of(Kafka::new("kafka:9092"), "testing");
//! for letter in letters.read(100, Duration::from_secs(30)).await? {
//!     println!("{}/{}@{}: {}", letter.topic, letter.partition, letter.offset, letter.refusal);
//! }
//! // The mapping is mended: send them to their topics again.
//! let replayed = letters.replay(|letter| letter.refusal.status == 400, Duration::from_secs(60)).await?;
//! println!("{} sent again, {} left out", replayed.sent, replayed.left_out);
//! # Ok(())
//! # }
//! ```

use super::{
    batch::{Event, EventId},
    destination::Refusal,
    partition::Partition,
};
use crate::kafka::{Kafka, KafkaSink, Record, failure};
use platform_core::{Error, ErrorKind, Result, telemetry::document::Topic};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::KafkaError,
    message::{BorrowedMessage, Header, Headers, OwnedHeaders},
    metadata::MetadataTopic,
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// The identity of an event in the header of a record, where it is not that of the record's own place.
pub(super) const ID_HEADER: &str = "platform-id";
const TOPIC: &str = "platform-topic";
const PARTITION: &str = "platform-partition";
const OFFSET: &str = "platform-offset";
const STATUS: &str = "platform-status";
const KIND: &str = "platform-error";
const REASON: &str = "platform-reason";
/// A reason is for people; a mapping error quotes the document.
const REASON_BYTES: usize = 4096;
/// How many letters are sent again at once.
const GROUP: usize = 500;

/// An event on its way to the dead letters.
pub(super) struct Rejected {
    pub(super) partition: Arc<Partition>,
    pub(super) offset: i64,
    pub(super) payload: Vec<u8>,
    pub(super) refusal: Refusal,
    key: Vec<u8>,
    id: EventId,
}

impl Rejected {
    pub(super) fn new(event: &Event<'_>, partition: Arc<Partition>, refusal: Refusal) -> Self {
        Self {
            partition,
            offset: event.offset,
            payload: event.payload.to_vec(),
            key: event.key.to_vec(),
            id: event.id,
            refusal,
        }
    }

    fn headers(&self) -> OwnedHeaders {
        let reason = &self.refusal.reason;
        let fits = |end: &usize| *end <= REASON_BYTES;
        let end =
            reason.char_indices().map(|(at, char)| at + char.len_utf8()).take_while(fits).last().unwrap_or(0);
        let text =
            |headers: OwnedHeaders, key, value: &str| headers.insert(Header { key, value: Some(value) });
        let headers = OwnedHeaders::new_with_capacity(7);
        let headers = headers.insert(Header { key: ID_HEADER, value: Some(&self.id.digits()) });
        let headers = text(headers, TOPIC, &self.partition.topic);
        let headers = text(headers, PARTITION, &self.partition.number.to_string());
        let headers = text(headers, OFFSET, &self.offset.to_string());
        let headers = text(headers, STATUS, &self.refusal.status.to_string());
        let headers = text(headers, KIND, &self.refusal.kind);
        text(headers, REASON, &reason[..end])
    }
}

/// Sends dead letters to the topics of their environments.
pub(super) struct DeadLetterSink {
    sink: KafkaSink,
    /// One topic for all environments, where that is wanted.
    topic: Option<String>,
}

impl DeadLetterSink {
    pub(super) fn new(kafka: Kafka, topic: Option<String>) -> Result<Self> {
        Ok(Self { sink: KafkaSink::builder(kafka).client_id("platform-ingester").build()?, topic })
    }

    pub(super) async fn send(&self, rejected: &[Rejected]) -> Result<()> {
        let topic = |one: &Rejected| {
            self.topic.clone().unwrap_or_else(|| Topic::DeadLetters.name(&one.partition.route.environment))
        };
        let topics: Vec<String> = rejected.iter().map(topic).collect();
        let records = rejected.iter().zip(&topics).map(|(one, topic)| Record {
            topic,
            key: &one.key,
            payload: &one.payload,
            headers: Some(one.headers()),
        });
        self.sink.deliver(records).await
    }
}

/// An event that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The topic from which it was read.
    pub topic: String,
    /// The partition of that topic.
    pub partition: i32,
    /// The offset in that partition.
    pub offset: i64,
    /// Its identity, which it keeps when it is sent again.
    pub id: EventId,
    /// Its key.
    pub key: Vec<u8>,
    /// Its document, as it was.
    pub payload: Vec<u8>,
    /// Why it was not taken.
    pub refusal: Refusal,
}

impl DeadLetter {
    /// `None` for a record that is no dead letter of ours.
    fn of(message: &BorrowedMessage<'_>) -> Option<Self> {
        let headers = message.headers()?;
        let value =
            |name: &str| headers.iter().find(|header| header.key == name).and_then(|header| header.value);
        let text = |name: &str| value(name).map(|value| String::from_utf8_lossy(value).into_owned());
        Some(Self {
            topic: text(TOPIC)?,
            partition: text(PARTITION)?.parse().ok()?,
            offset: text(OFFSET)?.parse().ok()?,
            id: EventId::parse(value(ID_HEADER)?)?,
            key: message.key().unwrap_or_default().to_vec(),
            payload: message.payload().unwrap_or_default().to_vec(),
            refusal: Refusal {
                status: text(STATUS)?.parse().ok()?,
                kind: text(KIND)?,
                reason: text(REASON)?,
            },
        })
    }
}

/// What a replay did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replayed {
    /// Sent to their topics again.
    pub sent: u64,
    /// Passed over because they were not chosen: they are not offered again.
    pub left_out: u64,
}

/// The dead letters of an environment.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    kafka: Kafka,
    topic: String,
}

impl DeadLetters {
    /// Of `environment`.
    pub fn of(kafka: Kafka, environment: &str) -> Self {
        Self::in_topic(kafka, Topic::DeadLetters.name(environment))
    }

    /// In a topic that an ingester was given for all environments.
    pub fn in_topic(kafka: Kafka, topic: impl Into<String>) -> Self {
        Self { kafka, topic: topic.into() }
    }

    /// Those that are not replayed yet, at most `limit`, the oldest first. Reading changes nothing.
    pub async fn read(&self, limit: usize, deadline: Duration) -> Result<Vec<DeadLetter>> {
        let letters = self.clone();
        blocking(move || {
            let mut reading = letters.open(Instant::now() + deadline)?;
            let mut found = Vec::new();
            while found.len() < limit
                && let Some(letter) = reading.next()?
            {
                found.push(letter);
            }
            Ok(found)
        })
        .await
    }

    /// Sends those that `choose` wants to their topics again, and passes over the others; what was there when it began counts.
    ///
    /// A replay that dies and is run again sends some twice; they keep their identity, so that Elasticsearch keeps one document.
    pub async fn replay<F>(&self, choose: F, deadline: Duration) -> Result<Replayed>
    where
        F: Fn(&DeadLetter) -> bool + Send + 'static,
    {
        let letters = self.clone();
        let runtime = tokio::runtime::Handle::current();
        blocking(move || {
            let sink =
                KafkaSink::builder(letters.kafka.clone()).client_id("platform-dead-letters").build()?;
            let mut reading = letters.open(Instant::now() + deadline)?;
            let mut replayed = Replayed::default();
            let mut group = Vec::new();
            loop {
                let letter = reading.next()?;
                let is_end = letter.is_none();
                if let Some(letter) = letter {
                    if choose(&letter) {
                        group.push(letter);
                    } else {
                        replayed.left_out += 1;
                    }
                }
                if group.len() >= GROUP || is_end {
                    runtime.block_on(send_again(&sink, &group))?;
                    reading.commit()?;
                    replayed.sent += group.len() as u64;
                    group.clear();
                }
                if is_end {
                    return Ok(replayed);
                }
            }
        })
        .await
    }

    fn open(&self, deadline: Instant) -> Result<Reading> {
        let told = |error| failure("read", self.topic.clone(), error);
        let consumer: BaseConsumer = self
            .kafka
            .client("platform-dead-letters")
            .set("group.id", "platform-dead-letters")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "50")
            .create()
            .map_err(told)?;
        let left = || deadline.saturating_duration_since(Instant::now());
        let metadata = consumer.fetch_metadata(Some(&self.topic), left()).map_err(told)?;
        let topic = metadata.topics().first();
        if let Some(code) = topic.and_then(MetadataTopic::error) {
            return Err(told(KafkaError::MetadataFetch(code.into())));
        }
        let mut list = TopicPartitionList::new();
        for partition in topic.into_iter().flat_map(MetadataTopic::partitions) {
            list.add_partition(&self.topic, partition.id());
        }
        let mut list = consumer.committed_offsets(list, left()).map_err(told)?;
        let (mut ends, mut starts) = (BTreeMap::new(), BTreeMap::new());
        for element in list.elements() {
            let (low, high) =
                consumer.fetch_watermarks(&self.topic, element.partition(), left()).map_err(told)?;
            let start = match element.offset() {
                Offset::Offset(offset) => offset.max(low),
                _ => low,
            };
            starts.insert(element.partition(), start);
            if start < high {
                ends.insert(element.partition(), high);
            }
        }
        for (partition, start) in starts {
            list.set_partition_offset(&self.topic, partition, Offset::Offset(start)).map_err(told)?;
        }
        consumer.assign(&list).map_err(told)?;
        Ok(Reading { consumer, topic: self.topic.clone(), ends, read: BTreeMap::new(), deadline })
    }
}

async fn send_again(sink: &KafkaSink, letters: &[DeadLetter]) -> Result<()> {
    let records = letters.iter().map(|letter| Record {
        topic: &letter.topic,
        key: &letter.key,
        payload: &letter.payload,
        headers: Some(
            OwnedHeaders::new().insert(Header { key: ID_HEADER, value: Some(&letter.id.digits()) }),
        ),
    });
    sink.deliver(records).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal("reading dead letters panicked").source(error))?
}

/// The letters from the last replay up to what was the end at the beginning.
struct Reading {
    consumer: BaseConsumer,
    topic: String,
    /// Of the partitions that are not read to the end.
    ends: BTreeMap<i32, i64>,
    read: BTreeMap<i32, i64>,
    deadline: Instant,
}

impl Reading {
    /// The next letter; `None` at the end. Records that are no letters are passed over.
    fn next(&mut self) -> Result<Option<DeadLetter>> {
        let told = |error| failure("read", self.topic.clone(), error);
        while !self.ends.is_empty() {
            if Instant::now() >= self.deadline {
                return Err(Error::new(ErrorKind::Timeout, "not read to the end in time")
                    .operation("read")
                    .subject(self.topic.clone())
                    .retryable(true));
            }
            let Some(message) = self.consumer.poll(Duration::from_millis(100)) else {
                // What expired or marks transactions has no record: the position tells that it was passed.
                for element in self.consumer.position().map_err(told)?.elements() {
                    if let (Offset::Offset(at), Some(end)) =
                        (element.offset(), self.ends.get(&element.partition()))
                        && at >= *end
                    {
                        self.ends.remove(&element.partition());
                    }
                }
                continue;
            };
            let message = message.map_err(told)?;
            let (partition, next) = (message.partition(), message.offset() + 1);
            let Some(end) = self.ends.get(&partition).copied() else { continue };
            if next > end {
                self.ends.remove(&partition);
                continue;
            }
            if next == end {
                self.ends.remove(&partition);
            }
            self.read.insert(partition, next);
            if let Some(letter) = DeadLetter::of(&message) {
                return Ok(Some(letter));
            }
        }
        Ok(None)
    }

    fn commit(&self) -> Result<()> {
        if self.read.is_empty() {
            return Ok(());
        }
        let told = |error| failure("commit the replay of", self.topic.clone(), error);
        let mut list = TopicPartitionList::new();
        for (partition, next) in &self.read {
            list.add_partition_offset(&self.topic, *partition, Offset::Offset(*next)).map_err(told)?;
        }
        self.consumer.commit(&list, CommitMode::Sync).map_err(told)
    }
}
