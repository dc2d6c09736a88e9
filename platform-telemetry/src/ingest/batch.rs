//! Events that are written together, held as the bytes of one request.

use super::partition::Partition;
use crate::message::signal_of;
use bytes::Bytes;
use platform_core::telemetry::document::{Signal, Topic};
use std::{fmt, ops::Range, sync::Arc};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

/// What the events of a topic are, and whose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The environment, which the topic's name says and no event can change.
    pub environment: String,
    /// What the documents tell of.
    pub signal: Signal,
}

impl Route {
    /// The route of a topic that is named as [`Topic::name`] does; `None` for others, and for dead letters.
    pub fn of_topic(topic: &str) -> Option<Self> {
        let signal = signal_of(topic)?;
        let environment = topic.strip_suffix(&Topic::of(signal).name(""))?.to_owned();
        Some(Self { environment, signal })
    }
}

/// The identity of an event: the same whenever, and by whomever, it is read again.
///
/// It is a hash of the cluster, topic, partition, offset and time of the record. The time is in it because a topic that is deleted and made
/// anew has the same offsets again.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventId(u128);

impl EventId {
    /// Of a record of Kafka; `seed` is what [`EventId::seed`] gives for its topic.
    pub(crate) fn of_record(seed: u64, partition: i32, offset: i64, millis: i64) -> Self {
        let mut place = [0; 20];
        place[..4].copy_from_slice(&partition.to_le_bytes());
        place[4..12].copy_from_slice(&offset.to_le_bytes());
        place[12..].copy_from_slice(&millis.to_le_bytes());
        Self(xxh3_128_with_seed(&place, seed))
    }

    /// What all records of a topic have in common.
    pub(crate) fn seed(cluster: &str, topic: &str) -> u64 {
        xxh3_64(format!("{cluster}\0{topic}").as_bytes())
    }

    /// Its 32 hexadecimal digits.
    pub fn digits(self) -> [u8; 32] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 32];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0.to_be_bytes()) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        text
    }

    /// Reads what [`digits`](Self::digits) gives.
    pub fn parse(digits: &[u8]) -> Option<Self> {
        let is_hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        let digits = std::str::from_utf8(digits)
            .ok()
            .filter(|text| text.len() == 32 && text.bytes().all(|b| is_hex(&b)))?;
        u128::from_str_radix(digits, 16).ok().map(Self)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A record of Kafka on its way to a destination.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Where it is to go.
    pub route: &'a Route,
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset in the partition.
    pub offset: i64,
    /// Its identity.
    pub id: EventId,
    /// When it was produced, or appended, in milliseconds since the epoch.
    pub timestamp: i64,
    /// The record's key; empty if it has none.
    pub key: &'a [u8],
    /// The document.
    pub payload: &'a [u8],
}

/// An event in a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    /// Its partition, by its place in the batch's.
    slot: u32,
    offset: i64,
    timestamp: i64,
    id: EventId,
    /// Where its frame begins, its payload begins, and its payload ends.
    at: [u32; 3],
    /// Where its key begins and ends among the keys.
    key: [u32; 2],
}

/// Events, and the bytes of all of them: of each its frame (what [`Destination::frame`](super::Destination::frame) puts before it), its document
/// and a line end. For Elasticsearch that is the body of a bulk request, so that nothing is copied again.
#[derive(Debug, Clone, Default)]
pub struct EventBatch {
    bytes: Bytes,
    keys: Bytes,
    items: Vec<Item>,
    partitions: Arc<[Arc<Partition>]>,
}

impl EventBatch {
    /// How many events.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// All bytes, shared.
    pub fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// An event by its place.
    pub fn event(&self, index: usize) -> Option<Event<'_>> {
        let item = self.items.get(index)?;
        let partition = self.partitions.get(item.slot as usize)?;
        Some(Event {
            route: &partition.route,
            topic: &partition.topic,
            partition: partition.number,
            offset: item.offset,
            id: item.id,
            timestamp: item.timestamp,
            key: self.keys.get(item.key[0] as usize..item.key[1] as usize)?,
            payload: self.bytes.get(item.at[1] as usize..item.at[2] as usize)?,
        })
    }

    /// The events in order.
    pub fn events(&self) -> impl Iterator<Item = Event<'_>> {
        (0..self.len()).filter_map(|index| self.event(index))
    }

    /// The partition of an event.
    pub(super) fn partition(&self, index: usize) -> Option<&Arc<Partition>> {
        self.partitions.get(self.items.get(index)?.slot as usize)
    }

    /// The events of a range, without a copy of their bytes.
    pub(super) fn part(&self, range: Range<usize>) -> Self {
        let items = self.items.get(range).unwrap_or_default();
        let (Some(first), Some(last)) = (items.first(), items.last()) else { return Self::default() };
        let start = first.at[0];
        // The line end belongs to it.
        let bytes = self.bytes.slice(start as usize..=last.at[2] as usize);
        let items = items.iter().map(|item| Item { at: item.at.map(|at| at - start), ..*item });
        Self {
            bytes,
            keys: self.keys.clone(),
            items: items.collect(),
            partitions: Arc::clone(&self.partitions),
        }
    }

    /// Only the events at `places`, in that order.
    pub(super) fn only(&self, places: &[usize]) -> Self {
        let mut chosen = Building { partitions: self.partitions.to_vec(), ..Building::default() };
        for item in places.iter().filter_map(|place| self.items.get(*place)) {
            let [start, middle, end] = item.at.map(|at| at as usize);
            let frame = |out: &mut Vec<u8>| out.extend_from_slice(&self.bytes[start..middle]);
            let key = &self.keys[item.key[0] as usize..item.key[1] as usize];
            chosen.push(*item, key, &self.bytes[middle..end], frame);
        }
        chosen.seal()
    }
}

/// A batch that grows.
#[derive(Debug, Default)]
pub(super) struct Building {
    bytes: Vec<u8>,
    keys: Vec<u8>,
    items: Vec<Item>,
    partitions: Vec<Arc<Partition>>,
}

impl Building {
    /// Fills a buffer, which is empty and mostly large enough.
    pub(super) fn within(buffer: Vec<u8>) -> Self {
        Self { bytes: buffer, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The place of a partition among those of this batch.
    pub(super) fn slot(&mut self, partition: &Arc<Partition>) -> u32 {
        let known = self.partitions.iter().position(|known| Arc::ptr_eq(known, partition));
        known.unwrap_or_else(|| {
            self.partitions.push(Arc::clone(partition));
            self.partitions.len() - 1
        }) as u32
    }

    pub(super) fn push(&mut self, item: Item, key: &[u8], payload: &[u8], frame: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        frame(&mut self.bytes);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(payload);
        let at = [start as u32, middle as u32, self.bytes.len() as u32];
        self.bytes.push(b'\n');
        let key_at = self.keys.len() as u32;
        self.keys.extend_from_slice(key);
        self.items.push(Item { at, key: [key_at, self.keys.len() as u32], ..item });
    }

    pub(super) fn seal(self) -> EventBatch {
        EventBatch {
            bytes: self.bytes.into(),
            keys: self.keys.into(),
            items: self.items,
            partitions: self.partitions.into(),
        }
    }
}

impl Item {
    pub(super) fn new(slot: u32, offset: i64, timestamp: i64, id: EventId) -> Self {
        Self { slot, offset, timestamp, id, at: [0; 3], key: [0; 2] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(payloads: &[&str]) -> EventBatch {
        let route = Route::of_topic("testing.logs.v1").unwrap();
        let partition = Arc::new(Partition::new("testing.logs.v1".into(), 3, route));
        let seed = EventId::seed("c", "testing.logs.v1");
        let mut building = Building::default();
        let slot = building.slot(&partition);
        for (offset, payload) in (0..).zip(payloads) {
            let id = EventId::of_record(seed, 3, offset, 7);
            let item = Item::new(slot, offset, 7, id);
            building.push(item, &payload.as_bytes()[..1], payload.as_bytes(), |out| {
                out.extend_from_slice(b"frame\n");
            });
        }
        building.seal()
    }

    #[test]
    fn topics_say_where_events_go() {
        let route = Route::of_topic("testing.metrics.v1").unwrap();
        assert_eq!((route.environment.as_str(), route.signal), ("testing", Signal::Metrics));
        assert_eq!(Route::of_topic("a.b.logs.v1").unwrap().environment, "a.b");
        for other in ["testing.dlq.v1", ".logs.v1", "logs.v1", "testing.logs.v2", ""] {
            assert_eq!(Route::of_topic(other), None, "{other}");
        }
    }

    #[test]
    fn parts_and_choices_keep_frames_and_payloads() {
        let whole = batch(&["one", "two", "three"]);
        assert_eq!(whole.bytes(), "frame\none\nframe\ntwo\nframe\nthree\n");
        let tail = whole.part(1..3);
        assert_eq!(tail.bytes(), "frame\ntwo\nframe\nthree\n");
        assert_eq!(tail.event(1).unwrap().payload, b"three");
        let chosen = whole.only(&[2, 0]);
        assert_eq!(chosen.bytes(), "frame\nthree\nframe\none\n");
        assert_eq!(chosen.event(1).unwrap().key, b"o");
        assert_eq!(chosen.events().map(|event| event.offset).collect::<Vec<_>>(), [2, 0]);
        assert!(whole.part(3..3).is_empty() && whole.event(3).is_none());
    }

    #[test]
    fn an_identity_is_that_of_the_place_and_the_time() {
        let of = |cluster, topic, partition, offset, time| {
            EventId::of_record(EventId::seed(cluster, topic), partition, offset, time)
        };
        let one = of("c", "t", 1, 2, 3);
        assert_eq!(one, of("c", "t", 1, 2, 3));
        for other in [
            of("d", "t", 1, 2, 3),
            of("c", "u", 1, 2, 3),
            of("c", "t", 2, 2, 3),
            of("c", "t", 1, 3, 3),
            of("c", "t", 1, 2, 4),
        ] {
            assert_ne!(one, other);
        }
        assert_eq!(EventId::parse(&one.digits()), Some(one));
        assert_eq!(one.to_string().as_bytes(), one.digits());
        assert_eq!(EventId::parse(b"0123"), None);
        assert_eq!(EventId::parse(&[b'G'; 32]), None);
    }
}
