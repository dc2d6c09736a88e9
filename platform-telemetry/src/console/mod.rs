//! The console: a page on loopback that shows how a platform is, and the JSON API behind it.
//!
//! [`Console`] serves one self-contained page, whose parts are compiled into this crate: nothing is fetched from elsewhere. It is
//! read-only, and a [`DashboardTarget`]: dashboards that are published to it become charts.
//!
//! # API
//! All answers are JSON; times are milliseconds since 1970-01-01T00:00:00Z, durations milliseconds.
//! An error is `{"error":{"kind","message"}}` with a fitting status; its kinds are those of [`ErrorKind`].
//!
//! | `GET` | answers with | parameters |
//! |---|---|---|
//! | `/api/v1/status` | [`PlatformStatus`](platform_core::status::PlatformStatus) | |
//! | `/api/v1/dashboards` | the published dashboards, queries as PromQL | |
//! | `/api/v1/dashboards/{uid}/panels/{n}` | series on one grid of times, or log records; `n` from 0 | `from`, `to`, `step` |
//! | `/api/v1/logs` | [`LogPage`](platform_core::telemetry::LogPage), the newest first | `text`, `environment`, `cluster`, `severity`, `from`, `to`, `limit` |
//! | `/api/v1/alerts` | rules with their state, active and resolved alerts, deliveries | |
//! | `/api/v1/stats` | [`StoreStats`](platform_core::telemetry::StoreStats) | |
//! | `/api/v1/events` | a stream of server-sent events | |
//!
//! `from` (inclusive) and `to` (exclusive) default to the dashboard's window and to an hour of logs, up to now. `limit` is 1 to 1000,
//! by default 100. `severity` is the least gravity. Unknown parameters are refused.
//!
//! The stream sends `status`, `alerts`, `stats` and `dashboards`, each with what the path of that name answers, at first and whenever
//! it changed; `failure` with `part` and `error` when one could not be found out; and `heartbeat` with `at` every
//! [`refresh`](ConsoleBuilder::refresh).
//!
//! # Pictures
//! A page that follows the platform never finishes loading, which confuses tools that wait for that. With `?live=off` it looks once:
//! `chromium --headless --virtual-time-budget=6000 --screenshot http://127.0.0.1:PORT/?live=off`.
//!
//! # Security
//! There is no login: who can connect can read. So the console binds loopback unless told otherwise. Pages of other origins are kept out
//! by the `Host` header, which must be an IP address, `localhost` or an [allowed name](ConsoleBuilder::allow_host) (DNS rebinding), and
//! by fetch metadata; the page itself runs under a content security policy that allows its own files only.

mod api;
mod assets;
mod evaluate;
mod events;
mod guard;
mod problem;
mod view;

use crate::alerting::AlertMonitor;
use async_trait::async_trait;
use events::Feed;
use guard::Hosts;
use platform_core::{
    Error, ErrorKind, Result,
    clock::{Clock, SystemClock},
    dashboard::{Dashboard, DashboardTarget, Panel, PanelContent},
    status::StatusSource,
    telemetry::TelemetryStore,
};
use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{Mutex, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// How long open connections may take to end when the console stops.
const STOPPING: Duration = Duration::from_secs(5);

/// A running console. Dropping it stops it without waiting.
///
/// ```no_run
/// # use platform_core::{Result, alert::cpu_percent, status::StatusSource, telemetry::TelemetryStore};
/// # use std::sync::Arc;
/// use platform_core::dashboard::DashboardTarget;
/// use platform_telemetry::{console::Console, dashboards};
///
/// # async fn run(store: Arc<dyn TelemetryStore>, platform: Arc<dyn StatusSource>) -> Result<()> {
/// let console = Console::builder(store, platform).start().await?;
/// console.publish(&dashboards::platform_overview(None)).await?;
/// println!("open {}", console.url());
/// console.stop().await;
/// # Ok(())
/// # }
/// ```
pub struct Console {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
    stopping: CancellationToken,
}

/// What requests are answered from.
struct Shared {
    store: Arc<dyn TelemetryStore>,
    status: Arc<dyn StatusSource>,
    alerts: Option<AlertMonitor>,
    clock: Arc<dyn Clock>,
    /// In the order in which they were first published.
    dashboards: watch::Sender<Vec<Arc<Dashboard>>>,
    feed: Feed,
    hosts: Hosts,
    stopping: CancellationToken,
}

impl Console {
    /// A console that shows what `store` holds and what `status` says.
    pub fn builder(store: Arc<dyn TelemetryStore>, status: Arc<dyn StatusSource>) -> ConsoleBuilder {
        ConsoleBuilder {
            store,
            status,
            alerts: None,
            clock: Arc::new(SystemClock),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            refresh: Duration::from_secs(2),
            hosts: Hosts::default(),
        }
    }

    /// Where the page is: `http://127.0.0.1:49152/`.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening, ends open event streams and waits for requests under way, at most 5 seconds. Idempotent.
    pub async fn stop(&self) {
        self.stopping.cancel();
        let mut tasks = self.tasks.lock().await;
        let ended = timeout(STOPPING, async { while tasks.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            tracing::warn!(address = %self.address, "the console cuts off requests that did not end in time");
            tasks.shutdown().await;
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // Ends the connections too, which are not among the tasks.
        self.stopping.cancel();
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("address", &self.address).finish_non_exhaustive()
    }
}

#[async_trait]
impl DashboardTarget for Console {
    fn name(&self) -> &'static str {
        "console"
    }

    async fn publish(&self, dashboard: &Dashboard) -> Result<String> {
        check(dashboard)
            .map_err(|e| e.operation("publish").subject(format!("dashboard {:?}", dashboard.uid)))?;
        let published = Arc::new(dashboard.clone());
        self.shared.dashboards.send_modify(|all| {
            match all.iter_mut().find(|former| former.uid == published.uid) {
                Some(former) => *former = published,
                None => all.push(published),
            }
        });
        Ok(format!("{}#dashboard-{}", self.url(), dashboard.uid))
    }

    async fn remove(&self, uid: &str) -> Result<()> {
        self.shared.dashboards.send_modify(|all| all.retain(|dashboard| dashboard.uid != uid));
        Ok(())
    }
}

/// How a [`Console`] is to run.
#[derive(Debug)]
#[must_use]
pub struct ConsoleBuilder {
    store: Arc<dyn TelemetryStore>,
    status: Arc<dyn StatusSource>,
    alerts: Option<AlertMonitor>,
    clock: Arc<dyn Clock>,
    address: SocketAddr,
    refresh: Duration,
    hosts: Hosts,
}

impl ConsoleBuilder {
    /// Where it listens; port 0 is a free one. Default: `127.0.0.1:0`.
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Shows these alerts.
    pub fn alerts(mut self, alerts: AlertMonitor) -> Self {
        self.alerts = Some(alerts);
        self
    }

    /// The clock by which "now" is meant. Default: the machine's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How often open pages are told of changes, 100 ms to a minute. Default: 2 seconds.
    pub fn refresh(mut self, refresh: Duration) -> Self {
        self.refresh = refresh.clamp(Duration::from_millis(100), Duration::from_secs(60));
        self
    }

    /// Also answers requests for this host name, as a proxy in front of the console passes it on.
    pub fn allow_host(mut self, name: impl Into<String>) -> Self {
        self.hosts.allow(name.into());
        self
    }

    /// Binds the address and begins to serve.
    pub async fn start(self) -> Result<Console> {
        let listener = TcpListener::bind(self.address).await.map_err(|e| cannot_bind(self.address, e))?;
        let address = listener.local_addr().map_err(|e| cannot_bind(self.address, e))?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "the console has no login and is reachable from other machines");
        }
        let stopping = CancellationToken::new();
        let shared = Arc::new(Shared {
            store: self.store,
            status: self.status,
            alerts: self.alerts,
            clock: self.clock,
            dashboards: watch::Sender::default(),
            feed: Feed::new(self.refresh),
            hosts: self.hosts,
            stopping: stopping.clone(),
        });
        let mut tasks = JoinSet::new();
        let router = api::router(Arc::clone(&shared));
        let server = axum::serve(listener, router).with_graceful_shutdown(stopping.clone().cancelled_owned());
        tasks.spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%address, %error, "the console ended");
            }
        });
        tasks.spawn(events::run(Arc::clone(&shared)));
        tracing::info!(url = %format_args!("http://{address}/"), "the console listens");
        Ok(Console { address, shared, tasks: Mutex::new(tasks), stopping })
    }
}

fn cannot_bind(address: SocketAddr, error: io::Error) -> Error {
    let (kind, message, help) = match error.kind() {
        io::ErrorKind::AddrInUse => (
            ErrorKind::AlreadyExists,
            "another program listens there",
            "stop it or choose another port; port 0 takes a free one",
        ),
        io::ErrorKind::PermissionDenied => {
            (ErrorKind::Denied, "this user may not listen there", "choose a port of 1024 or above")
        }
        io::ErrorKind::AddrNotAvailable => (
            ErrorKind::Invalid,
            "this machine does not have that address",
            "choose an address of this machine, such as 127.0.0.1",
        ),
        _ => (ErrorKind::Unavailable, "the address cannot be bound", "choose another address"),
    };
    Error::new(kind, message)
        .operation("start")
        .subject(format!("the console on {address}"))
        .help(help)
        .source(error)
        .retryable(false)
}

/// Whether the page can show it.
fn check(dashboard: &Dashboard) -> Result<()> {
    const WINDOW: std::ops::RangeInclusive<Duration> =
        Duration::from_secs(60)..=Duration::from_secs(31 * 86_400);
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !(1..=64).contains(&dashboard.uid.len()) || !dashboard.uid.chars().all(allowed) {
        return Err(Error::invalid("its uid must be 1 to 64 of a-z, 0-9 and '-'"));
    }
    if !WINDOW.contains(&dashboard.window) {
        return Err(Error::invalid("its window must be a minute to 31 days"));
    }
    dashboard.panels.iter().try_for_each(check_panel)
}

fn check_panel(panel: &Panel) -> Result<()> {
    let problem = match &panel.content {
        PanelContent::TimeSeries { queries, .. } if queries.is_empty() => "it has no query",
        PanelContent::TimeSeries { range: Some((low, high)), .. }
            if !(low.is_finite() && high.is_finite() && low < high) =>
        {
            "the ends of its axis must be finite, the lower one first"
        }
        PanelContent::TimeSeries { threshold: Some(limit), .. } if !limit.is_finite() => {
            "its threshold must be finite"
        }
        PanelContent::TimeSeries { .. } | PanelContent::Stat { .. } | PanelContent::Logs { .. } => {
            return Ok(());
        }
        _ => "the console cannot show its kind of content",
    };
    Err(Error::invalid(format!("panel {:?}: {problem}", panel.title)))
}
