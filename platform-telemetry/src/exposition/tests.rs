use super::*;
use platform_core::telemetry::{Labels, MetricKind};
use proptest::prelude::*;

const FORMATS: [Format; 2] = [Format::Prometheus, Format::OpenMetrics];
const NOW: Timestamp = Timestamp::from_millis(1_000);

fn read(text: &str) -> Scrape {
    parse(text.as_bytes(), Format::Prometheus, NOW, &Limits::default())
}

fn one(line: &str) -> Sample {
    let mut scrape = read(line);
    assert_eq!(scrape.errors, [], "{line}");
    assert_eq!(scrape.samples.len(), 1, "{line}");
    scrape.samples.remove(0)
}

#[test]
fn the_example_of_the_format_is_read_as_it_is_meant() {
    let scrape = read(
        r#"# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400"}    3 1395066363000

# Escaping in label values:
msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1.458255915e9

# Minimalistic line:
metric_without_timestamp_and_labels 12.47

# A weird metric from before the epoch:
something_weird{problem="division by zero"} +Inf -3982045

# A histogram, which has a pretty complex representation in the text format:
# HELP http_request_duration_seconds A histogram of the request duration.
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{le="0.05"} 24054
http_request_duration_seconds_bucket{le="+Inf"} 144320
http_request_duration_seconds_sum 53423
http_request_duration_seconds_count 144320

# Finally a summary, which has a complex representation, too:
# HELP rpc_duration_seconds A summary of the RPC duration in seconds.
# TYPE rpc_duration_seconds summary
rpc_duration_seconds{quantile="0.01"} 3102
rpc_duration_seconds_sum 1.7560473e+07
rpc_duration_seconds_count 2693
"#,
    );
    assert_eq!(scrape.errors, []);
    assert_eq!(scrape.samples.len(), 12);
    let kinds: Vec<_> = scrape.samples.iter().map(|s| s.kind).collect();
    use MetricKind::{Counter, Histogram, Summary, Unknown};
    assert_eq!(kinds[..2], [Counter; 2]);
    assert_eq!(kinds[2..5], [Unknown; 3]);
    assert_eq!(kinds[5..9], [Histogram; 4]);
    assert_eq!(kinds[9..], [Summary; 3]);
    assert_eq!(scrape.samples[0].timestamp.as_millis(), 1_395_066_363_000);
    assert_eq!(scrape.samples[2].labels.get("error"), Some("Cannot find file:\n\"FILE.TXT\""));
    assert_eq!(scrape.samples[2].labels.get("path"), Some(r"C:\DIR\FILE.TXT"));
    assert_eq!(scrape.samples[4].value, f64::INFINITY);
    assert_eq!(scrape.samples[4].timestamp.as_millis(), -3_982_045);
    assert_eq!(&*scrape.metadata["rpc_duration_seconds"].help, "A summary of the RPC duration in seconds.");
}

#[test]
fn what_other_parsers_lose_is_kept() {
    assert_eq!(&*one("job:up:sum 1").metric, "job:up:sum");
    assert_eq!(one("foo{a=\"x\"b=\"y\" c=\"z\"}1").labels.to_string(), r#"{a="x",b="y",c="z"}"#);
    assert_eq!(read("#TYPE 9 x\n# TYPED\n#\n# EOF\n\n \t\r\na 1").rejected_lines, 0);
    assert_eq!(one("foo{} 1").labels, Labels::empty());
    assert_eq!(one(r#"foo{a="}"} 1"#).labels.get("a"), Some("}"));
    assert_eq!(one("foo \t{ a = \"b\" , } 1").labels.get("a"), Some("b"));
    assert_eq!(one(r#"foo{a="1,2=3"} 1"#).labels.get("a"), Some("1,2=3"));
    assert_eq!(one(r#"foo{a="\q\\"} 1"#).labels.get("a"), Some(r"\q\"));
    let quoted = one(r#"{"http.server.duration","http.méthode"="GÉT"} 2 7"#);
    assert_eq!((&*quoted.metric, quoted.labels.get("http.méthode")), ("http.server.duration", Some("GÉT")));
    assert_eq!(quoted.timestamp.as_millis(), 7);
    assert_eq!(one("foo 1\r").value, 1.0);
}

#[test]
fn quoted_names_have_types_too() {
    let scrape =
        read("# TYPE \"a.b\" histogram\n# HELP \"a.b\" One\\ntwo\\\\.\n{\"a.b_bucket\",le=\"1\"} 1\n");
    assert_eq!(scrape.errors, []);
    assert_eq!(scrape.samples[0].kind, MetricKind::Histogram);
    assert_eq!(&*scrape.metadata["a.b"].help, "One\ntwo\\.");
}

#[test]
fn wrong_lines_are_told_with_their_number_and_cost_nothing_else() {
    let wrong = [
        "foo",
        "foo bar",
        "foo{a=\"b} 1",
        "foo{a=b} 1",
        "foo{a} 1",
        "foo{a=\"1\",a=\"2\"} 1",
        "foo 1 2 3",
        "foo 1 2.5",
        "1foo 1",
        "{} 1",
        "{a=\"b\"} 1",
        "foo{=\"x\"} 1",
        "foo 1e999",
        "foo +NaN",
        "foo 1 # {a=\"b\"} 1",
        "foo{\"bar\"} 1",
        "foo 0x1p3",
        "foo 1_000",
        "# TYPE foo sandwich",
        "# TYPE",
        "# TYPE 9 counter",
        "foo{__name__=\"bar\"} 1",
        "{\"\"} 1",
        "<html>",
        "föö 1",
        "foo{,} 1",
        "{\"foo\" \"a\"=\"1\"} 1",
        "foo 1 +5",
    ];
    for line in wrong {
        let scrape = read(&format!("before 1\n{line}\nafter 2"));
        assert_eq!(scrape.rejected_lines, 1, "{line}");
        assert_eq!(scrape.errors[0].line, 2, "{line}");
        assert_eq!(scrape.samples.len(), 2, "{line}");
    }
    let mixed = parse(b"# \xff\na 1\nb{x=\"\xff\"} 2\nc 3\n", Format::Prometheus, NOW, &Limits::default());
    assert_eq!((mixed.samples.len(), mixed.rejected_lines, mixed.errors[0].line), (2, 1, 3));
}

#[test]
fn limits_hold() {
    let text = "a 1\nb 2\nc 3\n";
    let scrape = parse(text.as_bytes(), Format::Prometheus, NOW, &Limits::default().samples(2));
    assert!(scrape.over_limit && scrape.samples.len() == 2);
    assert!(!parse(text.as_bytes(), Format::Prometheus, NOW, &Limits::default().samples(3)).over_limit);
    let few = Limits { labels: 1, line_bytes: 20, errors: 1, ..Limits::default() };
    let scrape =
        parse(b"a{x=\"1\",y=\"2\"} 1\nb{x=\"123456789012345\"} 1\nc 1", Format::Prometheus, NOW, &few);
    assert_eq!((scrape.samples.len(), scrape.rejected_lines, scrape.errors.len()), (1, 2, 1));
}

#[test]
fn a_type_that_is_given_twice_is_told_and_the_first_stays() {
    let scrape = read("# TYPE a counter\n# TYPE a gauge\na 1\n");
    assert_eq!((scrape.rejected_lines, scrape.samples[0].kind), (1, MetricKind::Counter));
    let late = read("a_sum 1\n# TYPE a summary\na_sum 2\n");
    assert!(late.samples.iter().all(|s| s.kind == MetricKind::Summary));
}

/// What OpenMetrics' specification shows, and more.
const OPEN: &str = r#"# TYPE acme_http_router_request_seconds summary
# UNIT acme_http_router_request_seconds seconds
# HELP acme_http_router_request_seconds Latency through \"all\" of ACME's\nHTTP request router.
acme_http_router_request_seconds_sum{path="/api/v1",method="GET"} 9036.32
acme_http_router_request_seconds_count{path="/api/v1",method="GET"} 807283.0
acme_http_router_request_seconds_created{path="/api/v1",method="GET"} 1605281325.0
# TYPE go_goroutines gauge
go_goroutines 69
# TYPE foo counter
foo_total 17.0 1520879607.789 # {trace_id="KOO5S4vxi0o",who="a\"} 1"} 0.67
foo_created 1520430000.123
# TYPE hist histogram
hist_bucket{le="0.1"} 8 # {} 0.054
hist_bucket{le="+Inf"} 17 # {trace_id="oHg5SJYRHA0"} 9.8 1520879607.789
hist_count 17
hist_sum 324789.3
# TYPE now gaugehistogram
now_bucket{le="+Inf"} 4
now_gcount 4
now_gsum -1.5
# TYPE build info
build_info{version="1.2.3"} 1
# TYPE state stateset
state{state="a"} 1
state{state="b"} 0
# TYPE "quoted.name" unknown
{"quoted.name","l.1"="é"} NaN
# EOF
"#;

#[test]
fn open_metrics_is_read_with_all_that_it_has() {
    use MetricKind::{Counter, Gauge, Histogram, Summary, Unknown};
    let scrape = parse(OPEN.as_bytes(), Format::OpenMetrics, NOW, &Limits::default());
    assert_eq!(scrape.errors, []);
    assert!(scrape.complete && scrape.clone().strict().is_ok());
    let kinds: Vec<_> = scrape.samples.iter().map(|s| s.kind).collect();
    assert_eq!(kinds[..6], [Summary, Summary, Gauge, Gauge, Counter, Gauge]);
    assert_eq!(kinds[6..], [[Histogram; 7].as_slice(), &[Gauge; 3], &[Unknown]].concat());
    let counter = &scrape.samples[4];
    assert_eq!((counter.value, counter.timestamp.as_millis()), (17.0, 1_520_879_607_789));
    assert_eq!(scrape.samples[5].timestamp, NOW);
    let exemplars: Vec<_> = scrape
        .exemplars
        .iter()
        .map(|e| (e.sample, e.labels.to_string(), e.value, e.timestamp.map(Timestamp::as_millis)))
        .collect();
    assert_eq!(
        exemplars,
        [
            (4, r#"{trace_id="KOO5S4vxi0o",who="a\"} 1"}"#.to_owned(), 0.67, None),
            (6, "{}".to_owned(), 0.054, None),
            (7, r#"{trace_id="oHg5SJYRHA0"}"#.to_owned(), 9.8, Some(1_520_879_607_789)),
        ]
    );
    let family = &scrape.metadata["acme_http_router_request_seconds"];
    assert_eq!((&*family.unit, family.kind()), ("seconds", Summary));
    assert_eq!(&*family.help, "Latency through \"all\" of ACME's\nHTTP request router.");
    assert_eq!(scrape.metadata["now"].family, FamilyType::GaugeHistogram);
    let last = scrape.samples.last().unwrap();
    assert_eq!((&*last.metric, last.labels.get("l.1")), ("quoted.name", Some("é")));
}

#[test]
fn open_metrics_takes_nothing_else() {
    for line in [
        "",
        " a 1",
        "a  1",
        "a 1 ",
        "a 1\r",
        "a\t1",
        "a{ b=\"c\"} 1",
        "a{b=\"c\" d=\"e\"} 1",
        "a{b=\"c\"}1",
        "a 1 2 3",
        "a 1 NaN",
        "a 1 #{} 1",
        "a 1 # {} ",
        "a 1 # {\"b\"} 1",
        "a 1 # {b=\"c\"} 1 2 3",
        "a 1 # {b=\"c\",b=\"d\"} 1",
        "# a comment",
        "#",
        "# TYPE a untypes",
        "# TYPE a\tgauge",
        "# TYPE\ta gauge",
        "# HELP a",
        "# HELP a\ttext",
        "# UNIT a",
        "# UNIT a_seconds meters",
        "# EOF ",
    ] {
        let text = format!("before 1\n{line}\nafter 2\n# EOF\n");
        let scrape = parse(text.as_bytes(), Format::OpenMetrics, NOW, &Limits::default());
        assert_eq!((scrape.rejected_lines, scrape.samples.len()), (1, 2), "{line}");
        assert_eq!(scrape.errors[0].line, 2, "{line}");
    }
    let read = |text: &str| parse(text.as_bytes(), Format::OpenMetrics, NOW, &Limits::default());
    assert!(!read("a 1\n").complete);
    assert!(read("a 1\n# EOF").complete);
    let more = read("a 1\n# EOF\nb 1\n\nc 1\n");
    assert_eq!((more.samples.len(), more.rejected_lines, more.errors[0].line), (1, 1, 3));
}

#[test]
fn neighbours_that_are_alike_and_not_are_told_apart() {
    let text = r#"m{aa="1",bb="2"} 1
m{aa="1",b="2"} 2
mm{aa="\"",bb="2"} 3
m{aa="1",bb="2",aa="3"} 4
m{aa="1"} 5
m{aa="1",aa="2"} 6
m 7
"#;
    let scrape = read(text);
    let lines: Vec<_> = scrape.errors.iter().map(|error| error.line).collect();
    assert_eq!(lines, [4, 6]);
    let told: Vec<_> =
        scrape.samples.iter().map(|s| format!("{}{} {}", s.metric, s.labels, s.value)).collect();
    assert_eq!(
        told,
        [
            r#"m{aa="1",bb="2"} 1"#,
            r#"m{aa="1",b="2"} 2"#,
            r#"mm{aa="\"",bb="2"} 3"#,
            r#"m{aa="1"} 5"#,
            "m{} 7"
        ]
    );
}

#[test]
fn limits_of_labels_hold() {
    let limits = Limits::default().labels(2, 3, 4);
    let text = r#"a{abc="1234",x="y"} 1
a{abcd="1"} 1
a{abc="12345"} 1
a{a="",b="",c=""} 1
a{b="\\\\\n4"} 1
"#;
    let scrape = parse(text.as_bytes(), Format::Prometheus, NOW, &limits);
    let lines: Vec<_> = scrape.errors.iter().map(|error| error.line).collect();
    assert_eq!((lines, scrape.samples.len()), (vec![2, 3, 4], 2));
}

/// Longer than what is looked at together, with a byte that is no text in the middle of it.
#[test]
fn long_texts_are_read_whole() {
    let lines: Vec<String> = (0..5_000).map(|n| format!("metric_{}{{n=\"{n}\"}} {n}", n / 700)).collect();
    let mut text = lines.join("\n").into_bytes();
    let scrape = parse(&text, Format::Prometheus, NOW, &Limits::default());
    assert_eq!((scrape.samples.len(), scrape.errors.len()), (5_000, 0));
    assert!(
        scrape.samples.iter().enumerate().all(|(n, s)| s.labels.get("n") == Some(n.to_string().as_str()))
    );
    let at = lines[..3_000].iter().map(|line| line.len() + 1).sum::<usize>();
    text[at + 2] = 0xff;
    let scrape = parse(&text, Format::Prometheus, NOW, &Limits::default());
    assert_eq!((scrape.samples.len(), scrape.rejected_lines, scrape.errors[0].line), (4_999, 1, 3_001));
    let long = format!("a 1\nb{{x=\"{}\"}} 2\nc{{ 3\n", "é".repeat(40_000));
    let scrape = parse(long.as_bytes(), Format::Prometheus, NOW, &Limits::default());
    assert_eq!((scrape.samples.len(), scrape.errors[0].line), (2, 3));
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for format in FORMATS {
            let scrape = parse(&bytes, format, NOW, &Limits::default());
            let lines = bytes.split(|byte| *byte == b'\n').count();
            prop_assert!(scrape.errors.iter().all(|error| (1..=lines).contains(&error.line)));
        }
    }

    #[test]
    fn nothing_that_looks_like_the_format_makes_it_panic(text in r#"([a-c_:{}"=,\\\n#0-9.eE+\- ]|TYPE|HELP|NaN|é){0,80}"#) {
        let scrape = parse(text.as_bytes(), Format::Prometheus, NOW, &Limits::default());
        prop_assert!(scrape.samples.len() + scrape.errors.len() <= text.lines().count().max(1));
    }

    #[test]
    fn no_change_of_a_text_makes_it_panic(
        at in 0..OPEN.len(),
        cut in 0..40usize,
        insert in proptest::collection::vec(
            prop_oneof![prop::sample::select(b"\"\\\n} ,={#".to_vec()), any::<u8>()], 0..10),
    ) {
        let mut text = OPEN.as_bytes().to_vec();
        text.splice(at..(at + cut).min(OPEN.len()), insert);
        for format in FORMATS {
            let scrape = parse(&text, format, NOW, &Limits::default());
            // Each line is wrong or not as if it were alone, but for what only lines before it tell.
            let alone = |error: &LineError| !error.message.contains("EOF") && !error.message.contains("before");
            for error in scrape.errors.iter().filter(|error| alone(error)) {
                let line = text.split(|byte| *byte == b'\n').nth(error.line - 1).unwrap();
                let line = parse(&[line, b"\n"].concat(), format, NOW, &Limits::default());
                prop_assert_eq!(line.rejected_lines, 1);
            }
        }
    }

    #[test]
    fn what_is_written_is_read_back(
        name in "[^\u{0}\r]{1,20}",
        labels in proptest::collection::btree_map("[a-zA-Z_][a-zA-Z0-9_]{0,8}", "[^\r]{1,20}", 0..5),
        value in any::<f64>(),
        timestamp in proptest::option::of(any::<i64>()),
    ) {
        prop_assume!(!labels.contains_key("__name__"));
        let pairs: Vec<_> = labels.iter().map(|(n, v)| format!(",{n}={}", quote(v))).collect();
        let time = timestamp.map_or_else(String::new, |t| format!(" {t}"));
        let text = format!("{{{}{}}} {value:?}{time}\n", quote(&name), pairs.concat());
        let sample = one(&text);
        prop_assert_eq!(&*sample.metric, name.as_str());
        prop_assert_eq!(sample.labels, labels.into_iter().collect::<Labels>());
        prop_assert!(sample.value == value || value.is_nan() && sample.value.is_nan());
        prop_assert_eq!(sample.timestamp, timestamp.map_or(NOW, Timestamp::from_millis));
    }
}

/// What the lines of a text say, in words.
fn told(text: &str, format: Format) -> Vec<String> {
    let mut reader = Reader::new(text.as_bytes(), format);
    let mut told = Vec::new();
    while let Some(entry) = reader.next_entry() {
        told.push(match entry {
            Ok(Entry::Sample(sample)) => {
                let labels: Vec<_> = sample.labels().collect();
                let exemplar = sample.exemplar().map(|one| (one.labels().collect::<Vec<_>>(), one.value()));
                let (bits, at) = (sample.value().to_bits(), sample.timestamp());
                format!("{} {labels:?} {bits:x} {at:?} {exemplar:?}", sample.name())
            }
            Ok(comment) => format!("{comment:?}"),
            Err(error) => error.message,
        });
    }
    told
}

proptest! {
    /// A line whose end is not known is read as a whole; others without a look for their end.
    #[test]
    fn a_line_among_others_says_what_it_says_alone(
        lines in proptest::collection::vec(prop_oneof![
            "(node_)?[a-c_:0-9é]{1,4}(\\{[xy]=\"([a-z\\\\\" ]{0,9}|[0-9.]{1,3})\"(,z=\"[a-z]{0,3}\")?,?\\})?[ \t]{0,2}[+-]?([0-9]{1,21}|[0-9]{0,9}\\.[0-9]{0,12}|NaN|\\+Inf)(e[+-]?[0-9]{1,3})?([ \t]{0,2}-?[0-9]{0,19})?[ \t\r]{0,2}",
            "[# ]{1,2}(TYPE|HELP|UNIT|EOFF) {1,2}\"?(node_)?[a-c_.0-9é]{0,4}\"? {0,2}(counter|gauge|[a-z\\\\ ]{0,9})[ \t\r]{0,2}",
            "[ -~\t\r]{0,30}",
        ], 1..12),
        open in any::<bool>(),
    ) {
        let format = FORMATS[usize::from(open)];
        let alone: Vec<String> = lines.iter().flat_map(|line| told(if line.is_empty() && open { "\n" } else { line }, format)).collect();
        prop_assert_eq!(told(&(lines.join("\n") + "\n"), format), alone);
    }
}
