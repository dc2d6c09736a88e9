//! Panels as data: their queries, evaluated on one grid of times.

use futures::future::try_join_all;
use platform_core::{
    Error, ErrorKind, Result,
    clock::Timestamp,
    dashboard::{Panel, PanelContent, PanelQuery},
    telemetry::{Labels, LogPage, LogQuery, MetricQuery, Series, TelemetryStore, TimeRange},
};
use serde::Serialize;
use std::time::Duration;

use super::view::millis;

/// Lines that a chart can hold and an eye can tell apart, generously.
const MOST_SERIES: usize = 100;

/// Records of a logs panel.
const MOST_RECORDS: usize = 100;

/// The bytes of a record's body that are answered with.
const LONGEST_BODY: usize = 16 * 1024;

/// What a panel shows.
#[derive(Serialize)]
#[serde(rename_all = "camelCase", tag = "type")]
pub(super) enum PanelData {
    Series(Grid),
    Logs(LogPage),
}

/// Series on common times.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Grid {
    step: u64,
    times: Vec<Timestamp>,
    series: Vec<Line>,
    /// Series that were left out since there are too many.
    omitted: usize,
}

/// A series with its name; a value for each time, `None` where there is none or it is not finite.
#[derive(Debug, PartialEq, Serialize)]
struct Line {
    /// Which query of the panel it answers, from 0.
    query: usize,
    legend: String,
    labels: Labels,
    values: Vec<Option<f64>>,
}

/// Evaluates `panel` in `range`; `step` is chosen to fit where it is not given.
pub(super) async fn evaluate(
    store: &dyn TelemetryStore,
    panel: &Panel,
    range: TimeRange,
    step: Option<Duration>,
) -> Result<PanelData> {
    match &panel.content {
        PanelContent::TimeSeries { queries, .. } => {
            grid(store, queries, range, step).await.map(PanelData::Series)
        }
        PanelContent::Stat { query, .. } => {
            grid(store, std::slice::from_ref(query), range, step).await.map(PanelData::Series)
        }
        PanelContent::Logs { text, matchers, min_severity } => {
            let mut query = LogQuery::new(range).text(text).limit(MOST_RECORDS);
            query.matchers.clone_from(matchers);
            query.min_severity = *min_severity;
            store.logs(&query).await.map(bounded).map(PanelData::Logs)
        }
        _ => Err(Error::new(ErrorKind::Unsupported, "the console cannot show this kind of panel")),
    }
}

/// The page with overlong bodies cut.
pub(super) fn bounded(mut page: LogPage) -> LogPage {
    for record in &mut page.records {
        if record.body.len() > LONGEST_BODY {
            let end = (0..=LONGEST_BODY).rev().find(|end| record.body.is_char_boundary(*end)).unwrap_or(0);
            let note = format!("… ({} more bytes)", record.body.len() - end);
            record.body.replace_range(end.., &note);
        }
    }
    page
}

async fn grid(
    store: &dyn TelemetryStore,
    queries: &[PanelQuery],
    range: TimeRange,
    step: Option<Duration>,
) -> Result<Grid> {
    let step = step.unwrap_or_else(|| fitting_step(range.duration()));
    let range = aligned(range, step)?;
    let queries = queries
        .iter()
        .map(|query| Ok((query, MetricQuery::new(query.expression.clone(), range, step)?)))
        .collect::<Result<Vec<_>>>()?;
    let answers = try_join_all(queries.iter().map(|(_, query)| store.query(query))).await?;
    let times: Vec<Timestamp> = queries.first().map_or_else(Vec::new, |(_, query)| query.steps().collect());
    let found: usize = answers.iter().map(Vec::len).sum();
    let lines = queries.iter().zip(answers).enumerate().flat_map(|(number, ((query, _), answer))| {
        let times = &times;
        answer.into_iter().map(move |series| line(number, &query.legend, series, times))
    });
    let series: Vec<Line> = lines.take(MOST_SERIES).collect();
    Ok(Grid { step: millis(step), omitted: found - series.len(), times, series })
}

/// About 240 steps, of a length that people use.
fn fitting_step(window: Duration) -> Duration {
    const STEPS: [u64; 15] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400];
    let wanted = window.as_secs().div_ceil(240);
    let secs = STEPS.into_iter().find(|step| *step >= wanted).unwrap_or_else(|| wanted.max(1));
    Duration::from_secs(secs)
}

/// The range with its start moved to a multiple of the step, so that a chart that follows the time does not flicker.
fn aligned(range: TimeRange, step: Duration) -> Result<TimeRange> {
    let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
    if step == 0 {
        return Err(Error::invalid("the step of a query must be at least 1 ms"));
    }
    let from = range.from.as_millis();
    let start = from.checked_sub(from.rem_euclid(step)).unwrap_or(from);
    Ok(TimeRange::new(Timestamp::from_millis(start), range.to))
}

fn line(query: usize, template: &str, series: Series, times: &[Timestamp]) -> Line {
    let mut points = series.points.iter().peekable();
    let values = times
        .iter()
        .map(|time| {
            while points.next_if(|(at, _)| at < time).is_some() {}
            points.next_if(|(at, _)| at == time).map(|(_, value)| *value).filter(|value| value.is_finite())
        })
        .collect();
    let legend = legend(template, series.metric.as_deref(), &series.labels);
    Line { query, legend, labels: series.labels, values }
}

/// Fills `{{label}}`; where that leaves nothing, the metric and its labels as Prometheus writes them.
fn legend(template: &str, metric: Option<&str>, labels: &Labels) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((label, after)) = after.split_once("}}") else { break };
        text.push_str(before);
        text.push_str(labels.get(label.trim()).unwrap_or_default());
        rest = after;
    }
    text.push_str(rest);
    let text = text.trim();
    if text.is_empty() { format!("{}{labels}", metric.unwrap_or_default()) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn legends_are_filled_and_never_empty() {
        let labels = Labels::from_iter([("cluster", "shop-testing"), ("environment", "testing")]);
        assert_eq!(legend("{{ environment }} in {{cluster}}", None, &labels), "testing in shop-testing");
        assert_eq!(
            legend("{{nothing}}", Some("up"), &labels.only(&["cluster"])),
            r#"up{cluster="shop-testing"}"#
        );
        assert_eq!(legend("50 % {{", None, &labels), "50 % {{");
    }

    #[test]
    fn values_are_put_on_the_grid_and_what_is_not_finite_is_left_out() {
        let points = vec![(at(5), 9.0), (at(10), 1.0), (at(20), f64::NAN), (at(30), 3.0)];
        let series = Series { metric: None, labels: Labels::empty(), points };
        let line = line(0, "x", series, &[at(0), at(10), at(20), at(30), at(40)]);
        assert_eq!(line.values, [None, Some(1.0), None, Some(3.0), None]);
    }

    #[test]
    fn steps_fit_the_window_and_ranges_start_on_them() {
        assert_eq!(fitting_step(Duration::ZERO), Duration::from_secs(1));
        assert_eq!(fitting_step(Duration::from_secs(900)), Duration::from_secs(5));
        assert_eq!(fitting_step(Duration::from_secs(6 * 3600)), Duration::from_secs(120));
        let range = aligned(TimeRange::new(at(-12_345), at(99_999)), Duration::from_secs(10)).unwrap();
        assert_eq!(range, TimeRange::new(at(-20_000), at(99_999)));
        let edge = TimeRange::new(at(i64::MIN), at(i64::MAX));
        assert_eq!(aligned(edge, Duration::from_secs(10)).unwrap(), edge);
        assert!(aligned(edge, Duration::ZERO).is_err());
    }
}
