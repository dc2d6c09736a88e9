//! What is read, by collector, as the node exporter divides it.

use super::{filesystems::Filesystems, unreadable};
use crate::sources::samples::SampleSet;
use platform_core::{Result, clock::Timestamp, telemetry::Sample};
use procfs::{
    CpuTime, DiskStats, KernelStats, LoadAverage, Meminfo, ProcError, ProcResult, net::InterfaceDeviceStatus,
    prelude::*,
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

type Collector = fn(&Path, &mut SampleSet) -> ProcResult<()>;

const COLLECTORS: [(&str, Collector); 6] = [
    ("stat", stat),
    ("meminfo", meminfo),
    ("loadavg", loadavg),
    ("diskstats", diskstats),
    ("netdev", netdev),
    ("uname", uname),
];

/// The size of a sector in `/proc/diskstats`, whatever the device's is.
const SECTOR_BYTES: f64 = 512.0;

/// Reads them all and remembers which fail, so that each is told once.
#[derive(Debug)]
pub(super) struct Collectors {
    proc_root: Arc<Path>,
    filesystems: Filesystems,
    failing: Mutex<BTreeSet<&'static str>>,
}

impl Collectors {
    pub(super) fn new(proc_root: PathBuf, root: PathBuf) -> Self {
        let proc_root: Arc<Path> = proc_root.into();
        Self {
            filesystems: Filesystems::new(Arc::clone(&proc_root), root),
            proc_root,
            failing: Mutex::default(),
        }
    }

    pub(super) async fn read(&self, at: Timestamp) -> Result<Vec<Sample>> {
        let proc_root = Arc::clone(&self.proc_root);
        let files = tokio::task::spawn_blocking(move || {
            let mut set = SampleSet::new(at);
            let outcomes = COLLECTORS.map(|(name, collect)| {
                (name, collect(&proc_root, &mut set).map_err(|e: ProcError| e.to_string()))
            });
            (set, outcomes)
        });
        let (mut set, outcomes) = files.await.map_err(unreadable)?;
        let filesystems = self.filesystems.read(&mut set).await;
        set.gauge("node_time_seconds", &[], at.as_secs_f64());
        for (collector, outcome) in outcomes.into_iter().chain([("filesystem", filesystems)]) {
            let success = f64::from(u8::from(outcome.is_ok()));
            set.gauge("node_scrape_collector_success", &[("collector", collector)], success);
            self.note(collector, outcome);
        }
        Ok(set.into_samples())
    }

    fn note(&self, collector: &'static str, outcome: Result<(), String>) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(()) => {
                failing.remove(collector);
            }
            Err(error) => {
                if failing.insert(collector) {
                    tracing::warn!(collector, error, "this host cannot be measured in full");
                }
            }
        }
    }
}

fn stat(proc_root: &Path, set: &mut SampleSet) -> ProcResult<()> {
    let path = proc_root.join("stat");
    let text =
        std::fs::read_to_string(&path).map_err(|e| ProcError::Other(format!("{}: {e}", path.display())))?;
    let stats = KernelStats::from_read(text.as_bytes(), procfs::current_system_info())?;
    // Numbers of processors have gaps where some are offline.
    let cpus = text.lines().filter_map(|line| {
        let number = line.strip_prefix("cpu")?.split(' ').next()?;
        (!number.is_empty()).then_some(number)
    });
    for (cpu, time) in cpus.zip(&stats.cpu_time) {
        for (mode, ticks) in modes(time) {
            let seconds = ticks as f64 / procfs::ticks_per_second() as f64;
            set.counter("node_cpu_seconds_total", &[("cpu", cpu), ("mode", mode)], seconds);
        }
    }
    let interrupts =
        text.lines().find_map(|line| line.strip_prefix("intr ")?.split(' ').next()?.parse().ok());
    if let Some(interrupts) = interrupts {
        set.counter("node_intr_total", &[], interrupts);
    }
    set.counter("node_context_switches_total", &[], stats.ctxt as f64);
    set.counter("node_forks_total", &[], stats.processes as f64);
    set.gauge("node_boot_time_seconds", &[], stats.btime as f64);
    if let Some(running) = stats.procs_running {
        set.gauge("node_procs_running", &[], f64::from(running));
    }
    if let Some(blocked) = stats.procs_blocked {
        set.gauge("node_procs_blocked", &[], f64::from(blocked));
    }
    Ok(())
}

fn modes(time: &CpuTime) -> [(&'static str, u64); 8] {
    [
        ("idle", time.idle),
        ("iowait", time.iowait.unwrap_or_default()),
        ("irq", time.irq.unwrap_or_default()),
        ("nice", time.nice),
        ("softirq", time.softirq.unwrap_or_default()),
        ("steal", time.steal.unwrap_or_default()),
        ("system", time.system),
        ("user", time.user),
    ]
}

fn meminfo(proc_root: &Path, set: &mut SampleSet) -> ProcResult<()> {
    let memory = Meminfo::from_file(proc_root.join("meminfo"))?;
    let mut bytes = |field: &str, bytes: u64| {
        set.gauge(&format!("node_memory_{field}_bytes"), &[], bytes as f64);
    };
    bytes("MemTotal", memory.mem_total);
    bytes("MemFree", memory.mem_free);
    // Kernels before 3.14 do not estimate it.
    if let Some(available) = memory.mem_available {
        bytes("MemAvailable", available);
    }
    bytes("Buffers", memory.buffers);
    bytes("Cached", memory.cached);
    bytes("SwapTotal", memory.swap_total);
    bytes("SwapFree", memory.swap_free);
    bytes("Dirty", memory.dirty);
    if let Some(shared) = memory.shmem {
        bytes("Shmem", shared);
    }
    if let Some(reclaimable) = memory.s_reclaimable {
        bytes("SReclaimable", reclaimable);
    }
    Ok(())
}

fn loadavg(proc_root: &Path, set: &mut SampleSet) -> ProcResult<()> {
    let load = LoadAverage::from_file(proc_root.join("loadavg"))?;
    for (metric, value) in
        [("node_load1", load.one), ("node_load5", load.five), ("node_load15", load.fifteen)]
    {
        // The kernel prints two decimals; without rounding, the conversion would print many.
        set.gauge(metric, &[], (f64::from(value) * 100.0).round() / 100.0);
    }
    Ok(())
}

fn diskstats(proc_root: &Path, set: &mut SampleSet) -> ProcResult<()> {
    let DiskStats(disks) = DiskStats::from_file(proc_root.join("diskstats"))?;
    for disk in disks.iter().filter(|disk| !is_part(&disk.name)) {
        let device = [("device", disk.name.as_str())];
        set.counter("node_disk_reads_completed_total", &device, disk.reads as f64);
        set.counter("node_disk_writes_completed_total", &device, disk.writes as f64);
        set.counter("node_disk_read_bytes_total", &device, disk.sectors_read as f64 * SECTOR_BYTES);
        set.counter("node_disk_written_bytes_total", &device, disk.sectors_written as f64 * SECTOR_BYTES);
        set.counter("node_disk_read_time_seconds_total", &device, disk.time_reading as f64 / 1000.0);
        set.counter("node_disk_write_time_seconds_total", &device, disk.time_writing as f64 / 1000.0);
        set.counter("node_disk_io_time_seconds_total", &device, disk.time_in_progress as f64 / 1000.0);
        set.gauge("node_disk_io_now", &device, disk.in_progress as f64);
    }
    Ok(())
}

/// Whether the node exporter's default leaves a device out: `^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$`.
fn is_part(device: &str) -> bool {
    let stem = device.trim_end_matches(|c: char| c.is_ascii_digit());
    if stem.len() == device.len() {
        return false;
    }
    let disk_letter = ["hd", "sd", "vd", "xvd"].iter().any(|kind| {
        stem.strip_prefix(kind)
            .is_some_and(|rest| rest.len() == 1 && rest.chars().all(|c| c.is_ascii_lowercase()))
    });
    let nvme_part = || {
        let (controller, namespace) = stem.strip_prefix("nvme")?.strip_suffix('p')?.split_once('n')?;
        let number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
        Some(number(controller) && number(namespace))
    };
    matches!(stem, "ram" | "zram" | "loop" | "fd") || disk_letter || nvme_part().unwrap_or(false)
}

fn netdev(proc_root: &Path, set: &mut SampleSet) -> ProcResult<()> {
    let InterfaceDeviceStatus(devices) = InterfaceDeviceStatus::from_file(proc_root.join("net/dev"))?;
    for device in devices.values() {
        let label = [("device", device.name.as_str())];
        for (metric, value) in [
            ("node_network_receive_bytes_total", device.recv_bytes),
            ("node_network_receive_packets_total", device.recv_packets),
            ("node_network_receive_errs_total", device.recv_errs),
            ("node_network_receive_drop_total", device.recv_drop),
            ("node_network_transmit_bytes_total", device.sent_bytes),
            ("node_network_transmit_packets_total", device.sent_packets),
            ("node_network_transmit_errs_total", device.sent_errs),
            ("node_network_transmit_drop_total", device.sent_drop),
        ] {
            set.counter(metric, &label, value as f64);
        }
    }
    Ok(())
}

#[allow(clippy::unnecessary_wraps)] // One signature for all collectors.
fn uname(_: &Path, set: &mut SampleSet) -> ProcResult<()> {
    let name = rustix::system::uname();
    let labels = [
        ("sysname", name.sysname()),
        ("release", name.release()),
        ("version", name.version()),
        ("machine", name.machine()),
        ("nodename", name.nodename()),
        ("domainname", name.domainname()),
    ]
    .map(|(label, value)| (label, value.to_string_lossy()));
    set.gauge("node_uname_info", &labels.each_ref().map(|(label, value)| (*label, &**value)), 1.0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_memory_devices_are_left_out() {
        for part in ["sda1", "vdb12", "xvda3", "nvme0n1p2", "loop7", "ram0", "zram1", "fd0"] {
            assert!(is_part(part), "{part}");
        }
        for whole in ["sda", "vda", "nvme0n1", "dm-0", "md127", "sr0", "mmcblk0", "nvmexn1p2", "sdaa1"] {
            assert!(!is_part(whole), "{whole}");
        }
    }
}
