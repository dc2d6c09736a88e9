//! Dashboards as [Grafana's JSON](https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/).

use super::{Dashboard, Panel, PanelContent, PanelQuery, Unit};
use crate::telemetry::{
    MatchOperator, Matcher, Severity,
    document::{self, MESSAGE_FIELD, TIME_FIELD},
};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The newest version of the model that this is written in; Grafana migrates it from there.
const SCHEMA_VERSION: u32 = 36;

/// How many columns a dashboard has, and how many rows a panel takes.
const COLUMNS: u32 = 24;
const STAT_HEIGHT: u32 = 4;
const GRAPH_HEIGHT: u32 = 8;
const LOGS_HEIGHT: u32 = 10;

/// Renders dashboards for a Grafana: by which data sources it asks.
///
/// ```
/// use platform_core::dashboard::{grafana::Grafana, stock};
///
/// let json = Grafana::new("prometheus").render(&stock::nodes());
/// assert_eq!(json["uid"], "nodes");
/// assert_eq!(json["panels"][0]["type"], "stat");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grafana {
    prometheus: String,
    /// The uid of an Elasticsearch data source.
    logs: Option<String>,
}

impl Grafana {
    /// Metrics come from the Prometheus data source of this uid; logs from nowhere, so that their panels say so.
    pub fn new(prometheus: impl Into<String>) -> Self {
        Self { prometheus: prometheus.into(), logs: None }
    }

    /// Takes logs from the Elasticsearch data source of this uid, which has them as [documents](crate::telemetry::document).
    #[must_use]
    pub fn logs(mut self, elasticsearch: impl Into<String>) -> Self {
        self.logs = Some(elasticsearch.into());
        self
    }

    /// The dashboard as Grafana imports and provisions it, without an `id`: its uid is its identity.
    pub fn render(&self, dashboard: &Dashboard) -> Value {
        let mut panels = Vec::with_capacity(dashboard.panels.len());
        let (mut x, mut y, mut row_height) = (0, 0, 0);
        for (panel, id) in dashboard.panels.iter().zip(1_u32..) {
            let width = u32::from(panel.width.clamp(1, 24));
            if x + width > COLUMNS {
                (x, y, row_height) = (0, y + row_height, 0);
            }
            let height = height(panel);
            let position = json!({"x": x, "y": y, "w": width, "h": height});
            panels.push(self.panel(panel, id, &position));
            x += width;
            row_height = row_height.max(height);
        }
        json!({
            "uid": dashboard.uid,
            "title": dashboard.title,
            "tags": ["platform"],
            "schemaVersion": SCHEMA_VERSION,
            "editable": true,
            "graphTooltip": 1,
            "time": {"from": format!("now-{}", relative(dashboard.window)), "to": "now"},
            "refresh": relative(dashboard.refresh),
            "timezone": "",
            "templating": {"list": []},
            "annotations": {"list": []},
            "panels": panels,
        })
    }

    fn panel(&self, panel: &Panel, id: u32, position: &Value) -> Value {
        let mut rendered = match &panel.content {
            PanelContent::TimeSeries { queries, unit, range, threshold } => {
                self.time_series(queries, *unit, *range, *threshold)
            }
            PanelContent::Stat { query, unit } => self.stat(query, *unit),
            PanelContent::Logs { text, matchers, min_severity } => match &self.logs {
                Some(logs) => logs_panel(logs, &lucene(text, matchers, *min_severity)),
                None => json!({
                    "type": "text",
                    "options": {"mode": "markdown", "content": "No data source of logs is configured."},
                }),
            },
        };
        if let Value::Object(rendered) = &mut rendered {
            rendered.insert("id".to_owned(), id.into());
            rendered.insert("title".to_owned(), panel.title.as_str().into());
            rendered.insert("gridPos".to_owned(), position.clone());
            if !panel.description.is_empty() {
                rendered.insert("description".to_owned(), panel.description.as_str().into());
            }
        }
        rendered
    }

    fn time_series(
        &self,
        queries: &[PanelQuery],
        unit: Unit,
        range: Option<(f64, f64)>,
        threshold: Option<f64>,
    ) -> Value {
        let mut defaults = Map::new();
        defaults.insert("unit".to_owned(), unit_id(unit).into());
        if let Some((low, high)) = range {
            defaults.insert("min".to_owned(), low.into());
            defaults.insert("max".to_owned(), high.into());
        }
        let line = json!({"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": false});
        let mut custom = line;
        if let (Some(limit), Value::Object(custom)) = (threshold, &mut custom) {
            custom.insert("thresholdsStyle".to_owned(), json!({"mode": "line"}));
            let steps = json!([{"color": "green", "value": null}, {"color": "red", "value": limit}]);
            defaults.insert("thresholds".to_owned(), json!({"mode": "absolute", "steps": steps}));
        }
        defaults.insert("custom".to_owned(), custom);
        let targets: Vec<Value> = queries
            .iter()
            .zip(0_u32..)
            .map(|(query, at)| self.target(query, &reference(at), "range"))
            .collect();
        json!({
            "type": "timeseries",
            "datasource": self.prometheus(),
            "targets": targets,
            "fieldConfig": {"defaults": defaults, "overrides": []},
            "options": {
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true},
                "tooltip": {"mode": "multi", "sort": "desc"},
            },
        })
    }

    fn stat(&self, query: &PanelQuery, unit: Unit) -> Value {
        json!({
            "type": "stat",
            "datasource": self.prometheus(),
            "targets": [self.target(query, "A", "instant")],
            "fieldConfig": {"defaults": {"unit": unit_id(unit)}, "overrides": []},
            "options": {
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false},
                "orientation": "auto",
                "textMode": "auto",
                "colorMode": "none",
                "graphMode": "none",
            },
        })
    }

    fn target(&self, query: &PanelQuery, reference: &str, kind: &str) -> Value {
        json!({
            "refId": reference,
            "datasource": self.prometheus(),
            "expr": query.expression.to_string(),
            "legendFormat": query.legend,
            "editorMode": "code",
            "range": kind == "range",
            "instant": kind == "instant",
        })
    }

    fn prometheus(&self) -> Value {
        json!({"type": "prometheus", "uid": self.prometheus})
    }
}

/// The condition of a panel in Lucene's words.
fn lucene(text: &str, matchers: &[Matcher], min_severity: Option<Severity>) -> String {
    let mut conditions: Vec<String> = words(text)
        .map(|(excluded, word)| {
            let not = if excluded { "NOT " } else { "" };
            format!("{not}{MESSAGE_FIELD}:{}", quoted(&word))
        })
        .collect();
    conditions.extend(matchers.iter().map(|matcher| {
        let field = field(&document::label_field(&matcher.label));
        let any = |values: &[String]| {
            let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
            // Of none at all, none is equal.
            if values.is_empty() { "(NOT *)".to_owned() } else { format!("({})", values.join(" OR ")) }
        };
        match &matcher.operator {
            MatchOperator::Equal(value) => format!("{field}:{}", quoted(value)),
            MatchOperator::NotEqual(value) => format!("NOT {field}:{}", quoted(value)),
            MatchOperator::In(values) => format!("{field}:{}", any(values)),
            MatchOperator::NotIn(values) => format!("NOT {field}:{}", any(values)),
        }
    }));
    if let Some(least) = min_severity {
        conditions.push(format!("severity_number:>={}", document::severity_number(least)));
    }
    if conditions.is_empty() { "*".to_owned() } else { conditions.join(" AND ") }
}

fn logs_panel(elasticsearch: &str, query: &str) -> Value {
    let source = json!({"type": "elasticsearch", "uid": elasticsearch});
    json!({
        "type": "logs",
        "datasource": source,
        "targets": [{
            "refId": "A",
            "datasource": source,
            "query": query,
            "timeField": TIME_FIELD,
            "metrics": [{"id": "1", "type": "logs", "settings": {"limit": "500"}}],
            "bucketAggs": [],
        }],
        "options": {
            "showTime": true,
            "showLabels": false,
            "wrapLogMessage": true,
            "enableLogDetails": true,
            "sortOrder": "Descending",
            "dedupStrategy": "none",
        },
    })
}

fn height(panel: &Panel) -> u32 {
    match panel.content {
        PanelContent::Stat { .. } => STAT_HEIGHT,
        PanelContent::TimeSeries { .. } => GRAPH_HEIGHT,
        PanelContent::Logs { .. } => LOGS_HEIGHT,
    }
}

fn unit_id(unit: Unit) -> &'static str {
    match unit {
        Unit::None => "short",
        Unit::Percent => "percent",
        Unit::Bytes => "bytes",
        Unit::BytesPerSecond => "binBps",
        Unit::Seconds => "s",
    }
}

/// `A` to `Z`, then `AA`.
fn reference(at: u32) -> String {
    let letter = |at: u32| char::from_u32(u32::from(b'A') + at % 26).unwrap_or('A');
    if at < 26 { letter(at).to_string() } else { format!("{}{}", reference(at / 26 - 1), letter(at)) }
}

/// A duration with one unit, as Grafana's times are written; at least a second.
fn relative(duration: Duration) -> String {
    let seconds = duration.as_secs().max(1);
    for (unit, length) in [("d", 86_400), ("h", 3600), ("m", 60)] {
        if seconds.is_multiple_of(length) {
            return format!("{}{unit}", seconds / length);
        }
    }
    format!("{seconds}s")
}

/// The words of a log query's text, each with whether it must not be there; quoted ones are one.
fn words(text: &str) -> impl Iterator<Item = (bool, String)> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let excluded = rest.starts_with('-') && rest.len() > 1;
        let body = if excluded { &rest[1..] } else { rest };
        let (word, after) = match body.strip_prefix('"').and_then(|quoted| quoted.split_once('"')) {
            Some((phrase, after)) => (phrase, after),
            None => body.split_once(char::is_whitespace).unwrap_or((body, "")),
        };
        if !word.trim().is_empty() {
            found.push((excluded, word.to_owned()));
        }
        rest = after.trim_start();
    }
    found.into_iter()
}

/// A phrase of Lucene's query syntax.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A field's name, in which Lucene's operators are escaped.
fn field(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for c in name.chars() {
        if !(c.is_alphanumeric() || matches!(c, '_' | '.' | '@')) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dashboard::stock, telemetry::metric};

    fn time_series(width: u8) -> Panel {
        Panel::time_series("t", Unit::Percent, vec![PanelQuery::new(metric("up"), "{{job}}")]).width(width)
    }

    #[test]
    fn panels_flow_from_left_to_right_without_overlap() {
        let stat = Panel::stat("s", Unit::Bytes, PanelQuery::new(metric("up"), ""));
        let dashboard = Dashboard::new("d", "D")
            .panel(time_series(12))
            .panel(stat.clone())
            .panel(stat.clone().width(7))
            .panel(time_series(24))
            .panel(Panel::logs("l"));
        let rendered = Grafana::new("p").render(&dashboard);
        let at = |panel: usize| {
            let position = &rendered["panels"][panel]["gridPos"];
            ["x", "y", "w", "h"].map(|key| position[key].as_u64().unwrap())
        };
        assert_eq!(at(0), [0, 0, 12, 8]);
        assert_eq!(at(1), [12, 0, 6, 4]);
        assert_eq!(at(2), [0, 8, 7, 4], "7 more than the 18 that are taken do not fit");
        assert_eq!(at(3), [0, 12, 24, 8]);
        assert_eq!(at(4), [0, 20, 24, 10]);
        assert_eq!(rendered["panels"][4]["type"], "text", "there is no data source of logs");
    }

    #[test]
    fn a_panel_keeps_unit_range_limit_and_legend() {
        let dashboard = Dashboard::new("d", "D").panel(time_series(12).range(0.0, 100.0).threshold(80.0));
        let panel = Grafana::new("p").render(&dashboard)["panels"][0].clone();
        let defaults = &panel["fieldConfig"]["defaults"];
        assert_eq!(
            (&defaults["unit"], &defaults["min"], &defaults["max"]),
            (&json!("percent"), &json!(0.0), &json!(100.0))
        );
        assert_eq!(defaults["thresholds"]["steps"][1]["value"], 80.0);
        assert_eq!(defaults["custom"]["thresholdsStyle"]["mode"], "line");
        let target = &panel["targets"][0];
        assert_eq!((&target["expr"], &target["legendFormat"]), (&json!("up"), &json!("{{job}}")));
        assert_eq!(target["datasource"], json!({"type": "prometheus", "uid": "p"}));
    }

    #[test]
    fn logs_are_asked_for_in_lucenes_words() {
        let query = |text: &str, matchers: Vec<Matcher>, least| lucene(text, &matchers, least);
        assert_eq!(query("", vec![], None), "*");
        assert_eq!(
            query("time \"is up\" -debug", vec![], Some(Severity::Error)),
            r#"body.text:"time" AND body.text:"is up" AND NOT body.text:"debug" AND severity_number:>=17"#
        );
        assert_eq!(
            query("", vec![Matcher::equal("a:b", "q\""), Matcher::none_of("c", ["d", "e"])], None),
            r#"attributes.a\:b:"q\"" AND NOT attributes.c:("d" OR "e")"#
        );
        let dashboard = Dashboard::new("d", "D").panel(Panel::logs("l"));
        let panel = Grafana::new("p").logs("es").render(&dashboard)["panels"][0].clone();
        assert_eq!((&panel["type"], &panel["datasource"]["uid"]), (&json!("logs"), &json!("es")));
    }

    #[test]
    fn times_have_one_unit_and_references_are_unique() {
        assert_eq!(relative(Duration::from_secs(5400)), "90m");
        assert_eq!(relative(Duration::from_secs(7200)), "2h");
        assert_eq!(relative(Duration::from_millis(10)), "1s");
        assert_eq!([0, 25, 26, 51, 52].map(reference), ["A", "Z", "AA", "AZ", "BA"]);
    }

    #[test]
    fn every_stock_dashboard_has_its_own_uid() {
        let mut uids: Vec<String> = stock::all().into_iter().map(|dashboard| dashboard.uid).collect();
        uids.dedup();
        assert_eq!(uids, ["nodes", "workloads", "ingress"]);
    }
}
