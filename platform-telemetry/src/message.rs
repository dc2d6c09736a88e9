//! Telemetry as messages of Kafka's topics, one document each.

use async_trait::async_trait;
use bytes::Bytes;
use platform_core::Result;
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
