//! What became of everything that was read.

use super::{batch::Route, partition::Partition};
use crate::files::unpoisoned;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, atomic::Ordering},
};

/// The account of an ingester, by partition. What was read is indexed, a duplicate, a dead letter, filtered or in flight.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    /// Sorted by topic and partition.
    pub partitions: Vec<PartitionLedger>,
}

/// The account of a partition, since the ingester was started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PartitionLedger {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Events that were read.
    pub read: u64,
    /// Bytes of their documents.
    pub bytes: u64,
    /// Events that the destination has taken.
    pub indexed: u64,
    /// Events that it had already.
    pub duplicate: u64,
    /// Events that it will never take, and that are dead letters in Kafka now.
    pub dead_lettered: u64,
    /// Events that were not to be kept: those without a document, and those that the filter refused.
    pub filtered: u64,
    /// Offsets that Kafka has no longer given: what expired before it was read, was compacted away, or marks transactions. Not a part of what was read.
    pub unreadable: u64,
}

impl PartitionLedger {
    /// Events whose fate is not known yet.
    pub fn in_flight(&self) -> u64 {
        self.read.saturating_sub(self.indexed + self.duplicate + self.dead_lettered + self.filtered)
    }

    fn add(&mut self, other: &Self) {
        self.read += other.read;
        self.bytes += other.bytes;
        self.indexed += other.indexed;
        self.duplicate += other.duplicate;
        self.dead_lettered += other.dead_lettered;
        self.filtered += other.filtered;
        self.unreadable += other.unreadable;
    }
}

impl Ledger {
    /// The sum of all partitions.
    pub fn total(&self) -> PartitionLedger {
        let mut total =
            PartitionLedger { topic: "total".to_owned(), partition: -1, ..PartitionLedger::default() };
        self.partitions.iter().for_each(|partition| total.add(partition));
        total
    }

    /// Whether in every partition all that was read has met its fate.
    pub fn is_balanced(&self) -> bool {
        self.partitions
            .iter()
            .all(|one| one.read == one.indexed + one.duplicate + one.dead_lettered + one.filtered)
    }
}

/// A table, a line for each partition and one for the total.
impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.partitions.iter().map(|one| one.topic.len() + 4).max().unwrap_or(0).max(20);
        let titles = ["read", "indexed", "duplicate", "dead letters", "filtered", "in flight"];
        write!(f, "{:<width$}", "partition")?;
        titles.iter().try_for_each(|title| write!(f, " {title:>12}"))?;
        for one in self.partitions.iter().chain([&self.total()]) {
            let name = if one.partition < 0 {
                one.topic.clone()
            } else {
                format!("{}/{}", one.topic, one.partition)
            };
            write!(f, "\n{name:<width$}")?;
            let counts =
                [one.read, one.indexed, one.duplicate, one.dead_lettered, one.filtered, one.in_flight()];
            counts.iter().try_for_each(|count| write!(f, " {count:>12}"))?;
        }
        Ok(())
    }
}

/// All partitions that were ever read.
#[derive(Debug, Default)]
pub(super) struct Partitions(Mutex<ByTopic>);

type ByTopic = BTreeMap<(Arc<str>, i32), Arc<Partition>>;

impl Partitions {
    /// The partition, made when it is first asked for; `None` for topics that are not ours.
    pub(super) fn get(&self, topic: &str, number: i32) -> Option<Arc<Partition>> {
        let route = Route::of_topic(topic)?;
        let mut partitions = unpoisoned(self.0.lock());
        let topic: Arc<str> = topic.into();
        let made = || Arc::new(Partition::new(Arc::clone(&topic), number, route));
        Some(Arc::clone(partitions.entry((Arc::clone(&topic), number)).or_insert_with(made)))
    }

    pub(super) fn all(&self) -> Vec<Arc<Partition>> {
        unpoisoned(self.0.lock()).values().cloned().collect()
    }

    pub(super) fn ledger(&self) -> Ledger {
        let of = |partition: &Arc<Partition>| {
            let counts = &partition.counts;
            // What was read is counted first and so read last: nothing seems done that was not read.
            let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Acquire);
            PartitionLedger {
                topic: partition.topic.to_string(),
                partition: partition.number,
                indexed: get(&counts.indexed),
                duplicate: get(&counts.duplicate),
                dead_lettered: get(&counts.dead_lettered),
                filtered: get(&counts.filtered),
                unreadable: get(&counts.unreadable),
                bytes: get(&counts.bytes),
                read: get(&counts.read),
            }
        };
        Ledger { partitions: self.all().iter().map(of).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::partition::add;

    #[test]
    fn a_ledger_is_balanced_when_everything_has_met_its_fate() {
        let partitions = Partitions::default();
        let one = partitions.get("testing.logs.v1", 0).unwrap();
        let two = partitions.get("testing.logs.v1", 1).unwrap();
        add(&one.counts.read, 5);
        add(&one.counts.indexed, 3);
        add(&one.counts.dead_lettered, 1);
        add(&two.counts.read, 2);
        add(&two.counts.duplicate, 2);
        let ledger = partitions.ledger();
        assert!(!ledger.is_balanced());
        assert_eq!((ledger.partitions[0].in_flight(), ledger.total().read), (1, 7));
        add(&one.counts.filtered, 1);
        assert!(partitions.ledger().is_balanced());
        assert!(partitions.get("testing.dlq.v1", 0).is_none());
        let printed = partitions.ledger().to_string();
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[1].starts_with("testing.logs.v1/0 ") && lines[3].starts_with("total"), "{printed}");
    }
}
