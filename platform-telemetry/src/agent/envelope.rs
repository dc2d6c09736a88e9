//! A message as a record of the spool.
//!
//! The lengths of the topic and of the key, little-endian in two and four bytes, then topic, key and payload.

use crate::message::Message;
use bytes::Bytes;
use std::sync::Arc;

const HEADER_BYTES: usize = 6;
/// How many topics are kept.
const TOPICS: usize = 64;

/// Appends a message, of which `key` and `payload` write their parts.
pub(super) fn write(
    out: &mut Vec<u8>,
    topic: &str,
    key: impl FnOnce(&mut Vec<u8>),
    payload: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    // A name of a topic has at most 249 bytes.
    let topic = topic.as_bytes().get(..usize::from(u16::MAX).min(topic.len())).unwrap_or_default();
    out.extend_from_slice(&(topic.len() as u16).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(topic);
    let key_start = out.len();
    key(out);
    let key_bytes = (out.len() - key_start) as u32;
    if let Some(place) = out.get_mut(start + 2..start + HEADER_BYTES) {
        place.copy_from_slice(&key_bytes.to_le_bytes());
    }
    payload(out);
}

/// Reads messages; their parts are slices of the records.
#[derive(Debug, Default)]
pub(super) struct Opener {
    topics: Vec<Arc<str>>,
}

impl Opener {
    /// The message of a record; `None` if it is none.
    pub(super) fn open(&mut self, record: &Bytes) -> Option<Message> {
        let (topic, rest) = record.split_first_chunk::<2>()?;
        let (key, _) = rest.split_first_chunk::<4>()?;
        let topic_end = HEADER_BYTES.checked_add(usize::from(u16::from_le_bytes(*topic)))?;
        let key_end = topic_end.checked_add(usize::try_from(u32::from_le_bytes(*key)).ok()?)?;
        if key_end > record.len() {
            return None;
        }
        let topic = std::str::from_utf8(record.get(HEADER_BYTES..topic_end)?).ok()?;
        Some(Message {
            topic: self.topic(topic),
            key: record.slice(topic_end..key_end),
            payload: record.slice(key_end..),
        })
    }

    fn topic(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.topics.iter().find(|known| ***known == *name) {
            return Arc::clone(known);
        }
        if self.topics.len() >= TOPICS {
            self.topics.clear();
        }
        let topic: Arc<str> = name.into();
        self.topics.push(Arc::clone(&topic));
        topic
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_written_is_opened(topic in "[a-z.]{0,20}", key in ".{0,20}", payload in ".{0,40}", cut in 0_usize..90) {
            let mut record = Vec::new();
            write(&mut record, &topic, |out| out.extend_from_slice(key.as_bytes()), |out| out.extend_from_slice(payload.as_bytes()));
            let mut opener = Opener::default();
            let opened = opener.open(&Bytes::copy_from_slice(&record)).unwrap();
            prop_assert_eq!((&*opened.topic, &opened.key[..], &opened.payload[..]), (&*topic, key.as_bytes(), payload.as_bytes()));
            record.truncate(cut);
            let _ = opener.open(&Bytes::from(record));
        }
    }
}
