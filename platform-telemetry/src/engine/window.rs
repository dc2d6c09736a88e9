//! From samples to a value at each step: the latest one, or a function of those in a window.

use super::{
    aggregate::{greatest, least},
    sum::Mean,
    vector::{Row, STALE, Slot, Steps, Vector},
};
use platform_core::{
    Error, ErrorKind, Result,
    clock::Timestamp,
    telemetry::{LOOKBACK, Point, RangeFunction, Series},
};
use std::time::Duration;

/// The latest sample at each step, unless it is older than the lookback or says that the series has ended.
pub(super) fn latest(series: &[Series], steps: &Steps) -> Vector {
    let rows = series.iter().map(|series| {
        let mut windows = Windows::new(&series.points, LOOKBACK);
        let values = steps.iter().map(|at| {
            let latest = windows.slide_to(*at).last();
            Slot::from(latest.filter(|(_, value)| !is_stale(*value)).map(|(_, value)| *value))
        });
        Row { metric: series.metric.clone(), labels: series.labels.clone(), values: values.collect() }
    });
    Vector(rows.collect())
}

/// A function of the samples in `(step - window, step]`. Marks that a series has ended are no samples.
pub(super) fn over(
    function: RangeFunction,
    series: &[Series],
    window: Duration,
    steps: &Steps,
) -> Result<Vector> {
    let apply: fn(&[Point], Window) -> Option<f64> = match function {
        RangeFunction::Rate => {
            |points, window| increase(points, window).map(|increase| increase / (window.millis / 1000.0))
        }
        RangeFunction::Increase => increase,
        RangeFunction::Avg => |points, _| {
            let mut mean = Mean::default();
            for (_, value) in points {
                mean.add(*value);
            }
            mean.value()
        },
        RangeFunction::Min => |points, _| points.iter().map(|(_, value)| *value).reduce(least),
        RangeFunction::Max => |points, _| points.iter().map(|(_, value)| *value).reduce(greatest),
        RangeFunction::Last => |points, _| points.last().map(|(_, value)| *value),
        unknown => {
            let message = format!("{} is not known to this engine", unknown.as_str());
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    };
    let keeps_metric = function == RangeFunction::Last;
    let millis = window.as_millis() as f64;
    let rows = series.iter().map(|series| {
        let points: Vec<Point> =
            series.points.iter().filter(|(_, value)| !is_stale(*value)).copied().collect();
        let mut windows = Windows::new(&points, window);
        let values = steps.iter().map(|at| {
            let points = windows.slide_to(*at);
            Slot::from(apply(points, Window { end: *at, millis }))
        });
        let metric = series.metric.clone().filter(|_| keeps_metric);
        Row { metric, labels: series.labels.clone(), values: values.collect() }
    });
    Ok(Vector(rows.collect()))
}

fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE
}

/// A window over points that moves forward in time.
struct Windows<'a> {
    points: &'a [Point],
    length: Duration,
    first: usize,
    after: usize,
}

impl<'a> Windows<'a> {
    fn new(points: &'a [Point], length: Duration) -> Self {
        Self { points, length, first: 0, after: 0 }
    }

    /// The points in `(end - length, end]`. `end` is not before that of the last call.
    fn slide_to(&mut self, end: Timestamp) -> &'a [Point] {
        let start = end - self.length;
        let is = |at: usize, holds: fn(Timestamp, Timestamp) -> bool, bound: Timestamp| {
            self.points.get(at).is_some_and(|(timestamp, _)| holds(*timestamp, bound))
        };
        while is(self.after, |timestamp, end| timestamp <= end, end) {
            self.after += 1;
        }
        while self.first < self.after && is(self.first, |timestamp, start| timestamp <= start, start) {
            self.first += 1;
        }
        self.points.get(self.first..self.after).unwrap_or_default()
    }
}

#[derive(Clone, Copy)]
struct Window {
    end: Timestamp,
    millis: f64,
}

/// How much a counter grew in a window, with what it lost in resets added, and extrapolated to the ends of the window:
/// to an end that is about as near as the next sample would be; else by half the mean distance of samples; and never to below zero.
fn increase(points: &[Point], window: Window) -> Option<f64> {
    let (first, last) = (points.first()?, points.last()?);
    if points.len() < 2 {
        return None;
    }
    let mut increase = last.1 - first.1;
    for (before, after) in points.iter().zip(points.iter().skip(1)) {
        if after.1 < before.1 {
            increase += before.1;
        }
    }
    let seconds = |from: Timestamp, to: Timestamp| (to.as_millis() - from.as_millis()) as f64 / 1000.0;
    let sampled = seconds(first.0, last.0);
    let distance = sampled / (points.len() - 1) as f64;
    let reach = |gap: f64| if gap >= distance * 1.1 { distance / 2.0 } else { gap };
    let end_gap = seconds(last.0, window.end);
    let start_gap = (first.0.as_millis() as f64 - (window.end.as_millis() as f64 - window.millis)) / 1000.0;
    let mut to_start = reach(start_gap);
    if increase > 0.0 && first.1 >= 0.0 {
        let to_zero = sampled * (first.1 / increase);
        to_start = to_start.min(to_zero);
    }
    Some(increase * ((sampled + to_start + reach(end_gap)) / sampled))
}
