use super::*;
use crate::exposition::{Format, Limits, parse};
use platform_core::clock::Timestamp;
use proptest::prelude::*;
use std::{collections::BTreeSet, fmt::Write};

const NOW: Timestamp = Timestamp::from_millis(1_795_392_000_000);

fn ours(text: &str, format: Format) -> Converted {
    convert(&parse(text.as_bytes(), format, NOW, &Limits::default())).unwrap()
}

/// In an order of their own, since that of their histograms is random.
fn shown(scrape: &prometheus_parse::Scrape) -> (Vec<String>, Vec<(String, String)>) {
    let show = |s: &prometheus_parse::Sample| {
        format!("{}{{{}}} {:?} {}", s.metric, s.labels, s.value, s.timestamp.timestamp_millis())
    };
    let mut samples: Vec<_> = scrape.samples.iter().map(show).collect();
    samples.sort();
    let mut docs: Vec<_> = scrape.docs.iter().map(|(name, doc)| (name.clone(), doc.clone())).collect();
    docs.sort();
    (samples, docs)
}

#[test]
fn what_the_other_loses_is_there() {
    let text = r#"# TYPE lag histogram
lag_bucket{le="1",path="a\\b"} 1
lag_bucket{le="+Inf",path="a\\b"} 2
job:up {} 1
odd{a="x,y"} 3
"#;
    let converted = ours(text, Format::Prometheus);
    let samples = &converted.scrape.samples;
    assert_eq!((samples.len(), samples[0].metric.as_str()), (2, "job:up"));
    assert_eq!(samples[1].labels.get("path"), Some("a\\b"));
    let buckets =
        [(1.0, 1.0), (f64::INFINITY, 2.0)].map(|(less_than, count)| HistogramCount { less_than, count });
    assert_eq!(samples[1].value, Value::Histogram(buckets.into()));
    assert_eq!(converted.inexpressible.len(), 1);
    assert_eq!(converted.inexpressible[0].labels.get("a"), Some("x,y"));
    let open = ours("# TYPE a counter\na_total 1 1.5\n# EOF\n", Format::OpenMetrics).scrape;
    assert_eq!(open.samples[0].value, Value::Counter(1.0));
    assert_eq!(open.samples[0].timestamp.timestamp_millis(), 1500);
}

#[test]
fn what_its_types_cannot_hold_is_told() {
    let text = r#"a{x="b=c"} 1
a{x="}"} 1
a{x="\"b"} 1
a{x="b"} 1 9223372036854775807
{"a","x=y"="b"} 1
"#;
    let converted = ours(text, Format::Prometheus);
    assert_eq!((converted.scrape.samples.len(), converted.inexpressible.len()), (0, 5));
}

/// A family as `prometheus_parse` reads it without loss.
fn any_family() -> impl Strategy<Value = String> {
    let name = "[a-z_][a-z0-9_]{0,6}[xyz]";
    let labels = prop::collection::btree_map("[a-z_][a-z0-9_]{0,5}", "[a-zA-Z0-9 /:;{<>.é-]{0,8}[a-z]", 0..4);
    let value = prop_oneof![
        any::<i32>().prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| format!("{n:?}")),
        prop::sample::select(vec!["+Inf", "-Inf", "0.5"]).prop_map(ToOwned::to_owned),
    ];
    let series = prop::collection::vec((labels, value, prop::option::of(0..4_000_000_000_000i64)), 1..5);
    let kind = prop::sample::select(vec!["counter", "gauge", "untyped", "histogram", "summary", ""]);
    (name, "[a-zA-Z.]{1,10}", kind, series).prop_map(|(name, help, kind, series)| {
        let mut text = format!("# HELP {name} {help}\n");
        if !kind.is_empty() {
            writeln!(text, "# TYPE {name} {kind}").unwrap();
        }
        for (number, (labels, value, at)) in series.into_iter().enumerate() {
            let own = ["le", "quantile", "series"];
            let mut pairs: Vec<_> = labels
                .iter()
                .filter(|(name, _)| !own.contains(&name.as_str()))
                .map(|(name, value)| format!("{name}=\"{value}\""))
                .collect();
            // Neither has the same series twice.
            pairs.push(format!("series=\"{number}\""));
            let labels = pairs.join(",");
            let at = at.map_or_else(String::new, |at| format!(" {at}"));
            let parts = match kind {
                "histogram" => Some(("_bucket", "le", ["0.1", "10", "+Inf"])),
                "summary" => Some(("", "quantile", ["0.5", "0.9", "1"])),
                _ => None,
            };
            let Some((part, bound, bounds)) = parts else {
                writeln!(text, "{name}{{{labels}}} {value}{at}").unwrap();
                continue;
            };
            for up_to in bounds {
                writeln!(text, "{name}{part}{{{labels},{bound}=\"{up_to}\"}} {value}{at}").unwrap();
            }
            writeln!(text, "{name}_sum{{{labels}}} {value}{at}\n{name}_count{{{labels}}} 3{at}").unwrap();
        }
        text
    })
}

proptest! {
    #[test]
    fn both_read_the_same_where_the_other_is_right(families in prop::collection::vec(any_family(), 0..6)) {
        let text = families.concat();
        // Of a name with two types the one takes the first and the other the last.
        let names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()).collect();
        let distinct: BTreeSet<_> = names.iter().collect();
        prop_assume!(distinct.len() == names.len());
        let converted = ours(&text, Format::Prometheus);
        prop_assert!(converted.inexpressible.is_empty());
        let now = ours("now 1\n", Format::Prometheus).scrape.samples[0].timestamp;
        let lines = text.lines().map(|line| Ok(line.to_owned()));
        let theirs = prometheus_parse::Scrape::parse_at(lines, now).unwrap();
        prop_assert_eq!(shown(&converted.scrape), shown(&theirs));
    }
}
