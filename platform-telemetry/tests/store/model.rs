//! What is written in any batches and any order, over restarts, is what a map of maps holds.

use super::{NOW, open, sample};
use platform_core::{
    clock::Timestamp,
    telemetry::{Batch, Selector, Series, TelemetrySink, TelemetryStore, TimeRange, metric},
};
use proptest::prelude::*;
use std::{collections::BTreeMap, time::Duration};

#[derive(Debug, Clone)]
enum Step {
    /// Metric, label value, minute and value of each sample.
    Write(Vec<(usize, usize, u64, f64)>),
    /// Closes and opens.
    Restart,
    /// Opens without closing: the journal is recovered.
    Recover,
    /// Metric, from minute, to minute.
    Select(usize, u64, u64),
}

const METRICS: [&str; 2] = ["first", "second"];
const VALUES: [&str; 3] = ["", "a", "b"];

fn any_step() -> impl Strategy<Value = Step> {
    let sample = (0..2usize, 0..3usize, 0..300u64, prop::num::f64::ANY);
    prop_oneof![
        6 => prop::collection::vec(sample, 0..30).prop_map(Step::Write),
        1 => Just(Step::Restart),
        1 => Just(Step::Recover),
        4 => (0..2usize, 0..300u64, 0..300u64).prop_map(|(m, from, to)| Step::Select(m, from, to)),
    ]
}

fn minute(minute: u64) -> Timestamp {
    NOW + Duration::from_secs(60 * minute)
}

type Model = BTreeMap<(usize, usize), BTreeMap<Timestamp, u64>>;

fn expected(model: &Model, chosen: usize, range: TimeRange) -> Vec<(String, Vec<(Timestamp, u64)>)> {
    let series = model.iter().filter(|((metric, _), _)| *metric == chosen);
    let points = series.map(|((_, value), points)| {
        let labels = platform_core::telemetry::Labels::from_iter([("label", VALUES[*value])]);
        (
            labels.to_string(),
            points.iter().filter(|(at, _)| range.contains(**at)).map(|(at, v)| (*at, *v)).collect(),
        )
    });
    points.filter(|(_, points): &(_, Vec<_>)| !points.is_empty()).collect()
}

fn found(series: Vec<Series>) -> Vec<(String, Vec<(Timestamp, u64)>)> {
    let bits =
        |s: Series| (s.labels.to_string(), s.points.into_iter().map(|(at, v)| (at, v.to_bits())).collect());
    series.into_iter().map(bits).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn the_store_holds_what_was_written(steps in prop::collection::vec(any_step(), 1..25)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        runtime.block_on(async {
            let mut model = Model::new();
            let mut written = 0;
            let mut store = open(dir.path());
            for step in steps.into_iter().chain([Step::Restart, Step::Select(0, 0, 300), Step::Select(1, 0, 300)]) {
                match step {
                    Step::Write(samples) => {
                        written += samples.len() as u64;
                        let batch = samples.iter().map(|(m, value, at, v)| {
                            model.entry((*m, *value)).or_default().insert(minute(*at), v.to_bits());
                            sample(METRICS[*m], ("label", VALUES[*value]), minute(*at), *v)
                        });
                        store.write(Batch::samples(batch.collect())).await.unwrap();
                    }
                    Step::Restart => {
                        store.close().await.unwrap();
                        store = open(dir.path());
                    }
                    Step::Recover => {
                        drop(store);
                        store = open(dir.path());
                    }
                    Step::Select(chosen, from, to) => {
                        let range = TimeRange::new(minute(from), minute(to));
                        let selector: Selector = metric(METRICS[chosen]);
                        let series = store.select(&selector, range).await.unwrap();
                        prop_assert_eq!(found(series), expected(&model, chosen, range));
                    }
                }
            }
            let stats = store.stats().await.unwrap();
            prop_assert_eq!(stats.series, model.len() as u64);
            let kept: usize = model.values().map(BTreeMap::len).sum();
            prop_assert!((kept as u64..=written).contains(&stats.samples));
            Ok(())
        })?;
    }
}
