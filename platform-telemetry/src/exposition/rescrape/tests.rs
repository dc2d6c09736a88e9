use super::*;
use crate::exposition::{Scrape, parse};
use platform_core::{
    clock::Timestamp,
    telemetry::{Labels, Sample},
};
use proptest::prelude::*;
use std::collections::BTreeSet;

const NOW: Timestamp = Timestamp::from_millis(1_000);

fn target(format: Format) -> Rescrape<Labels> {
    Rescrape::new(format, &Limits { samples: 40, line_bytes: 120, ..Limits::default() })
}

fn read(target: &mut Rescrape<Labels>, text: &[u8]) -> Reread {
    target.read(Bytes::copy_from_slice(text), |raw| raw.labels().collect())
}

/// What the target knows, as [`parse`] tells it.
fn told(target: &Rescrape<Labels>) -> Scrape {
    let samples = target.samples().map(|sample| Sample {
        metric: Arc::clone(sample.metric),
        labels: sample.of.clone(),
        timestamp: sample.timestamp.map_or(NOW, Timestamp::from_millis),
        value: sample.value,
        kind: sample.kind,
    });
    Scrape {
        samples: samples.collect(),
        exemplars: Vec::new(),
        metadata: target.metadata().map(|(name, metadata)| (name.clone(), metadata.clone())).collect(),
        errors: target.errors(),
        rejected_lines: target.rejected_lines(),
        over_limit: target.over_limit(),
        complete: target.is_complete(),
    }
}

/// As they are shown: a NaN is equal to nothing.
fn assert_same(target: &Rescrape<Labels>, text: &[u8]) {
    let parsed = parse(text, target.format, NOW, &target.limits);
    let parsed = Scrape { exemplars: Vec::new(), ..parsed };
    let shown = |scrape: &Scrape| format!("{scrape:#?}");
    assert_eq!(shown(&told(target)), shown(&parsed), "{}", String::from_utf8_lossy(text));
}

#[test]
fn only_what_changed_is_parsed() {
    let mut target = target(Format::Prometheus);
    let first = b"# TYPE a counter\na{x=\"1\"} 1\na{x=\"2\"} 20\n\n# TYPE b gauge\nb 3 77\nc 1";
    let reread = read(&mut target, first);
    assert_eq!((reread.series_changed, reread.lines), (true, 7));
    assert_same(&target, first);
    let values = b"# TYPE a counter\na{x=\"1\"} 1\na{x=\"2\"} 3\n\n# TYPE b gauge\nb 31 78\nc 1";
    let reread = read(&mut target, values);
    assert_same(&target, values);
    assert_eq!(reread, Reread { series_changed: false, values: 2, lines: 1 }, "the last line has no end");
    let more =
        b"# TYPE a counter\na{x=\"0\"} 5\na{x=\"1\"} 1\na{x=\"2\"} 3\n\n# TYPE b gauge\nb 31 78\nc 1\n";
    let reread = read(&mut target, more);
    assert_same(&target, more);
    assert_eq!((reread.series_changed, reread.lines), (true, 2), "{reread:?}");
    let less = b"# TYPE a counter\na{x=\"2\"} 3\n\n# TYPE b gauge\nb 31 78\nc 1\n";
    let reread = read(&mut target, less);
    assert_same(&target, less);
    assert_eq!((reread.series_changed, reread.lines), (true, 1), "{reread:?}");
    assert_eq!(read(&mut target, less), Reread::default());
}

#[test]
fn what_goes_with_a_series_stays_with_it() {
    let mut target: Rescrape<usize> = Rescrape::new(Format::Prometheus, &Limits::default());
    let mut made = 0;
    let mut read = |text: &'static str| {
        target.read(text.into(), |_| {
            made += 1;
            made
        });
        target.samples().map(|sample| *sample.of).collect::<Vec<_>>()
    };
    assert_eq!(read("a 1\nb 1\nc 1\nd 1\n"), [1, 2, 3, 4]);
    assert_eq!(read("d 1\nb 2\na 1\nc 1\n"), [4, 2, 1, 3], "whatever their order");
    assert_eq!(read("d 1\ne 2\nc 5\n"), [4, 5, 3]);
    assert_eq!(read("d 1\nd 2\ne 2\n"), [4, 6, 5], "each line has its own");
}

#[test]
fn a_value_that_becomes_part_of_a_name_is_seen() {
    let texts = [
        "foo+1\n",
        "foo5\n",
        "foo 1\n",
        "foo {a=\"b\"} 1\n",
        "foo 2 3\n",
        "foo{a=\"b\"}1\n",
        "foo{a=\"b\"}{ 1\n",
    ];
    for (one, other) in texts.iter().flat_map(|one| texts.iter().map(move |other| (one, other))) {
        let mut target = target(Format::Prometheus);
        read(&mut target, one.as_bytes());
        read(&mut target, other.as_bytes());
        assert_same(&target, other.as_bytes());
    }
}

const LONG: &str = "long{x=\"123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456\"}";

fn any_line() -> impl Strategy<Value = String> {
    let value = prop::sample::select(vec![
        "1",
        "0",
        "12",
        "1234.5",
        "NaN",
        "+Inf",
        "1e3",
        "17 99",
        "4 -5",
        "x",
        "",
        "3 # {a=\"b\"} 1",
        "3 # {a=\"é\"} 1",
        " 7",
        "7 ",
        "5\r",
        "{a=\"b\"} 1",
        "123456789012345678901234567890",
    ]);
    let series = prop::sample::select(vec![
        "a",
        "b_total",
        "b_sum",
        "b{x=\"1\"}",
        "b{x=\"2\"}",
        "c{x=\"\\\"\",y=\"é\"}",
        "c{x=\"1\"",
        "{\"q.1\"}",
        "h_bucket{le=\"1\"}",
        "h_bucket{le=\"2\"}",
        " a",
        LONG,
    ]);
    let comment = prop::sample::select(vec![
        "# TYPE b counter",
        "# TYPE b summary",
        "# TYPE h histogram",
        "# HELP a What\\nit is.",
        "# TYPE a gauge",
        "# TYPE a nothing",
        "#",
        "",
        "# é",
        "# EOF",
        "# UNIT h_seconds seconds",
    ]);
    let blank = prop::sample::select(vec![" ", " ", " ", "  ", ""]);
    prop_oneof![
        8 => (series, blank, value).prop_map(|(series, blank, value)| format!("{series}{blank}{value}")),
        1 => comment.prop_map(ToOwned::to_owned),
    ]
}

#[derive(Debug, Clone)]
enum Edit {
    Insert(String),
    Remove,
    Repeat,
    Value(u32),
    Byte(u8),
}

fn any_edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        any_line().prop_map(Edit::Insert),
        Just(Edit::Remove),
        Just(Edit::Repeat),
        any::<u32>().prop_map(Edit::Value),
        any::<u8>().prop_map(Edit::Byte),
    ]
}

fn edited(lines: &[String], edits: &[(usize, Edit)], terminated: bool) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = lines.iter().map(|line| line.clone().into_bytes()).collect();
    for (at, edit) in edits {
        let at = at % (lines.len() + 1);
        match edit {
            Edit::Insert(line) => lines.insert(at, line.clone().into_bytes()),
            _ if at == lines.len() => {}
            Edit::Remove => drop(lines.remove(at)),
            Edit::Repeat => lines.insert(at, lines[at].clone()),
            Edit::Value(value) => {
                let head = lines[at].iter().rposition(|byte| *byte == b' ').map_or(0, |n| n + 1);
                lines[at].truncate(head);
                lines[at].extend(value.to_string().bytes());
            }
            Edit::Byte(byte) => {
                let middle = lines[at].len() / 2;
                lines[at].insert(middle, *byte);
            }
        }
    }
    let mut text = lines.join(&b'\n');
    if terminated {
        text.push(b'\n');
    }
    text
}

fn series(samples: &[Sample]) -> BTreeSet<(Arc<str>, Labels)> {
    samples.iter().map(|sample| (sample.metric.clone(), sample.labels.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_text_after_others_is_read_as_if_it_were_the_first(
        lines in prop::collection::vec(any_line(), 0..30),
        changes in prop::collection::vec(
            (prop::collection::vec((any::<usize>(), any_edit()), 0..4), any::<bool>()), 1..4),
        open in any::<bool>(),
    ) {
        let mut target = target(if open { Format::OpenMetrics } else { Format::Prometheus });
        for (edits, terminated) in &changes {
            let text = edited(&lines, edits, *terminated);
            let before = told(&target).samples;
            let reread = read(&mut target, &text);
            assert_same(&target, &text);
            if !reread.series_changed {
                prop_assert_eq!(series(&before), series(&told(&target).samples));
            }
        }
    }
}
