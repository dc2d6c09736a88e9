//! Directories that belong to one process at a time, and what failures of files mean.

use platform_core::{Error, ErrorKind, Result};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::Path,
    sync::{LockResult, PoisonError},
};

/// The name of the file that is locked.
const LOCK: &str = "lock";

/// A failed operation on a file or directory.
pub(crate) fn io(error: io::Error, operation: &str, path: &Path) -> Error {
    let kind = io_kind(error.kind());
    let full = kind == ErrorKind::Exhausted;
    let message = if full { "the disk is full" } else { "the file system refused it" };
    // Space may come back by itself: what is old is dropped, what was forwarded is deleted.
    let error = Error::new(kind, message)
        .retryable(full || kind == ErrorKind::Unavailable)
        .operation(operation)
        .subject(path.display().to_string())
        .source(error);
    if full { error.help("free space, or set a smaller maximum size") } else { error }
}

/// What a failure of the operating system means.
pub(crate) fn io_kind(kind: io::ErrorKind) -> ErrorKind {
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            ErrorKind::Exhausted
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ErrorKind::NotFound,
        _ => ErrorKind::Unavailable,
    }
}

/// Makes the entry of `path` in its directory survive a crash of the machine.
pub(crate) fn sync_parent(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(|e| io(e, "sync", parent))
}

/// The value of a lock whose holder may have panicked: what it guards is replaced as a whole, so it is whole.
pub(crate) fn unpoisoned<T>(locked: LockResult<T>) -> T {
    locked.unwrap_or_else(PoisonError::into_inner)
}

/// A directory that is this process's.
#[derive(Debug)]
pub(crate) struct Claim(File);

impl Drop for Claim {
    fn drop(&mut self) {
        // Closing the file is not enough: a child that is just being started has it open too until it runs its program.
        let _ = self.0.unlock();
    }
}

/// What a directory is, as a file in it says.
#[derive(Debug)]
pub(crate) struct DirectoryKind {
    /// The name of the file that says so, and its version.
    pub(crate) marker: &'static str,
    /// The version that this program knows, from 1.
    pub(crate) version: u32,
    /// What to call it: `telemetry store`.
    pub(crate) what: &'static str,
}

impl DirectoryKind {
    /// Claims `path` for this process as long as the claim lives. The directory is created if it is missing, and made one of this kind
    /// if it is empty; one with other files is refused.
    pub(crate) fn claim(&self, path: &Path) -> Result<Claim> {
        fs::create_dir_all(path).map_err(|e| io(e, "create", path))?;
        let is_new = match self.version(path)? {
            Some(version) if version == self.version => false,
            Some(newer) => return Err(self.unknown_version(path, newer)),
            None => {
                self.refuse_foreign_files(path)?;
                true
            }
        };
        let lock = self.lock(path)?;
        if is_new {
            self.write_marker(path)?;
        }
        Ok(lock)
    }

    /// The version that the marker says; `None` if there is no marker.
    pub(crate) fn version(&self, path: &Path) -> Result<Option<u32>> {
        let marker = path.join(self.marker);
        let text = match fs::read_to_string(&marker) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io(e, "read", &marker)),
        };
        let version = text.trim().strip_prefix("version ").and_then(|v| v.parse().ok()).filter(|v| *v > 0);
        version.map(Some).ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, "it does not say a version")
                .operation("read")
                .subject(marker.display().to_string())
                .help(format!("write `version {}` into it if the directory is a {}", self.version, self.what))
        })
    }

    fn unknown_version(&self, path: &Path, version: u32) -> Error {
        Error::new(
            ErrorKind::Unsupported,
            format!("its format has version {version}, and this program knows version {}", self.version),
        )
        .operation(format!("open the {}", self.what))
        .subject(path.display().to_string())
        .help("use the newer program that wrote it, or another directory")
    }

    fn refuse_foreign_files(&self, path: &Path) -> Result<()> {
        let failed = |e| io(e, "list", path);
        for entry in fs::read_dir(path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            // A crash between the first two steps of making it leaves these.
            if name != LOCK && name != format!("{}.new", self.marker).as_str() {
                return Err(Error::new(
                    ErrorKind::AlreadyExists,
                    format!("the directory is not empty and no {}: it has {}", self.what, name.display()),
                )
                .operation(format!("open the {}", self.what))
                .subject(path.display().to_string())
                .help("choose an empty directory or one that does not exist"));
            }
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> Result<Claim> {
        let lock_path = path.join(LOCK);
        let failed = |e| io(e, "lock", &lock_path);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // Who it is only helps the reader; that it is locked is what counts.
                let _ = file.read_to_string(&mut owner);
                let owner = owner.trim();
                let owner = if owner.is_empty() { "another process" } else { owner };
                return Err(Error::new(ErrorKind::Conflict, format!("{owner} has it open"))
                    .operation(format!("open the {}", self.what))
                    .subject(path.display().to_string())
                    .help("stop that process, or use another directory"));
            }
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        let line = format!("process {}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(line.as_bytes()))
            .map_err(failed)?;
        Ok(Claim(file))
    }

    fn write_marker(&self, path: &Path) -> Result<()> {
        let (new, marker) = (path.join(format!("{}.new", self.marker)), path.join(self.marker));
        File::create(&new)
            .and_then(|mut file| {
                writeln!(file, "version {}", self.version)?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&new, &marker))
            .map_err(|e| io(e, "create", &marker))?;
        sync_parent(&marker)
    }
}
