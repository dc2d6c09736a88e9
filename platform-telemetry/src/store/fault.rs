//! What failures of files and of indexes mean, in the terms of the platform.

pub(super) use crate::files::{io, sync_parent, unpoisoned};

use crate::files::io_kind;
use platform_core::{Error, ErrorKind, Result};
use std::{
    io::ErrorKind as IoErrorKind,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};
use tantivy::{
    TantivyError,
    directory::error::{OpenDirectoryError, OpenReadError, OpenWriteError},
};

/// A failed operation on the index in `path`.
pub(super) fn index(error: TantivyError, operation: &str, path: &Path) -> Error {
    let cause = match &error {
        TantivyError::IoError(e)
        | TantivyError::OpenReadError(OpenReadError::IoError { io_error: e, .. })
        | TantivyError::OpenWriteError(OpenWriteError::IoError { io_error: e, .. })
        | TantivyError::OpenDirectoryError(OpenDirectoryError::IoError { io_error: e, .. }) => {
            // An index that lacks bytes it says it has is damaged, whatever the system call said.
            match e.kind() {
                IoErrorKind::UnexpectedEof | IoErrorKind::InvalidData | IoErrorKind::Other => None,
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
