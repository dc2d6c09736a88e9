//! The batch that is being filled, and what is done with each record before it is in it.

use super::{
    batch::{Building, Event, EventId, Item},
    buffers::Buffers,
    dead_letters::{ID_HEADER, Rejected},
    destination::{Destination, Refusal},
    ingester::{Filter, Settings},
    ledger::Partitions,
    partition::{Partition, add},
    reader::Work,
};
use rdkafka::{
    Message,
    message::{BorrowedMessage, Headers},
};
use std::{borrow::Cow, collections::HashMap, mem, sync::Arc, time::Instant};

pub(super) struct Intake {
    cluster: String,
    destination: Arc<dyn Destination>,
    filter: Option<Filter>,
    settings: Settings,
    partitions: Arc<Partitions>,
    buffers: Arc<Buffers>,
    open: Building,
    rejected: Vec<Rejected>,
    rejected_bytes: usize,
    /// Of each partition in the batch, the offset after its last event.
    ends: Vec<(Arc<Partition>, i64)>,
    opened: Instant,
    current: Option<Current>,
    /// The offset that should come next, of partitions that were read before the current one.
    expected: HashMap<(Arc<str>, i32), i64>,
}

/// The partition of the last record: they come in runs.
struct Current {
    /// librdkafka's own identity of the topic, which is only compared.
    topic: usize,
    partition: Arc<Partition>,
    slot: u32,
    seed: u64,
    next: Option<i64>,
}

impl Intake {
    pub(super) fn new(
        cluster: String,
        destination: Arc<dyn Destination>,
        filter: Option<Filter>,
        settings: Settings,
        partitions: Arc<Partitions>,
        buffers: Arc<Buffers>,
    ) -> Self {
        Self {
            cluster,
            destination,
            filter,
            open: Building::within(buffers.take()),
            settings,
            partitions,
            buffers,
            rejected: Vec::new(),
            rejected_bytes: 0,
            ends: Vec::new(),
            opened: Instant::now(),
            current: None,
            expected: HashMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.open.len() + self.rejected_bytes >= self.settings.batch_bytes
    }

    /// Whether the batch is to be sent.
    pub(super) fn is_due(&self) -> bool {
        !self.is_empty() && (self.is_full() || self.opened.elapsed() >= self.settings.batch_wait)
    }

    pub(super) fn opened(&self) -> Instant {
        self.opened
    }

    /// Says from where a partition will be read, if that is known.
    pub(super) fn expect(&mut self, partition: &Partition, offset: Option<i64>) {
        self.leave();
        let key = (Arc::clone(&partition.topic), partition.number);
        match offset {
            Some(offset) => self.expected.insert(key, offset),
            None => self.expected.remove(&key),
        };
    }

    /// Puts a record into the batch, or says why it is not in it.
    pub(super) fn take(&mut self, message: &BorrowedMessage<'_>) {
        let (offset, number) = (message.offset(), message.partition());
        let topic = message.topic_ptr() as usize;
        if self.current.as_ref().is_none_or(|at| at.topic != topic || at.partition.number != number) {
            self.turn_to(topic, message.topic(), number);
        }
        let Some(current) = &mut self.current else { return };
        if self.ends.is_empty() {
            self.opened = Instant::now();
        }
        let counts = &current.partition.counts;
        let skipped = current.next.map_or(0, |next| offset.saturating_sub(next));
        if let Ok(skipped @ 1..) = u64::try_from(skipped) {
            tracing::warn!(topic = %current.partition.topic, partition = number, skipped, "Kafka has no longer all offsets");
            add(&counts.unreadable, skipped);
        }
        current.next = Some(offset + 1);
        match self.ends.get_mut(current.slot as usize) {
            Some((_, end)) => *end = offset + 1,
            None => self.ends.push((Arc::clone(&current.partition), offset + 1)),
        }
        add(&counts.read, 1);
        let Some(payload) = message.payload() else {
            return add(&counts.filtered, 1);
        };
        add(&counts.bytes, payload.len() as u64);
        let timestamp = message.timestamp().to_millis().unwrap_or(0);
        let replayed = message.headers().and_then(|headers| {
            let header = headers.iter().find(|header| header.key == ID_HEADER)?;
            EventId::parse(header.value?)
        });
        let id = replayed.unwrap_or_else(|| EventId::of_record(current.seed, number, offset, timestamp));
        let key = message.key().unwrap_or_default();
        let event = |payload| Event {
            route: &current.partition.route,
            topic: &current.partition.topic,
            partition: number,
            offset,
            id,
            timestamp,
            key,
            payload,
        };
        match document(payload, self.settings.max_event_bytes) {
            Ok(document) => {
                let event = event(&document);
                if self.filter.as_ref().is_some_and(|keep| !keep(&event)) {
                    return add(&counts.filtered, 1);
                }
                let item = Item::new(current.slot, offset, timestamp, id);
                self.open.push(item, key, &document, |out| self.destination.frame(&event, out));
            }
            Err(refusal) => {
                self.rejected_bytes += payload.len();
                self.rejected.push(Rejected::new(&event(payload), Arc::clone(&current.partition), refusal));
            }
        }
    }

    fn turn_to(&mut self, topic: usize, name: &str, number: i32) {
        self.leave();
        let Some(partition) = self.partitions.get(name, number) else { return };
        let next = self.expected.get(&(Arc::clone(&partition.topic), number)).copied();
        let slot = self.open.slot(&partition);
        self.current =
            Some(Current { topic, slot, seed: EventId::seed(&self.cluster, name), next, partition });
    }

    fn leave(&mut self) {
        if let Some(left) = self.current.take()
            && let Some(next) = left.next
        {
            self.expected.insert((Arc::clone(&left.partition.topic), left.partition.number), next);
        }
    }

    /// Closes the batch and begins the next. `None` if nothing was read.
    pub(super) fn seal(&mut self) -> Option<Work> {
        if self.ends.is_empty() {
            return None;
        }
        self.leave();
        let open = mem::replace(&mut self.open, Building::within(self.buffers.take()));
        let bytes = open.len() + mem::take(&mut self.rejected_bytes);
        let segments = mem::take(&mut self.ends).into_iter();
        let segments = segments.map(|(partition, end)| {
            let segment = partition.begin(end);
            (partition, segment)
        });
        Some(Work {
            segments: segments.collect(),
            events: open.seal(),
            rejected: mem::take(&mut self.rejected),
            bytes,
        })
    }
}

/// The document of a payload, on one line: what cannot be a document is refused here, so that it does not spoil a request.
fn document(payload: &[u8], limit: usize) -> Result<Cow<'_, [u8]>, Refusal> {
    let refused = |kind: &str, reason: String| Refusal { status: 0, kind: kind.to_owned(), reason };
    if payload.len() > limit {
        return Err(refused(
            "too_large",
            format!("{} bytes are more than the limit of {limit}", payload.len()),
        ));
    }
    let document = payload.trim_ascii();
    if !(document.starts_with(b"{") && document.ends_with(b"}")) {
        return Err(refused("not_an_object", "the document is not a JSON object".to_owned()));
    }
    if let Err(error) = simdutf8::basic::from_utf8(document) {
        let at = std::str::from_utf8(document).map_or_else(|e| e.valid_up_to(), str::len);
        return Err(refused("invalid_utf8", format!("byte {at} of the document: {error}")));
    }
    if memchr::memchr2(b'\n', b'\r', document).is_none() {
        return Ok(Cow::Borrowed(document));
    }
    // Line ends stand between the tokens of JSON and never in them.
    let one_line = document.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte });
    Ok(Cow::Owned(one_line.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_spoils_a_request_is_refused_and_what_spans_lines_is_joined() {
        let read =
            |payload: &[u8]| document(payload, 40).map(Cow::into_owned).map_err(|refusal| refusal.kind);
        assert_eq!(read(b" {\"a\":1}\n"), Ok(b"{\"a\":1}".to_vec()));
        assert_eq!(read(b"{\n\"a\":\r\n1}"), Ok(b"{ \"a\":  1}".to_vec()));
        for (payload, kind) in [
            (&b"{\"a\":\"0123456789012345678901234567890123456789\"}"[..], "too_large"),
            (b"[1]", "not_an_object"),
            (b"", "not_an_object"),
            (b"{\"a\":1", "not_an_object"),
            (b"{\"a\":\"\xff\"}", "invalid_utf8"),
        ] {
            assert_eq!(read(payload), Err(kind.to_owned()));
        }
    }
}
