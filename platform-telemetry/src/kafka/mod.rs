//! Kafka: how it is reached, its topics, and a producer that loses nothing.
//!
//! ```no_run
//! use platform_telemetry::kafka::{Kafka, KafkaSink, Compression};
//! use std::time::Duration;
//!
//! # async fn example() -> platform_core::Result<()> {
//! let kafka = Kafka::new("kafka-0:9092,kafka-1:9092");
//! kafka.topics().partitions(8).create(&["testing", "production"], Duration::from_secs(30)).await?;
//! let sink = KafkaSink::builder(kafka).compression(Compression::Zstd).build()?;
//! # let _ = sink;
//! # Ok(())
//! # }
//! ```

mod connection;
mod error;
mod producer;
mod topics;

pub use connection::Kafka;
pub use producer::{Compression, KafkaSink, KafkaSinkBuilder};
pub use topics::Topics;

pub(crate) use error::failure;
pub(crate) use producer::Record;
