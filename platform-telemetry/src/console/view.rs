//! What the API answers with, where that is not a type of the platform itself.

use crate::alerting::{AlertStatus, NotifierStatus, RuleStatus};
use platform_core::{
    alert::{Alert, AlertSeverity, AlertState},
    clock::Timestamp,
    dashboard::{Dashboard, Panel, PanelContent, PanelQuery, Unit},
    telemetry::{Matcher, Severity},
};
use serde::Serialize;
use std::time::Duration;

/// A dashboard with its expressions as PromQL.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DashboardView<'a> {
    uid: &'a str,
    title: &'a str,
    window: u64,
    refresh: u64,
    panels: Vec<PanelView<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PanelView<'a> {
    title: &'a str,
    description: &'a str,
    width: u8,
    #[serde(flatten)]
    content: ContentView<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "type")]
enum ContentView<'a> {
    TimeSeries { queries: Vec<QueryView<'a>>, unit: Unit, range: Option<(f64, f64)>, threshold: Option<f64> },
    Stat { queries: Vec<QueryView<'a>>, unit: Unit },
    Logs { text: &'a str, matchers: Vec<String>, min_severity: Option<Severity> },
    Unsupported,
}

#[derive(Serialize)]
struct QueryView<'a> {
    promql: String,
    legend: &'a str,
}

impl<'a> From<&'a Dashboard> for DashboardView<'a> {
    fn from(dashboard: &'a Dashboard) -> Self {
        Self {
            uid: &dashboard.uid,
            title: &dashboard.title,
            window: millis(dashboard.window),
            refresh: millis(dashboard.refresh),
            panels: dashboard.panels.iter().map(PanelView::from).collect(),
        }
    }
}

impl<'a> From<&'a Panel> for PanelView<'a> {
    fn from(panel: &'a Panel) -> Self {
        let content = match &panel.content {
            PanelContent::TimeSeries { queries, unit, range, threshold } => ContentView::TimeSeries {
                queries: queries.iter().map(QueryView::from).collect(),
                unit: *unit,
                range: *range,
                threshold: *threshold,
            },
            PanelContent::Stat { query, unit } => {
                ContentView::Stat { queries: vec![QueryView::from(query)], unit: *unit }
            }
            PanelContent::Logs { text, matchers, min_severity } => ContentView::Logs {
                text,
                matchers: matchers.iter().map(Matcher::to_string).collect(),
                min_severity: *min_severity,
            },
            _ => ContentView::Unsupported,
        };
        Self { title: &panel.title, description: &panel.description, width: panel.width, content }
    }
}

impl<'a> From<&'a PanelQuery> for QueryView<'a> {
    fn from(query: &'a PanelQuery) -> Self {
        Self { promql: query.expression.to_string(), legend: &query.legend }
    }
}

/// How alerts stand, with rules as PromQL.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct AlertsView {
    rules: Vec<RuleView>,
    active: Vec<Alert>,
    resolved: Vec<Alert>,
    notifiers: Vec<NotifierStatus>,
    store_failures: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RuleView {
    name: String,
    promql: String,
    summary: String,
    severity: AlertSeverity,
    limit: f64,
    pending_for: u64,
    keep_firing_for: u64,
    state: &'static str,
    fired: u64,
    evaluations: u64,
    failures: u64,
    last_error: Option<String>,
    last_evaluation: Option<Timestamp>,
    last_duration: u64,
}

impl From<AlertStatus> for AlertsView {
    fn from(status: AlertStatus) -> Self {
        Self {
            rules: status.rules.into_iter().map(RuleView::from).collect(),
            active: status.active,
            resolved: status.resolved,
            notifiers: status.notifiers,
            store_failures: status.store_failures,
        }
    }
}

impl From<RuleStatus> for RuleView {
    fn from(status: RuleStatus) -> Self {
        let rule = status.rule;
        Self {
            promql: rule.promql(),
            limit: rule.condition.limit(),
            pending_for: millis(rule.pending_for),
            keep_firing_for: millis(rule.keep_firing_for),
            name: rule.name,
            summary: rule.summary,
            severity: rule.severity,
            state: match status.state {
                Some(AlertState::Firing) => "firing",
                Some(AlertState::Pending) => "pending",
                _ => "inactive",
            },
            fired: status.fired,
            evaluations: status.evaluations,
            failures: status.failures,
            last_error: status.last_error,
            last_evaluation: status.last_evaluation,
            last_duration: millis(status.last_duration),
        }
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
