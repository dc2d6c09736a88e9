//! The journal: what was acknowledged, in files of one generation each, until it is in the partitions.
//!
//! The first frame of a file says the length of the partitions that the generation goes to; each further frame is an [`Entry`].

use super::{
    codec::{Decoder, Encoder},
    directory::StoreDirectory,
    fault,
    frames::FrameFile,
    head::{Entry, Head},
};
use platform_core::Result;
use std::{fs, path::Path};

/// The journal of one generation, open for appending.
#[derive(Debug)]
pub(super) struct Journal {
    file: FrameFile,
}

impl Journal {
    /// Begins the journal of a generation.
    pub(super) fn create(directory: &StoreDirectory, generation: u64, partition_millis: i64) -> Result<Self> {
        let (mut file, _) = FrameFile::open(&directory.journal(generation))?;
        let mut header = Encoder::default();
        header.i64(partition_millis);
        file.append(&header.into_bytes())?;
        Ok(Self { file })
    }

    /// Makes an entry durable.
    pub(super) fn append(&mut self, entry: &Entry) -> Result<()> {
        self.file.append(&entry.encode())
    }
}

/// Reads what the journal of a generation holds.
pub(super) fn replay(directory: &StoreDirectory, generation: u64) -> Result<Head> {
    let (file, frames) = FrameFile::open(&directory.journal(generation))?;
    decode(generation, &frames).map_err(|e| e.operation("read").subject(file.path().display().to_string()))
}

/// Deletes the journal at `path`, whose entries are in the partitions.
pub(super) fn delete(path: &Path) -> Result<()> {
    fs::remove_file(path).map_err(|e| fault::io(e, "delete", path))
}

fn decode(generation: u64, frames: &[Vec<u8>]) -> Result<Head> {
    // Without a header nothing follows it either: a crash interrupted the creation.
    let Some((header, entries)) = frames.split_first() else { return Ok(Head::new(generation, 1)) };
    let mut head = Head::new(generation, Decoder::new(header).i64()?.max(1));
    for entry in entries {
        head.push(Entry::decode(entry)?);
    }
    Ok(head)
}
