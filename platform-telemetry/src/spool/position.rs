//! Which record of a spool, and how far its reader has come.

use crate::files::{io, sync_parent};
use platform_core::Result;
use std::{
    fmt,
    fs::{File, OpenOptions},
    io::ErrorKind as IoErrorKind,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// The number of a record: records are numbered from 0, in the order in which they were appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub(super) u64);

impl Position {
    /// The number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

const MAGIC: [u8; 4] = *b"\xb7SC1";
const SLOT_BYTES: usize = 24;

/// The committed position on disk.
///
/// Two slots in one file are written in turn: a torn write leaves the other one, and a full disk has room for it, so that what was
/// forwarded can be deleted there.
#[derive(Debug)]
pub(super) struct CommittedFile {
    file: File,
    path: PathBuf,
    /// How many times it was written.
    turn: u64,
}

impl CommittedFile {
    /// Opens or creates the file; answers the position too.
    pub(super) fn open(dir: &Path) -> Result<(Self, u64)> {
        let path = dir.join("committed");
        let failed = |e| io(e, "open", &path);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let slots = [0, 1].map(|slot| read_slot(&file, slot));
        let mut latest = None;
        for slot in slots {
            latest = latest.max(slot.map_err(failed)?);
        }
        // A crash may interrupt the first write, on which nothing depends yet.
        if latest.is_none() && length > 0 {
            tracing::error!(
                path = %path.display(),
                "the committed position is damaged: everything in the spool is read once more"
            );
        }
        let (turn, position) = latest.unwrap_or_default();
        let mut this = Self { file, path, turn };
        if latest.is_none() {
            // Both slots, so that later writes take no more room.
            this.write(position)?;
            this.write(position)?;
            sync_parent(&this.path)?;
        }
        Ok((this, position))
    }

    /// Makes `position` durable.
    pub(super) fn write(&mut self, position: u64) -> Result<()> {
        let turn = self.turn + 1;
        let mut slot = Vec::with_capacity(SLOT_BYTES);
        slot.extend_from_slice(&MAGIC);
        slot.extend_from_slice(&turn.to_le_bytes());
        slot.extend_from_slice(&position.to_le_bytes());
        slot.extend_from_slice(&crc32fast::hash(&slot).to_le_bytes());
        self.file
            .write_all_at(&slot, (turn % 2) * SLOT_BYTES as u64)
            .and_then(|()| self.file.sync_data())
            .map_err(|e| io(e, "write", &self.path))?;
        self.turn = turn;
        Ok(())
    }
}

/// The turn and the position in a slot; `None` if it is not intact.
fn read_slot(file: &File, slot: u64) -> std::io::Result<Option<(u64, u64)>> {
    let mut bytes = [0; SLOT_BYTES];
    match file.read_exact_at(&mut bytes, slot * SLOT_BYTES as u64) {
        Ok(()) => {}
        Err(e) if e.kind() == IoErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e),
    }
    let number =
        |at: usize| bytes.get(at..).and_then(|b| b.first_chunk()).copied().map_or(0, u64::from_le_bytes);
    let (content, checksum) = bytes.split_at(SLOT_BYTES - 4);
    let intact = content.starts_with(&MAGIC) && crc32fast::hash(content).to_le_bytes() == *checksum;
    Ok(intact.then(|| (number(4), number(12))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_write_leaves_the_position_before() {
        let dir = tempfile::tempdir().unwrap();
        let (mut file, position) = CommittedFile::open(dir.path()).unwrap();
        assert_eq!(position, 0);
        for position in [7, 9] {
            file.write(position).unwrap();
        }
        let path = dir.path().join("committed");
        let intact = std::fs::read(&path).unwrap();
        assert_eq!(CommittedFile::open(dir.path()).unwrap().1, 9);
        for byte in 0..intact.len() {
            let mut torn = intact.clone();
            torn[byte] ^= 0x10;
            std::fs::write(&path, torn).unwrap();
            let expected = if byte < SLOT_BYTES { 7 } else { 9 };
            let found = CommittedFile::open(dir.path()).unwrap().1;
            assert_eq!(found, expected, "byte {byte}");
        }
        std::fs::write(&path, vec![0; 2 * SLOT_BYTES]).unwrap();
        assert_eq!(CommittedFile::open(dir.path()).unwrap().1, 0, "rather twice than never");
        std::fs::write(&path, &intact[..5]).unwrap();
        assert_eq!(CommittedFile::open(dir.path()).unwrap().1, 0);
    }
}
