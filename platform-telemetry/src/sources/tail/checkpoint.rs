//! How far files were read, kept across restarts.

use super::assembly::Marks;
use platform_core::{Error, ErrorKind, Result, clock::Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

/// How much of a file's beginning identifies it.
pub(super) const HEAD_BYTES: usize = 256;
/// How much before a position confirms it.
pub(super) const TAIL_BYTES: usize = 64;
const VERSION: u32 = 1;

/// Which file it is, whatever it is called. The numbers are used again after a file is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) device: u64,
    pub(super) inode: u64,
}

impl Identity {
    pub(super) fn of(metadata: &std::fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// A hash of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Fingerprint {
    len: usize,
    hash: u64,
}

impl Fingerprint {
    /// FNV-1a: small, and the same in every build, which the standard library's hasher does not promise.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self { len: bytes.len(), hash }
    }
}

/// A position in a file, with what identifies the file and confirms the position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    pub(super) path: PathBuf,
    #[serde(flatten)]
    pub(super) identity: Identity,
    pub(super) offset: u64,
    pub(super) head: Fingerprint,
    pub(super) tail: Fingerprint,
    /// Where each stream is to be read on, where one is ahead of another that has something unfinished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) streams: Option<Marks>,
    /// The file that its path led to, where that is a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) resolved: Option<PathBuf>,
    /// When it was last written down.
    pub(super) seen: Timestamp,
}

impl Position {
    /// Where the files are that this one is rotated to, and was before.
    pub(super) fn home(&self) -> &PathBuf {
        self.resolved.as_ref().unwrap_or(&self.path)
    }

    /// Where to read on, and from where each stream.
    pub(super) fn resumption(&self) -> (u64, Marks) {
        (self.offset, self.streams.unwrap_or_default())
    }

    /// Whether `file` has what this position says: the same beginning, and the same bytes before the offset.
    pub(super) fn fits(&self, file: &File) -> io::Result<bool> {
        let offset = usize::try_from(self.offset).unwrap_or(usize::MAX);
        if self.head.len != offset.min(HEAD_BYTES) || self.tail.len != offset.min(TAIL_BYTES) {
            return Ok(false);
        }
        if file.metadata()?.len() < self.offset {
            return Ok(false);
        }
        Ok(Fingerprint::of(&read_exactly(file, 0, self.head.len)?) == self.head
            && tail_fingerprint(file, self.offset)? == self.tail)
    }
}

/// The bytes before `offset` as a fingerprint.
pub(super) fn tail_fingerprint(file: &File, offset: u64) -> io::Result<Fingerprint> {
    Ok(Fingerprint::of(&tail_bytes(file, offset)?))
}

pub(super) fn tail_bytes(file: &File, offset: u64) -> io::Result<Vec<u8>> {
    let from = offset.saturating_sub(TAIL_BYTES as u64);
    read_exactly(file, from, usize::try_from(offset - from).unwrap_or_default())
}

/// Up to `len` bytes at `offset`; fewer at the file's end.
pub(super) fn read_exactly(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// All positions of a tail.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    version: u32,
    /// What was followed: a file of another pattern is seen for the first time.
    pub(super) patterns: Vec<String>,
    pub(super) files: Vec<Position>,
    /// What was beside them under names of their rotation.
    #[serde(default)]
    pub(super) beside: BTreeMap<PathBuf, BTreeSet<Identity>>,
}

/// What was found where a checkpoint is kept.
#[derive(Debug)]
pub(super) enum Loaded {
    Found(Checkpoint),
    Missing,
    /// It was damaged, and is set aside.
    Damaged,
}

impl Checkpoint {
    pub(super) fn new(patterns: Vec<String>, files: Vec<Position>) -> Self {
        Self { version: VERSION, patterns, files, beside: BTreeMap::new() }
    }

    /// Whether both say the same but for when.
    pub(super) fn same_positions(&self, other: &Self) -> bool {
        let key = |p: &Position| (p.identity, p.path.clone(), p.offset, p.streams, p.head, p.tail);
        let is_same = self.patterns == other.patterns && self.beside == other.beside;
        is_same && self.files.iter().map(key).eq(other.files.iter().map(key))
    }

    pub(super) fn load(path: &Path) -> Result<Loaded> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Loaded::Missing),
            Err(e) => return Err(failure("read", path, e)),
        };
        match serde_json::from_slice::<Self>(&text) {
            Ok(checkpoint) if checkpoint.version == VERSION => Ok(Loaded::Found(checkpoint)),
            Ok(newer) => Err(Error::new(
                ErrorKind::Unsupported,
                format!("it has version {}, and this program knows version {VERSION}", newer.version),
            )
            .operation("read checkpoint")
            .subject(path.display().to_string())),
            Err(error) => {
                let aside = path.with_extension("damaged");
                std::fs::rename(path, &aside).map_err(|e| failure("set aside", path, e))?;
                tracing::warn!(
                    checkpoint = %path.display(), %error, aside = %aside.display(),
                    "a checkpoint is damaged: files are read from their beginning again"
                );
                Ok(Loaded::Damaged)
            }
        }
    }

    /// Replaces the file as a whole; when it returns, the new one survives a power cut.
    pub(super) fn save(&self, path: &Path) -> Result<()> {
        let save = || -> io::Result<()> {
            let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            std::fs::create_dir_all(directory)?;
            let mut file = tempfile::NamedTempFile::new_in(directory)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.as_file().sync_all()?;
            file.persist(path)?;
            File::open(directory)?.sync_all()
        };
        save().map_err(|e| failure("write", path, e))
    }
}

/// Whether the file at `path` is a checkpoint, and not somebody else's of the same name.
pub(crate) fn is_checkpoint(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|text| serde_json::from_slice::<Checkpoint>(&text).is_ok())
}

fn failure(operation: &str, path: &Path, error: io::Error) -> Error {
    // A full disk or a volume that is not mounted yet may be well again in a while.
    Error::new(ErrorKind::Unavailable, "the checkpoint file is not accessible")
        .operation(format!("{operation} checkpoint"))
        .subject(path.display().to_string())
        .source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_checkpoint_is_set_aside_and_a_newer_one_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tail.json");
        assert!(matches!(Checkpoint::load(&path).unwrap(), Loaded::Missing));
        let checkpoint = Checkpoint::new(vec!["/var/log/*.log".to_owned()], Vec::new());
        checkpoint.save(&path).unwrap();
        assert!(matches!(Checkpoint::load(&path).unwrap(), Loaded::Found(found) if found == checkpoint));
        Checkpoint { version: 9, ..checkpoint }.save(&path).unwrap();
        assert_eq!(Checkpoint::load(&path).unwrap_err().kind(), ErrorKind::Unsupported);
        std::fs::write(&path, b"{\"version\":1,\"files\":[{").unwrap();
        assert!(matches!(Checkpoint::load(&path).unwrap(), Loaded::Damaged));
        assert!(!path.exists() && path.with_extension("damaged").exists());
    }

    #[test]
    fn a_position_fits_only_the_file_that_it_was_taken_in() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        std::fs::write(&path, "one\ntwo\n").unwrap();
        let file = File::open(&path).unwrap();
        let position = Position {
            path: path.clone(),
            identity: Identity::of(&file.metadata().unwrap()),
            offset: 4,
            head: Fingerprint::of(b"one\n"),
            tail: tail_fingerprint(&file, 4).unwrap(),
            streams: None,
            resolved: None,
            seen: Timestamp::default(),
        };
        assert!(position.fits(&file).unwrap());
        std::fs::write(&path, "eno\ntwo\n").unwrap();
        assert!(!position.fits(&file).unwrap());
        std::fs::write(&path, "on").unwrap();
        assert!(!position.fits(&file).unwrap());
    }
}
