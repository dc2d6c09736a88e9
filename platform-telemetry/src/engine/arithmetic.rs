//! Arithmetic on numbers and series.

use super::vector::{Row, Slot, Value, Vector};
use platform_core::{
    Error, Result,
    telemetry::{BinaryOperator, Labels},
};
use std::collections::HashMap;

/// Series are paired by equal labels; the result has no metric.
pub(super) fn combine(operator: BinaryOperator, left: Value, right: Value) -> Result<Value> {
    Ok(match (left, right) {
        (Value::Scalar(left), Value::Scalar(right)) => Value::Scalar(operator.apply(left, right)),
        (Value::Vector(left), Value::Scalar(right)) => {
            Value::Vector(map(left, |value| operator.apply(value, right)))
        }
        (Value::Scalar(left), Value::Vector(right)) => {
            Value::Vector(map(right, |value| operator.apply(left, value)))
        }
        (Value::Vector(left), Value::Vector(right)) => Value::Vector(pair(operator, left, right)?),
    })
}

fn map(mut vector: Vector, apply: impl Fn(f64) -> f64) -> Vector {
    for row in &mut vector.0 {
        row.metric = None;
        for slot in &mut row.values {
            *slot = slot.get().map(&apply).into();
        }
    }
    vector
}

fn pair(operator: BinaryOperator, left: Vector, right: Vector) -> Result<Vector> {
    let mut rights = by_labels(right, "right")?;
    let lefts = by_labels(left, "left")?;
    let rows = lefts.into_iter().filter_map(|(labels, left)| {
        let right = rights.remove(&labels)?;
        let values = left.values.iter().zip(&right.values).map(|(left, right)| {
            let both = left.get().zip(right.get());
            Slot::from(both.map(|(left, right)| operator.apply(left, right)))
        });
        Some(Row { metric: None, labels, values: values.collect() })
    });
    Ok(Vector(rows.collect()))
}

fn by_labels(vector: Vector, side: &str) -> Result<HashMap<Labels, Row>> {
    let mut rows = HashMap::with_capacity(vector.0.len());
    for row in vector.0 {
        if let Some(twin) = rows.insert(row.labels.clone(), row) {
            return Err(Error::invalid(format!(
                "two series on the {side} side have the labels {}, so that it is not clear which one is meant",
                twin.labels
            )));
        }
    }
    Ok(rows)
}
