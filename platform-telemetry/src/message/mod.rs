//! Telemetry as messages of Kafka's topics, one document each.
//!
//! ```
//! use platform_core::{clock::Timestamp, telemetry::{Batch, Labels, LogRecord, Severity}};
//! use platform_telemetry::message::{Encoder, decode};
//!
//! let record = LogRecord {
//!     timestamp: Timestamp::from_millis(1_764_108_000_123),
//!     severity: Severity::Warn,
//!     body: "disk almost full".to_owned(),
//!     labels: Labels::from_iter([("environment", "testing"), ("pod", "api1-7d"), ("container", "api1")]),
//! };
//! let encoded = Encoder::new("shared").messages(&Batch::logs(vec![record.clone()]));
//! let message = &encoded.messages[0];
//! assert_eq!(&*message.topic, "testing.logs.v1");
//! assert_eq!(decode::log(&message.payload)?, record);
//! # Ok::<(), platform_core::Error>(())
//! ```

pub mod decode;
mod encode;
mod json;
mod store;

pub use encode::{Encoded, Encoder, log_key, sample_key};
pub use store::StoreMessages;

use async_trait::async_trait;
use bytes::Bytes;
use platform_core::{
    Result,
    telemetry::document::{Signal, Topic},
};
use std::{fmt, sync::Arc};

/// A document on its way, as it stands in a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The topic: `testing.logs.v1`.
    pub topic: Arc<str>,
    /// What decides over the partition: messages of one key stay in order.
    pub key: Bytes,
    /// The document as JSON on one line, in the shape of [`platform_core::telemetry::document`].
    pub payload: Bytes,
}

/// What takes messages: Kafka, or a store.
#[async_trait]
pub trait MessageSink: Send + Sync + fmt::Debug {
    /// A name for messages and metrics: `kafka`.
    fn name(&self) -> &str;

    /// Sends the messages and waits until all of them are safe there.
    ///
    /// # Behavior
    /// - After an error some may be there nevertheless; sending all of them again is right, and makes at most duplicates.
    /// - A retryable error may pass; another one never will for these messages.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open which messages are there.
    async fn send(&self, messages: &[Message]) -> Result<()>;
}

/// What the documents of a topic tell of; `None` if its name is none that [`Topic::name`] gives to documents.
pub fn signal_of(topic: &str) -> Option<Signal> {
    let topic = topic.strip_suffix(Topic::VERSION)?.strip_suffix('.')?;
    Signal::ALL.into_iter().find(|signal| {
        topic
            .strip_suffix(signal.as_str())
            .and_then(|rest| rest.strip_suffix('.'))
            .is_some_and(|e| !e.is_empty())
    })
}
