use super::*;
use platform_core::telemetry::{Aggregation, Labels, Point, RangeFunction, metric};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Series in memory, by metric.
struct Memory(Vec<Series>);

impl SeriesReader for Memory {
    fn select(&self, selector: &Selector, range: TimeRange) -> Result<Vec<Series>> {
        let chosen = self
            .0
            .iter()
            .filter(|s| s.metric.as_deref() == Some(&selector.metric) && selector.matches(&s.labels));
        Ok(chosen
            .map(|s| {
                let points = s.points.iter().filter(|(at, _)| range.contains(*at)).copied().collect();
                Series { points, ..s.clone() }
            })
            .collect())
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn series(name: &str, labels: &[(&str, &str)], points: &[(i64, f64)]) -> Series {
    Series {
        metric: Some(name.into()),
        labels: labels.iter().copied().collect(),
        points: points.iter().map(|(seconds, value)| (at(*seconds), *value)).collect(),
    }
}

fn instant(data: &[Series], expression: impl Into<Expression>, seconds: i64) -> Vec<(String, f64)> {
    let query = MetricQuery::instant(expression, at(seconds));
    let found = evaluate(&Memory(data.to_vec()), &query).unwrap();
    found
        .into_iter()
        .map(|s| (format!("{}{}", s.metric.unwrap_or_default(), s.labels), s.points[0].1))
        .collect()
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn the_latest_sample_counts_for_five_minutes_or_until_the_series_ends() {
    let data = [series("up", &[], &[(0, 1.0), (400, 2.0), (410, f64::from_bits(vector::STALE))])];
    assert_eq!(instant(&data, metric("up"), 0), [("up{}".to_owned(), 1.0)]);
    assert_eq!(instant(&data, metric("up"), 299), [("up{}".to_owned(), 1.0)]);
    assert_eq!(instant(&data, metric("up"), 300), []);
    assert_eq!(instant(&data, metric("up"), 409), [("up{}".to_owned(), 2.0)]);
    assert_eq!(instant(&data, metric("up"), 410), []);
}

#[test]
fn a_rate_corrects_resets_and_extrapolates() {
    let data = [series("requests", &[], &[(0, 100.0), (15, 115.0), (30, 5.0), (45, 20.0), (60, 35.0)])];
    // (0, 60]: 115, 5, 20, 35 is an increase of 35 - 115 + 115 = 35 in 45 s, and 15 s are added at the start.
    let increase = instant(&data, metric("requests").increase(MINUTE), 60);
    assert_eq!(increase, [("{}".to_owned(), 35.0 * (60.0 / 45.0))]);
    let rate = instant(&data, metric("requests").rate(MINUTE), 60);
    assert_eq!(rate, [("{}".to_owned(), 35.0 * (60.0 / 45.0) / 60.0)]);
    assert_eq!(instant(&data, metric("requests").rate(Duration::from_secs(10)), 60), []);
}

#[test]
fn the_use_of_a_cpu_is_right_before_its_window_is_full() {
    let mode = |mode: &str, per_second: f64| {
        let points: Vec<(i64, f64)> =
            (0..=6).map(|i| (1000 + i * 10, 500.0 + per_second * (i * 10) as f64)).collect();
        series("node_cpu_seconds_total", &[("cluster", "c"), ("cpu", "0"), ("mode", mode)], &points)
    };
    let data = [mode("idle", 0.9), mode("user", 0.07), mode("system", 0.03)];
    // One minute of samples in a window of five.
    let used = instant(&data, platform_core::alert::cpu_percent(5 * MINUTE), 1060);
    assert_eq!(used.len(), 1);
    assert!((used[0].1 - 10.0).abs() < 1e-9, "{used:?}");
}

#[test]
fn a_rate_is_not_extrapolated_to_below_zero() {
    let data = [series("requests", &[], &[(50, 1.0), (60, 11.0)])];
    // The counter was zero one second before the first sample.
    let increase = instant(&data, metric("requests").increase(MINUTE), 60);
    assert_eq!(increase, [("{}".to_owned(), 10.0 * (11.0 / 10.0))]);
}

#[test]
fn series_are_paired_by_labels_and_lose_their_metric() {
    let data = [
        series("used", &[("node", "a")], &[(0, 1.0)]),
        series("used", &[("node", "b")], &[(0, 3.0)]),
        series("total", &[("node", "a")], &[(0, 4.0)]),
    ];
    let share = 100.0 * (metric("used") / metric("total"));
    assert_eq!(instant(&data, share, 1), [(r#"{node="a"}"#.to_owned(), 25.0)]);
    let twins = [series("a", &[], &[(0, 1.0)]), series("a", &[], &[(0, 2.0)])];
    let query = MetricQuery::instant(metric("a") + metric("a"), at(0));
    let error = evaluate(&Memory(twins.to_vec()), &query).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn aggregations_group_by_labels_and_treat_nan_as_prometheus_does() {
    let data = [
        series("m", &[("job", "a"), ("i", "1")], &[(0, f64::NAN)]),
        series("m", &[("job", "a"), ("i", "2")], &[(0, 2.0)]),
        series("m", &[("job", "b"), ("i", "1")], &[(0, 5.0)]),
    ];
    let by_job = |operator| instant(&data, Expression::from(metric("m")).aggregate(operator, ["job"]), 0);
    let named = |a, b| [(r#"{job="a"}"#.to_owned(), a), (r#"{job="b"}"#.to_owned(), b)];
    assert_eq!(by_job(Aggregation::Max), named(2.0, 5.0));
    assert_eq!(by_job(Aggregation::Min), named(2.0, 5.0));
    assert_eq!(by_job(Aggregation::Count), named(2.0, 1.0));
    assert!(by_job(Aggregation::Sum)[0].1.is_nan());
    let all = Expression::from(metric("m")).aggregate(Aggregation::Count, Vec::<String>::new());
    assert_eq!(instant(&data, all, 0), [("{}".to_owned(), 3.0)]);
    let none = Expression::from(metric("absent")).aggregate(Aggregation::Count, Vec::<String>::new());
    assert_eq!(instant(&data, none, 0), []);
    let number = Expression::Number(1.0).aggregate(Aggregation::Sum, ["job"]);
    let query = MetricQuery::instant(number, at(0));
    assert_eq!(evaluate(&Memory(Vec::new()), &query).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_number_is_a_series_without_labels() {
    let range = TimeRange::new(at(0), at(20));
    let query = MetricQuery::new(Expression::Number(2.0) * 3.0, range, Duration::from_secs(10)).unwrap();
    let found = evaluate(&Memory(Vec::new()), &query).unwrap();
    let points: Vec<Point> = [0, 10, 20].map(|s| (at(s), 6.0)).to_vec();
    assert_eq!(found, [Series { metric: None, labels: Labels::empty(), points }]);
}

#[test]
fn means_do_not_overflow_and_sums_keep_small_values() {
    let big = [series("m", &[("i", "1")], &[(0, f64::MAX), (1, f64::MAX)])];
    let mean = metric("m").over(RangeFunction::Avg, MINUTE);
    assert_eq!(instant(&big, mean, 1), [(r#"{i="1"}"#.to_owned(), f64::MAX)]);
    let values = [1e100, 1.0, -1e100].iter().enumerate();
    let data: Vec<Series> = values.map(|(i, v)| series("m", &[("i", &i.to_string())], &[(0, *v)])).collect();
    let sum = Expression::from(metric("m")).sum_by(Vec::<String>::new());
    assert_eq!(instant(&data, sum, 0), [("{}".to_owned(), 1.0)]);
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -1e6..1e6f64,
        1 => prop::num::f64::ANY,
        1 => Just(f64::from_bits(vector::STALE)),
    ]
}

fn any_expression() -> impl Strategy<Value = Expression> {
    use platform_core::telemetry::BinaryOperator as Op;
    let functions = [
        RangeFunction::Rate,
        RangeFunction::Increase,
        RangeFunction::Avg,
        RangeFunction::Min,
        RangeFunction::Max,
        RangeFunction::Last,
    ];
    let leaf = prop_oneof![
        any_value().prop_map(Expression::Number),
        "[ab]".prop_map(|name| metric(name).into()),
        ("[ab]", 0..6usize, 0..700u64)
            .prop_map(move |(name, f, s)| metric(name).over(functions[f], Duration::from_secs(s))),
    ];
    leaf.prop_recursive(4, 16, 2, |inner| {
        prop_oneof![
            (inner.clone(), 0..5usize, any::<bool>()).prop_map(|(of, operator, by_i)| {
                use Aggregation::{Avg, Count, Max, Min, Sum};
                of.aggregate([Sum, Avg, Min, Max, Count][operator], by_i.then_some("i"))
            }),
            (inner.clone(), inner, 0..4usize).prop_map(|(left, right, operator)| Expression::Binary {
                operator: [Op::Add, Op::Sub, Op::Mul, Op::Div][operator],
                left: Box::new(left),
                right: Box::new(right),
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_expression_over_any_samples_has_an_answer_with_points_on_steps(
        samples in prop::collection::vec((0..2usize, 0..3usize, -100i64..2000, any_value()), 0..60),
        expression in any_expression(),
        from in 0i64..500,
        length in 0i64..1000,
        step in 1u64..100,
    ) {
        let mut data: BTreeMap<_, BTreeMap<i64, f64>> = BTreeMap::new();
        for (name, i, seconds, value) in samples {
            data.entry((name, i)).or_default().insert(seconds, value);
        }
        let data = data.into_iter().map(|((name, i), points)| {
            let points: Vec<(i64, f64)> = points.into_iter().collect();
            series(["a", "b"][name], &[("i", &i.to_string())], &points)
        });
        let range = TimeRange::new(at(from), at(from + length));
        let query = MetricQuery::new(expression, range, Duration::from_secs(step)).unwrap();
        // An aggregation of a number is the one error.
        if let Ok(found) = evaluate(&Memory(data.collect()), &query) {
            let steps: Vec<Timestamp> = query.steps().collect();
            for series in found {
                prop_assert!(!series.points.is_empty());
                prop_assert!(series.points.is_sorted_by(|a, b| a.0 < b.0));
                prop_assert!(series.points.iter().all(|(at, _)| steps.binary_search(at).is_ok()));
                prop_assert!(series.points.iter().all(|(_, value)| value.to_bits() != vector::STALE));
            }
        }
    }
}
