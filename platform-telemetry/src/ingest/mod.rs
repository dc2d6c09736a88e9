//! The ingester: Kafka -> Elasticsearch or a store, with nothing lost and everything counted.
//!
//! ```text
//! Kafka ──> reader ──> batches ──> deliveries ──> destination
//!             ^   (one thread)   (a few at once)      │ the outcome of each event
//!             │                                       v
//!             └── offsets of what is done <── ledger: indexed, duplicate, dead letter
//! ```
//!
//! - An offset is committed when everything before it is done, and an event is done when its destination has acknowledged it, when it is
//!   there already, or when Kafka has acknowledged it as a dead letter. A crash at any moment repeats some events and loses none.
//! - Every event has an identity made of its place in Kafka. A destination that keeps one document for each identity has no duplicates.
//! - What a destination refuses for a time (429, 5xx, no answer, missing permissions) is tried again until it is taken; what it refuses for
//!   good goes to the topic of dead letters of the environment, as it was, with the reason. See [`dead_letters`].
//! - The [`Ledger`] counts, for each partition: `read = indexed + duplicate + dead-lettered + filtered + in flight`.
//!
//! ```no_run
//! use platform_telemetry::{ingest::{Ingester, StoreDestination}, kafka::Kafka};
//! # use platform_core::telemetry::TelemetryStore;
//! use std::{sync::Arc, time::Duration};
//!
//! # async fn example(store: Arc<dyn TelemetryStore>) -> platform_core::Result<()> {
//! let ingester = Ingester::builder(Kafka::new("kafka:9092"), Arc::new(StoreDestination::new(store)))
//!     .environments(["testing", "production"])
//!     .start()?;
//! // ...
//! let ledger = ingester.shutdown(Duration::from_secs(30)).await?;
//! println!("{ledger}");
//! # Ok(())
//! # }
//! ```

mod batch;
mod buffers;
pub mod dead_letters;
mod delivery;
mod destination;
mod ingester;
mod intake;
mod ledger;
mod partition;
mod reader;
mod room;
mod source;
mod store;
mod throttle;

pub use batch::{Event, EventBatch, EventId, Route};
pub use destination::{Destination, Outcome, Refusal};
pub use ingester::{Ingester, IngesterBuilder, IngesterHandle};
pub use ledger::{Ledger, PartitionLedger};
pub use source::LedgerSource;
pub use store::StoreDestination;
