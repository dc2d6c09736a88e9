//! Queries and their answers.

use super::{Expression, Labels, LogRecord, Matcher, Severity};
use crate::{
    clock::Timestamp,
    error::{Error, Result},
};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// From (inclusive) to (exclusive).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TimeRange {
    /// The first moment in it.
    pub from: Timestamp,
    /// The first moment after it.
    pub to: Timestamp,
}

impl TimeRange {
    /// From `from` to before `to`; empty if that is earlier.
    pub fn new(from: Timestamp, to: Timestamp) -> Self {
        Self { from, to: to.max(from) }
    }

    /// The `window` that ends just after `now`, so that what happened at `now` is in it.
    pub fn last(window: Duration, now: Timestamp) -> Self {
        Self::new(now - window, now + Duration::from_millis(1))
    }

    /// Whether `moment` is in it.
    pub fn contains(&self, moment: Timestamp) -> bool {
        self.from <= moment && moment < self.to
    }

    /// How long it is.
    pub fn duration(&self) -> Duration {
        self.to.since(self.from)
    }
}

/// The greatest number of steps of a [`MetricQuery`], as Prometheus has it.
pub const MAX_STEPS: u64 = 11_000;

/// An expression, evaluated at the start of `range` and then every `step` up to and including its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MetricQuery {
    /// What to evaluate.
    pub expression: Expression,
    /// When.
    pub range: TimeRange,
    /// How far apart.
    pub step: Duration,
}

impl MetricQuery {
    /// Evaluates `expression` over `range` every `step`; refuses a zero step, and more than 11,000 steps.
    pub fn new(expression: impl Into<Expression>, range: TimeRange, step: Duration) -> Result<Self> {
        let step_millis = step.as_millis();
        if step_millis == 0 {
            return Err(Error::invalid("the step of a query must be at least 1 ms"));
        }
        let steps = range.duration().as_millis() / step_millis;
        if steps > u128::from(MAX_STEPS) {
            return Err(Error::invalid(format!("a query of {steps} steps is too fine"))
                .help(format!("choose a longer step or a shorter range, for at most {MAX_STEPS} steps")));
        }
        Ok(Self { expression: expression.into(), range, step })
    }

    /// Evaluates `expression` at one moment.
    pub fn instant(expression: impl Into<Expression>, at: Timestamp) -> Self {
        Self { expression: expression.into(), range: TimeRange::new(at, at), step: Duration::from_millis(1) }
    }

    /// The moments at which it is evaluated; the first [`MAX_STEPS`] + 1 of them where the fields were set to more.
    pub fn steps(&self) -> impl Iterator<Item = Timestamp> + use<> {
        let (from, to) = (self.range.from.as_millis(), self.range.to.as_millis());
        let step = i64::try_from(self.step.as_millis()).unwrap_or(i64::MAX).max(1);
        std::iter::successors(Some(from), move |at| at.checked_add(step))
            .take_while(move |at| *at <= to)
            .take(MAX_STEPS as usize + 1)
            .map(Timestamp::from_millis)
    }
}

/// A value at a moment.
pub type Point = (Timestamp, f64);

/// A series of points.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// The metric; `None` where an operation made it another quantity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<Arc<str>>,
    /// The labels.
    pub labels: Labels,
    /// The points, by time.
    pub points: Vec<Point>,
}

/// In which order log records are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogOrder {
    /// The latest first.
    #[default]
    NewestFirst,
    /// The earliest first.
    OldestFirst,
}

/// A search of the log records: all conditions must hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogQuery {
    /// When.
    pub range: TimeRange,
    /// Words that the body must all contain, in any order and case; `"two words"` in quotes must follow each other;
    /// a word with `-` before it must not be there. Empty: any body. Never a syntax error: what is no operator is a word.
    pub text: String,
    /// Conditions on labels.
    pub matchers: Vec<Matcher>,
    /// At least this grave.
    pub min_severity: Option<Severity>,
    /// At most this many records, 1 to 10,000. Default: 100.
    pub limit: usize,
    /// In which order.
    pub order: LogOrder,
}

impl LogQuery {
    /// The 100 latest records in `range`.
    pub fn new(range: TimeRange) -> Self {
        Self {
            range,
            text: String::new(),
            matchers: Vec::new(),
            min_severity: None,
            limit: 100,
            order: LogOrder::default(),
        }
    }

    /// Sets the words.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    /// Adds a condition on labels.
    #[must_use]
    pub fn matching(mut self, matcher: Matcher) -> Self {
        self.matchers.push(matcher);
        self
    }

    /// Sets the least gravity.
    #[must_use]
    pub fn min_severity(mut self, severity: Severity) -> Self {
        self.min_severity = Some(severity);
        self
    }

    /// Sets the greatest number of records.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit.clamp(1, 10_000);
        self
    }

    /// Sets the order.
    #[must_use]
    pub fn order(mut self, order: LogOrder) -> Self {
        self.order = order;
        self
    }
}

/// An answer to a [`LogQuery`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LogPage {
    /// The records, in the order asked for.
    pub records: Vec<LogRecord>,
    /// How many records match, whatever the limit.
    pub total: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: i64, to: i64) -> TimeRange {
        TimeRange::new(Timestamp::from_millis(from), Timestamp::from_millis(to))
    }

    #[test]
    fn steps_are_bounded_at_both_ends_of_time() {
        let query = |range, step| MetricQuery::new(1.0, range, Duration::from_millis(step));
        let steps = |query: MetricQuery| query.steps().map(Timestamp::as_millis).collect::<Vec<_>>();
        assert_eq!(steps(query(range(0, 10), 4).unwrap()), [0, 4, 8]);
        assert_eq!(steps(query(range(5, 1), 4).unwrap()), [5]);
        assert_eq!(query(range(0, 11_000), 1).unwrap().steps().count(), 11_001);
        assert!(query(range(0, 11_001), 1).is_err());
        assert!(query(range(0, 1), 0).is_err());
        assert!(query(range(i64::MIN, i64::MAX), 1).is_err());
        assert_eq!(steps(query(range(i64::MAX - 1, i64::MAX), 1).unwrap()), [i64::MAX - 1, i64::MAX]);
        let mut changed = query(range(0, 10), 1).unwrap();
        changed.range = range(i64::MIN, i64::MAX);
        assert_eq!(changed.steps().count(), 11_001);
        let now = Timestamp::from_millis(i64::MIN);
        assert!(TimeRange::last(Duration::MAX, now).contains(now));
    }
}
