//! Brings series together by labels.

use super::{
    sum::{Mean, Sum},
    vector::{Row, Slot, Vector},
};
use platform_core::{
    Error, ErrorKind, Result,
    telemetry::{Aggregation, Labels},
};
use std::{collections::BTreeMap, sync::Arc};

/// One row for each different set of values that the labels `by` have.
pub(super) fn aggregate(
    operator: Aggregation,
    by: &[String],
    vector: &Vector,
    steps: usize,
) -> Result<Vector> {
    let keeps_metric = by.iter().any(|label| label == "__name__");
    let mut groups: BTreeMap<(Option<Arc<str>>, Labels), Vec<&Row>> = BTreeMap::new();
    for row in &vector.0 {
        let metric = row.metric.clone().filter(|_| keeps_metric);
        groups.entry((metric, row.labels.only(by))).or_default().push(row);
    }
    let rows = groups.into_iter().map(|((metric, labels), rows)| {
        let values: Result<Vec<Slot>> = (0..steps)
            .map(|step| {
                let values = rows.iter().filter_map(|row| row.values.get(step)?.get());
                fold(operator, values).map(Slot::from)
            })
            .collect();
        Ok(Row { metric, labels, values: values? })
    });
    rows.collect::<Result<_>>().map(Vector)
}

/// `None` of no values.
fn fold(operator: Aggregation, mut values: impl Iterator<Item = f64>) -> Result<Option<f64>> {
    Ok(match operator {
        Aggregation::Sum => {
            let Some(first) = values.next() else { return Ok(None) };
            let mut sum = Sum::default();
            std::iter::once(first).chain(values).for_each(|value| sum.add(value));
            Some(sum.total())
        }
        Aggregation::Avg => {
            let mut mean = Mean::default();
            values.for_each(|value| mean.add(value));
            mean.value()
        }
        Aggregation::Min => values.reduce(least),
        Aggregation::Max => values.reduce(greatest),
        Aggregation::Count => Some(values.count()).filter(|count| *count > 0).map(|count| count as f64),
        unknown => {
            let message = format!("{} is not known to this engine", unknown.as_str());
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    })
}

/// The lesser one; NaN only if both are.
pub(super) fn least(a: f64, b: f64) -> f64 {
    if b < a || a.is_nan() { b } else { a }
}

/// The greater one; NaN only if both are.
pub(super) fn greatest(a: f64, b: f64) -> f64 {
    if b > a || a.is_nan() { b } else { a }
}
