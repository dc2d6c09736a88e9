//! The page in Chromium, driven over its DevTools pipe.
//!
//! `PLATFORM_CHROMIUM` names the program; by default, `chromium` is looked for on the `PATH`.

use crate::fixture::{Fixture, status};
use platform_core::{
    clock::SystemClock,
    telemetry::{Batch, Labels, LogRecord, Severity, TelemetrySink},
};
use serde_json::{Value, json};
use std::{process::Stdio, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{Instant, sleep, timeout},
};

#[tokio::test]
#[ignore = "needs chromium"]
async fn the_page_shows_the_platform_and_follows_it() {
    let fixture = Fixture::start_at(Arc::new(SystemClock)).await;
    let mut page = Browser::open(&fixture.console.url(), 1400).await;

    page.wait_for("document.title === 'shop · console'").await;
    page.wait_for("document.getElementById('live').dataset.state === 'live'").await;
    page.wait_for("!document.getElementById('simulated').hidden").await;
    page.wait_for("document.querySelectorAll('#environment-list .card').length === 2").await;
    page.wait_for("document.querySelector('.card .tag').textContent === '1.4.0'").await;
    page.wait_for("document.querySelector('#cluster-list').textContent.includes('connection refused')").await;
    page.wait_for("document.querySelector('.alert.bad.firing').textContent.includes('testing is hot')").await;
    page.wait_for("document.querySelector('#rules .promql').textContent === 'temperature > 50'").await;
    page.wait_for("document.querySelectorAll('.panel canvas').length === 2").await;
    page.wait_for("document.querySelector('.legend').textContent.includes('testing71.5')").await;
    page.wait_for("document.querySelector('.stats').textContent.includes('production21')").await;

    // What a log says is text, whatever it looks like.
    page.wait_for("document.querySelector('#records').textContent.includes('<img src=x')").await;
    assert_eq!(page.evaluate("document.querySelectorAll('#records img').length").await, 0);

    // The search marks what it found; the live tail brings in what is new.
    let search = "(() => { const box = document.querySelector('#log-filters input'); box.value = 'payment'; \
                  box.dispatchEvent(new Event('input', { bubbles: true })); })()";
    page.evaluate(search).await;
    page.wait_for("document.querySelectorAll('#records .record').length === 3").await;
    page.wait_for("document.querySelector('#records mark').textContent === 'payment'").await;
    let record = LogRecord {
        timestamp: platform_core::clock::Clock::now(&SystemClock),
        severity: Severity::Fatal,
        body: "Payment ended".to_owned(),
        labels: Labels::empty(),
    };
    fixture.store.write(Batch::logs(vec![record])).await.unwrap();
    page.wait_for("document.querySelector('#records .record.fatal mark').textContent === 'Payment'").await;

    let mut changed = status();
    changed["environments"][0]["applications"][1]["readiness"] = json!("failed");
    changed["simulated"] = json!(false);
    fixture.platform.set(Ok(changed));
    page.wait_for("document.querySelector('.card').textContent.includes('Failed')").await;
    page.wait_for("document.getElementById('simulated').hidden").await;

    fixture.platform.set(Err("the API server is gone".to_owned()));
    page.wait_for("document.getElementById('problem').textContent.includes('is gone')").await;

    assert_eq!(page.problems, Vec::<String>::new());
    fixture.console.stop().await;
    page.wait_for("document.getElementById('live').dataset.state === 'offline'").await;
    page.close().await;
    fixture.stop().await;
}

#[tokio::test]
#[ignore = "needs chromium"]
async fn the_page_fits_small_screens() {
    let fixture = Fixture::start_at(Arc::new(SystemClock)).await;
    for width in [360, 768, 1440, 1920] {
        let mut page = Browser::open(&fixture.console.url(), width).await;
        page.wait_for("document.querySelectorAll('.panel canvas').length === 2").await;
        page.wait_for(&format!("innerWidth === {width}")).await;
        assert_eq!(page.evaluate("document.documentElement.scrollWidth").await, width);
        page.close().await;
    }
    fixture.stop().await;
}

#[tokio::test]
#[ignore = "needs chromium"]
async fn a_page_that_is_looked_at_once_finishes_loading() {
    let fixture = Fixture::start_at(Arc::new(SystemClock)).await;
    fixture.wait_until_firing().await;
    let profile = tempfile::tempdir().unwrap();
    let dump = Command::new(program())
        .args(FLAGS)
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--window-size=1400,4000", "--virtual-time-budget=6000", "--dump-dom"])
        .arg(fixture.url("?live=off"))
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let dump = timeout(Duration::from_secs(60), dump).await.expect("it finishes").unwrap();
    let dom = String::from_utf8(dump.stdout).unwrap();
    for expected in ["Snapshot", "shop-production", "testing is hot", "payment was slow", "71.5", "<canvas"] {
        assert!(dom.contains(expected), "{expected} is not in {dom}");
    }
    fixture.stop().await;
}

const FLAGS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

fn program() -> String {
    std::env::var("PLATFORM_CHROMIUM").unwrap_or_else(|_| "chromium".to_owned())
}

/// A page of a headless Chromium.
struct Browser {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    session: Option<String>,
    last: u64,
    /// Exceptions, console errors and refusals of the security policy.
    problems: Vec<String>,
    _profile: tempfile::TempDir,
}

impl Browser {
    async fn open(url: &str, width: u32) -> Self {
        let profile = tempfile::tempdir().unwrap();
        // DevTools' pipe is the file descriptors 3 and 4, which only a shell can set.
        let mut process = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 0</dev/null 1>/dev/null"#, &program()])
            .args(FLAGS)
            .arg("--remote-debugging-pipe")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let requests = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        let (session, problems) = (None, Vec::new());
        let mut browser = Self { process, requests, answers, session, last: 0, problems, _profile: profile };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"})).await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", attach).await;
        browser.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        let screen = json!({"width": width, "height": 4000, "deviceScaleFactor": 1, "mobile": false});
        browser.call("Emulation.setDeviceMetricsOverride", screen).await;
        for domain in ["Runtime.enable", "Log.enable", "Page.enable"] {
            browser.call(domain, json!({})).await;
        }
        browser.call("Page.navigate", json!({"url": url})).await;
        browser
    }

    /// Waits until a condition holds in the page.
    async fn wait_for(&mut self, condition: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self
            .evaluate(&format!("(() => {{ try {{ return {condition} }} catch {{ return false }} }})()"))
            .await
            != json!(true)
        {
            if Instant::now() > deadline {
                let text = self.evaluate("document.body.innerText").await;
                panic!("never: {condition}\nproblems: {:?}\npage: {text}", self.problems);
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn evaluate(&mut self, expression: &str) -> Value {
        let answer =
            self.call("Runtime.evaluate", json!({"expression": expression, "returnByValue": true})).await;
        answer["result"]["value"].clone()
    }

    async fn close(mut self) {
        self.session = None;
        self.call("Browser.close", json!({})).await;
        timeout(Duration::from_secs(30), self.process.wait()).await.unwrap().unwrap();
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut request = json!({"id": self.last, "method": method, "params": params});
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        let mut bytes = request.to_string().into_bytes();
        bytes.push(0);
        self.requests.write_all(&bytes).await.expect("chromium runs: is it installed?");
        timeout(Duration::from_secs(60), self.answer(self.last)).await.expect("chromium answers")
    }

    async fn answer(&mut self, id: u64) -> Value {
        loop {
            let mut bytes = Vec::new();
            self.answers.read_until(0, &mut bytes).await.unwrap();
            bytes.pop();
            assert!(!bytes.is_empty(), "chromium ended: is it installed?");
            let message: Value = serde_json::from_slice(&bytes).unwrap();
            if message["id"] == id {
                assert!(message.get("error").is_none(), "{message}");
                return message["result"].clone();
            }
            let problem = match message["method"].as_str() {
                Some("Runtime.exceptionThrown") => true,
                Some("Log.entryAdded") => message["params"]["entry"]["level"] == "error",
                Some("Runtime.consoleAPICalled") => message["params"]["type"] == "error",
                _ => false,
            };
            if problem {
                self.problems.push(message["params"].to_string());
            }
        }
    }
}
