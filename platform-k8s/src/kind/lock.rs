//! One program at a time makes or deletes a cluster of one name.
//!
//! A file of the name of the cluster in the temporary directory is locked (`flock`), which ends with the process that holds it. kind itself
//! gets the open file as its input, so that a `kind` that outlives the program that started it still holds the lock
//! until it is done, and whoever comes next finds a cluster that is finished.

use platform_core::{Error, ErrorKind, Result, cluster::ClusterPhase, event::Progress, name::ClusterName};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::Instant;

use super::process::seconds;

/// How often a lock that another program holds is tried.
const POLL: Duration = Duration::from_millis(200);

/// The lock on the name of a cluster.
#[derive(Debug)]
pub(super) struct ClusterLock {
    file: File,
    path: PathBuf,
}

impl ClusterLock {
    /// Takes the lock for `work`, and waits for another program at most `deadline`.
    pub(super) async fn acquire(
        directory: &Path,
        name: &ClusterName,
        work: ClusterPhase,
        deadline: Duration,
        progress: &Progress,
    ) -> Result<Self> {
        let path = path(directory, name);
        let failed = |e: io::Error| {
            Error::new(ErrorKind::Failed, format!("the lock {} cannot be taken", path.display()))
                .source(e)
                .help("see to it that the temporary directory can be written to, or set TMPDIR")
        };
        let until = Instant::now() + deadline;
        let mut told = false;
        loop {
            let file = open(&path).map_err(failed)?;
            match file.try_lock() {
                // The one before may have removed the file that was opened.
                Ok(()) if is_at(&file, &path) => {
                    // A file of another user cannot be written to; then it says nothing of the work, and creating is assumed.
                    let _ = file.set_len(0).and_then(|()| file.write_all_at(text(work).as_bytes(), 0));
                    return Ok(Self { file, path });
                }
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(e)) => return Err(failed(e)),
            }
            if Instant::now() >= until {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("another program has been making or deleting it for {}", seconds(deadline)),
                )
                .retryable(true)
                .help("wait for it or stop it"));
            }
            if !told {
                progress.report("waiting for another program that makes or deletes this cluster");
                told = true;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// What a program is doing with the cluster now: making or deleting it.
    pub(super) fn holder(directory: &Path, name: &ClusterName) -> Option<ClusterPhase> {
        let mut file = File::open(path(directory, name)).ok()?;
        if !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
            return None;
        }
        let mut work = String::new();
        file.read_to_string(&mut work).ok()?;
        Some(if work == text(ClusterPhase::Deleting) {
            ClusterPhase::Deleting
        } else {
            ClusterPhase::Creating
        })
    }

    /// The open file, which holds the lock as long as any program has it open.
    pub(super) fn share(&self) -> Result<File> {
        self.file.try_clone().map_err(|e| {
            Error::new(ErrorKind::Exhausted, "the lock of the cluster cannot be shared").source(e)
        })
    }

    /// Gives the lock back when all is done. One that is dropped before leaves its file, which does no harm.
    pub(super) fn release(self) {
        // A file of another user in a directory like /tmp stays.
        let _ = fs::remove_file(&self.path);
    }
}

const fn text(work: ClusterPhase) -> &'static str {
    match work {
        ClusterPhase::Deleting => "deleting",
        _ => "creating",
    }
}

fn path(directory: &Path, name: &ClusterName) -> PathBuf {
    directory.join(format!("platform-kind-{name}.lock"))
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).mode(0o666).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    match options.clone().write(true).create(true).truncate(false).open(path) {
        // The file of another user can be read, which is enough to lock it.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => options.open(path),
        opened => opened,
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_holds_the_lock_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let (name, progress) = (ClusterName::new("shop-testing").unwrap(), Progress::silent());
        let acquire = |deadline| {
            let (work, wait) = (ClusterPhase::Deleting, Duration::from_millis(deadline));
            ClusterLock::acquire(directory.path(), &name, work, wait, &progress)
        };
        assert_eq!(ClusterLock::holder(directory.path(), &name), None);
        let first = acquire(0).await.unwrap();
        assert_eq!(ClusterLock::holder(directory.path(), &name), Some(ClusterPhase::Deleting));
        let error = acquire(300).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        let (second, ()) = tokio::join!(acquire(5000), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            first.release();
        });
        second.unwrap().release();
        assert_eq!(ClusterLock::holder(directory.path(), &name), None);
        assert!(!path(directory.path(), &name).exists());
    }

    #[tokio::test]
    async fn a_program_that_got_the_lock_holds_it() {
        let directory = tempfile::tempdir().unwrap();
        let (name, progress) = (ClusterName::new("shop-testing").unwrap(), Progress::silent());
        let (work, wait) = (ClusterPhase::Creating, Duration::ZERO);
        let lock = ClusterLock::acquire(directory.path(), &name, work, wait, &progress).await.unwrap();
        let mut child =
            std::process::Command::new("sleep").arg("300").stdin(lock.share().unwrap()).spawn().unwrap();
        drop(lock);
        assert_eq!(ClusterLock::holder(directory.path(), &name), Some(ClusterPhase::Creating));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(ClusterLock::holder(directory.path(), &name), None);
    }
}
