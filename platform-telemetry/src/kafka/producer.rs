//! Messages into Kafka, each acknowledged by all replicas in sync.

use super::{Kafka, failure};
use crate::files::unpoisoned;
use crate::message::{Message, MessageSink};
use async_trait::async_trait;
use platform_core::{Error, ErrorKind, Result};
use rdkafka::{
    ClientContext, Message as _,
    error::KafkaError,
    message::OwnedHeaders,
    producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer},
    types::RDKafkaErrorCode,
};
use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// How batches are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    None,
    /// Fast: about a third of the CPU time of zstd.
    #[default]
    Lz4,
    /// Small.
    Zstd,
}

impl Compression {
    const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// Configures a [`KafkaSink`].
#[derive(Debug, Clone)]
#[must_use = "nothing is sent before `build`"]
pub struct KafkaSinkBuilder {
    kafka: Kafka,
    client_id: String,
    compression: Compression,
    linger: Duration,
    delivery_timeout: Duration,
    buffer_bytes: usize,
}

impl KafkaSinkBuilder {
    /// The name by which brokers know this client. Default: `platform-agent`.
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.client_id = id.into();
        self
    }

    /// Default: lz4.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// How long a batch waits for more. Default: 5 ms.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// How long a message may take, retries and waiting included, before [`send`](MessageSink::send) fails. Default: 30 s.
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.delivery_timeout = timeout;
        self
    }

    /// How many bytes of messages are held at most until brokers have acknowledged them; sending waits beyond. Default: 64 MB.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.buffer_bytes = bytes.max(1 << 20);
        self
    }

    /// Makes the producer. It connects when the first message is sent.
    pub fn build(self) -> Result<KafkaSink> {
        let mut config = self.kafka.client(&self.client_id);
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("compression.type", self.compression.as_str())
            .set("linger.ms", self.linger.as_millis().to_string())
            .set("batch.size", "1000000")
            .set("message.timeout.ms", self.delivery_timeout.as_millis().max(1).to_string())
            // Brokers say what is too large, by their topics' settings.
            .set("message.max.bytes", "100000000")
            .set("queue.buffering.max.kbytes", (self.buffer_bytes / 1024).to_string())
            .set("queue.buffering.max.messages", "1000000");
        let producer = config
            .create_with_context(Outcomes)
            .map_err(|error| failure("configure", "the producer of Kafka", error))?;
        Ok(KafkaSink { producer, patience: self.delivery_timeout })
    }
}

/// Sends messages to Kafka: idempotent, and acknowledged by all replicas in sync before [`send`](MessageSink::send) answers.
///
/// The topics must exist, or the brokers must create topics by themselves.
pub struct KafkaSink {
    producer: ThreadedProducer<Outcomes>,
    patience: Duration,
}

impl KafkaSink {
    /// A sink into `kafka`, to be configured.
    pub fn builder(kafka: Kafka) -> KafkaSinkBuilder {
        KafkaSinkBuilder {
            kafka,
            client_id: "platform-agent".to_owned(),
            compression: Compression::default(),
            linger: Duration::from_millis(5),
            delivery_timeout: Duration::from_secs(30),
            buffer_bytes: 64 << 20,
        }
    }

    /// Sends records and waits until each is acknowledged. Fails with the first error that a record met, once all of them have met their fate.
    pub(crate) async fn deliver<'a, I>(&self, records: I) -> Result<()>
    where
        I: ExactSizeIterator<Item = Record<'a>> + Send,
    {
        let group = Arc::new(Group::new(records.len()));
        for record in records {
            self.enqueue(record, &group).await;
        }
        // librdkafka gives up by itself after the delivery timeout.
        let waited = tokio::time::timeout(self.patience + Duration::from_secs(5), group.settled()).await;
        if waited.is_err() {
            return Err(Error::new(ErrorKind::Timeout, "brokers have not acknowledged everything")
                .operation("send to Kafka")
                .retryable(true));
        }
        group.outcome()
    }

    /// Hands a record to librdkafka, which keeps a copy; waits while its buffer is full.
    async fn enqueue(&self, record: Record<'_>, group: &Arc<Group>) {
        let mut headers = record.headers;
        let mut waited = Duration::ZERO;
        loop {
            let mut attempt =
                BaseRecord::with_opaque_to(record.topic, Arc::clone(group)).payload(record.payload);
            if !record.key.is_empty() {
                attempt = attempt.key(record.key);
            }
            if let Some(headers) = headers.take() {
                attempt = attempt.headers(headers);
            }
            match self.producer.send(attempt) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if waited < self.patience =>
                {
                    headers = back.headers;
                }
                Err((error, _)) => return group.settle(Err(failure("send to", record.topic, error))),
            }
            let pause = Duration::from_millis(5);
            tokio::time::sleep(pause).await;
            waited += pause;
        }
    }
}

impl fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSink")
            .field("in_flight", &self.producer.in_flight_count())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl MessageSink for KafkaSink {
    fn name(&self) -> &'static str {
        "kafka"
    }

    async fn send(&self, messages: &[Message]) -> Result<()> {
        let records = messages.iter().map(|message| Record {
            topic: &message.topic,
            key: &message.key,
            payload: &message.payload,
            headers: None,
        });
        self.deliver(records).await
    }
}

/// A record to be sent; an empty key is none.
pub(crate) struct Record<'a> {
    pub(crate) topic: &'a str,
    pub(crate) key: &'a [u8],
    pub(crate) payload: &'a [u8],
    pub(crate) headers: Option<OwnedHeaders>,
}

/// Records that are waited for together.
struct Group {
    left: AtomicUsize,
    failure: Mutex<Option<Error>>,
    done: Notify,
}

impl Group {
    fn new(records: usize) -> Self {
        Self { left: AtomicUsize::new(records), failure: Mutex::new(None), done: Notify::new() }
    }

    fn settle(&self, outcome: Result<()>) {
        if let Err(error) = outcome {
            let mut failure = unpoisoned(self.failure.lock());
            // What stays wrong is what the caller must know of.
            if failure.as_ref().is_none_or(|known| known.is_retryable() && !error.is_retryable()) {
                *failure = Some(error);
            }
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_one();
        }
    }

    async fn settled(&self) {
        while self.left.load(Ordering::Acquire) > 0 {
            self.done.notified().await;
        }
    }

    fn outcome(&self) -> Result<()> {
        unpoisoned(self.failure.lock()).take().map_or(Ok(()), Err)
    }
}

/// Tells groups what became of their records; called by librdkafka's thread.
struct Outcomes;

impl ClientContext for Outcomes {}

impl ProducerContext for Outcomes {
    type DeliveryOpaque = Arc<Group>;

    fn delivery(&self, result: &DeliveryResult<'_>, group: Arc<Group>) {
        group.settle(match result {
            Ok(_) => Ok(()),
            Err((error, message)) => Err(failure("send to", message.topic(), error.clone())),
        });
    }
}
