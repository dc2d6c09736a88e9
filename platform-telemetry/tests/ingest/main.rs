//! The ingester between a real Kafka and a real Elasticsearch: what it does when all is well, and that nothing is lost when it is not.
//!
//! Everything here needs servers: `PLATFORM_KAFKA` (`host:port`), `PLATFORM_ELASTICSEARCH` (a URL), and for the tests that kill servers
//! `PLATFORM_KAFKA_SERVER` and `PLATFORM_ELASTICSEARCH_SERVER` (folders with the programs `start` and `stop`). The
//! Elasticsearch must not have data streams of the platform: where there are some, no template may say otherwise.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests, beside the tests themselves"
)]

mod way;
