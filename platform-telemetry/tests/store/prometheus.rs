//! Answers are those of Prometheus: the same samples and expressions are given to both.
//!
//! `PLATFORM_PROMETHEUS` says where the program is; without it, it is looked for in the path.

use super::{NOW, open};
use platform_core::{
    clock::Timestamp,
    telemetry::{
        Aggregation, Batch, BinaryOperator, Expression, Labels, Matcher, MetricKind, MetricQuery,
        RangeFunction, Sample, Selector, TelemetrySink, TelemetryStore, TimeRange, metric,
    },
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);
const SPAN: Duration = Duration::from_secs(2400);
const EXPRESSIONS: usize = 3000;

#[tokio::test]
#[ignore = "needs prometheus"]
async fn expressions_have_the_answers_of_prometheus() {
    let mut runner = TestRunner::deterministic();
    let samples = samples(&mut runner);
    let prometheus = Prometheus::start();
    // Older samples first: what is far behind the newest is refused.
    for batch in samples.chunks(2000) {
        prometheus.write(batch);
    }
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.write(Batch::samples(samples)).await.unwrap();

    let mut wrong = Vec::new();
    let mut points = 0;
    for _ in 0..EXPRESSIONS {
        let expression = any_expression().new_tree(&mut runner).unwrap().current();
        let (from, step) = (0..2_400_000u64, 1_000..100_000u64).new_tree(&mut runner).unwrap().current();
        let from = NOW - SPAN + Duration::from_millis(from);
        let range = TimeRange::new(from, from + Duration::from_millis(step * 20));
        let query = MetricQuery::new(expression, range, Duration::from_millis(step)).unwrap();
        let theirs = prometheus.query(&query);
        let ours = match store.query(&query).await {
            Ok(series) => Ok(matrix(series)),
            Err(error) => Err(error.to_string()),
        };
        points += ours.iter().flatten().map(|(_, points)| points.len()).sum::<usize>();
        let same = match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => agree(ours, theirs),
            (Err(_), Err(_)) => true,
            _ => false,
        };
        if !same {
            wrong.push(format!(
                "{}\n  at {range:?} each {step} ms\n  ours   {ours:?}\n  theirs {theirs:?}",
                query.expression
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {EXPRESSIONS} differ:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(5)].join("\n")
    );
    assert!(points > 10 * EXPRESSIONS, "only {points} points were compared");
}

/// Series by name and labels, with points by time in milliseconds.
type Matrix = BTreeMap<BTreeMap<String, String>, BTreeMap<i64, f64>>;

fn matrix(series: Vec<platform_core::telemetry::Series>) -> Matrix {
    let one = |s: platform_core::telemetry::Series| {
        let mut labels: BTreeMap<String, String> =
            s.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        labels.extend(s.metric.map(|metric| ("__name__".to_owned(), metric.to_string())));
        (labels, s.points.into_iter().map(|(at, value)| (at.as_millis(), value)).collect())
    };
    series.into_iter().map(one).collect()
}

fn agree(ours: &Matrix, theirs: &Matrix) -> bool {
    let near = |a: f64, b: f64| {
        a.total_cmp(&b).is_eq()
            || (a.is_nan() && b.is_nan())
            || (a - b).abs() <= 1e-10 * a.abs().max(b.abs())
            || (a - b).abs() < 1e-9
    };
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|((our_labels, our_points), (their_labels, their_points))| {
            our_labels == their_labels
                && our_points.len() == their_points.len()
                && our_points.iter().zip(their_points).all(|((a, x), (b, y))| a == b && near(*x, *y))
        })
}

/// Counters that reset, gauges with every kind of value, gaps, series that end and begin again; by time.
fn samples(runner: &mut TestRunner) -> Vec<Sample> {
    let mut samples = Vec::new();
    for name in ["counter", "gauge", "other"] {
        for (job, instance) in [("api", "1"), ("api", "2"), ("web", "1"), ("web", "3"), ("", "4")] {
            let mut value = 0.0;
            let mut at = NOW - SPAN;
            while at < NOW {
                let any = (0..100u32, 0.0..50.0f64, 5_000..20_000u64);
                let (event, growth, pause) = any.new_tree(runner).unwrap().current();
                value = match (name, event) {
                    ("counter", 0..=3) => growth,
                    ("counter", _) => value + growth,
                    ("gauge", 0) => f64::NAN,
                    ("gauge", 1) => f64::INFINITY,
                    ("gauge", 2) => f64::NEG_INFINITY,
                    _ => growth - 25.0,
                };
                let labels = Labels::from_iter([("job", job), ("instance", instance)]);
                let kind = MetricKind::Unknown;
                let mut push = |value| {
                    samples.push(Sample {
                        metric: name.into(),
                        labels: labels.clone(),
                        timestamp: at,
                        value,
                        kind,
                    });
                };
                match event {
                    96 => push(STALE),
                    _ => push(value),
                }
                at = at + Duration::from_millis(if event >= 98 { 40 * pause } else { pause });
                if value.is_infinite() || value.is_nan() {
                    value = 0.0;
                }
            }
        }
    }
    samples.sort_by_key(|sample| sample.timestamp);
    samples
}

fn any_selector() -> impl Strategy<Value = Selector> {
    let name = prop::sample::select(vec!["counter", "counter", "gauge", "gauge", "other", "other", "absent"]);
    let label = prop::sample::select(vec!["job", "instance", "none"]);
    let values = prop::collection::vec(prop::sample::select(vec!["api", "web", "1", "3", ""]), 1..3);
    let matcher = (label, values, 0..4usize).prop_map(|(label, values, kind)| match kind {
        0 => Matcher::equal(label, values[0]),
        1 => Matcher::not_equal(label, values[0]),
        2 => Matcher::one_of(label, values),
        _ => Matcher::none_of(label, values),
    });
    (name, prop::option::weighted(0.3, matcher)).prop_map(|(name, matcher)| {
        let selector = metric(name);
        match matcher {
            Some(matcher) => selector.matching(matcher),
            None => selector,
        }
    })
}

fn any_expression() -> impl Strategy<Value = Expression> {
    use RangeFunction::{Avg, Increase, Last, Max, Min, Rate};
    let window = prop_oneof![1_000..60_000u64, 60_000..1_200_000u64].prop_map(Duration::from_millis);
    let function = prop::sample::select(vec![Rate, Rate, Increase, Avg, Min, Max, Last]);
    let leaf = prop_oneof![
        1 => (-10.0..1000.0f64).prop_map(Expression::Number),
        2 => any_selector().prop_map(Expression::from),
        5 => (any_selector(), function, window).prop_map(|(s, function, window)| s.over(function, window)),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        use Aggregation::{Avg, Count, Max, Min, Sum};
        use BinaryOperator::{Add, Div, Mul, Sub};
        let by = prop::sample::select(vec![
            vec![],
            vec!["job"],
            vec!["instance", "job"],
            vec!["none"],
            vec!["__name__"],
        ]);
        prop_oneof![
            (inner.clone(), prop::sample::select(vec![Sum, Avg, Min, Max, Count]), by)
                .prop_map(|(of, operator, by)| of.aggregate(operator, by)),
            (inner.clone(), inner, prop::sample::select(vec![Add, Sub, Mul, Div])).prop_map(
                |(left, right, operator)| Expression::Binary {
                    operator,
                    left: Box::new(left),
                    right: Box::new(right)
                }
            ),
        ]
    })
}

struct Prometheus {
    process: Child,
    address: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Prometheus {
    fn start() -> Self {
        let program = std::env::var("PLATFORM_PROMETHEUS").unwrap_or_else(|_| "prometheus".to_owned());
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("prometheus.yml");
        std::fs::write(&config, "global: {}\n").unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Command::new(&program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--web.enable-remote-write-receiver")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("{program} cannot be started: {e}"));
        let this = Self { process, address, _dir: dir };
        let deadline = Instant::now() + Duration::from_secs(60);
        while this.request("GET", "/-/ready", "", b"").is_none_or(|(status, _)| status != 200) {
            assert!(Instant::now() < deadline, "prometheus is not ready after a minute");
            std::thread::sleep(Duration::from_millis(100));
        }
        this
    }

    /// Remote write 1.0: protobuf in a snappy block.
    fn write(&self, samples: &[Sample]) {
        let mut request = Vec::new();
        for sample in samples {
            let mut series = Vec::new();
            let labels = sample.labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned()));
            let labels: BTreeMap<_, _> =
                labels.chain([("__name__".to_owned(), sample.metric.to_string())]).collect();
            for (name, value) in labels {
                let mut label = Vec::new();
                protobuf_bytes(&mut label, 1, name.as_bytes());
                protobuf_bytes(&mut label, 2, value.as_bytes());
                protobuf_bytes(&mut series, 1, &label);
            }
            let mut point = vec![1 << 3 | 1];
            point.extend(sample.value.to_le_bytes());
            point.push(2 << 3);
            varint(&mut point, sample.timestamp.as_millis() as u64);
            protobuf_bytes(&mut series, 2, &point);
            protobuf_bytes(&mut request, 1, &series);
        }
        let headers = "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n\
                       X-Prometheus-Remote-Write-Version: 0.1.0\r\n";
        let (status, body) = self.request("POST", "/api/v1/write", headers, &snappy(&request)).unwrap();
        assert!(status == 200 || status == 204, "{status}: {body}");
    }

    fn query(&self, query: &MetricQuery) -> Result<Matrix, String> {
        let seconds = |at: Timestamp| format!("{}.{:03}", at.as_millis() / 1000, at.as_millis() % 1000);
        let escaped: Vec<String> =
            query.expression.to_string().bytes().map(|b| format!("%{b:02X}")).collect();
        let expression = escaped.concat();
        let body = format!(
            "query={expression}&start={}&end={}&step={}ms&lookback_delta=5m",
            seconds(query.range.from),
            seconds(query.range.to),
            query.step.as_millis()
        );
        let headers = "Content-Type: application/x-www-form-urlencoded\r\n";
        let (status, answer) = self.request("POST", "/api/v1/query_range", headers, body.as_bytes()).unwrap();
        if status != 200 {
            return Err(answer);
        }
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        let series = answer["data"]["result"].as_array().unwrap();
        Ok(series
            .iter()
            .map(|series| {
                let labels = serde_json::from_value(series["metric"].clone()).unwrap();
                let points = series["values"].as_array().unwrap().iter().map(|point| {
                    let millis = (point[0].as_f64().unwrap() * 1000.0).round() as i64;
                    (millis, point[1].as_str().unwrap().parse().unwrap())
                });
                (labels, points.collect())
            })
            .collect())
    }

    fn request(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.0\r\n{headers}Content-Length: {length}\r\n\r\n").ok()?;
        stream.write_all(body).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        let body = answer.split_once("\r\n\r\n")?.1.to_owned();
        Some((status, body))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn protobuf_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend(bytes);
}

/// A snappy block of literals alone.
fn snappy(bytes: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    varint(&mut block, bytes.len() as u64);
    for literal in bytes.chunks(1 << 16) {
        block.push(61 << 2);
        block.extend((literal.len() as u16).wrapping_sub(1).to_le_bytes());
        block.extend(literal);
    }
    block
}
