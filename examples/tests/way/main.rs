//! The platform's own agent and ingester, as the catalogue installs them, in a cluster whose nodes run containers: from the pods of the cluster by
//! Kafka to Elasticsearch.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where it fails")]

mod elasticsearch;
mod kind;
