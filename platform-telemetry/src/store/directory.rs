//! The directory of a store: whose it is, which format it has, and who has it open.
//!
//! ```text
//! platform-telemetry-store   says that the directory is a store, and its version
//! lock                       held by the process that has it open, with its id
//! series                     the dictionary of series
//! journal-N                  what was acknowledged and is not in a partition yet
//! partitions/START-LENGTH/   an index of samples and one of log records, in milliseconds
//! ```

use super::fault;
use crate::files::{Claim, DirectoryKind};
use platform_core::Result;
use std::{
    fs,
    io::ErrorKind as IoErrorKind,
    path::{Path, PathBuf},
};

const KIND: DirectoryKind =
    DirectoryKind { marker: "platform-telemetry-store", version: 1, what: "telemetry store" };

/// A store's directory, claimed by this process until it is dropped.
#[derive(Debug)]
pub(super) struct StoreDirectory {
    path: PathBuf,
    _claim: Claim,
}

impl StoreDirectory {
    /// Claims `path`, which is created if it is missing, and made a store if it is empty.
    pub(super) fn claim(path: &Path) -> Result<Self> {
        let this = Self { path: path.to_owned(), _claim: KIND.claim(path)? };
        let partitions = this.partitions();
        fs::create_dir_all(&partitions).map_err(|e| fault::io(e, "create", &partitions))?;
        fault::sync_parent(&partitions)?;
        Ok(this)
    }

    pub(super) fn series(&self) -> PathBuf {
        self.path.join("series")
    }

    pub(super) fn partitions(&self) -> PathBuf {
        self.path.join("partitions")
    }

    pub(super) fn journal(&self, generation: u64) -> PathBuf {
        self.path.join(format!("journal-{generation}"))
    }

    /// The generations of which there is a journal, the oldest first.
    pub(super) fn journals(&self) -> Result<Vec<u64>> {
        let failed = |e| fault::io(e, "list", &self.path);
        let mut generations = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("journal-"));
            generations.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        generations.sort_unstable();
        Ok(generations)
    }

    /// Deletes everything that is the store's, and the directory if nothing else is in it.
    pub(super) fn destroy(self) -> Result<()> {
        let partitions = self.partitions();
        fs::remove_dir_all(&partitions).map_err(|e| fault::io(e, "delete", &partitions))?;
        let mut files: Vec<PathBuf> = self.journals()?.into_iter().map(|g| self.journal(g)).collect();
        // The marker goes last but for the lock: what is left by a crash is still a store, and can be destroyed again.
        files.extend([self.series(), self.path.join(KIND.marker), self.path.join("lock")]);
        for file in files {
            match fs::remove_file(&file) {
                Err(e) if e.kind() != IoErrorKind::NotFound => return Err(fault::io(e, "delete", &file)),
                _ => {}
            }
        }
        match fs::remove_dir(&self.path) {
            Err(e) if !matches!(e.kind(), IoErrorKind::DirectoryNotEmpty | IoErrorKind::NotFound) => {
                Err(fault::io(e, "delete", &self.path))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform_core::ErrorKind;

    #[test]
    fn a_directory_is_claimed_once_and_only_if_it_is_ours() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/store");
        let claimed = StoreDirectory::claim(&path).unwrap();
        let error = StoreDirectory::claim(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(claimed);
        StoreDirectory::claim(&path).unwrap();

        let foreign = dir.path().join("foreign");
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join("thesis.txt"), "precious").unwrap();
        let error = StoreDirectory::claim(&foreign).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(error.to_string().contains("thesis.txt"), "{error}");
        assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1);
    }

    #[test]
    fn unknown_versions_and_damaged_markers_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(StoreDirectory::claim(dir.path()).unwrap());
        let marker = dir.path().join(KIND.marker);
        fs::write(&marker, "version 2\n").unwrap();
        assert_eq!(StoreDirectory::claim(dir.path()).unwrap_err().kind(), ErrorKind::Unsupported);
        fs::write(&marker, "versio").unwrap();
        assert_eq!(StoreDirectory::claim(dir.path()).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn destroying_leaves_what_is_not_the_stores() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let claimed = StoreDirectory::claim(&path).unwrap();
        fs::write(path.join("notes.txt"), "mine").unwrap();
        fs::write(claimed.journal(7), "").unwrap();
        claimed.destroy().unwrap();
        let left: Vec<_> = fs::read_dir(&path).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["notes.txt"]);
    }
}
