//! Metric expressions: a typed subset of PromQL.
//!
//! One value is evaluated by the embedded store and printed as PromQL for Prometheus and Grafana.
//!
//! ```
//! use platform_core::telemetry::{Expression, metric};
//! use std::time::Duration;
//!
//! let idle = metric("node_cpu_seconds_total").eq("mode", "idle").rate(Duration::from_secs(300));
//! let busy = 100.0 * (1.0 - idle.avg_by(["cluster"]));
//! assert_eq!(
//!     busy.to_string(),
//!     r#"100 * (1 - avg by (cluster) (rate(node_cpu_seconds_total{mode="idle"}[5m])))"#
//! );
//! ```

use super::{Labels, prometheus_duration::PromDuration};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    ops::{Add, Div, Mul, Sub},
    time::Duration,
};

/// How a [`Matcher`] compares. There are no regular expressions: a set of values says the same and needs no engine to agree.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum MatchOperator {
    /// The label has this value; `""` matches a missing label, as in Prometheus.
    Equal(String),
    /// The label has another value or is missing.
    NotEqual(String),
    /// The label has one of these values.
    In(Vec<String>),
    /// The label has none of these values or is missing.
    NotIn(Vec<String>),
}

/// A condition on a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Matcher {
    /// The label.
    pub label: String,
    /// The comparison.
    pub operator: MatchOperator,
}

impl Matcher {
    /// `label="value"`.
    pub fn equal(label: impl Into<String>, value: impl Into<String>) -> Self {
        Self { label: label.into(), operator: MatchOperator::Equal(value.into()) }
    }

    /// `label!="value"`.
    pub fn not_equal(label: impl Into<String>, value: impl Into<String>) -> Self {
        Self { label: label.into(), operator: MatchOperator::NotEqual(value.into()) }
    }

    /// `label=~"a|b"`.
    pub fn one_of<V: Into<String>>(label: impl Into<String>, values: impl IntoIterator<Item = V>) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        Self { label: label.into(), operator: MatchOperator::In(values) }
    }

    /// `label!~"a|b"`.
    pub fn none_of<V: Into<String>>(label: impl Into<String>, values: impl IntoIterator<Item = V>) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        Self { label: label.into(), operator: MatchOperator::NotIn(values) }
    }

    /// Whether `labels` fulfil it.
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.label).unwrap_or("");
        match &self.operator {
            MatchOperator::Equal(wanted) => value == wanted,
            MatchOperator::NotEqual(unwanted) => value != unwanted,
            MatchOperator::In(wanted) => wanted.iter().any(|w| w == value),
            MatchOperator::NotIn(unwanted) => unwanted.iter().all(|u| u != value),
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alternatives = |values: &[String]| {
            let escaped: Vec<String> = values.iter().map(|v| escape_regex(v)).collect();
            escaped.join("|")
        };
        let label = LabelName(&self.label);
        match &self.operator {
            MatchOperator::Equal(value) => write!(f, "{label}={}", Quoted(value)),
            MatchOperator::NotEqual(value) => write!(f, "{label}!={}", Quoted(value)),
            // No alternatives at all would match the empty text: one of none is never, none of none is always.
            MatchOperator::In(values) if values.is_empty() => write!(f, "{label}!~\".*\""),
            MatchOperator::NotIn(values) if values.is_empty() => write!(f, "{label}=~\".*\""),
            MatchOperator::In(values) => write!(f, "{label}=~{}", Quoted(&alternatives(values))),
            MatchOperator::NotIn(values) => write!(f, "{label}!~{}", Quoted(&alternatives(values))),
        }
    }
}

/// A label's name, quoted where it is not one of the names that Prometheus had before it took all of
/// [UTF-8](https://prometheus.io/docs/guides/utf8/).
pub(super) struct LabelName<'a>(pub(super) &'a str);

impl fmt::Display for LabelName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_plain(self.0, "") { f.write_str(self.0) } else { Quoted(self.0).fmt(f) }
    }
}

/// Whether a name is made of letters, digits, `_` and `more`, and does not start with a digit.
fn is_plain(name: &str, more: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || more.contains(c))
}

/// Words that PromQL does not take for the name of a metric where one is expected.
const KEYWORDS: [&str; 8] = ["inf", "nan", "bool", "on", "ignoring", "group_left", "group_right", "atan2"];

/// A string literal of PromQL, and a label's value of the text format: both escape the same three characters.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

fn escape_regex(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\.+*?()|[]{}^$".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// Chooses series: a metric and conditions on its labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Selector {
    /// The metric's name.
    pub metric: String,
    /// Conditions that must all hold.
    pub matchers: Vec<Matcher>,
}

/// Selects all series of a metric.
pub fn metric(name: impl Into<String>) -> Selector {
    Selector { metric: name.into(), matchers: Vec::new() }
}

impl Selector {
    /// Adds a condition.
    #[must_use]
    pub fn matching(mut self, matcher: Matcher) -> Self {
        self.matchers.push(matcher);
        self
    }

    /// Adds `label="value"`.
    #[must_use]
    pub fn eq(self, label: impl Into<String>, value: impl Into<String>) -> Self {
        self.matching(Matcher::equal(label, value))
    }

    /// Adds `label!="value"`.
    #[must_use]
    pub fn ne(self, label: impl Into<String>, value: impl Into<String>) -> Self {
        self.matching(Matcher::not_equal(label, value))
    }

    /// Applies a function to each series' samples in the `window` before each step.
    pub fn over(self, function: RangeFunction, window: Duration) -> Expression {
        Expression::Range { function, selector: self, window }
    }

    /// The increase per second of a counter, [`RangeFunction::Rate`].
    pub fn rate(self, window: Duration) -> Expression {
        self.over(RangeFunction::Rate, window)
    }

    /// The increase of a counter, [`RangeFunction::Increase`].
    pub fn increase(self, window: Duration) -> Expression {
        self.over(RangeFunction::Increase, window)
    }

    /// Whether labels fulfil all conditions.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|m| m.matches(labels))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain =
            is_plain(&self.metric, ":") && !KEYWORDS.iter().any(|k| k.eq_ignore_ascii_case(&self.metric));
        let mut conditions: Vec<String> = self.matchers.iter().map(ToString::to_string).collect();
        if plain {
            f.write_str(&self.metric)?;
        } else {
            conditions.insert(0, Quoted(&self.metric).to_string());
        }
        if conditions.is_empty() { Ok(()) } else { write!(f, "{{{}}}", conditions.join(",")) }
    }
}

/// A function of the samples in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RangeFunction {
    /// `rate`: increase per second of a counter, resets corrected, extrapolated to the window as Prometheus does.
    Rate,
    /// `increase`: the rate times the window.
    Increase,
    /// `avg_over_time`.
    Avg,
    /// `min_over_time`.
    Min,
    /// `max_over_time`.
    Max,
    /// `last_over_time`.
    Last,
}

impl RangeFunction {
    /// Its name in PromQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Increase => "increase",
            Self::Avg => "avg_over_time",
            Self::Min => "min_over_time",
            Self::Max => "max_over_time",
            Self::Last => "last_over_time",
        }
    }
}

/// How series are brought together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Aggregation {
    /// The sum.
    Sum,
    /// The mean.
    Avg,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// How many.
    Count,
}

impl Aggregation {
    /// Its name in PromQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Count => "count",
        }
    }
}

/// Arithmetic on two expressions. Series are paired by equal labels, the metric's name left out; what has no pair is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BinaryOperator {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
}

impl BinaryOperator {
    /// Applies it, by the rules of IEEE 754: dividing by zero is infinite or NaN.
    pub fn apply(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Sub => left - right,
            Self::Mul => left * right,
            Self::Div => left / right,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
        }
    }

    const fn precedence(self) -> u8 {
        match self {
            Self::Add | Self::Sub => 1,
            Self::Mul | Self::Div => 2,
        }
    }
}

/// An expression over metrics. Prints as PromQL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Expression {
    /// A number.
    Number(f64),
    /// The latest sample of each series, not older than 5 minutes.
    Select(Selector),
    /// A function of the samples in the window before each step.
    Range {
        /// The function.
        function: RangeFunction,
        /// Which series.
        selector: Selector,
        /// How far back.
        window: Duration,
    },
    /// Series brought together by labels.
    Aggregate {
        /// How.
        operator: Aggregation,
        /// The labels that are kept; empty: all into one.
        by: Vec<String>,
        /// What is aggregated.
        of: Box<Expression>,
    },
    /// Arithmetic.
    Binary {
        /// The operator.
        operator: BinaryOperator,
        /// The left side.
        left: Box<Expression>,
        /// The right side.
        right: Box<Expression>,
    },
}

impl Expression {
    /// Brings series together by labels.
    #[must_use]
    pub fn aggregate<L: Into<String>>(self, operator: Aggregation, by: impl IntoIterator<Item = L>) -> Self {
        Self::Aggregate { operator, by: by.into_iter().map(Into::into).collect(), of: Box::new(self) }
    }

    /// The sum by labels.
    #[must_use]
    pub fn sum_by<L: Into<String>>(self, by: impl IntoIterator<Item = L>) -> Self {
        self.aggregate(Aggregation::Sum, by)
    }

    /// The mean by labels.
    #[must_use]
    pub fn avg_by<L: Into<String>>(self, by: impl IntoIterator<Item = L>) -> Self {
        self.aggregate(Aggregation::Avg, by)
    }

    /// The greatest by labels.
    #[must_use]
    pub fn max_by<L: Into<String>>(self, by: impl IntoIterator<Item = L>) -> Self {
        self.aggregate(Aggregation::Max, by)
    }

    /// All selectors in it, each with how far back from a step it looks.
    pub fn selectors(&self) -> Vec<(&Selector, Duration)> {
        match self {
            Self::Number(_) => Vec::new(),
            Self::Select(selector) => vec![(selector, LOOKBACK)],
            Self::Range { selector, window, .. } => vec![(selector, *window)],
            Self::Aggregate { of, .. } => of.selectors(),
            Self::Binary { left, right, .. } => {
                let mut selectors = left.selectors();
                selectors.extend(right.selectors());
                selectors
            }
        }
    }

    fn precedence(&self) -> u8 {
        match self {
            Self::Binary { operator, .. } => operator.precedence(),
            _ => 3,
        }
    }
}

/// How old the latest sample of a series may be for the series to count as present, as in Prometheus.
pub const LOOKBACK: Duration = Duration::from_secs(300);

impl From<Selector> for Expression {
    fn from(selector: Selector) -> Self {
        Self::Select(selector)
    }
}

impl From<f64> for Expression {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident $operator:ident;)*) => {$(
        impl<R: Into<Expression>> $trait<R> for Expression {
            type Output = Expression;
            fn $method(self, right: R) -> Expression {
                let (left, right) = (Box::new(self), Box::new(right.into()));
                Expression::Binary { operator: BinaryOperator::$operator, left, right }
            }
        }

        impl<R: Into<Expression>> $trait<R> for Selector {
            type Output = Expression;
            fn $method(self, right: R) -> Expression {
                $trait::$method(Expression::from(self), right)
            }
        }

        impl $trait<Expression> for f64 {
            type Output = Expression;
            fn $method(self, right: Expression) -> Expression {
                $trait::$method(Expression::Number(self), right)
            }
        }
    )*};
}

operators! {
    Add add Add;
    Sub sub Sub;
    Mul mul Mul;
    Div div Div;
}

/// As PromQL.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => PromNumber(*number).fmt(f),
            Self::Select(selector) => write!(f, "{selector}"),
            Self::Range { function, selector, window } => {
                // Prometheus refuses an empty window.
                let window = PromDuration((*window).max(Duration::from_millis(1)));
                write!(f, "{}({selector}[{window}])", function.as_str())
            }
            Self::Aggregate { operator, by, of } if by.is_empty() => write!(f, "{}({of})", operator.as_str()),
            Self::Aggregate { operator, by, of } => {
                let by: Vec<String> = by.iter().map(|label| LabelName(label).to_string()).collect();
                write!(f, "{} by ({}) ({of})", operator.as_str(), by.join(", "))
            }
            Self::Binary { operator, left, right } => {
                let own = operator.precedence();
                // Operators of one precedence bind to the left: only the right side needs parentheses then.
                let parenthesised =
                    |side: &Self, needs: bool| if needs { format!("({side})") } else { side.to_string() };
                let left = parenthesised(left, left.precedence() < own);
                let right = parenthesised(right, right.precedence() <= own);
                write!(f, "{left} {} {right}", operator.as_str())
            }
        }
    }
}

/// A number as PromQL writes it: `-1.5`, `1e300`, `+Inf`, `NaN`.
pub(crate) struct PromNumber(pub(crate) f64);

impl fmt::Display for PromNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number) = *self;
        if number.is_infinite() {
            f.write_str(if number > 0.0 { "+Inf" } else { "-Inf" })
        } else if number != 0.0 && !(1e-6..1e15).contains(&number.abs()) && !number.is_nan() {
            write!(f, "{number:e}")
        } else {
            write!(f, "{number}")
        }
    }
}

#[cfg(test)]
mod tests;
