//! The way from Kafka to Elasticsearch.

mod crashes;
mod dead_letters;
mod faults;
mod lanes;
mod proxy;
mod rebalance;
mod servers;
mod world;
