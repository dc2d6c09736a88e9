//! Evaluates metric expressions over raw samples, by the rules of PromQL in Prometheus 3.
//!
//! Every selector is read once for the whole query; then each series is walked once, with a window that slides from step to step.

mod aggregate;
mod arithmetic;
mod sum;
mod vector;
mod window;

use platform_core::{
    Error, ErrorKind, Result,
    clock::Timestamp,
    telemetry::{Expression, MAX_STEPS, MetricQuery, Selector, Series, TimeRange},
};
use std::{collections::HashMap, time::Duration};
use vector::{Value, Vector};

/// Where the samples come from.
pub(crate) trait SeriesReader {
    /// Raw samples of the series that `selector` chooses, in `range`: series with different labels, points by time,
    /// one for each time.
    fn select(&self, selector: &Selector, range: TimeRange) -> Result<Vec<Series>>;
}

/// How many values an intermediate result may have, as in Prometheus.
const MAX_VALUES: usize = 50_000_000;

/// Evaluates `query`. Series are sorted by metric and labels; a step at which a series has no value has no point.
pub(crate) fn evaluate(reader: &impl SeriesReader, query: &MetricQuery) -> Result<Vec<Series>> {
    // A query that was not made by its constructor, but read from JSON, may have any step.
    let step = query.step.as_millis().max(1);
    if query.range.duration().as_millis() / step > u128::from(MAX_STEPS) {
        return Err(Error::invalid(format!("a query of more than {MAX_STEPS} steps is too fine"))
            .help("choose a longer step or a shorter range"));
    }
    let evaluator = Evaluator { samples: read(reader, query)?, steps: query.steps().collect() };
    let vector = match evaluator.evaluate(&query.expression)? {
        Value::Scalar(value) => Vector::constant(value, evaluator.steps.len()),
        Value::Vector(vector) => vector,
    };
    Ok(vector.into_series(&evaluator.steps))
}

/// Reads each selector once, as far back as any use of it looks.
fn read(reader: &impl SeriesReader, query: &MetricQuery) -> Result<HashMap<Selector, Vec<Series>>> {
    let mut windows: HashMap<&Selector, Duration> = HashMap::new();
    for (selector, window) in query.expression.selectors() {
        let longest = windows.entry(selector).or_default();
        *longest = window.max(*longest);
    }
    let mut samples = HashMap::new();
    for (selector, window) in windows {
        let moment = Duration::from_millis(1);
        // Windows are open on the left: a sample exactly at their beginning is not in them.
        let range = TimeRange::new(query.range.from - window + moment, query.range.to + moment);
        samples.insert(selector.clone(), reader.select(selector, range)?);
    }
    Ok(samples)
}

struct Evaluator {
    samples: HashMap<Selector, Vec<Series>>,
    steps: Vec<Timestamp>,
}

impl Evaluator {
    fn evaluate(&self, expression: &Expression) -> Result<Value> {
        match expression {
            Expression::Number(number) => Ok(Value::Scalar(*number)),
            Expression::Select(selector) => {
                let series = self.selected(selector)?;
                Ok(Value::Vector(window::latest(series, &self.steps)))
            }
            Expression::Range { function, selector, window } => {
                let series = self.selected(selector)?;
                window::over(*function, series, *window, &self.steps).map(Value::Vector)
            }
            Expression::Aggregate { operator, by, of } => match self.evaluate(of)? {
                Value::Vector(vector) => {
                    aggregate::aggregate(*operator, by, &vector, self.steps.len()).map(Value::Vector)
                }
                Value::Scalar(_) => Err(Error::invalid(format!(
                    "{} brings series together, and {of} is a number",
                    operator.as_str()
                ))),
            },
            Expression::Binary { operator, left, right } => {
                arithmetic::combine(*operator, self.evaluate(left)?, self.evaluate(right)?)
            }
            unknown => {
                Err(Error::new(ErrorKind::Unsupported, format!("{unknown} is not known to this engine")))
            }
        }
    }

    fn selected(&self, selector: &Selector) -> Result<&[Series]> {
        let series = self.samples.get(selector).map_or(&[][..], Vec::as_slice);
        if series.len().saturating_mul(self.steps.len()) > MAX_VALUES {
            let message =
                format!("{selector} chooses {} series, for {} steps", series.len(), self.steps.len());
            return Err(Error::new(ErrorKind::Exhausted, message)
                .help(format!("choose fewer series or steps, for at most {MAX_VALUES} values")));
        }
        Ok(series)
    }
}

#[cfg(test)]
mod tests;
