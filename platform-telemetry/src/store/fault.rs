//! What failures of files and of indexes mean, in the terms of the platform.

use platform_core::{Error, ErrorKind, Result};
use std::{
    fs::File,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{LockResult, PoisonError},
};
use tantivy::{
    TantivyError,
    directory::error::{OpenDirectoryError, OpenReadError, OpenWriteError},
};

/// A failed operation on a file or directory.
pub(super) fn io(error: io::Error, operation: &str, path: &Path) -> Error {
    let kind = io_kind(error.kind());
    let full = kind == ErrorKind::Exhausted;
    let message = if full { "the disk is full" } else { "the file system refused it" };
    // Space may come back by itself: retention drops old partitions.
    let error = Error::new(kind, message)
        .retryable(full || kind == ErrorKind::Unavailable)
        .operation(operation)
        .subject(path.display().to_string())
        .source(error);
    if full { error.help("free space, or set a smaller maximum size of the store") } else { error }
}

/// A failed operation on the index in `path`.
pub(super) fn index(error: TantivyError, operation: &str, path: &Path) -> Error {
    let cause = match &error {
        TantivyError::IoError(e)
        | TantivyError::OpenReadError(OpenReadError::IoError { io_error: e, .. })
        | TantivyError::OpenWriteError(OpenWriteError::IoError { io_error: e, .. })
        | TantivyError::OpenDirectoryError(OpenDirectoryError::IoError { io_error: e, .. }) => {
            // An index that lacks bytes it says it has is damaged, whatever the system call said.
            match e.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::Other => None,
                kind => Some(io_kind(kind)),
            }
        }
        TantivyError::ErrorInThread(_) | TantivyError::SystemError(_) => Some(ErrorKind::Unavailable),
        TantivyError::LockFailure(..) => Some(ErrorKind::Conflict),
        _ => None,
    };
    match cause {
        Some(kind) => {
            let error = Error::new(kind, "the index could not be used").source(error);
            error.retryable(matches!(kind, ErrorKind::Exhausted | ErrorKind::Unavailable))
        }
        None => Error::new(ErrorKind::Corrupt, "the partition is damaged").source(error).help(format!(
            "move {} away to use the rest of the store without it, or restore it from a copy",
            path.display()
        )),
    }
    .operation(operation)
    .subject(format!("partition {}", path.display()))
}

/// Runs `work` on the index in `path`: a panic, by which the index library answers some damage, becomes an error.
pub(super) fn guarded<T>(
    operation: &str,
    path: &Path,
    work: impl FnOnce() -> tantivy::Result<T>,
) -> Result<T> {
    let outcome = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(tantivy::error::DataCorruption::comment_only("the index library failed half-way").into())
    });
    outcome.map_err(|e| index(e, operation, path))
}

/// The value of a lock whose holder may have panicked: what it guards is replaced as a whole, so it is whole.
pub(super) fn unpoisoned<T>(locked: LockResult<T>) -> T {
    locked.unwrap_or_else(PoisonError::into_inner)
}

/// Makes the entry of `path` in its directory survive a crash of the machine.
pub(super) fn sync_parent(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(|e| io(e, "sync", parent))
}

fn io_kind(kind: io::ErrorKind) -> ErrorKind {
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            ErrorKind::Exhausted
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ErrorKind::NotFound,
        _ => ErrorKind::Unavailable,
    }
}
