//! Where an ingester puts events.

use super::batch::{Event, EventBatch};
use async_trait::async_trait;
use platform_core::Result;
use std::fmt;

/// Takes the events of an ingester: Elasticsearch, or a store.
#[async_trait]
pub trait Destination: Send + Sync + fmt::Debug {
    /// A name for messages: `elasticsearch`.
    fn name(&self) -> &str;

    /// Writes what is to stand before an event in the bytes of its batch. `event.payload` is not framed yet.
    fn frame(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        let _ = (event, out);
    }

    /// Writes the events, and answers with the outcome of each, in their order.
    ///
    /// # Behavior
    /// An error is the outcome of all of them, by its kind:
    /// - retryable: nothing is known, and all are written again later;
    /// - [`Denied`](platform_core::ErrorKind::Denied): the ingester waits until it is permitted, and drops nothing;
    /// - [`Exhausted`](platform_core::ErrorKind::Exhausted) and [`Invalid`](platform_core::ErrorKind::Invalid): too much at once, or something in it
    ///   that spoils the rest: it is written in halves, and a single event that is refused becomes a dead letter;
    /// - others are retried.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open which events are written.
    async fn write(&self, events: &EventBatch) -> Result<Vec<Outcome>>;
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable there.
    Indexed,
    /// It was there already.
    Duplicate,
    /// Not taken now: too many requests, a failed shard. The reason is told while it lasts.
    Again(Refusal),
    /// It will never be taken.
    Refused(Refusal),
    /// It is durable, but not where it belongs: the destination keeps failures by itself. Counted as a dead letter.
    KeptAsFailure,
}

/// Why an event was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The destination's status: 400, 429. 0 where the ingester itself refused it.
    pub status: u16,
    /// A word for the kind of reason: `document_parsing_exception`.
    pub kind: String,
    /// The reason.
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status, self.kind, self.reason)
    }
}
