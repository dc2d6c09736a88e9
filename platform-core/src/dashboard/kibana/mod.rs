//! Dashboards as Kibana's saved objects.
//!
//! Panels of metrics are drawn by [Vega](https://www.elastic.co/docs/explore-analyze/visualize/custom-visualizations-with-vega), whose specifications hold the
//! request to Elasticsearch and the arithmetic on its answer, so that one typed expression means the same here as in PromQL, up to these:
//!
//! - Values are those of steps, a sixtieth of the dashboard's window or 15 seconds if that is more: a series' value is the mean of a step's samples, where
//!   Prometheus takes the latest.
//! - Rates and increases are sums of what counters grew from step to step, resets counted from zero, over the steps of their window. They are
//!   not extrapolated to the window's ends, and the first steps shown know nothing of what was before.
//! - Time series must be aggregated by labels, or their lines could not be told apart; others are refused.
//!
//! Panels of logs are saved searches in KQL.

mod chart;
mod search;
mod series;

use super::{Dashboard, Panel, PanelContent, PanelQuery};
use crate::{
    error::{Error, Result},
    telemetry::document::{Signal, data_stream},
};
use serde_json::{Value, json};
use std::time::Duration;

/// Kibana's grid has two columns for each of a dashboard's.
const COLUMNS_PER_WIDTH: u32 = 2;
/// Heights in rows of the grid.
const CHART_ROWS: u32 = 15;
const STAT_ROWS: u32 = 8;
const LOGS_ROWS: u32 = 20;

/// Dashboards with everything that they refer to, one object a line, as `POST /api/saved_objects/_import?overwrite=true` takes them.
///
/// Ids follow from the dashboards' own: importing again replaces what was imported before. Fails with
/// [`Unsupported`](crate::ErrorKind::Unsupported), naming dashboard and panel, for what cannot be shown.
pub fn saved_objects(dashboards: &[Dashboard]) -> Result<String> {
    let mut objects = vec![data_view(Signal::Logs), data_view(Signal::Metrics)];
    for dashboard in dashboards {
        objects.extend(objects_of(dashboard).map_err(|e| e.subject(format!("dashboard {}", dashboard.uid)))?);
    }
    Ok(objects.iter().fold(String::new(), |mut lines, object| {
        lines.push_str(&object.to_string());
        lines.push('\n');
        lines
    }))
}

/// What searches refer to.
fn data_view(signal: Signal) -> Value {
    let pattern = data_stream(signal, "*");
    json!({
        "id": data_view_id(signal),
        "type": "index-pattern",
        "attributes": {"name": format!("Platform {}", signal.as_str()), "timeFieldName": "@timestamp", "title": pattern},
        "references": [],
        "coreMigrationVersion": CORE_VERSION,
        "typeMigrationVersion": "8.0.0",
    })
}

fn data_view_id(signal: Signal) -> String {
    format!("platform-{}", signal.as_str())
}

/// Versions of the objects' formats: newer servers bring them to their own.
const CORE_VERSION: &str = "8.8.0";

fn objects_of(dashboard: &Dashboard) -> Result<Vec<Value>> {
    let step = step(dashboard.window);
    let mut objects = Vec::new();
    let (mut panels, mut references) = (Vec::new(), Vec::new());
    let mut grid = Grid::default();
    for (at, panel) in dashboard.panels.iter().enumerate() {
        let id = format!("{}-{at}", dashboard.uid);
        let (object, kind, rows) = object_of(&id, panel, step)
            .map_err(|e| e.operation(format!("render panel {:?}", panel.title)))?;
        let index = (at + 1).to_string();
        panels.push(json!({
            "type": kind,
            "gridData": grid.place(u32::from(panel.width) * COLUMNS_PER_WIDTH, rows, &index),
            "panelIndex": index,
            "panelRefName": format!("panel_{index}"),
            "embeddableConfig": {"enhancements": {}},
        }));
        references.push(json!({"id": id, "name": format!("{index}:panel_{index}"), "type": kind}));
        objects.push(object);
    }
    objects.push(json!({
        "id": dashboard.uid,
        "type": "dashboard",
        "attributes": {
            "title": dashboard.title,
            "description": "",
            "panelsJSON": Value::from(panels).to_string(),
            "optionsJSON": json!({"useMargins": true, "hidePanelTitles": false}).to_string(),
            "timeRestore": true,
            "timeFrom": format!("now-{}s", dashboard.window.as_secs().max(1)),
            "timeTo": "now",
            // It asks Elasticsearch, not a store at hand: no more often than new samples come.
            "refreshInterval": {"pause": false, "value": dashboard.refresh.max(step).as_millis() as u64},
            "kibanaSavedObjectMeta": {"searchSourceJSON": EMPTY_SEARCH},
        },
        "references": references,
        "coreMigrationVersion": CORE_VERSION,
        "typeMigrationVersion": "8.9.0",
    }));
    Ok(objects)
}

const EMPTY_SEARCH: &str = r#"{"filter":[],"query":{"language":"kuery","query":""}}"#;

/// The object of a panel, its kind, and its height.
fn object_of(id: &str, panel: &Panel, step: Duration) -> Result<(Value, &'static str, u32)> {
    match &panel.content {
        PanelContent::TimeSeries { queries, unit, range, threshold } => {
            let spec = chart::lines(&queries_of(queries, step)?, *unit, *range, *threshold, step);
            Ok((visualization(id, panel, &spec), "visualization", CHART_ROWS))
        }
        PanelContent::Stat { query, unit } => {
            let spec = chart::stat(&queries_of(std::slice::from_ref(query), step)?, *unit);
            Ok((visualization(id, panel, &spec), "visualization", STAT_ROWS))
        }
        PanelContent::Logs { text, matchers, min_severity } => {
            let query = search::kql(text, matchers, *min_severity);
            Ok((search::object(id, panel, &query), "search", LOGS_ROWS))
        }
    }
}

fn queries_of(queries: &[PanelQuery], step: Duration) -> Result<Vec<series::Drawn>> {
    if queries.is_empty() {
        return Err(Error::invalid("there is nothing to draw"));
    }
    queries.iter().enumerate().map(|(at, query)| series::drawn(query, at, step)).collect()
}

fn visualization(id: &str, panel: &Panel, spec: &Value) -> Value {
    let state = json!({
        "title": panel.title,
        "type": "vega",
        "aggs": [],
        "params": {"spec": format!("{spec:#}")},
    });
    json!({
        "id": id,
        "type": "visualization",
        "attributes": {
            "title": panel.title,
            "description": panel.description,
            "visState": state.to_string(),
            "uiStateJSON": "{}",
            "version": 1,
            "kibanaSavedObjectMeta": {"searchSourceJSON": EMPTY_SEARCH},
        },
        "references": [],
        "coreMigrationVersion": CORE_VERSION,
        "typeMigrationVersion": "8.5.0",
    })
}

/// How far apart the points of a dashboard are: at most sixty in its window, and no finer than samples usually are.
fn step(window: Duration) -> Duration {
    Duration::from_secs((window.as_secs().div_ceil(60)).next_multiple_of(15).max(15))
}

/// Puts panels side by side as long as they fit, as the console does.
#[derive(Default)]
struct Grid {
    x: u32,
    y: u32,
    height: u32,
}

impl Grid {
    const WIDTH: u32 = 24 * COLUMNS_PER_WIDTH;

    fn place(&mut self, width: u32, height: u32, index: &str) -> Value {
        let width = width.clamp(1, Self::WIDTH);
        if self.x + width > Self::WIDTH {
            self.y += self.height;
            (self.x, self.height) = (0, 0);
        }
        let place = json!({"x": self.x, "y": self.y, "w": width, "h": height, "i": index});
        self.x += width;
        self.height = self.height.max(height);
        place
    }
}

#[cfg(test)]
mod tests;
