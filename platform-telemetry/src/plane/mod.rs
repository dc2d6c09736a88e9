//! Telemetry of a platform in this process: sources, pipeline, store, alerts and console, started and stopped together.

mod builder;
mod running;
mod sources;

pub use builder::EmbeddedTelemetryBuilder;

use crate::{sources::is_checkpoint, store::EmbeddedStore};
use async_trait::async_trait;
use builder::{Config, Place};
use platform_core::{
    Error, ErrorKind, Result,
    event::Progress,
    telemetry::{TelemetryPlane, TelemetryStore, TelemetrySummary, Topology},
};
use running::Running;
use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tempfile::TempDir;

/// A [`TelemetryPlane`] that needs no server.
///
/// It watches this machine under the name of every simulated cluster, the objects of all clusters, files, scrape targets and the
/// program's own events; keeps all of it in an [`EmbeddedStore`]; evaluates alerts; and serves the [console](crate::console).
///
/// ```no_run
/// use platform_core::{Result, alert::AlertRule, telemetry::TelemetryPlane};
/// use platform_telemetry::{notifiers::Terminal, plane::EmbeddedTelemetry};
/// use std::sync::Arc;
///
/// # fn main() -> Result<()> {
/// let telemetry = EmbeddedTelemetry::builder()
///     .data_dir("/var/lib/shop/telemetry")
///     .alert(AlertRule::high_cpu(80.0))
///     .notifier(Arc::new(Terminal::stderr()))
///     .build()?;
/// for line in telemetry.describe() {
///     println!("{line}");
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Behavior
/// - [`start`](TelemetryPlane::start) answers once the store is open, the sources run and the console listens. If a part cannot start, none
///   runs.
/// - After [`stop`](TelemetryPlane::stop) it can be started again, on the same data.
/// - Dropping it stops everything at once; what was acknowledged is durable.
pub struct EmbeddedTelemetry {
    config: Config,
    running: tokio::sync::Mutex<Option<Running>>,
    /// What can be said without waiting.
    shown: Mutex<Shown>,
    /// Made by the first start, where the data is temporary.
    temporary: Mutex<Option<TempDir>>,
}

#[derive(Default)]
struct Shown {
    running: Option<(Arc<dyn TelemetryStore>, String)>,
    /// Of the run that ended last.
    last: TelemetrySummary,
}

impl EmbeddedTelemetry {
    /// A plane to be configured.
    pub fn builder() -> EmbeddedTelemetryBuilder {
        EmbeddedTelemetryBuilder::default()
    }

    fn new(config: Config) -> Self {
        Self {
            config,
            running: tokio::sync::Mutex::default(),
            shown: Mutex::default(),
            temporary: Mutex::default(),
        }
    }

    /// The store, while it runs.
    pub fn store(&self) -> Option<Arc<dyn TelemetryStore>> {
        self.shown().running.as_ref().map(|(store, _)| store.clone())
    }

    /// Where the console is, while it runs: `http://127.0.0.1:49152/`.
    pub fn console_url(&self) -> Option<String> {
        self.shown().running.as_ref().map(|(_, url)| url.clone())
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the store is; makes the directory if it is a temporary one.
    fn store_dir(&self) -> Result<PathBuf> {
        let dir = match &self.config.place {
            Place::Directory(dir) => dir.clone(),
            Place::Temporary => {
                let mut temporary = self.temporary.lock().unwrap_or_else(PoisonError::into_inner);
                let dir =
                    match temporary.take() {
                        Some(dir) => dir,
                        None => {
                            tempfile::Builder::new().prefix("platform-telemetry-").tempdir().map_err(|e| {
                                Error::new(ErrorKind::Unavailable, "a temporary directory cannot be made")
                            .help("set TMPDIR to a directory that can be written, or give a data directory")
                            .source(e)
                            .retryable(false)
                            })?
                        }
                    };
                temporary.insert(dir).path().to_owned()
            }
        };
        Ok(dir.join(builder::STORE))
    }
}

impl fmt::Debug for EmbeddedTelemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedTelemetry")
            .field("place", &self.config.place)
            .field("console_url", &self.console_url())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl TelemetryPlane for EmbeddedTelemetry {
    fn describe(&self) -> Vec<String> {
        self.config.describe()
    }

    fn is_running(&self) -> bool {
        self.shown().running.is_some()
    }

    async fn start(&self, topology: Topology, progress: &Progress) -> Result<bool> {
        let mut running = self.running.lock().await;
        if let Some(running) = &mut *running {
            return running.watch(&self.config, topology).await;
        }
        let dir = self.store_dir()?;
        let started = Running::start(&self.config, dir, topology)
            .await
            .map_err(|e| e.operation("start").subject("the telemetry plane"))?;
        let (store, url) = (started.store(), started.console_url());
        progress.report(format!("telemetry flows; the console is at {url}"));
        self.shown().running = Some((store, url));
        *running = Some(started);
        Ok(true)
    }

    async fn summary(&self) -> Result<TelemetrySummary> {
        match &*self.running.lock().await {
            Some(running) => Ok(running.summary(&self.config)),
            None => Ok(self.shown().last.clone()),
        }
    }

    async fn stop(&self) -> Result<()> {
        let mut slot = self.running.lock().await;
        let Some(running) = slot.take() else { return Ok(()) };
        // Before anything is awaited: if this future is dropped, everything stops at once.
        self.shown().running = None;
        let stopped = running.stop().await;
        let mut last = running.summary(&self.config);
        last.endpoints.clear();
        self.shown().last = last;
        stopped
    }

    async fn destroy(&self) -> Result<()> {
        if let Err(error) = self.stop().await {
            // What was not written is to be deleted anyway; a store that is still open refuses that by itself.
            tracing::warn!(%error, "telemetry did not stop in order before its data is deleted");
        }
        let _held = self.running.lock().await;
        let temporary = self.temporary.lock().unwrap_or_else(PoisonError::into_inner).take();
        let place = self.config.place.clone();
        let removed = tokio::task::spawn_blocking(move || match (place, temporary) {
            (Place::Directory(dir), _) => remove(&dir),
            (Place::Temporary, Some(dir)) => {
                dir.close().map_err(|e| cannot_delete(e, "the temporary directory"))
            }
            (Place::Temporary, None) => Ok(()),
        });
        removed.await.map_err(|e| Error::internal("deleting stopped half-way").source(e))?
    }
}

/// Removes what a plane keeps in `dir`, and `dir` itself if nothing else is in it.
fn remove(dir: &std::path::Path) -> Result<()> {
    let store = dir.join(builder::STORE);
    EmbeddedStore::destroy(&store)?;
    let absent = |e: &std::io::Error| e.kind() == std::io::ErrorKind::NotFound;
    let checkpoint = dir.join(builder::CHECKPOINT);
    if is_checkpoint(&checkpoint)
        && let Err(e) = std::fs::remove_file(&checkpoint)
        && !absent(&e)
    {
        return Err(cannot_delete(e, &checkpoint.display().to_string()));
    }
    match std::fs::remove_dir(dir) {
        Err(e) if !absent(&e) && e.kind() != std::io::ErrorKind::DirectoryNotEmpty => {
            Err(cannot_delete(e, &dir.display().to_string()))
        }
        _ => Ok(()),
    }
}

fn cannot_delete(error: std::io::Error, what: &str) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        _ => ErrorKind::Failed,
    };
    Error::new(kind, "the file system refused").operation("delete").subject(what).source(error)
}

/// How long each part may take to stop.
const PART_DEADLINE: Duration = Duration::from_secs(15);
