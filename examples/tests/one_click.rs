//! `one_click` as its user runs it: the program itself, its page over HTTP and in a browser, its summary, its state directory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use platform_examples::Result;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, ChildStderr},
    time::timeout,
};

/// Examples are built into the folder beside that of tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples/one_click");
    assert!(program.exists(), "{} is not built: run `cargo build --examples`", program.display());
    program
}

fn one_click(arguments: &[&str]) -> Output {
    Command::new(program()).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn summary(output: &Output) -> Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.trim().lines().count(), 1, "more than the summary on stdout: {text}");
    serde_json::from_str(&text).unwrap()
}

/// A run that goes on while the test looks at its page.
struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    page: String,
}

impl Running {
    async fn start(arguments: &[&str]) -> Result<Self> {
        let mut child = tokio::process::Command::new(program())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut stderr = BufReader::new(child.stderr.take().ok_or("no stderr")?);
        let page = timeout(Duration::from_secs(60), async {
            let mut line = String::new();
            while stderr.read_line(&mut line).await? > 0 {
                if let Some((_, page)) = line.split_once("The page is at ") {
                    return Result::Ok(page.trim().trim_end_matches('/').to_owned());
                }
                line.clear();
            }
            Err("it ended without a page".into())
        })
        .await??;
        Ok(Self { child, stderr, page })
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let body =
            reqwest::get(format!("{}/api/v1/{path}", self.page)).await?.error_for_status()?.text().await?;
        Ok(serde_json::from_str(&body)?)
    }

    /// Waits until what a path answers is as wanted.
    async fn wait_for(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        for _ in 0..120 {
            let answer = self.get(path).await?;
            if wanted(&answer) {
                return Ok(answer);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Err(format!("{path} is not as wanted: {}", self.get(path).await?).into())
    }

    /// Interrupts it, as Ctrl-C does, and answers with its summary.
    async fn interrupt(mut self) -> Result<Value> {
        let process = self.child.id().ok_or("it has ended")?.to_string();
        assert!(Command::new("kill").args(["-INT", &process]).status()?.success());
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).await?;
        let output = timeout(Duration::from_secs(60), self.child.wait_with_output()).await??;
        assert!(output.status.success(), "{rest}");
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

fn use_ring() {
    // Fails only if another test of this process was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// `MemTotal` of this machine, in bytes.
fn memory_total() -> f64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find(|line| line.starts_with("MemTotal:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
}

/// The latest values of a panel's series.
fn latest(panel: &Value) -> Vec<f64> {
    let series = panel["series"].as_array().cloned().unwrap_or_default();
    let last = |series: &Value| series["values"].as_array()?.iter().rev().find_map(Value::as_f64);
    series.iter().filter_map(last).collect()
}

#[tokio::test]
async fn the_page_shows_this_machine_and_the_platform() -> Result {
    use_ring();
    let running = Running::start(&["--output", "json"]).await?;
    let status = running.get("status").await?;
    let clusters: Vec<&str> =
        status["clusters"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(clusters, ["shop-testing", "shop-staging", "shop-production", "shop-control-plane"]);
    assert_eq!(status["simulated"], true);
    let application = &status["environments"][2]["applications"][0];
    assert_eq!(
        (application["name"].as_str(), application["readiness"].as_str()),
        (Some("api1"), Some("current"))
    );

    // Metrics are this machine's: the memory that /proc tells, to the byte, for each of the four clusters.
    let total = memory_total();
    let memory =
        |panel: &Value| latest(panel).into_iter().filter(|value| (value - total).abs() < 1.0).count();
    running.wait_for("dashboards/platform-overview/panels/2", |panel| memory(panel) == 4).await?;
    running
        .wait_for("dashboards/platform-overview/panels/0", |panel| {
            let values = latest(panel);
            values.len() == 4 && values.iter().all(|percent| (-0.1..=100.1).contains(percent))
        })
        .await?;
    // Logs are the platform's own and its clusters' events.
    running.wait_for("logs?text=ScalingReplicaSet%20or", |page| page["records"].is_array()).await?;
    let logs = running.wait_for("logs?environment=testing", |page| page["total"].as_u64() > Some(0)).await?;
    assert_eq!(logs["records"][0]["labels"]["cluster"], "shop-testing");
    // The demonstration alert fires.
    running
        .wait_for("alerts", |alerts| {
            let rules = alerts["rules"].as_array().cloned().unwrap_or_default();
            rules.iter().any(|rule| rule["name"] == "CpuInUse" && rule["state"] == "firing")
        })
        .await?;

    let page = running.page.clone();
    let summary = running.interrupt().await?;
    assert_eq!((&summary["clusters"], &summary["objects_applied"]), (&Value::from(4), &Value::from(70)));
    for counted in ["samples_stored", "log_lines_stored", "alerts_fired", "notifications_sent"] {
        assert!(summary[counted].as_u64() > Some(0), "{counted} in {summary}");
    }
    assert_eq!(summary["dropped"], 0);
    assert!(reqwest::get(page).await.is_err(), "the page is still there");
    Ok(())
}

#[test]
fn a_second_run_on_the_same_state_applies_nothing_and_still_has_the_data() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("state");
    let state = directory.to_str().unwrap();
    let run = || summary(&one_click(&["--state", state, "--for", "3s", "--output", "json"]));
    let first = run();
    assert_eq!((first["clusters_created"].as_u64(), first["objects_applied"].as_u64()), (Some(4), Some(70)));

    let output = one_click(&["--state", state, "--for", "3s", "--output", "json"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("Everything is as wanted: nothing is applied."), "{told}");
    let second = summary(&output);
    assert_eq!((second["clusters_created"].as_u64(), second["objects_applied"].as_u64()), (Some(0), Some(0)));
    let samples = |summary: &Value, key: &str| summary[key].as_u64().unwrap();
    assert!(samples(&second, "samples_in_store") > samples(&first, "samples_in_store"));
    assert!(
        samples(&second, "samples_in_store")
            > samples(&second, "samples_stored") + samples(&first, "samples_stored") / 2
    );

    // Nothing is removed without the names of what would be lost.
    for confirmation in [vec![], vec!["--confirm", "shop"]] {
        let refused = one_click(&[&["--state", state, "--destroy"], confirmation.as_slice()].concat());
        assert!(!refused.status.success());
        assert!(String::from_utf8_lossy(&refused.stderr).contains("shop production"));
        assert!(Path::new(state).join("shop-testing").exists());
    }
    let removed = one_click(&["--state", state, "--destroy", "--confirm", "shop production"]);
    assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
    assert!(!directory.exists());
}

#[test]
fn what_is_wrong_is_told_and_nothing_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let spec = directory.path().join("wrong.yaml");
    std::fs::write(&spec, "name: shop\nenvironments: [{ name: testing, protectd: true }]\n").unwrap();
    let told = |arguments: &[&str]| {
        let output = one_click(arguments);
        assert!(!output.status.success());
        assert!(output.stdout.is_empty());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let unknown = told(&["--spec", spec.to_str().unwrap()]);
    assert!(unknown.contains("environments[0].protectd: unknown field `protectd`"), "{unknown}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let port = told(&["--address", &address, "--for", "1s"]);
    assert!(port.contains(&address), "{port}");

    let foreign = told(&["--state", directory.path().to_str().unwrap(), "--for", "1s"]);
    assert!(foreign.contains("was not made by an embedded provider"), "{foreign}");
}

#[tokio::test]
#[ignore = "needs chromium"]
async fn a_browser_shows_the_platform() -> Result {
    use_ring();
    let running = Running::start(&["--output", "json"]).await?;
    let firing = |alerts: &Value| {
        alerts["rules"].as_array().is_some_and(|rules| rules.iter().any(|r| r["state"] == "firing"))
    };
    running.wait_for("alerts", firing).await?;
    let chromium = std::env::var("PLATFORM_CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
    let profile = tempfile::tempdir()?;
    let output = tokio::process::Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-quic",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--virtual-time-budget=8000", "--dump-dom"])
        .arg(format!("{}/?live=off", running.page))
        .kill_on_drop(true)
        .output();
    let output = timeout(Duration::from_secs(90), output).await??;
    let page = String::from_utf8_lossy(&output.stdout);
    let total = format!("{:.1} GiB", memory_total() / f64::from(1 << 30));
    for shown in [
        "shop-testing",
        "shop-control-plane",
        "api1",
        "1.4.0",
        "protected",
        "Simulated",
        "CpuInUse",
        "kube-state-metrics",
        total.as_str(),
    ] {
        assert!(page.contains(shown), "{shown} is not on the page: {page}");
    }
    running.interrupt().await?;
    Ok(())
}
