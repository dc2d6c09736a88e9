//! Dashboards as typed values, which each target renders in its own way.

pub mod grafana;
pub mod kibana;
pub mod stock;

use crate::{
    error::Result,
    telemetry::{Expression, Matcher, Severity},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

/// A page of panels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Dashboard {
    /// Its identity at a target: publishing the same again replaces it. Lower case letters, digits and `-`.
    pub uid: String,
    /// Its title.
    pub title: String,
    /// How far back it looks. Default: 15 minutes.
    pub window: Duration,
    /// How often it is drawn anew. Default: 5 seconds.
    pub refresh: Duration,
    /// Its panels, from top left to bottom right.
    pub panels: Vec<Panel>,
}

impl Dashboard {
    /// A dashboard without panels.
    pub fn new(uid: impl Into<String>, title: impl Into<String>) -> Self {
        Self {
            uid: uid.into(),
            title: title.into(),
            window: Duration::from_secs(15 * 60),
            refresh: Duration::from_secs(5),
            panels: Vec::new(),
        }
    }

    /// Sets how far back it looks.
    #[must_use]
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Sets how often it is drawn anew.
    #[must_use]
    pub fn refresh(mut self, refresh: Duration) -> Self {
        self.refresh = refresh;
        self
    }

    /// Adds a panel.
    #[must_use]
    pub fn panel(mut self, panel: Panel) -> Self {
        self.panels.push(panel);
        self
    }
}

/// A rectangle of a dashboard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Panel {
    /// Its title.
    pub title: String,
    /// A sentence on what it shows.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What it shows.
    pub content: PanelContent,
    /// Its width in 24ths of the page, as in Grafana. Default: 12.
    pub width: u8,
}

/// What a panel shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
#[non_exhaustive]
pub enum PanelContent {
    /// Lines over time.
    TimeSeries {
        /// What is drawn.
        queries: Vec<PanelQuery>,
        /// The unit of the values.
        unit: Unit,
        /// The lowest and highest value of the axis; `None`: fitted to the values.
        range: Option<(f64, f64)>,
        /// A line that marks a limit: an alert's threshold.
        threshold: Option<f64>,
    },
    /// The latest value of each series, large.
    Stat {
        /// What is shown.
        query: PanelQuery,
        /// The unit of the values.
        unit: Unit,
    },
    /// The latest log records.
    Logs {
        /// Words, as in [`LogQuery::text`](crate::telemetry::LogQuery::text).
        text: String,
        /// Conditions on labels.
        matchers: Vec<Matcher>,
        /// At least this grave.
        min_severity: Option<Severity>,
    },
}

/// An expression and how its series are called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PanelQuery {
    /// What is evaluated.
    pub expression: Expression,
    /// The name of each series, with `{{label}}` for a label's value, as in Grafana.
    pub legend: String,
}

impl PanelQuery {
    /// An expression and the name of its series.
    pub fn new(expression: impl Into<Expression>, legend: impl Into<String>) -> Self {
        Self { expression: expression.into(), legend: legend.into() }
    }
}

impl Panel {
    /// Lines over time, of half a page's width.
    pub fn time_series(title: impl Into<String>, unit: Unit, queries: Vec<PanelQuery>) -> Self {
        Self::new(title, PanelContent::TimeSeries { queries, unit, range: None, threshold: None })
    }

    /// The latest values, of a quarter of a page's width.
    pub fn stat(title: impl Into<String>, unit: Unit, query: PanelQuery) -> Self {
        Self::new(title, PanelContent::Stat { query, unit }).width(6)
    }

    /// The latest log records, of a page's width.
    pub fn logs(title: impl Into<String>) -> Self {
        let content = PanelContent::Logs { text: String::new(), matchers: Vec::new(), min_severity: None };
        Self::new(title, content).width(24)
    }

    /// A panel of half a page's width.
    pub fn new(title: impl Into<String>, content: PanelContent) -> Self {
        Self { title: title.into(), description: String::new(), content, width: 12 }
    }

    /// Sets the sentence on what it shows.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Sets the width, 1 to 24.
    #[must_use]
    pub fn width(mut self, width: u8) -> Self {
        self.width = width.clamp(1, 24);
        self
    }

    /// Fixes the axis of a time series.
    #[must_use]
    pub fn range(mut self, low: f64, high: f64) -> Self {
        if let PanelContent::TimeSeries { range, .. } = &mut self.content {
            *range = Some((low, high));
        }
        self
    }

    /// Marks a limit in a time series.
    #[must_use]
    pub fn threshold(mut self, limit: f64) -> Self {
        if let PanelContent::TimeSeries { threshold, .. } = &mut self.content {
            *threshold = Some(limit);
        }
        self
    }
}

/// The unit of values, by which they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Unit {
    /// A plain number.
    #[default]
    None,
    /// 0 to 100.
    Percent,
    /// Bytes, written with binary prefixes.
    Bytes,
    /// Bytes each second.
    BytesPerSecond,
    /// Seconds.
    Seconds,
}

/// Where dashboards are shown.
///
/// Implemented by the console page; other targets render the same value to their own format.
#[async_trait]
pub trait DashboardTarget: Send + Sync + fmt::Debug {
    /// A short name for messages: `console`, `grafana`.
    fn name(&self) -> &str;

    /// Shows a dashboard, replacing one of the same uid, and answers with its address.
    ///
    /// Fails with [`Invalid`](crate::ErrorKind::Invalid) for a uid that is not allowed or a panel that the target cannot show.
    async fn publish(&self, dashboard: &Dashboard) -> Result<String>;

    /// Takes a dashboard away; one that is not there is fine.
    async fn remove(&self, uid: &str) -> Result<()>;
}
