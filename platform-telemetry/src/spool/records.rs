//! Records to be appended, in the form in which they are written.

use super::frame;
use crate::files::unpoisoned;
use platform_core::{Error, ErrorKind, Result};
use std::{
    fmt,
    sync::{Arc, Mutex},
};

/// A buffer of this size is full; a larger record has a buffer of its own.
pub(super) const CHUNK_BYTES: usize = 256 << 10;
/// How many buffers are kept to be used again.
const POOLED: usize = 32;

/// Buffers that were written and can be used again.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Vec<Vec<u8>>>);

impl Pool {
    fn take(&self) -> Vec<u8> {
        unpoisoned(self.0.lock()).pop().unwrap_or_else(|| Vec::with_capacity(CHUNK_BYTES))
    }

    pub(super) fn give(&self, mut buffer: Vec<u8>) {
        // A record that was very large must not hold its memory for ever.
        if buffer.capacity() <= 2 * CHUNK_BYTES {
            buffer.clear();
            let mut buffers = unpoisoned(self.0.lock());
            if buffers.len() < POOLED {
                buffers.push(buffer);
            }
        }
    }
}

/// Frames that stay together.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    pub(super) records: u64,
}

/// Records for [`Spool::append`](super::Spool::append); made by [`Spool::records`](super::Spool::records).
///
/// They are written straight into the buffers that go to the disk.
pub struct Records {
    pool: Arc<Pool>,
    max_record_bytes: usize,
    pub(super) chunks: Vec<Chunk>,
}

impl Records {
    pub(super) fn new(pool: Arc<Pool>, max_record_bytes: usize) -> Self {
        Self { pool, max_record_bytes, chunks: Vec::new() }
    }

    /// Adds a record. Fails with [`Exhausted`](ErrorKind::Exhausted) if it is larger than
    /// [`max_record_bytes`](super::SpoolOptions::max_record_bytes); then nothing was added.
    pub fn push(&mut self, record: &[u8]) -> Result<()> {
        self.push_with(record.len(), |buffer| buffer.extend_from_slice(record))
    }

    /// Adds the record that `write` appends to the buffer that it is given, about `size` bytes. Fails as [`push`](Self::push) does.
    pub fn push_with(&mut self, size: usize, write: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let fits = |chunk: &Chunk| {
            chunk.bytes.len() + frame::HEADER_BYTES + size <= chunk.bytes.capacity().max(CHUNK_BYTES)
        };
        if !self.chunks.last().is_some_and(fits) {
            self.chunks.push(Chunk { bytes: self.pool.take(), records: 0 });
        }
        let Some(chunk) = self.chunks.last_mut() else { return Ok(()) };
        let start = frame::begin(&mut chunk.bytes);
        write(&mut chunk.bytes);
        let length = chunk.bytes.len().saturating_sub(start + frame::HEADER_BYTES);
        if length > self.max_record_bytes {
            chunk.bytes.truncate(start);
            return Err(Error::new(
                ErrorKind::Exhausted,
                format!("it has {length} bytes, and {} are allowed", self.max_record_bytes),
            )
            .operation("spool")
            .subject("a record"));
        }
        frame::finish(&mut chunk.bytes, start);
        chunk.records += 1;
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.records).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes they take on disk.
    pub fn bytes(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.bytes.len() as u64).sum()
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("len", &self.len()).field("bytes", &self.bytes()).finish()
    }
}
