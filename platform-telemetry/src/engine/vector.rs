//! Intermediate results: for each series a value at each step, or none.

use platform_core::{
    clock::Timestamp,
    telemetry::{Labels, Series},
};
use std::sync::Arc;

pub(super) type Steps = [Timestamp];

/// Prometheus' mark that a series has ended, one of the many NaNs.
pub(super) const STALE: u64 = 0x7ff0_0000_0000_0002;

/// A value at a step, or none: a stale mark never is a result, so that it can say "none" here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot(f64);

impl Slot {
    pub(super) const NONE: Self = Self(f64::from_bits(STALE));

    pub(super) fn get(self) -> Option<f64> {
        (self.0.to_bits() != STALE).then_some(self.0)
    }
}

impl From<f64> for Slot {
    fn from(value: f64) -> Self {
        // Arithmetic on a literal may give the very bits of the mark; any other NaN means the same.
        if value.to_bits() == STALE { Self(f64::NAN) } else { Self(value) }
    }
}

impl From<Option<f64>> for Slot {
    fn from(value: Option<f64>) -> Self {
        value.map_or(Self::NONE, Self::from)
    }
}

/// A series and its values, one for each step.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) metric: Option<Arc<str>>,
    pub(super) labels: Labels,
    pub(super) values: Vec<Slot>,
}

/// An instant vector at each step. Labels, with the metric's name, are different in each row.
#[derive(Debug, Clone, Default)]
pub(super) struct Vector(pub(super) Vec<Row>);

impl Vector {
    /// A number as a series without labels.
    pub(super) fn constant(value: f64, steps: usize) -> Self {
        Self(vec![Row { metric: None, labels: Labels::empty(), values: vec![value.into(); steps] }])
    }

    /// The rows with at least one value, sorted.
    pub(super) fn into_series(self, steps: &Steps) -> Vec<Series> {
        let mut series: Vec<Series> = self
            .0
            .into_iter()
            .map(|row| {
                let points = steps.iter().zip(&row.values).filter_map(|(at, slot)| Some((*at, slot.get()?)));
                Series { metric: row.metric, labels: row.labels, points: points.collect() }
            })
            .filter(|series| !series.points.is_empty())
            .collect();
        series.sort_by(|a, b| (&a.metric, &a.labels).cmp(&(&b.metric, &b.labels)));
        series
    }
}

/// What an expression evaluates to.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// The same number at every step.
    Scalar(f64),
    /// Series.
    Vector(Vector),
}
