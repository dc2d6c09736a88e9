//! How full file systems are.

use crate::sources::samples::SampleSet;
use procfs::{prelude::*, process::MountInfos};
use rustix::fs::{StatVfs, StatVfsMountFlags};
use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{Mutex, oneshot};

/// How long file systems may take to answer before the reading goes on without them.
const PATIENCE: Duration = Duration::from_secs(5);

/// Types that hold no files, as the node exporter leaves them out.
const PSEUDO_TYPES: &[&str] = &[
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "erofs",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "procfs",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tracefs",
];

/// Places whose mounts are of no interest, as the node exporter leaves them out.
const IGNORED_TREES: &[&str] =
    &["/dev", "/proc", "/sys", "/run/credentials", "/var/lib/docker", "/var/lib/containers/storage"];

type Answer = Result<Vec<Filesystem>, String>;

struct Filesystem {
    device: String,
    kind: String,
    mount_point: String,
    stat: StatVfs,
}

/// Asks file systems on a thread of its own.
///
/// One that hangs (a server that is gone) holds a thread in the kernel for as long as it likes: not one of the runtime's, which
/// would wait for it at its end, and never more than one.
pub(super) struct Filesystems {
    proc_root: Arc<Path>,
    root: Arc<Path>,
    pending: Mutex<Option<oneshot::Receiver<Answer>>>,
}

impl fmt::Debug for Filesystems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filesystems").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Filesystems {
    pub(super) fn new(proc_root: Arc<Path>, root: PathBuf) -> Self {
        Self { proc_root, root: root.into(), pending: Mutex::default() }
    }

    pub(super) async fn read(&self, set: &mut SampleSet) -> Result<(), String> {
        let mut pending = self.pending.lock().await;
        let mut answer = match pending.take() {
            Some(answer) => answer,
            None => self.ask()?,
        };
        let Ok(answer) = tokio::time::timeout(PATIENCE, &mut answer).await else {
            *pending = Some(answer);
            return Err(format!("a file system has not answered for {PATIENCE:?}"));
        };
        for filesystem in answer.map_err(|_| "the thread that asks file systems has ended")?? {
            filesystem.push(set);
        }
        Ok(())
    }

    fn ask(&self) -> Result<oneshot::Receiver<Answer>, String> {
        let (proc_root, root) = (Arc::clone(&self.proc_root), Arc::clone(&self.root));
        let (sender, receiver) = oneshot::channel();
        std::thread::Builder::new()
            .name("statvfs".to_owned())
            .spawn(move || {
                // Nobody listens any more when the source was dropped.
                let _ = sender.send(ask(&proc_root, &root));
            })
            .map_err(|e| e.to_string())?;
        Ok(receiver)
    }
}

fn ask(proc_root: &Path, root: &Path) -> Answer {
    // The mounts of the first process are the host's where the host's proc is mounted; it may not be ours to read.
    let MountInfos(mounts) = MountInfos::from_file(proc_root.join("1/mountinfo"))
        .or_else(|_| MountInfos::from_file(proc_root.join("self/mountinfo")))
        .map_err(|e| e.to_string())?;
    let mut seen = BTreeSet::new();
    let mut filesystems = Vec::new();
    for mount in mounts.into_iter().rev() {
        // The later of two mounts on one place hides the other.
        if !is_interesting(&mount.mount_point, &mount.fs_type) || !seen.insert(mount.mount_point.clone()) {
            continue;
        }
        let place = mount.mount_point.strip_prefix("/").unwrap_or(&mount.mount_point);
        // A mount that is gone meanwhile, or not ours to see.
        let Ok(stat) = rustix::fs::statvfs(root.join(place)) else { continue };
        filesystems.push(Filesystem {
            device: mount.mount_source.unwrap_or_default(),
            kind: mount.fs_type,
            mount_point: mount.mount_point.to_string_lossy().into_owned(),
            stat,
        });
    }
    Ok(filesystems)
}

/// As the node exporter chooses, but the root always, which in a container is an overlay.
fn is_interesting(mount_point: &Path, kind: &str) -> bool {
    mount_point == Path::new("/")
        || (!PSEUDO_TYPES.contains(&kind) && !IGNORED_TREES.iter().any(|tree| mount_point.starts_with(tree)))
}

impl Filesystem {
    fn push(&self, set: &mut SampleSet) {
        let labels = [
            ("device", self.device.as_str()),
            ("fstype", self.kind.as_str()),
            ("mountpoint", self.mount_point.as_str()),
        ];
        let stat = &self.stat;
        let bytes = |blocks: u64| blocks as f64 * stat.f_frsize as f64;
        set.gauge("node_filesystem_size_bytes", &labels, bytes(stat.f_blocks));
        set.gauge("node_filesystem_free_bytes", &labels, bytes(stat.f_bfree));
        set.gauge("node_filesystem_avail_bytes", &labels, bytes(stat.f_bavail));
        set.gauge("node_filesystem_files", &labels, stat.f_files as f64);
        set.gauge("node_filesystem_files_free", &labels, stat.f_ffree as f64);
        let read_only = stat.f_flag.contains(StatVfsMountFlags::RDONLY);
        set.gauge("node_filesystem_readonly", &labels, f64::from(u8::from(read_only)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_and_real_file_systems_are_of_interest() {
        for (place, kind) in [("/", "overlay"), ("/home", "ext4"), ("/devices", "xfs"), ("/run", "tmpfs")] {
            assert!(is_interesting(Path::new(place), kind), "{place}");
        }
        for (place, kind) in [("/sys/fs/cgroup", "cgroup2"), ("/dev/shm", "tmpfs"), ("/merged", "overlay")] {
            assert!(!is_interesting(Path::new(place), kind), "{place}");
        }
    }
}
