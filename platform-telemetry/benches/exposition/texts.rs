//! Scrapes as exporters give them, always the same.

use std::fmt::{Display, Write};

/// A generator of numbers that are always the same (xorshift).
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// A text and how many samples are in it.
#[derive(Default)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) samples: usize,
}

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}").unwrap();
    }

    fn sample(&mut self, series: impl Display, value: impl Display) {
        writeln!(self.text, "{series} {value}").unwrap();
        self.samples += 1;
    }

    /// The same at the next scrape: about one value of `of` differs, some in length.
    pub(crate) fn later(&self, numbers: &mut Numbers, of: u64) -> (Self, usize) {
        let mut later = Self { text: String::with_capacity(self.text.len() + 4096), samples: self.samples };
        let mut changed = 0;
        for line in self.text.lines() {
            let value = line.rsplit_once(' ').filter(|_| !line.starts_with('#') && numbers.below(of) == 0);
            let value = value.and_then(|(series, value)| Some((series, value.parse::<f64>().ok()?)));
            if let Some((series, value)) = value.filter(|(_, value)| value.is_finite()) {
                changed += 1;
                writeln!(later.text, "{series} {}", go(value + 1.0 + numbers.below(50) as f64)).unwrap();
            } else {
                later.text.push_str(line);
                later.text.push('\n');
            }
        }
        (later, changed)
    }
}

/// A number as Go's exporters print it.
fn go(value: f64) -> String {
    if value != 0.0 && (value.abs() >= 1e21 || (value.abs() >= 1e6 && value.fract() == 0.0)) {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap();
        format!("{mantissa}e+{exponent:0>2}")
    } else {
        value.to_string()
    }
}

/// About 60 KB: what the node exporter says of a machine with sixteen cores.
#[allow(clippy::too_many_lines, reason = "one family after the other")]
pub(crate) fn node_exporter() -> Text {
    let mut text = Text::default();
    let mut numbers = Numbers::new(7);
    let summary = "go_gc_duration_seconds";
    text.family(
        summary,
        "summary",
        "A summary of the wall-time pause (stop-the-world) duration in garbage collection cycles.",
    );
    for quantile in ["0", "0.25", "0.5", "0.75", "1"] {
        let value = numbers.below(10_000) as f64 / 1e8;
        text.sample(format_args!("{summary}{{quantile=\"{quantile}\"}}"), value);
    }
    text.sample(format_args!("{summary}_sum"), 0.102_395_716);
    text.sample(format_args!("{summary}_count"), 1_471);
    text.family("node_cpu_seconds_total", "counter", "Seconds the CPUs spent in each mode.");
    for cpu in 0..16 {
        for mode in ["idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"] {
            let seconds = numbers.below(900_000_000) as f64 / 100.0;
            text.sample(format_args!("node_cpu_seconds_total{{cpu=\"{cpu}\",mode=\"{mode}\"}}"), seconds);
        }
    }
    for field in [
        "reads_completed_total",
        "reads_merged_total",
        "read_bytes_total",
        "read_time_seconds_total",
        "writes_completed_total",
        "writes_merged_total",
        "written_bytes_total",
        "write_time_seconds_total",
        "io_now",
        "io_time_seconds_total",
        "io_time_weighted_seconds_total",
        "discards_completed_total",
        "discarded_sectors_total",
        "flush_requests_total",
        "flush_requests_time_seconds_total",
    ] {
        let name = format!("node_disk_{field}");
        text.family(
            &name,
            "counter",
            "The total number of this kind of operation since the system was started.",
        );
        for device in ["nvme0n1", "nvme1n1", "sda", "dm-0"] {
            let limit = if field.contains("discard") || field == "io_now" { 2 } else { 1 << 40 };
            text.sample(format_args!("{name}{{device=\"{device}\"}}"), go(numbers.below(limit) as f64));
        }
    }
    for field in
        ["avail_bytes", "files", "files_free", "free_bytes", "readonly", "size_bytes", "device_error"]
    {
        let name = format!("node_filesystem_{field}");
        text.family(
            &name,
            "gauge",
            "Filesystem space and files that are available to users without privileges.",
        );
        for (device, kind, mount) in [
            ("/dev/nvme0n1p2", "ext4", "/"),
            ("/dev/nvme0n1p1", "vfat", "/boot/efi"),
            ("/dev/mapper/data", "xfs", "/var/lib/containerd"),
            ("tmpfs", "tmpfs", "/run"),
        ] {
            let limit = if field.ends_with("bytes") { 1 << 42 } else { 2_000_000 };
            let labels = format!("device=\"{device}\",fstype=\"{kind}\",mountpoint=\"{mount}\"");
            text.sample(format_args!("{name}{{{labels}}}"), go(numbers.below(limit) as f64));
        }
    }
    for direction in ["receive", "transmit"] {
        for field in ["bytes", "compressed", "drop", "errs", "fifo", "frame", "multicast", "packets"] {
            let name = format!("node_network_{direction}_{field}_total");
            text.family(&name, "counter", "Network device statistic of that name.");
            for device in ["eth0", "eth1", "lo", "cni0", "flannel.1", "veth1a2b3c4d", "veth9f8e7d6c"] {
                // Nothing goes wrong for most.
                let limit = if ["bytes", "packets"].contains(&field) { 1 << 38 } else { 2 };
                text.sample(format_args!("{name}{{device=\"{device}\"}}"), go(numbers.below(limit) as f64));
            }
        }
    }
    for (prefix, kind, count) in [
        ("memory", "gauge", 64),
        ("netstat", "untyped", 60),
        ("vmstat", "untyped", 40),
        ("sockstat", "gauge", 20),
    ] {
        for number in 0..count {
            let word = ["Active_anon", "Buffers", "Tcp_InSegs", "pgfault", "Inactive_file", "Udp_NoPorts"]
                [number % 6];
            let name = format!("node_{prefix}_{word}_{number}");
            text.family(&name, kind, "Information field of that name from the kernel.");
            text.sample(&name, go(numbers.below(1 << 36) as f64));
        }
    }
    for (name, value) in [
        ("node_load1", 0.21),
        ("node_load5", 0.53),
        ("node_load15", 1.08),
        ("node_time_seconds", 1.795_392_001_25e9),
    ] {
        text.family(name, "gauge", "System load or time.");
        text.sample(name, value);
    }
    text
}

/// About so many bytes: what kube-state-metrics and an API server say of a large cluster.
pub(crate) fn kube_state(bytes: usize) -> Text {
    let mut text = Text::default();
    let mut numbers = Numbers::new(11);
    let pods: Vec<Pod> = (0..bytes / 3_600).map(|_| Pod::new(&mut numbers)).collect();
    text.family("kube_pod_info", "gauge", "[STABLE] Information about pod.");
    for Pod { labels, node, ip, owner, .. } in &pods {
        let more = format!(
            "host_ip=\"{ip}\",pod_ip=\"{ip}\",node=\"{node}\",created_by_kind=\"ReplicaSet\",created_by_name=\"{owner}\",priority_class=\"\",host_network=\"false\""
        );
        text.sample(format_args!("kube_pod_info{{{labels},{more}}}"), 1);
    }
    text.family("kube_pod_status_phase", "gauge", "[STABLE] The pods current phase.");
    for Pod { labels, .. } in &pods {
        for phase in ["Pending", "Succeeded", "Failed", "Unknown", "Running"] {
            let value = u8::from(phase == "Running");
            text.sample(format_args!("kube_pod_status_phase{{{labels},phase=\"{phase}\"}}"), value);
        }
    }
    let requests = "kube_pod_container_resource_requests";
    text.family(requests, "gauge", "The number of requested request resource by a container.");
    for Pod { labels, node, container, .. } in &pods {
        let series = format!("{requests}{{{labels},container=\"{container}\",node=\"{node}\"");
        let cpu = (1 + numbers.below(9)) as f64 / 10.0;
        text.sample(format_args!("{series},resource=\"cpu\",unit=\"core\"}}"), cpu);
        let memory = go((1 + numbers.below(64)) as f64 * 134_217_728.0);
        text.sample(format_args!("{series},resource=\"memory\",unit=\"byte\"}}"), memory);
    }
    let restarts = "kube_pod_container_status_restarts_total";
    text.family(restarts, "counter", "[STABLE] The number of container restarts per container.");
    for Pod { labels, container, .. } in &pods {
        text.sample(format_args!("{restarts}{{{labels},container=\"{container}\"}}"), numbers.below(40));
    }
    for name in ["kube_pod_created", "kube_pod_start_time"] {
        text.family(name, "gauge", "[STABLE] Unix timestamp.");
        for Pod { labels, .. } in &pods {
            let moment = format!("1.7{:08}e+09", numbers.below(99_999_999));
            text.sample(format_args!("{name}{{{labels}}}"), moment);
        }
    }
    let name = "apiserver_request_duration_seconds";
    text.family(name, "histogram", "Response latency distribution in seconds.");
    // The peer mixes up histograms that are there twice.
    for (number, Pod { owner, .. }) in pods.iter().cycle().enumerate() {
        if text.text.len() >= bytes {
            break;
        }
        let labels = format!(
            "component=\"apiserver\",dry_run=\"\",group=\"apps\",resource=\"{owner}-{number}\",scope=\"namespace\",verb=\"GET\",version=\"v1\""
        );
        let mut count = 0;
        for bound in ["0.005", "0.025", "0.05", "0.1", "0.2", "0.4", "0.6", "0.8", "1", "2", "5", "+Inf"] {
            count += numbers.below(1_000);
            text.sample(format_args!("{name}_bucket{{{labels},le=\"{bound}\"}}"), count);
        }
        let sum = numbers.below(10_000_000_000) as f64 / 1e6;
        text.sample(format_args!("{name}_sum{{{labels}}}"), sum);
        text.sample(format_args!("{name}_count{{{labels}}}"), count);
    }
    text
}

struct Pod {
    labels: String,
    node: String,
    container: &'static str,
    ip: String,
    owner: String,
}

impl Pod {
    fn new(numbers: &mut Numbers) -> Self {
        let mut any = |words: &[&'static str]| words[numbers.below(words.len() as u64) as usize];
        let (stage, service) =
            (any(&["prod", "stage", "dev"]), any(&["checkout", "search", "ledger", "gateway", "ingest"]));
        let container = any(&["app", "istio-proxy", "sidecar"]);
        let owner = format!("svc-{service}-{:08x}", numbers.next() as u32);
        let team = numbers.below(40);
        let (a, b) = (numbers.next(), numbers.next());
        let uid = format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            a >> 32,
            a >> 16 & 0xffff,
            a & 0xffff,
            b >> 48,
            b & 0xffff_ffff_ffff
        );
        let ip = format!("10.{}.{}.{}", numbers.below(255), numbers.below(255), numbers.below(255));
        let node = format!("ip-{}.eu-west-1.compute.internal", ip.replace('.', "-"));
        let pod = format!("{owner}-{:05x}", numbers.below(0xf_ffff));
        let labels = format!("namespace=\"team-{team:02}-{stage}\",pod=\"{pod}\",uid=\"{uid}\"");
        Self { labels, node, container, ip, owner }
    }
}
