//! The routes and what they answer.

use super::{
    Shared, assets, evaluate,
    evaluate::PanelData,
    events, guard,
    problem::Problem,
    view::{AlertsView, DashboardView},
};
use axum::{
    Json, Router,
    extract::{
        FromRequestParts, Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::{StatusCode, Uri, request::Parts},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use platform_core::{
    Error, ErrorKind, Result,
    clock::Timestamp,
    dashboard::Dashboard,
    status::PlatformStatus,
    telemetry::{LogPage, LogQuery, Matcher, Severity, StoreStats, TimeRange},
};
use serde::{Deserialize, de::DeserializeOwned};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::time::timeout;

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// The range of a log search that names none.
const LOG_WINDOW: Duration = Duration::from_secs(3600);

/// The most records of a log search.
const MOST_RECORDS: usize = 1000;

/// The most characters of a log search.
const LONGEST_TEXT: usize = 1000;

type Answer<T> = Result<Json<T>, Problem>;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(assets::page))
        .route("/assets/{file}", get(assets::file))
        .route("/api/v1/status", get(status))
        .route("/api/v1/alerts", get(alerts))
        .route("/api/v1/stats", get(stats))
        .route("/api/v1/dashboards", get(dashboards))
        .route("/api/v1/dashboards/{uid}/panels/{panel}", get(panel))
        .route("/api/v1/logs", get(logs))
        .route("/api/v1/events", get(events::stream))
        .fallback(unknown)
        .method_not_allowed_fallback(read_only)
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), guard::guard))
        .with_state(shared)
}

async fn status(State(shared): State<Arc<Shared>>) -> Answer<PlatformStatus> {
    Ok(Json(shared.platform_status().await?))
}

async fn alerts(State(shared): State<Arc<Shared>>) -> Json<AlertsView> {
    Json(shared.alerts_view())
}

async fn stats(State(shared): State<Arc<Shared>>) -> Answer<StoreStats> {
    Ok(Json(shared.store_stats().await?))
}

async fn dashboards(State(shared): State<Arc<Shared>>) -> Response {
    let all = shared.dashboards.borrow().clone();
    let views: Vec<DashboardView<'_>> =
        all.iter().map(|dashboard| DashboardView::from(&**dashboard)).collect();
    Json(views).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PanelParameters {
    from: Option<i64>,
    to: Option<i64>,
    step: Option<u64>,
}

async fn panel(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<(String, usize)>, PathRejection>,
    Parameters(asked): Parameters<PanelParameters>,
) -> Answer<PanelData> {
    let Path((uid, number)) = path.map_err(|e| Error::invalid(e.body_text()))?;
    let dashboard = shared.dashboard(&uid)?;
    let panel = dashboard.panels.get(number).ok_or_else(|| {
        let count = dashboard.panels.len();
        Error::not_found(format!(
            "dashboard {uid:?} has {count} panels, counted from 0; there is no {number}"
        ))
    })?;
    let range = range(asked.from, asked.to, dashboard.window, shared.clock.now())?;
    let step = asked.step.map(Duration::from_millis);
    let data = evaluate::evaluate(&*shared.store, panel, range, step);
    Ok(Json(within(data, "evaluate", &format!("panel {:?}", panel.title)).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogParameters {
    #[serde(default)]
    text: String,
    #[serde(default)]
    environment: String,
    #[serde(default)]
    cluster: String,
    #[serde(default)]
    severity: String,
    from: Option<i64>,
    to: Option<i64>,
    limit: Option<usize>,
}

async fn logs(
    State(shared): State<Arc<Shared>>,
    Parameters(asked): Parameters<LogParameters>,
) -> Answer<LogPage> {
    let query = log_query(asked, shared.clock.now())?;
    Ok(Json(evaluate::bounded(within(shared.store.logs(&query), "search", "the logs").await?)))
}

async fn unknown(uri: Uri) -> Problem {
    Error::not_found(format!("there is nothing at {:?}", uri.path())).into()
}

async fn read_only() -> (StatusCode, Problem) {
    let error = Error::new(ErrorKind::Refused, "the console is read-only: it answers GET and HEAD");
    (StatusCode::METHOD_NOT_ALLOWED, error.into())
}

fn log_query(asked: LogParameters, now: Timestamp) -> Result<LogQuery> {
    let limit = asked.limit.unwrap_or(100);
    if !(1..=MOST_RECORDS).contains(&limit) {
        return Err(Error::invalid(format!("limit is {limit}, it must be 1 to {MOST_RECORDS}")));
    }
    let characters = asked.text.chars().count();
    if characters > LONGEST_TEXT {
        let message = format!("text has {characters} characters, at most {LONGEST_TEXT} are allowed");
        return Err(Error::invalid(message));
    }
    let range = range(asked.from, asked.to, LOG_WINDOW, now)?;
    let mut query = LogQuery::new(range).text(asked.text).limit(limit);
    if !asked.severity.is_empty() {
        let severity = Severity::parse(&asked.severity).ok_or_else(|| {
            let known = Severity::ALL.map(Severity::as_str).join(", ");
            Error::invalid(format!("severity {:?} is none of {known}", asked.severity))
        })?;
        query = query.min_severity(severity);
    }
    for (label, value) in [("environment", asked.environment), ("cluster", asked.cluster)] {
        if !value.is_empty() {
            query = query.matching(Matcher::equal(label, value));
        }
    }
    Ok(query)
}

/// The range asked for; by default, the `window` that ends now.
fn range(from: Option<i64>, to: Option<i64>, window: Duration, now: Timestamp) -> Result<TimeRange> {
    let to = to.map_or(now + Duration::from_millis(1), Timestamp::from_millis);
    let from = from.map_or(to - window, Timestamp::from_millis);
    if from >= to {
        return Err(Error::invalid(format!("the range from {from} to {to} is empty"))
            .help("`from` must be before `to`; both are milliseconds since 1970"));
    }
    Ok(TimeRange::new(from, to))
}

/// Bounds what asks others by [`PATIENCE`].
async fn within<T>(work: impl Future<Output = Result<T>>, operation: &str, subject: &str) -> Result<T> {
    match timeout(PATIENCE, work).await {
        Ok(result) => result.map_err(|e| e.operation(operation).subject(subject)),
        Err(_) => Err(Error::new(ErrorKind::Timeout, format!("no answer within {PATIENCE:?}"))
            .operation(operation)
            .subject(subject)),
    }
}

impl Shared {
    pub(super) async fn platform_status(&self) -> Result<PlatformStatus> {
        within(self.status.status(), "look at", "the platform").await
    }

    pub(super) async fn store_stats(&self) -> Result<StoreStats> {
        within(self.store.stats(), "measure", "the telemetry store").await
    }

    pub(super) fn alerts_view(&self) -> AlertsView {
        self.alerts.as_ref().map(|monitor| AlertsView::from(monitor.status())).unwrap_or_default()
    }

    fn dashboard(&self, uid: &str) -> Result<Arc<Dashboard>> {
        let found = self.dashboards.borrow().iter().find(|dashboard| dashboard.uid == uid).cloned();
        found.ok_or_else(|| Error::not_found(format!("no dashboard {uid:?} is published")))
    }
}

/// The query string, with its errors as the API has them.
struct Parameters<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        match query {
            Ok(Query(parameters)) => Ok(Self(parameters)),
            Err(rejection) => Err(Error::invalid(rejection.body_text()).into()),
        }
    }
}
