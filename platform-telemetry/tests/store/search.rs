//! A search answers what a scan over all records answers.

use super::{NOW, open};
use platform_core::telemetry::{
    Batch, Labels, LogOrder, LogPage, LogQuery, LogRecord, Matcher, Severity, TelemetrySink, TelemetryStore,
    TimeRange,
};
use proptest::prelude::*;
use std::time::Duration;

const WORDS: [&str; 8] = ["error", "Error", "time-out", "ok", "Straße", "10.0.0.1", "x", "ÉTÉ"];

/// The specification in its simplest form: cut into lower-case words, and look.
fn scan(records: &[LogRecord], query: &LogQuery) -> LogPage {
    let words = |text: &str| -> Vec<String> {
        let cut = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        cut.map(str::to_lowercase).collect()
    };
    let matching = records.iter().filter(|record| {
        let body = words(&record.body);
        query.range.contains(record.timestamp)
            && query.min_severity.is_none_or(|least| record.severity >= least)
            && query.matchers.iter().all(|m| m.matches(&record.labels))
            && query.text.split_whitespace().all(|part| {
                let phrase = words(part);
                phrase.is_empty()
                    || body.windows(phrase.len()).any(|window| window == phrase) != part.starts_with('-')
            })
    });
    let mut records: Vec<LogRecord> = matching.cloned().collect();
    records.sort_by_key(|record| record.timestamp);
    if query.order == LogOrder::NewestFirst {
        records.reverse();
    }
    let total = records.len() as u64;
    records.truncate(query.limit);
    LogPage { records, total }
}

fn any_labels() -> impl Strategy<Value = Labels> {
    let value = || prop::sample::select(vec!["", "a", "b", "a b"]);
    (value(), value()).prop_map(|(app, zone)| Labels::from_iter([("app", app), ("zone", zone)]))
}

prop_compose! {
    fn any_record()(
        minutes in 0u64..180,
        severity in prop::sample::select(Severity::ALL.to_vec()),
        words in prop::collection::vec(prop::sample::select(WORDS.to_vec()), 0..6),
        labels in any_labels(),
    ) -> LogRecord {
        LogRecord { timestamp: NOW - Duration::from_secs(60 * minutes), severity, body: words.join(" "), labels }
    }
}

fn any_matcher() -> impl Strategy<Value = Matcher> {
    let values = prop::collection::vec(prop::sample::select(vec!["", "a", "b", "a b", "none"]), 0..3);
    (prop::sample::select(vec!["app", "zone", "other"]), values, 0..4usize).prop_map(
        |(label, values, kind)| {
            let first = values.first().copied().unwrap_or_default();
            match kind {
                0 => Matcher::equal(label, first),
                1 => Matcher::not_equal(label, first),
                2 => Matcher::one_of(label, values),
                _ => Matcher::none_of(label, values),
            }
        },
    )
}

prop_compose! {
    fn any_query()(
        from in 0u64..200,
        minutes in 0u64..200,
        text in prop::collection::vec((any::<bool>(), prop::sample::select(WORDS.to_vec())), 0..3),
        matchers in prop::collection::vec(any_matcher(), 0..3),
        severity in prop::option::of(prop::sample::select(Severity::ALL.to_vec())),
        limit in 1usize..20,
        newest in any::<bool>(),
    ) -> LogQuery {
        let from = NOW - Duration::from_secs(60 * from);
        let text: Vec<String> = text.iter().map(|(not, word)| format!("{}{word}", if *not { "-" } else { "" })).collect();
        let mut query = LogQuery::new(TimeRange::new(from, from + Duration::from_secs(60 * minutes)))
            .text(text.join("  "))
            .limit(limit)
            .order(if newest { LogOrder::NewestFirst } else { LogOrder::OldestFirst });
        query.matchers = matchers;
        query.min_severity = severity;
        query
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_search_answers_what_a_scan_answers(
        flushed in prop::collection::vec(any_record(), 0..60),
        fresh in prop::collection::vec(any_record(), 0..20),
        queries in prop::collection::vec(any_query(), 1..25),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        runtime.block_on(async {
            let store = open(dir.path());
            store.write(Batch::logs(flushed.clone())).await.unwrap();
            store.close().await.unwrap();
            let store = open(dir.path());
            store.write(Batch::logs(fresh.clone())).await.unwrap();
            let all: Vec<LogRecord> = flushed.iter().chain(&fresh).cloned().collect();
            for query in &queries {
                prop_assert_eq!(store.logs(query).await.unwrap(), scan(&all, query), "{:?}", query);
            }
            Ok(())
        })?;
    }

    #[test]
    fn any_text_is_answered(text in ".{0,40}", body in ".{0,40}") {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let query = LogQuery::new(TimeRange::last(Duration::from_secs(60), NOW)).text(text);
        let (fresh, flushed) = runtime.block_on(async {
            let store = open(dir.path());
            store.write(super::lines(NOW, &[&body])).await.unwrap();
            let fresh = store.logs(&query).await.unwrap();
            store.close().await.unwrap();
            drop(store);
            (fresh, open(dir.path()).logs(&query).await.unwrap())
        });
        prop_assert_eq!(fresh, flushed);
    }
}
