//! Elasticsearch: how it is reached, its index templates, and the destination of an ingester.
//!
//! ```no_run
//! use platform_telemetry::elasticsearch::{Elasticsearch, ElasticsearchDestination};
//! use std::{sync::Arc, time::Duration};
//!
//! # async fn example() -> platform_core::Result<()> {
//! let elasticsearch = Elasticsearch::builder("https://elasticsearch:9200").basic("ingester", "…").build()?;
//! let destination = ElasticsearchDestination::builder(elasticsearch)
//!     .retention(Duration::from_secs(30 * 24 * 3600))
//!     .install(Duration::from_secs(60))
//!     .await?;
//! # let _: Arc<dyn platform_telemetry::ingest::Destination> = Arc::new(destination);
//! # Ok(())
//! # }
//! ```

mod answer;
mod connection;
mod destination;
mod expiry;
mod schema;

pub use connection::{Elasticsearch, ElasticsearchBuilder};
pub use destination::{ElasticsearchDestination, ElasticsearchDestinationBuilder};
pub use schema::Schema;
