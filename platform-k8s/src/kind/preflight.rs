//! Whether clusters can be made on this machine, and what to do if not.

use super::{
    Tools,
    engine::{Engine, Info},
    process::Program,
    shape::minor_version,
};
use platform_core::{Error, ErrorKind, Result};
use std::{fs, os::unix::fs::MetadataExt, path::Path, str::FromStr};

/// The oldest release of kind whose configuration and node images are used here.
const OLDEST_KIND: (u32, u32) = (0, 20);
/// With fewer, the kubelet or the container runtime of the first node fails.
const LEAST_INSTANCES: u64 = 64;
const LEAST_WATCHES: u64 = 8192;
/// What a node takes: 123 were in use with five of them.
const NODE_INSTANCES: u64 = 25;
/// What kind asks for where several nodes or many pods are to run.
const GOOD_INSTANCES: u64 = 512;
const GOOD_WATCHES: u64 = 65_536;
/// The nodes' image unpacked, and what a cluster writes at first.
const LEAST_DISK: u64 = 3 << 30;
/// What a control plane takes.
const LEAST_MEMORY: u64 = 700 << 20;

pub(super) const INOTIFY_HELP: &str =
    "raise them: `sudo sysctl fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288`";

/// What is read of this machine; `None` is what cannot be read, or is of another machine than the engine's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Machine {
    inotify_instances: Option<u64>,
    /// Of these, what root's programs have, to which nodes belong.
    inotify_used: Option<u64>,
    inotify_watches: Option<u64>,
    /// Bytes, where the engine keeps its own.
    free_disk: Option<u64>,
    /// Bytes.
    free_memory: Option<u64>,
}

/// Checks the programs, then the machine.
pub(super) async fn check(tools: &Tools, node_image: Option<&str>) -> Result<()> {
    let info = tools.containers.info().await?;
    check_kind(&tools.kind).await?;
    let machine = Machine::read(Path::new("/proc"), &info);
    judge(tools.containers.engine, &info, &machine, node_image.and_then(minor_version).as_deref())
}

async fn check_kind(kind: &Program) -> Result<()> {
    let install = "install it: https://kind.sigs.k8s.io/docs/user/quick-start/#installation";
    let output = kind.run(["version", "-q"]).text().await.map_err(|e| Error::from(e).help(install))?;
    match kind_version(&output) {
        Some(version) if version >= OLDEST_KIND => Ok(()),
        Some((major, minor)) => Err(Error::new(
            ErrorKind::Unsupported,
            format!("kind is {major}.{minor}, at least {}.{} is needed", OLDEST_KIND.0, OLDEST_KIND.1),
        )
        .help(install)),
        None => Err(Error::new(
            ErrorKind::Unsupported,
            format!("{} says its version is {:?}", kind.path().display(), output.trim()),
        )
        .help(install)),
    }
}

/// `0.33` of `0.33.0`.
fn kind_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().trim_start_matches('v').split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

impl Machine {
    /// Reads what there is. An engine of another kernel is on another machine, or in a virtual one.
    fn read(proc: &Path, info: &Info) -> Self {
        let kernel = text(&proc.join("sys/kernel/osrelease"));
        if kernel.is_none() || kernel != info.kernel {
            return Self::default();
        }
        Self {
            inotify_instances: number(&proc.join("sys/fs/inotify/max_user_instances")),
            inotify_used: rustix::process::geteuid().is_root().then(|| inotify_used(proc)),
            inotify_watches: number(&proc.join("sys/fs/inotify/max_user_watches")),
            free_disk: info.directory.as_deref().and_then(free_disk),
            free_memory: text(&proc.join("meminfo")).as_deref().and_then(available_memory),
        }
    }
}

fn judge(engine: Engine, info: &Info, machine: &Machine, version: Option<&str>) -> Result<()> {
    let old_cgroups = info.cgroup_version.as_deref() == Some("1");
    if old_cgroups && info.rootless {
        return Err(Error::new(ErrorKind::Unsupported, format!("rootless {engine} is on cgroup v1"))
            .help("boot with `systemd.unified_cgroup_hierarchy=1`, or use it with root"));
    }
    if old_cgroups && version.and_then(version_number).is_some_and(|version| version >= (1, 35)) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "Kubernetes from 1.35 on does not run on cgroup v1, which this machine has",
        )
        .help("boot with `systemd.unified_cgroup_hierarchy=1`, or use a node image of Kubernetes 1.34"));
    }
    if !info.missing_controllers.is_empty() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("{engine} has no cgroup controller for {}", info.missing_controllers.join(", ")),
        )
        .help("enable them in the kernel; where it is rootless, delegate them: https://kind.sigs.k8s.io/docs/user/rootless/"));
    }
    for (name, value, least, good) in [
        ("fs.inotify.max_user_instances", machine.inotify_instances, LEAST_INSTANCES, GOOD_INSTANCES),
        ("fs.inotify.max_user_watches", machine.inotify_watches, LEAST_WATCHES, GOOD_WATCHES),
    ] {
        match value {
            Some(value) if value < least => {
                return Err(Error::new(
                    ErrorKind::Exhausted,
                    format!("{name} is {value}, a cluster needs {least}, several need {good}"),
                )
                .help(INOTIFY_HELP));
            }
            Some(value) if value < good => {
                tracing::debug!(
                    limit = name,
                    value,
                    good,
                    "Several clusters may run into a limit of inotify"
                );
            }
            _ => {}
        }
    }
    if let (Some(limit), Some(used)) = (machine.inotify_instances, machine.inotify_used)
        && limit.saturating_sub(used) < NODE_INSTANCES
    {
        return Err(Error::new(
            ErrorKind::Exhausted,
            format!("{used} of {limit} instances of inotify are in use, a node needs {NODE_INSTANCES}"),
        )
        .help(INOTIFY_HELP));
    }
    for (what, free, least, help) in [
        (
            "disk",
            machine.free_disk,
            LEAST_DISK,
            "free some space, for example of what `docker system df` shows",
        ),
        (
            "memory",
            machine.free_memory.or(info.memory),
            LEAST_MEMORY,
            "end other programs, or give the engine more",
        ),
    ] {
        if let Some(free) = free.filter(|free| *free < least) {
            return Err(Error::new(
                ErrorKind::Exhausted,
                format!("{} MiB of {what} are free, a cluster needs {} MiB", free >> 20, least >> 20),
            )
            .help(help));
        }
    }
    Ok(())
}

fn version_number(version: &str) -> Option<(u32, u32)> {
    kind_version(version)
}

fn text(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn number(path: &Path) -> Option<u64> {
    u64::from_str(&text(path)?).ok()
}

/// How many instances of inotify root's programs have open.
fn inotify_used(proc: &Path) -> u64 {
    let Ok(processes) = fs::read_dir(proc) else { return 0 };
    let of_root = processes
        .filter_map(Result::ok)
        .filter(|process| process.metadata().is_ok_and(|process| process.is_dir() && process.uid() == 0));
    // Processes end while they are looked at.
    let files = of_root.filter_map(|process| fs::read_dir(process.path().join("fd")).ok()).flatten();
    let links = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    links.filter(|link| link.to_str() == Some("anon_inode:inotify")).count() as u64
}

/// What programs may still take, of `/proc/meminfo`.
fn available_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn free_disk(directory: &Path) -> Option<u64> {
    let state = rustix::fs::statvfs(directory).ok()?;
    state.f_bavail.checked_mul(state.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(info: &Info, machine: Machine, version: Option<&str>) -> Option<(ErrorKind, String)> {
        judge(Engine::Docker, info, &machine, version).err().map(|e| (e.kind(), e.to_string()))
    }

    fn good() -> Info {
        Info { cgroup_version: Some("2".into()), memory: Some(8 << 30), ..Info::default() }
    }

    #[test]
    fn a_good_machine_and_an_unreadable_one_pass() {
        let machine = Machine {
            inotify_instances: Some(128),
            inotify_used: Some(100),
            inotify_watches: Some(524_288),
            free_disk: Some(50 << 30),
            free_memory: Some(4 << 30),
        };
        assert_eq!(verdict(&good(), machine, Some("1.36")), None);
        assert_eq!(verdict(&Info::default(), Machine::default(), None), None);
    }

    #[test]
    fn each_limit_is_named_with_what_to_do() {
        let low = |machine| verdict(&good(), machine, None).unwrap();
        for (machine, says, help) in [
            (
                Machine { inotify_instances: Some(16), ..Machine::default() },
                "max_user_instances is 16",
                "sysctl",
            ),
            (
                Machine { inotify_watches: Some(100), ..Machine::default() },
                "max_user_watches is 100",
                "sysctl",
            ),
            (
                Machine { free_disk: Some(1 << 30), ..Machine::default() },
                "1024 MiB of disk",
                "free some space",
            ),
            (
                Machine { free_memory: Some(100 << 20), ..Machine::default() },
                "100 MiB of memory",
                "end other",
            ),
        ] {
            let (kind, text) = low(machine);
            assert_eq!(kind, ErrorKind::Exhausted);
            assert!(text.contains(says) && text.contains(help), "{text}");
        }
    }

    #[test]
    fn cgroups_that_do_not_do_are_refused() {
        let old = Info { cgroup_version: Some("1".into()), ..good() };
        assert_eq!(verdict(&old, Machine::default(), Some("1.34")), None);
        let (kind, text) = verdict(&old, Machine::default(), Some("1.35")).unwrap();
        assert_eq!(kind, ErrorKind::Unsupported);
        assert!(text.contains("cgroup v1"), "{text}");
        assert!(
            verdict(&Info { rootless: true, ..old }, Machine::default(), None)
                .unwrap()
                .1
                .contains("rootless")
        );
        let without = Info { missing_controllers: vec!["cpu", "pids"], ..good() };
        assert!(verdict(&without, Machine::default(), None).unwrap().1.contains("cpu, pids"));
    }

    #[test]
    fn a_machine_is_read_only_where_the_engine_is_on_it() {
        let proc = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = proc.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("sys/kernel/osrelease", "6.1.0\n");
        write("sys/fs/inotify/max_user_instances", "128\n");
        write("meminfo", "MemTotal:       24684092 kB\nMemAvailable:   2048 kB\n");
        let here =
            Info { kernel: Some("6.1.0".into()), directory: Some(proc.path().into()), ..Info::default() };
        let machine = Machine::read(proc.path(), &here);
        assert_eq!((machine.inotify_instances, machine.inotify_watches), (Some(128), None));
        assert_eq!(machine.free_memory, Some(2 << 20));
        assert!(machine.free_disk.is_some());
        let elsewhere = Info { kernel: Some("5.15-linuxkit".into()), ..here };
        assert_eq!(Machine::read(proc.path(), &elsewhere), Machine::default());
    }

    #[test]
    fn versions_of_kind_are_compared_by_number() {
        assert_eq!(kind_version("0.33.0\n"), Some((0, 33)));
        assert!(kind_version("v0.9.0").unwrap() < OLDEST_KIND);
        assert_eq!(kind_version("unknown"), None);
    }
}
