//! Prometheus' text format, [version 0.0.4], with the quoted UTF-8 names of [version 1.0.0].
//!
//! [`parse`] never fails: a line that is wrong is reported with its number and left out, and the others are read.
//!
//! ```
//! use platform_core::clock::Timestamp;
//! use platform_telemetry::exposition::{Limits, parse};
//!
//! let text = b"# TYPE up gauge\nup{job=\"node\"} 1\nup{job= 1\n";
//! let scrape = parse(text, Timestamp::from_millis(1_000), &Limits::default());
//! assert_eq!(scrape.samples.len(), 1);
//! assert_eq!(scrape.errors[0].line, 3);
//! ```
//!
//! [version 0.0.4]: https://github.com/prometheus/docs/blob/main/docs/instrumenting/exposition_formats.md
//! [version 1.0.0]: https://prometheus.io/docs/instrumenting/escaping_schemes/

mod cursor;
mod metadata;
mod sample;

pub use metadata::Metadata;

use metadata::Families;
use platform_core::{clock::Timestamp, telemetry::Sample};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// What is read at most, against targets that expose without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Samples. Default: no limit.
    pub samples: usize,
    /// Labels of a sample. Default: 256.
    pub labels: usize,
    /// Bytes of a line. Default: 1 MiB.
    pub line_bytes: usize,
    /// Errors that are kept; all are counted. Default: 20.
    pub errors: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { samples: usize::MAX, labels: 256, line_bytes: 1024 * 1024, errors: 20 }
    }
}

impl Limits {
    /// Sets the greatest number of samples.
    #[must_use]
    pub fn samples(mut self, samples: usize) -> Self {
        self.samples = samples;
        self
    }
}

/// What a text says.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Scrape {
    /// The samples, in their order.
    pub samples: Vec<Sample>,
    /// What `# HELP` and `# TYPE` say, by the family's name.
    pub metadata: BTreeMap<Arc<str>, Metadata>,
    /// The first of the lines that are wrong.
    pub errors: Vec<LineError>,
    /// How many lines are wrong.
    pub rejected_lines: u64,
    /// There are more samples than the limit: reading stopped there.
    pub over_limit: bool,
}

/// A line that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LineError {
    /// Its number, from 1.
    pub line: usize,
    /// Why, with the column where it matters.
    pub message: String,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for LineError {}

/// Reads a text. Samples without a timestamp of their own get `default_timestamp`.
///
/// Where the format leaves room, Prometheus is followed: unknown escapes stay as they are, a metric may come without a type, the
/// last line may lack its end. A label with an empty value is no label. Every part of a histogram or summary (`_bucket`, `_sum`,
/// `_count`) bears its kind.
pub fn parse(text: &[u8], default_timestamp: Timestamp, limits: &Limits) -> Scrape {
    let mut scrape = Scrape::default();
    let mut families = Families::default();
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if scrape.over_limit {
            break;
        }
        if let Err(message) = read_line(line, default_timestamp, limits, &mut families, &mut scrape) {
            scrape.rejected_lines += 1;
            if scrape.errors.len() < limits.errors {
                scrape.errors.push(LineError { line: number + 1, message });
            }
        }
    }
    scrape.metadata = families.into_metadata();
    scrape
}

fn read_line(
    line: &[u8],
    default_timestamp: Timestamp,
    limits: &Limits,
    families: &mut Families,
    scrape: &mut Scrape,
) -> Result<(), String> {
    if line.len() > limits.line_bytes {
        return Err(format!("{} bytes are more than the limit of {}", line.len(), limits.line_bytes));
    }
    let line = std::str::from_utf8(line).map_err(|e| format!("byte {} is no UTF-8", e.valid_up_to() + 1))?;
    let line = line.trim_matches([' ', '\t', '\r']);
    if line.is_empty() {
        return Ok(());
    }
    if let Some(comment) = line.strip_prefix('#') {
        return families.comment(comment);
    }
    let sample = sample::parse(line, default_timestamp, limits.labels, families)?;
    if scrape.samples.len() >= limits.samples {
        scrape.over_limit = true;
    } else {
        scrape.samples.push(sample);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // Values are read, not computed.
mod tests {
    use super::*;
    use platform_core::telemetry::{Labels, MetricKind};
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    fn read(text: &str) -> Scrape {
        parse(text.as_bytes(), NOW, &Limits::default())
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
        assert_eq!(
            &*scrape.metadata["rpc_duration_seconds"].help,
            "A summary of the RPC duration in seconds."
        );
    }

    #[test]
    fn what_other_parsers_lose_is_kept() {
        assert_eq!(&*one("job:up:sum 1").metric, "job:up:sum");
        assert_eq!(one("foo{} 1").labels, Labels::empty());
        assert_eq!(one(r#"foo{a="}"} 1"#).labels.get("a"), Some("}"));
        assert_eq!(one("foo \t{ a = \"b\" , } 1").labels.get("a"), Some("b"));
        assert_eq!(one(r#"foo{a="1,2=3"} 1"#).labels.get("a"), Some("1,2=3"));
        assert_eq!(one(r#"foo{a="\q\\"} 1"#).labels.get("a"), Some(r"\q\"));
        let quoted = one(r#"{"http.server.duration","http.méthode"="GÉT"} 2 7"#);
        assert_eq!(
            (&*quoted.metric, quoted.labels.get("http.méthode")),
            ("http.server.duration", Some("GÉT"))
        );
        assert_eq!(quoted.timestamp.as_millis(), 7);
        assert_eq!(one("foo 1\r").value, 1.0);
    }

    #[test]
    fn values_are_those_of_go() {
        for (text, value) in
            [("+Inf", f64::INFINITY), ("-inf", f64::NEG_INFINITY), ("1e3", 1000.0), (".5", 0.5), ("-0", -0.0)]
        {
            assert_eq!(one(&format!("m {text}")).value.to_bits(), value.to_bits(), "{text}");
        }
        assert!(one("m NaN").value.is_nan());
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
            "foo{a=\"x\" b=\"y\"} 1",
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
        ];
        for line in wrong {
            let scrape = read(&format!("before 1\n{line}\nafter 2"));
            assert_eq!(scrape.rejected_lines, 1, "{line}");
            assert_eq!(scrape.errors[0].line, 2, "{line}");
            assert_eq!(scrape.samples.len(), 2, "{line}");
        }
        let mixed = parse(b"a 1\nb{x=\"\xff\"} 2\nc 3\n", NOW, &Limits::default());
        assert_eq!((mixed.samples.len(), mixed.errors[0].line), (2, 2));
    }

    #[test]
    fn limits_hold() {
        let text = "a 1\nb 2\nc 3\n";
        let scrape = parse(text.as_bytes(), NOW, &Limits::default().samples(2));
        assert!(scrape.over_limit && scrape.samples.len() == 2);
        assert!(!parse(text.as_bytes(), NOW, &Limits::default().samples(3)).over_limit);
        let few = Limits { labels: 1, line_bytes: 20, errors: 1, ..Limits::default() };
        let scrape = parse(b"a{x=\"1\",y=\"2\"} 1\nb{x=\"123456789012345\"} 1\nc 1", NOW, &few);
        assert_eq!((scrape.samples.len(), scrape.rejected_lines, scrape.errors.len()), (1, 2, 1));
    }

    #[test]
    fn a_type_that_is_given_twice_is_told_and_the_first_stays() {
        let scrape = read("# TYPE a counter\n# TYPE a gauge\na 1\n");
        assert_eq!((scrape.rejected_lines, scrape.samples[0].kind), (1, MetricKind::Counter));
        assert_eq!(read("a_sum 1\n# TYPE a summary\na_sum 2\n").samples[1].kind, MetricKind::Summary);
    }

    fn quote(text: &str) -> String {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            parse(&bytes, NOW, &Limits::default());
        }

        #[test]
        fn nothing_that_looks_like_the_format_makes_it_panic(text in r#"([a-c_:{}"=,\\\n#0-9.eE+\- ]|TYPE|HELP|NaN|é){0,80}"#) {
            let scrape = parse(text.as_bytes(), NOW, &Limits::default());
            prop_assert!(scrape.samples.len() + scrape.errors.len() <= text.lines().count().max(1));
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
}
