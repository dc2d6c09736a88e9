//! The files of a spool.
//!
//! What a segment must say about itself is in its name, which no torn write can damage: the number of its first record and the salt of
//! its checksums.

use super::frame::{self, Found};
use crate::files::{io, sync_parent};
use bytes::{Bytes, BytesMut};
use memchr::memmem;
use platform_core::Result;
use std::{
    fs::{self, File, OpenOptions},
    io::ErrorKind as IoErrorKind,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// How much is read at once.
const BLOCK_BYTES: usize = 1 << 20;

/// A file of records.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    /// The number of the first record.
    pub(super) base: u64,
    pub(super) salt: u32,
    /// How much of the file is durable.
    pub(super) bytes: u64,
}

impl Segment {
    pub(super) fn path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("segment-{:020}-{:08x}", self.base, self.salt))
    }

    /// Creates the file, which must not exist.
    pub(super) fn create(&self, dir: &Path) -> Result<File> {
        let path = self.path(dir);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|e| io(e, "create", &path))?;
        if let Err(error) = sync_parent(&path) {
            // It may be tried again under the same name.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(file)
    }

    pub(super) fn open(&self, dir: &Path) -> Result<File> {
        let path = self.path(dir);
        OpenOptions::new().read(true).write(true).open(&path).map_err(|e| io(e, "open", &path))
    }

    pub(super) fn delete(&self, dir: &Path) -> Result<()> {
        let path = self.path(dir);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != IoErrorKind::NotFound => Err(io(e, "delete", &path)),
            _ => Ok(()),
        }
    }
}

/// The segments in a directory, the oldest first.
pub(super) fn list(dir: &Path) -> Result<Vec<Segment>> {
    let failed = |e| io(e, "list", dir);
    let mut segments = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let parsed = name.to_str().and_then(|name| name.strip_prefix("segment-")?.split_once('-'));
        let numbers =
            parsed.and_then(|(base, salt)| Some((base.parse().ok()?, u32::from_str_radix(salt, 16).ok()?)));
        if let Some((base, salt)) = numbers {
            segments.push(Segment { base, salt, bytes: entry.metadata().map_err(failed)?.len() });
        }
    }
    segments.sort_unstable_by_key(|segment| segment.base);
    Ok(segments)
}

/// What is next in a segment.
#[derive(Debug)]
pub(super) enum Next {
    Record {
        sequence: u64,
        payload: Bytes,
    },
    /// Bytes that hold no intact record.
    Damage {
        bytes: u64,
    },
    End,
}

/// Reads a segment from its beginning in large blocks; payloads are slices of them.
#[derive(Debug)]
pub(super) struct Scanner {
    file: File,
    path: PathBuf,
    salt: u32,
    /// Where the next frame begins, or should.
    pub(super) offset: u64,
    /// The bytes from `offset`.
    block: Bytes,
}

impl Scanner {
    pub(super) fn open(segment: &Segment, dir: &Path) -> Result<Self> {
        let path = segment.path(dir);
        let file = File::open(&path).map_err(|e| io(e, "open", &path))?;
        Ok(Self { file, path, salt: segment.salt, offset: 0, block: Bytes::new() })
    }

    /// The next record before `limit` that has a number of at least `expected`. Records with lower numbers are passed over.
    ///
    /// After an error the same can be tried again.
    pub(super) fn next(&mut self, expected: u64, limit: u64) -> Result<Next> {
        loop {
            if self.offset >= limit {
                return Ok(Next::End);
            }
            match self.look(limit)? {
                Found::Frame { sequence, payload } => {
                    let end = payload.end;
                    let payload = self.block.slice(payload);
                    self.advance(end);
                    if sequence >= expected {
                        return Ok(Next::Record { sequence, payload });
                    }
                }
                Found::Short(_) | Found::Nothing => {
                    return Ok(Next::Damage { bytes: self.skip(limit)? });
                }
            }
        }
    }

    /// What is at the offset; [`Found::Short`] only if the limit cuts it.
    fn look(&mut self, limit: u64) -> Result<Found> {
        loop {
            let inside = usize::try_from(limit.saturating_sub(self.offset)).unwrap_or(usize::MAX);
            let bytes = self.block.get(..inside.min(self.block.len())).unwrap_or_default();
            match frame::look(bytes, self.salt) {
                Found::Short(needed) if needed <= inside => self.load(needed.max(BLOCK_BYTES).min(inside))?,
                found => return Ok(found),
            }
        }
    }

    /// Goes to the next intact frame or to the limit; answers how many bytes were left out.
    fn skip(&mut self, limit: u64) -> Result<u64> {
        let start = self.offset;
        self.advance(1);
        while self.offset < limit {
            let inside = usize::try_from(limit - self.offset).unwrap_or(usize::MAX);
            if self.block.len() < frame::MAGIC.len().min(inside) {
                self.load(BLOCK_BYTES.min(inside))?;
            }
            let bytes = self.block.get(..inside.min(self.block.len())).unwrap_or_default();
            match memmem::find(bytes, &frame::MAGIC) {
                Some(at) => {
                    self.advance(at);
                    if matches!(self.look(limit)?, Found::Frame { .. }) {
                        break;
                    }
                    self.advance(1);
                }
                // The last bytes may begin a magic number.
                None if bytes.len() < inside => {
                    self.advance((bytes.len() + 1).saturating_sub(frame::MAGIC.len()));
                }
                None => self.advance(inside),
            }
        }
        Ok(self.offset - start)
    }

    fn advance(&mut self, bytes: usize) {
        self.offset += bytes as u64;
        self.block = self.block.slice(bytes.min(self.block.len())..);
    }

    /// Reads `length` bytes from the offset. What somebody cut off the file is zeroes, in which no record is found.
    fn load(&mut self, length: usize) -> Result<()> {
        let mut block = BytesMut::zeroed(length);
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, self.offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(e) if e.kind() == IoErrorKind::Interrupted => {}
                Err(e) => return Err(io(e, "read", &self.path)),
            }
        }
        self.block = block.freeze();
        Ok(())
    }
}
