//! Expressions as data sets of Vega: what is asked of Elasticsearch, and what is done with the answer.

use crate::{
    dashboard::PanelQuery,
    error::{Error, ErrorKind, Result},
    telemetry::{
        Aggregation, BinaryOperator, Expression, MatchOperator, Matcher, RangeFunction, Selector,
        document::{METRIC_NAME, Signal, data_stream},
    },
};
use serde_json::{Map, Value, json};
use std::{collections::BTreeSet, time::Duration};

/// The series of a query: the data sets that make it, of which the last has the columns `t`, `v` and `series`.
pub(super) struct Drawn {
    pub(super) name: String,
    pub(super) data: Vec<Value>,
}

/// What the buckets of an answer are called.
const BUCKETS: &str = "buckets";
/// The most buckets that Elasticsearch answers with.
const MOST_BUCKETS: u32 = 65_535;

/// Data sets with a column for each label: `l0`, `l1`; labels' names may have any characters.
struct Data {
    name: String,
    labels: Vec<String>,
}

/// A number, or a set of series.
enum Compiled {
    Number(f64),
    Series(Data),
}

struct Compiler {
    prefix: String,
    step: Duration,
    data: Vec<Value>,
}

/// Makes the data sets of the query that stands at `at` in its panel.
pub(super) fn drawn(query: &PanelQuery, at: usize, step: Duration) -> Result<Drawn> {
    let mut compiler = Compiler { prefix: format!("q{at}"), step, data: Vec::new() };
    let (source, labels) = match compiler.compile(&query.expression)? {
        Compiled::Series(Data { name, labels }) => (name, labels),
        Compiled::Number(_) => return Err(unsupported("a number alone has no time")),
    };
    let legend = legend(&query.legend, &labels)?;
    let name = format!("{}_drawn", compiler.prefix);
    let transform = json!([
        {"type": "filter", "expr": "isValid(datum.v) && isFinite(datum.v)"},
        {"type": "formula", "as": "series", "expr": legend},
        {"type": "project", "fields": ["t", "v", "series"]},
    ]);
    compiler.data.push(json!({"name": name, "source": source, "transform": transform}));
    Ok(Drawn { name, data: compiler.data })
}

impl Compiler {
    fn compile(&mut self, expression: &Expression) -> Result<Compiled> {
        match expression {
            Expression::Number(number) => Ok(Compiled::Number(*number)),
            Expression::Aggregate { operator, by, of } => {
                self.aggregate(*operator, by, of).map(Compiled::Series)
            }
            Expression::Binary { operator, left, right } => self.binary(*operator, left, right),
            other => Err(unsupported(&format!("{other} is not aggregated by labels"))
                .help("put sum_by or avg_by around it")),
        }
    }

    fn aggregate(&mut self, operator: Aggregation, by: &[String], of: &Expression) -> Result<Data> {
        let operation = match operator {
            Aggregation::Sum => "sum",
            Aggregation::Avg => "mean",
            Aggregation::Min => "min",
            Aggregation::Max => "max",
            Aggregation::Count => "valid",
        };
        let inner = match of {
            Expression::Select(selector) => self.fetch(selector, None, by),
            Expression::Range { function, selector, window } => {
                self.fetch(selector, Some((*function, *window)), by)
            }
            other => match self.compile(other)? {
                Compiled::Series(data) => data,
                Compiled::Number(_) => return Err(unsupported("a number has nothing to aggregate")),
            },
        };
        let mut groups = vec!["t".to_owned()];
        let mut renames = Vec::new();
        for (at, label) in by.iter().enumerate() {
            // A label that none of the series has is empty.
            let column = inner.labels.iter().position(|known| known == label);
            let value = column.map_or("''".to_owned(), |column| format!("datum.l{column}"));
            renames.push(json!({"type": "formula", "as": format!("g{at}"), "expr": value}));
            groups.push(format!("g{at}"));
        }
        let mut transform = renames;
        transform.push(json!({"type": "filter", "expr": "isValid(datum.v)"}));
        transform.push(json!({
            "type": "aggregate", "groupby": groups, "fields": ["v"], "ops": [operation], "as": ["v"],
        }));
        for at in 0..by.len() {
            transform
                .push(json!({"type": "formula", "as": format!("l{at}"), "expr": format!("datum.g{at}")}));
        }
        Ok(self.push(Some(&inner.name), transform, by.to_vec()))
    }

    /// Asks for the samples of a selector, a value for each series and step, with the labels of `by`.
    fn fetch(
        &mut self,
        selector: &Selector,
        range: Option<(RangeFunction, Duration)>,
        by: &[String],
    ) -> Data {
        let name = self.name();
        let mut transform: Vec<Value> =
            vec![formula("t", "datum.key.t"), formula("s", "datum.key.s"), formula("v", "datum.value.value")];
        for at in 0..by.len() {
            transform.push(formula(&format!("l{at}"), &format!("datum.key.l{at} || ''")));
        }
        if let Some((function, window)) = range {
            transform.extend(over(function, self.steps(window), self.step));
        }
        self.data.push(json!({
            "name": name,
            "url": {
                "index": data_stream(Signal::Metrics, "*"),
                "body": self.request(selector, range.map(|(function, _)| function), by),
            },
            "format": {"property": format!("aggregations.{BUCKETS}.buckets")},
            "transform": transform,
        }));
        Data { name, labels: by.to_vec() }
    }

    fn request(&self, selector: &Selector, function: Option<RangeFunction>, by: &[String]) -> Value {
        let mut sources = vec![json!({"s": {"terms": {"field": "_tsid"}}})];
        for (at, label) in by.iter().enumerate() {
            let field = label_field(label);
            sources.push(json!({format!("l{at}"): {"terms": {"field": field, "missing_bucket": true}}}));
        }
        let step = format!("{}s", self.step.as_secs());
        sources.push(json!({"t": {"date_histogram": {"field": "@timestamp", "fixed_interval": step}}}));
        let statistic = match function {
            // A counter's last value is its greatest, unless it was reset within the step.
            Some(RangeFunction::Rate | RangeFunction::Increase | RangeFunction::Max) => "max",
            Some(RangeFunction::Min) => "min",
            Some(RangeFunction::Avg | RangeFunction::Last) | None => "avg",
        };
        let field = format!("metrics.{}", selector.metric);
        json!({
            "size": 0,
            "query": filters(selector),
            "aggs": {BUCKETS: {
                "composite": {"size": MOST_BUCKETS, "sources": sources},
                "aggs": {"value": {statistic: {"field": field}}},
            }},
        })
    }

    fn binary(
        &mut self,
        operator: BinaryOperator,
        left: &Expression,
        right: &Expression,
    ) -> Result<Compiled> {
        let symbol = match operator {
            BinaryOperator::Add => "+",
            BinaryOperator::Sub => "-",
            BinaryOperator::Mul => "*",
            BinaryOperator::Div => "/",
        };
        Ok(match (self.compile(left)?, self.compile(right)?) {
            (Compiled::Number(left), Compiled::Number(right)) => {
                Compiled::Number(operator.apply(left, right))
            }
            (Compiled::Series(data), Compiled::Number(number)) => {
                self.map(data, &format!("datum.v {symbol} {}", literal(number)?))
            }
            (Compiled::Number(number), Compiled::Series(data)) => {
                self.map(data, &format!("{} {symbol} datum.v", literal(number)?))
            }
            (Compiled::Series(left), Compiled::Series(right)) => {
                Compiled::Series(self.join(symbol, &left, &right)?)
            }
        })
    }

    fn map(&mut self, data: Data, value: &str) -> Compiled {
        let transform = vec![formula("v", value)];
        Compiled::Series(self.push(Some(&data.name), transform, data.labels))
    }

    /// Pairs series by time and labels; what has no pair is left out.
    fn join(&mut self, symbol: &str, left: &Data, right: &Data) -> Result<Data> {
        let sorted = |data: &Data| data.labels.iter().cloned().collect::<BTreeSet<String>>();
        if sorted(left) != sorted(right) {
            return Err(unsupported(&format!(
                "series by {:?} have no pairs by {:?}",
                left.labels, right.labels
            )));
        }
        let key = |data: &Data| {
            let columns =
                left.labels.iter().filter_map(|label| data.labels.iter().position(|known| known == label));
            columns
                .fold("'' + datum.t".to_owned(), |key, column| format!("{key} + '\\u0000' + datum.l{column}"))
        };
        let keyed = self.push(Some(&right.name), vec![formula("k", &key(right))], right.labels.clone());
        let transform = vec![
            formula("k", &key(left)),
            json!({"type": "lookup", "from": keyed.name, "key": "k", "fields": ["k"], "values": ["v"], "as": ["r"]}),
            json!({"type": "filter", "expr": "isValid(datum.r) && isValid(datum.v)"}),
            formula("v", &format!("datum.v {symbol} datum.r")),
        ];
        Ok(self.push(Some(&left.name), transform, left.labels.clone()))
    }

    fn push(&mut self, source: Option<&str>, transform: Vec<Value>, labels: Vec<String>) -> Data {
        let name = self.name();
        let mut data = Map::new();
        data.insert("name".to_owned(), name.as_str().into());
        if let Some(source) = source {
            data.insert("source".to_owned(), source.into());
        }
        data.insert("transform".to_owned(), transform.into());
        self.data.push(Value::Object(data));
        Data { name, labels }
    }

    fn name(&self) -> String {
        format!("{}_{}", self.prefix, self.data.len())
    }

    /// How many steps a window has.
    fn steps(&self, window: Duration) -> u64 {
        (window.as_secs() / self.step.as_secs().max(1)).max(1)
    }
}

/// What is made of a series' values over the `steps` that end at each.
fn over(function: RangeFunction, steps: u64, step: Duration) -> Vec<Value> {
    let frame = json!([-(i64::try_from(steps).unwrap_or(i64::MAX) - 1), 0]);
    let window = |operation: &str, field: &str, name: &str| {
        json!({
            "type": "window", "groupby": ["s"], "sort": {"field": "t"}, "frame": frame,
            "ops": [operation], "fields": [field], "as": [name],
        })
    };
    let growth = || {
        vec![
            json!({
                "type": "window", "groupby": ["s"], "sort": {"field": "t"},
                "ops": ["lag"], "fields": ["v"], "as": ["p"],
            }),
            formula("g", "isValid(datum.p) ? (datum.v >= datum.p ? datum.v - datum.p : datum.v) : null"),
            json!({"type": "filter", "expr": "isValid(datum.g)"}),
            window("sum", "g", "w"),
        ]
    };
    let mut transform = match function {
        RangeFunction::Rate | RangeFunction::Increase => growth(),
        RangeFunction::Avg => vec![window("mean", "v", "w")],
        RangeFunction::Min => vec![window("min", "v", "w")],
        RangeFunction::Max => vec![window("max", "v", "w")],
        RangeFunction::Last => vec![formula("w", "datum.v")],
    };
    let value = match function {
        RangeFunction::Rate => format!("datum.w / {}", steps * step.as_secs()),
        _ => "datum.w".to_owned(),
    };
    transform.push(formula("v", &value));
    transform
}

/// The documents of a selector within the time that is looked at, and what the dashboard's own filters leave.
fn filters(selector: &Selector) -> Value {
    let mut filter = vec![
        json!("%dashboard_context-filter_clause%"),
        json!({"range": {"@timestamp": {"%timefilter%": true}}}),
        json!({"term": {label_field(METRIC_NAME): selector.metric}}),
        json!({"exists": {"field": format!("metrics.{}", selector.metric)}}),
    ];
    filter.extend(selector.matchers.iter().map(condition));
    json!({"bool": {
        "must": ["%dashboard_context-must_clause%"],
        "filter": filter,
        "must_not": ["%dashboard_context-must_not_clause%"],
    }})
}

fn condition(matcher: &Matcher) -> Value {
    let field = label_field(&matcher.label);
    // A label that is not there has the value "".
    let one_of = |values: &[&str]| {
        let mut any = vec![json!({"terms": {field.as_str(): values}})];
        if values.contains(&"") {
            any.push(json!({"bool": {"must_not": [{"exists": {"field": field}}]}}));
        }
        json!({"bool": {"should": any, "minimum_should_match": 1}})
    };
    let none_of = |values: &[&str]| json!({"bool": {"must_not": [one_of(values)]}});
    match &matcher.operator {
        MatchOperator::Equal(value) => one_of(&[value.as_str()]),
        MatchOperator::NotEqual(value) => none_of(&[value.as_str()]),
        MatchOperator::In(values) => one_of(&texts(values)),
        MatchOperator::NotIn(values) => none_of(&texts(values)),
    }
}

fn texts(values: &[String]) -> Vec<&str> {
    values.iter().map(String::as_str).collect()
}

fn label_field(label: &str) -> String {
    format!("labels.{label}")
}

fn formula(name: &str, expression: &str) -> Value {
    json!({"type": "formula", "as": name, "expr": expression})
}

fn literal(number: f64) -> Result<String> {
    if number.is_finite() {
        Ok(format!("({number})"))
    } else {
        Err(unsupported("there is no such number in Vega"))
    }
}

/// A legend as an expression: `{{label}}` is the label's value.
fn legend(legend: &str, labels: &[String]) -> Result<String> {
    let mut parts = Vec::new();
    let mut rest = legend;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((label, following)) = after.split_once("}}") else { break };
        parts.push(quoted(before));
        let label = label.trim();
        let column = labels.iter().position(|known| known == label).ok_or_else(|| {
            Error::invalid(format!(
                "the legend {legend:?} names the label {label:?}, which the series have not"
            ))
        })?;
        parts.push(format!("datum.l{column}"));
        rest = following;
    }
    parts.push(quoted(rest));
    Ok(parts.join(" + "))
}

/// A text of Vega's expressions, which are JavaScript's.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn unsupported(problem: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("Kibana cannot draw this: {problem}"))
}
