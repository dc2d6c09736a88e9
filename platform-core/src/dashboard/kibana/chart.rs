//! How series are drawn.

use super::series::Drawn;
use crate::dashboard::Unit;
use serde_json::{Value, json};
use std::time::Duration;

const SCHEMA: &str = "https://vega.github.io/schema/vega/v5.json";
const ALL: &str = "series";

/// Lines over time, with a line that marks a limit.
pub(super) fn lines(
    queries: &[Drawn],
    unit: Unit,
    range: Option<(f64, f64)>,
    threshold: Option<f64>,
    step: Duration,
) -> Value {
    let mut data = data(queries);
    let mut marks = vec![json!({
        "type": "group",
        "from": {"facet": {"name": "line", "data": ALL, "groupby": "series"}},
        "marks": [
            {
                "type": "line",
                "from": {"data": "line"},
                "sort": {"field": "t"},
                "encode": {"update": {
                    "x": {"scale": "time", "field": "t"},
                    "y": {"scale": "value", "field": "v"},
                    "stroke": {"scale": "colour", "field": "series"},
                    "strokeWidth": {"value": 1.5},
                }},
            },
            {
                "type": "symbol",
                "from": {"data": "line"},
                "encode": {"update": {
                    "x": {"scale": "time", "field": "t"},
                    "y": {"scale": "value", "field": "v"},
                    "fill": {"scale": "colour", "field": "series"},
                    "size": {"value": 9},
                    "tooltip": {"signal": format!("{{'series': datum.series, 'value': {}, 'time': timeFormat(datum.t, '%H:%M:%S')}}", text(unit, "datum.v"))},
                }},
            },
        ],
    })];
    if let Some(limit) = threshold {
        data.push(json!({"name": "limit", "values": [{"v": limit}]}));
        marks.push(json!({
            "type": "rule",
            "from": {"data": "limit"},
            "encode": {"update": {
                "x": {"value": 0},
                "x2": {"signal": "width"},
                "y": {"scale": "value", "field": "v"},
                "stroke": {"value": "#bd271e"},
                "strokeDash": {"value": [4, 4]},
            }},
        }));
    }
    // The limit is seen even where no value comes near it.
    let fitted: Vec<Value> = [ALL, "limit"]
        .into_iter()
        .take(if threshold.is_some() { 2 } else { 1 })
        .map(|data| json!({"data": data, "field": "v"}))
        .collect();
    let value_scale = match range {
        Some((low, high)) => json!({
            "name": "value", "type": "linear", "range": "height", "domain": [low, high], "clamp": true,
        }),
        None => json!({
            "name": "value", "type": "linear", "range": "height", "nice": true, "zero": true, "domain": {"fields": fitted},
        }),
    };
    json!({
        "$schema": SCHEMA,
        "description": format!("A point every {} seconds", step.as_secs()),
        "autosize": {"type": "fit", "contains": "padding"},
        "padding": 5,
        "data": data,
        "scales": [
            {"name": "time", "type": "time", "range": "width", "domain": {"data": ALL, "field": "t"}},
            value_scale,
            colours(),
        ],
        "axes": [
            {"orient": "bottom", "scale": "time", "labelOverlap": true},
            {"orient": "left", "scale": "value", "grid": true, "tickCount": 5, "encode": {
                "labels": {"update": {"text": {"signal": text(unit, "datum.value")}}},
            }},
        ],
        "legends": [{"stroke": "colour", "orient": "bottom", "columns": 3, "symbolType": "stroke"}],
        "marks": marks,
    })
}

/// The latest value of each series, large and side by side.
pub(super) fn stat(queries: &[Drawn], unit: Unit) -> Value {
    let mut data = data(queries);
    data.push(json!({
        "name": "latest",
        "source": ALL,
        "transform": [
            {"type": "aggregate", "groupby": ["series"], "fields": ["t"], "ops": ["argmax"], "as": ["at"]},
            {"type": "formula", "as": "v", "expr": "datum.at.v"},
            {"type": "collect", "sort": {"field": "series"}},
        ],
    }));
    let label = |y: f64, size: u32, text: Value| {
        json!({
            "type": "text",
            "from": {"data": "latest"},
            "encode": {"update": {
                "x": {"scale": "place", "field": "series", "band": 0.5},
                "y": {"signal": format!("height * {y}")},
                "align": {"value": "center"},
                "baseline": {"value": "middle"},
                "fontSize": {"value": size},
                "text": text,
            }},
        })
    };
    json!({
        "$schema": SCHEMA,
        "autosize": {"type": "fit", "contains": "padding"},
        "padding": 5,
        "data": data,
        "scales": [{
            "name": "place", "type": "band", "range": "width", "domain": {"data": "latest", "field": "series", "sort": true},
        }],
        "marks": [
            label(0.4, 32, json!({"signal": text(unit, "datum.v")})),
            label(0.8, 12, json!({"field": "series"})),
        ],
    })
}

/// The data sets of all queries, and one of all their series.
fn data(queries: &[Drawn]) -> Vec<Value> {
    let names: Vec<&str> = queries.iter().map(|query| query.name.as_str()).collect();
    let mut data: Vec<Value> = queries.iter().flat_map(|query| query.data.clone()).collect();
    data.push(json!({"name": ALL, "source": names}));
    data
}

fn colours() -> Value {
    json!({
        "name": "colour", "type": "ordinal", "range": "category", "domain": {"data": ALL, "field": "series", "sort": true},
    })
}

/// An expression that writes a value in its unit.
fn text(unit: Unit, value: &str) -> String {
    let binary = |suffix: &str| {
        format!(
            "{value} == 0 ? '0 B{suffix}' : format({value} / pow(1024, min(5, max(0, floor(log(abs({value})) / log(1024))))), '.3~r') + \
             [' B', ' KiB', ' MiB', ' GiB', ' TiB', ' PiB'][min(5, max(0, floor(log(abs({value})) / log(1024))))] + '{suffix}'"
        )
    };
    match unit {
        Unit::None => format!("format({value}, '.4~r')"),
        Unit::Percent => format!("format({value}, '.3~r') + '%'"),
        Unit::Bytes => binary(""),
        Unit::BytesPerSecond => binary("/s"),
        Unit::Seconds => format!("format({value}, '.3~r') + ' s'"),
    }
}
