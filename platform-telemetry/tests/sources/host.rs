//! This machine, cross-checked with what the kernel says.

#![cfg(target_os = "linux")]

use crate::support::{PATIENCE, TestSink, eventually};
use platform_core::telemetry::{Labels, Sample};
use platform_telemetry::{
    pipeline::Pipeline,
    sources::{HostSource, ProcessSource},
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

fn value(samples: &[Sample], metric: &str, labels: &[(&str, &str)]) -> f64 {
    let found: Vec<_> = samples
        .iter()
        .filter(|s| {
            &*s.metric == metric && labels.iter().all(|(name, value)| s.labels.get(name) == Some(value))
        })
        .collect();
    assert_eq!(found.len(), 1, "{metric} {labels:?}");
    found[0].value
}

#[tokio::test]
async fn values_are_those_of_the_kernel() {
    let before = std::fs::read_to_string("/proc/stat").unwrap();
    let samples = HostSource::builder().build().read().await.unwrap();
    let after = std::fs::read_to_string("/proc/stat").unwrap();
    let field = |text: &str, line: &str, at: usize| -> f64 {
        let line = text.lines().find(|l| l.split(' ').next() == Some(line)).unwrap();
        line.split_whitespace().nth(at).unwrap().parse().unwrap()
    };
    let between = |metric: &str, labels: &[(&str, &str)], line: &str, at: usize, scale: f64| {
        let value = value(&samples, metric, labels);
        let (low, high) = (field(&before, line, at) / scale, field(&after, line, at) / scale);
        assert!(low <= value && value <= high, "{metric}: {low} <= {value} <= {high}");
    };
    // The kernel counts in hundredths of a second on every architecture we know.
    between("node_cpu_seconds_total", &[("cpu", "0"), ("mode", "user")], "cpu0", 1, 100.0);
    between("node_cpu_seconds_total", &[("cpu", "0"), ("mode", "system")], "cpu0", 3, 100.0);
    between("node_context_switches_total", &[], "ctxt", 1, 1.0);
    between("node_forks_total", &[], "processes", 1, 1.0);
    between("node_intr_total", &[], "intr", 1, 1.0);
    between("node_boot_time_seconds", &[], "btime", 1, 1.0);

    let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total: f64 = memory.lines().next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(value(&samples, "node_memory_MemTotal_bytes", &[]), total * 1024.0);
    assert!(value(&samples, "node_memory_MemAvailable_bytes", &[]) <= total * 1024.0);
    let size = value(&samples, "node_filesystem_size_bytes", &[("mountpoint", "/")]);
    let available = value(&samples, "node_filesystem_avail_bytes", &[("mountpoint", "/")]);
    assert!(size > 1e6 && available <= size, "{available} of {size}");
    assert!(value(&samples, "node_network_receive_bytes_total", &[("device", "lo")]) >= 0.0);
    assert_eq!(value(&samples, "node_scrape_collector_success", &[("collector", "stat")]), 1.0);
    let host = samples[0].labels.get("instance").unwrap();
    assert_eq!(value(&samples, "node_uname_info", &[("nodename", host), ("job", "node")]), 1.0);
}

#[tokio::test]
async fn one_reading_stands_for_several_machines() {
    let each = ["one", "two"].map(|cluster| Labels::from_iter([("cluster", cluster)]));
    let sink = TestSink::new();
    let source = HostSource::builder()
        .interval(Duration::from_millis(20))
        .labels(Labels::from_iter([("instance", "node-1")]))
        .for_each(each.to_vec());
    let pipeline = Pipeline::builder(sink.clone()).source(Arc::new(source.build())).start();
    eventually("two readings come", || sink.values("node_load1").len() >= 4).await;
    pipeline.shutdown(PATIENCE).await.unwrap();
    let loads: Vec<_> = sink.samples().into_iter().filter(|s| &*s.metric == "node_load1").collect();
    assert_eq!((loads[0].value, loads[0].timestamp), (loads[1].value, loads[1].timestamp));
    assert_eq!(loads[0].labels.to_string(), r#"{cluster="one",instance="node-1",job="node"}"#);
    assert_eq!(loads[1].labels.get("cluster"), Some("two"));
}

#[tokio::test]
async fn what_cannot_be_read_is_left_out_and_seen() {
    let proc_root = tempfile::tempdir().unwrap();
    std::fs::write(proc_root.path().join("loadavg"), "0.25 1.50 2.75 1/100 4242\n").unwrap();
    std::fs::write(proc_root.path().join("meminfo"), "MemTotal: not a number kB\n").unwrap();
    let stat = "cpu  30 0 0 0 0 0 0 0 0 0\ncpu0 10 0 0 0 0 0 0 0 0 0\ncpu3 20 0 0 0 0 0 0 0 0 0\n\
                intr 77 1 2\nctxt 5\nbtime 100\nprocesses 9\n";
    std::fs::write(proc_root.path().join("stat"), stat).unwrap();
    let samples = HostSource::builder().proc_root(proc_root.path()).build().read().await.unwrap();
    assert_eq!(value(&samples, "node_load15", &[]), 2.75);
    assert_eq!(value(&samples, "node_cpu_seconds_total", &[("cpu", "3"), ("mode", "user")]), 0.2);
    assert_eq!(value(&samples, "node_intr_total", &[]), 77.0);
    for (collector, success) in
        [("loadavg", 1.0), ("stat", 1.0), ("meminfo", 0.0), ("netdev", 0.0), ("filesystem", 0.0)]
    {
        assert_eq!(
            value(&samples, "node_scrape_collector_success", &[("collector", collector)]),
            success,
            "{collector}"
        );
    }
}

#[tokio::test]
async fn this_process_is_measured() {
    let samples = ProcessSource::new(Duration::from_secs(1), &Labels::empty()).read().await.unwrap();
    let resident = value(&samples, "process_resident_memory_bytes", &[]);
    assert!((1e6..1e10).contains(&resident), "{resident}");
    assert!(value(&samples, "process_open_fds", &[]) >= 3.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let age = now - value(&samples, "process_start_time_seconds", &[]);
    assert!((-2.0..3_600.0).contains(&age), "{age}");
    assert!(value(&samples, "process_cpu_seconds_total", &[]) >= 0.0);
}

/// Every metric of ours that the node exporter has too must have the same labels there, and values that are close.
///
/// `PLATFORM_NODE_EXPORTER` is the program.
#[tokio::test]
#[ignore = "needs node exporter"]
async fn names_and_values_are_the_node_exporters() {
    use platform_core::clock::Timestamp;
    use platform_telemetry::exposition::{Format, Limits, parse};

    let program = std::env::var("PLATFORM_NODE_EXPORTER").expect("PLATFORM_NODE_EXPORTER names the program");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let _exporter = tokio::process::Command::new(program)
        .arg(format!("--web.listen-address={address}"))
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let text = loop {
        if let Ok(body) = get(&address).await {
            break body;
        }
        assert!(tokio::time::Instant::now() < deadline, "the node exporter does not answer");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let theirs = parse(&text, Format::Prometheus, Timestamp::default(), &Limits::default());
    assert_eq!(theirs.errors, [], "everything it exposes is read");
    let ours = HostSource::builder().build().read().await.unwrap();
    let mut compared = BTreeSet::new();
    for sample in ours.iter().filter(|s| &*s.metric != "node_scrape_collector_success") {
        let own: Vec<_> = sample.labels.iter().filter(|(n, _)| !["job", "instance"].contains(n)).collect();
        let Some(other) = theirs
            .samples
            .iter()
            .find(|s| s.metric == sample.metric && s.labels.iter().eq(own.iter().copied()))
        else {
            // The root is an overlay in containers, which the exporter leaves out.
            assert!(
                sample.metric.starts_with("node_filesystem_"),
                "the exporter lacks {} {}",
                sample.metric,
                sample.labels
            );
            continue;
        };
        assert_eq!(other.kind, sample.kind, "{}", sample.metric);
        let near =
            (other.value - sample.value).abs() <= 0.2 * sample.value.abs().max(other.value.abs()) + 64.0;
        let volatile = ["node_procs_running", "node_disk_io_now"].contains(&&*sample.metric);
        assert!(
            near || volatile,
            "{} {}: {} and {}",
            sample.metric,
            sample.labels,
            sample.value,
            other.value
        );
        compared.insert(sample.metric.clone());
    }
    assert!(compared.len() > 40, "{compared:?}");
}

/// The body of `/metrics`, by hand: the exporter's answer is what is tested, not our client.
async fn get(address: &str) -> std::io::Result<Vec<u8>> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nAccept: text/plain\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let start = answer.windows(4).position(|w| w == b"\r\n\r\n").ok_or(std::io::ErrorKind::InvalidData)?;
    Ok(answer.split_off(start + 4))
}
