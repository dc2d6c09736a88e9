//! Buffers of batches, used again: a new one costs more than filling it, for the kernel gives it page by page.

use crate::files::unpoisoned;
use bytes::Bytes;
use std::sync::Mutex;

/// How many are kept for the next batches.
const KEPT: usize = 4;

#[derive(Debug)]
pub(super) struct Buffers {
    bytes: usize,
    free: Mutex<Vec<Vec<u8>>>,
}

impl Buffers {
    /// Buffers for batches of `bytes` and the event that makes one full.
    pub(super) fn new(bytes: usize) -> Self {
        Self { bytes: bytes + bytes / 16, free: Mutex::default() }
    }

    pub(super) fn take(&self) -> Vec<u8> {
        let free = unpoisoned(self.free.lock()).pop();
        free.unwrap_or_else(|| Vec::with_capacity(self.bytes))
    }

    /// Gives back the buffer of a batch, if nobody else has it any more.
    pub(super) fn give_back(&self, bytes: Bytes) {
        if !bytes.is_unique() {
            return;
        }
        let mut buffer = Vec::from(bytes);
        let mut free = unpoisoned(self.free.lock());
        // One that had to grow for a large event is not kept.
        if free.len() < KEPT && buffer.capacity() <= 2 * self.bytes {
            buffer.clear();
            free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_nobody_has_is_used_again() {
        let buffers = Buffers::new(1600);
        let mut buffer = buffers.take();
        buffer.extend_from_slice(b"events");
        let at = buffer.as_ptr();
        let bytes = Bytes::from(buffer);
        let other = bytes.clone();
        buffers.give_back(bytes);
        let second = buffers.take();
        assert_ne!(second.as_ptr(), at, "somebody had it");
        drop(second);
        buffers.give_back(other);
        let again = buffers.take();
        assert_eq!((again.as_ptr(), again.len(), again.capacity()), (at, 0, 1700));
    }
}
