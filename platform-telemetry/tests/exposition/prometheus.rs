//! A real Prometheus scrapes texts that are hard to read; the parser reads the same ones.
//!
//! `PLATFORM_PROMETHEUS` says where the program is; without it, it is looked for in the path.

use crate::texts::{self, Exposition};
use axum::{
    Router,
    extract::{Path, State},
    http::header::CONTENT_TYPE,
    response::IntoResponse,
    routing::get,
};
use platform_core::clock::{Clock, SystemClock, Timestamp};
use platform_telemetry::exposition::{FamilyType, Format, Limits, parse};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

const CHANGED: usize = 1500;
const PATIENCE: Duration = Duration::from_secs(120);
/// Longer than the test takes: each text is scraped once.
const INTERVAL: &str = "20s";

/// A moment that is nearer than this is kept.
const KEPT_MILLIS: i64 = 300_000;

/// What is taken of a text; `None`: nothing, for something in it is wrong.
type Taken = Option<BTreeSet<String>>;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs prometheus"]
async fn what_prometheus_takes_of_a_text_is_taken() {
    let now = SystemClock.now().as_millis() - 60_000;
    let texts = Arc::new(texts::all(now, CHANGED));
    let address = serve(Arc::clone(&texts)).await;
    let prometheus = Prometheus::start(address, texts.len());
    let theirs = prometheus.taken(texts.len()).await;
    let mut wrong = Vec::new();
    let mut taken = 0;
    for (at, (format, text)) in texts.iter().enumerate() {
        let (ours, why) = ours(*format, text);
        taken += usize::from(ours.is_some());
        let (reason, theirs) = &theirs[at];
        let shown = String::from_utf8_lossy(text);
        let same = match (&ours, theirs) {
            (Some(ours), Some(theirs)) => ours == theirs,
            (Some(_), None) => is_read_here(&shown, reason),
            (None, Some(_)) => fails_here(&shown, &why),
            (None, None) => true,
        };
        if !same {
            wrong
                .push(format!("{format:?} {shown:?}\n  ours   {ours:?} {why}\n  theirs {theirs:?} {reason}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), texts.len(), wrong.join("\n"));
    assert!(taken > texts.len() / 4 && taken < texts.len() * 3 / 4, "{taken} of {} are right", texts.len());
}

/// Each text under its number.
async fn serve(texts: Arc<Vec<Exposition>>) -> SocketAddr {
    async fn text(State(texts): State<Arc<Vec<Exposition>>>, Path(number): Path<usize>) -> impl IntoResponse {
        let (format, text) = texts[number].clone();
        let of = match format {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            _ => "text/plain; version=0.0.4; charset=utf-8",
        };
        ([(CONTENT_TYPE, of)], text)
    }
    let app = Router::new().route("/{number}", get(text)).with_state(texts);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

/// Whether Prometheus failed for a reason that the documentation of the parser tells of.
fn is_read_here(text: &str, theirs: &str) -> bool {
    let of_types = theirs
        .strip_prefix("invalid metric type ")
        .and_then(|word| word.trim_matches('"').split("\\r").next())
        .is_some_and(|word| FamilyType::parse(word.trim().trim_end_matches("\\t")).is_some());
    let lines = text.split('\n').any(|line| line.trim_end_matches([' ', '\t']).ends_with('\r'));
    of_types || (lines && theirs.contains("\\r"))
}

/// Whether the parser failed for a reason that its documentation tells of.
fn fails_here(text: &str, ours: &str) -> bool {
    let in_help = text.contains("HELP") && ours.contains("this cannot be in a metric's name");
    let no_name = ours.contains("here should be a metric's name") && ours.contains("(column 7)");
    let twice = ours.contains("is there twice") || ours.contains("was given before");
    let in_value = ours.contains("this quote is not closed") && text.trim_end().contains('\n');
    in_help || no_name || twice || in_value || text.contains('\0') || text.is_empty()
}

/// A sample in words. `at` is left out where the text does not say it.
fn sample(name: &str, labels: &BTreeMap<String, String>, value: f64, at: Option<i64>) -> String {
    format!("{:?}{labels:?} {value:?} {at:?}", name.trim_start_matches([' ', '\t']))
}

/// Labels as Prometheus writes them: bounds of buckets and quantiles as numbers.
fn written<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    let written = |name: &str, value: &str| match value.parse::<f64>() {
        Ok(number) if ["le", "quantile"].contains(&name) && number.is_finite() => format!("{number:?}"),
        _ => value.to_owned(),
    };
    labels.into_iter().map(|(name, value)| (name.to_owned(), written(name, value))).collect()
}

/// What comments say, in words, without what stands around it.
fn family(name: &str, of: FamilyType, help: &str, unit: &str) -> String {
    format!("# {:?} {of:?} {:?} {unit:?}", name.replace("\\\"", "\""), help.trim())
}

fn ours(format: Format, text: &[u8]) -> (Taken, String) {
    /// No text says this moment.
    const NOT_SAID: Timestamp = Timestamp::from_millis(7_777);
    let scrape = parse(text, format, NOT_SAID, &Limits::default());
    if !scrape.complete {
        return (None, "it does not end".to_owned());
    }
    let scrape = match scrape.strict() {
        Ok(scrape) => scrape,
        Err(error) => return (None, error.to_string()),
    };
    let mut taken = BTreeMap::new();
    // Prometheus keeps nothing that is long ago or to come.
    let near = |at: Timestamp| (at.as_millis() - SystemClock.now().as_millis()).abs() < KEPT_MILLIS;
    for one in scrape.samples.iter().filter(|one| one.timestamp == NOT_SAID || near(one.timestamp)) {
        let labels = written(one.labels.iter());
        let at = (one.timestamp != NOT_SAID).then_some(one.timestamp.as_millis());
        // Of two samples of a series and a moment Prometheus keeps the first.
        taken.entry((one.metric.to_string(), labels.clone(), at)).or_insert(one.value);
    }
    let samples = taken.into_iter().map(|((name, labels, at), value)| sample(&name, &labels, value, at));
    let families = scrape.metadata.iter().map(|(name, one)| family(name, one.family, &one.help, &one.unit));
    (Some(samples.chain(families).collect()), String::new())
}

struct Prometheus {
    process: Child,
    url: String,
    http: reqwest::Client,
    _dir: tempfile::TempDir,
}

impl Prometheus {
    fn start(target: SocketAddr, texts: usize) -> Self {
        // Another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let program = std::env::var("PLATFORM_PROMETHEUS").unwrap_or_else(|_| "prometheus".to_owned());
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("prometheus.yml");
        let mut document = format!(
            "global: {{scrape_interval: {INTERVAL}, scrape_timeout: 10s}}\n\
             scrape_configs:\n- job_name: texts\n  static_configs:\n"
        );
        for number in 0..texts {
            let labels = format!("{{__metrics_path__: /{number}, text: '{number}'}}");
            writeln!(document, "  - {{targets: ['{target}'], labels: {labels}}}").unwrap();
        }
        std::fs::write(&config, document).unwrap();
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Command::new(&program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("{program} cannot be started: {e}"));
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self { process, url: format!("http://{address}"), http, _dir: dir }
    }

    async fn get(&self, path: &str) -> Option<Value> {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        Some(answer.json::<Value>().await.ok()?["data"].clone())
    }

    /// What it took of each text in its first scrape, and why it took nothing.
    async fn taken(&self, texts: usize) -> Vec<(String, Taken)> {
        let deadline = Instant::now() + PATIENCE;
        let targets = loop {
            let targets = self.get("/api/v1/targets?state=active").await;
            let targets =
                targets.and_then(|data| data["activeTargets"].as_array().cloned()).unwrap_or_default();
            let scraped = targets.iter().filter(|target| target["health"] != "unknown").count();
            if scraped == texts {
                break targets;
            }
            assert!(Instant::now() < deadline, "{scraped} of {texts} texts are scraped");
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        let mut taken = vec![(String::new(), None); texts];
        let number = |labels: &Value| labels["text"].as_str().unwrap().parse::<usize>().unwrap();
        for target in targets {
            let (why, known) = &mut taken[number(&target["labels"])];
            target["lastError"].as_str().unwrap().clone_into(why);
            *known = (target["health"] == "up").then(BTreeSet::new);
        }
        self.samples(&mut taken).await;
        let known = self.get("/api/v1/targets/metadata").await.unwrap();
        for one in known.as_array().unwrap() {
            let of = |field: &str| one[field].as_str().unwrap_or_default();
            if let Some(known) = &mut taken[number(&one["target"])].1 {
                let kind = FamilyType::parse(of("type")).unwrap();
                known.insert(family(of("metric"), kind, of("help"), of("unit")));
            }
        }
        taken
    }

    async fn samples(&self, taken: &mut [(String, Taken)]) {
        let query = "/api/v1/query?query=%7Bjob%3D%22texts%22%7D%5B10m%5D";
        let found = self.get(query).await.unwrap();
        let series = found["result"].as_array().unwrap();
        let millis = |point: &Value| (point[0].as_f64().unwrap() * 1000.0).round() as i64;
        let labels =
            |one: &Value| serde_json::from_value::<BTreeMap<String, String>>(one["metric"].clone()).unwrap();
        let near = |at: i64| (at - SystemClock.now().as_millis()).abs() < KEPT_MILLIS;
        // Without a moment of its own a sample has that of the scrape.
        let mut scraped: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
        for one in series.iter().filter(|one| one["metric"]["__name__"] == "up") {
            let points = one["values"].as_array().unwrap().iter().map(millis);
            scraped.insert(labels(one)["text"].clone(), points.collect());
        }
        for one in series {
            let mut labels = labels(one);
            let (Some(name), Some(text)) = (labels.remove("__name__"), labels.remove("text")) else {
                panic!("a series without a name: {one}")
            };
            if name == "up" || name.starts_with("scrape_") {
                continue;
            }
            labels.retain(|name, _| !["job", "instance"].contains(&name.as_str()));
            let (why, Some(known)) = &mut taken[text.parse::<usize>().unwrap()] else {
                panic!("{one} of a text that was refused")
            };
            debug_assert!(why.is_empty());
            for point in one["values"].as_array().unwrap().iter().filter(|point| near(millis(point))) {
                let at = millis(point);
                let said = (!scraped[&text].contains(&at)).then_some(at);
                known.insert(sample(&name, &labels, point[1].as_str().unwrap().parse().unwrap(), said));
            }
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
