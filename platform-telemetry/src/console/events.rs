//! Changes, pushed to open pages as server-sent events.

use super::{
    Shared,
    problem::{Description, Problem},
    view::DashboardView,
};
use axum::{
    extract::State,
    response::sse::{Event, Sse},
};
use futures::{Stream, StreamExt, stream};
use platform_core::{Error, ErrorKind, Result, clock::Timestamp};
use serde::Serialize;
use serde_json::Value;
use std::{collections::BTreeMap, convert::Infallible, pin::pin, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::timeout,
};
use tokio_stream::wrappers::WatchStream;

/// Open streams at once: each is a page.
const MOST_STREAMS: usize = 64;

/// The latest of everything, for all pages together: however many are open, the platform is asked once.
pub(super) struct Feed {
    refresh: Duration,
    latest: watch::Sender<Snapshot>,
    wanted: Notify,
    slots: Arc<Semaphore>,
}

#[derive(Clone, Default)]
struct Snapshot {
    /// Grows with each look, whether anything changed or not; 0 is before the first.
    round: u64,
    at: Timestamp,
    /// By their names in the API.
    parts: BTreeMap<&'static str, Arc<Part>>,
}

/// A part of the page, or why it is not known.
struct Part {
    /// Grows when it changes; the first is 1.
    version: u64,
    event: &'static str,
    text: String,
    /// What is compared to see a change: all but the moment at which it was looked at.
    content: Value,
}

impl Feed {
    pub(super) fn new(refresh: Duration) -> Self {
        let slots = Arc::new(Semaphore::new(MOST_STREAMS));
        Self { refresh, latest: watch::Sender::default(), wanted: Notify::new(), slots }
    }

    /// Waits for the next round: due at once when a page opens, then every `refresh` as long as one is open.
    async fn pause(&self) {
        let mut opened = pin!(self.wanted.notified());
        // Registered before the pages are counted, so that none opens unnoticed in between.
        opened.as_mut().enable();
        if self.latest.receiver_count() == 0 {
            opened.await;
        } else {
            // Elapsed or woken: either way it is time.
            let _ = timeout(self.refresh, opened).await;
        }
    }

    fn put<T: Serialize>(&self, name: &'static str, result: &Result<T>) {
        let (event, content) = match result {
            Ok(value) => (name, serde_json::to_value(value)),
            Err(error) => ("failure", serde_json::to_value(Failure { part: name, error: error.into() })),
        };
        let mut content = content.unwrap_or_default();
        let text = content.to_string();
        if let Value::Object(fields) = &mut content {
            fields.remove("at");
        }
        self.latest.send_if_modified(|snapshot| {
            let former = snapshot.parts.get(name);
            if former.is_some_and(|part| part.event == event && part.content == content) {
                return false;
            }
            let version = former.map_or(1, |part| part.version + 1);
            snapshot.parts.insert(name, Arc::new(Part { version, event, text, content }));
            true
        });
    }
}

#[derive(Serialize)]
struct Failure {
    part: &'static str,
    error: Description,
}

/// Keeps the feed up to date while somebody looks, until the console stops.
pub(super) async fn run(shared: Arc<Shared>) {
    // The status asks clusters and may be slow; what is at hand does not wait for it.
    let work = async { tokio::join!(keep_status(&shared), keep_the_rest(&shared)) };
    shared.stopping.run_until_cancelled(work).await;
}

async fn keep_status(shared: &Shared) {
    loop {
        shared.feed.pause().await;
        shared.feed.put("status", &shared.platform_status().await);
    }
}

async fn keep_the_rest(shared: &Shared) {
    let mut dashboards = shared.dashboards.subscribe();
    loop {
        tokio::select! {
            () = shared.feed.pause() => {}
            _ = dashboards.changed() => {}
        }
        let published = dashboards.borrow_and_update().clone();
        let views: Vec<DashboardView<'_>> = published.iter().map(|d| DashboardView::from(&**d)).collect();
        shared.feed.put("dashboards", &Ok(views));
        shared.feed.put("alerts", &Ok(shared.alerts_view()));
        shared.feed.put("stats", &shared.store_stats().await);
        shared.feed.latest.send_modify(|snapshot| {
            snapshot.round += 1;
            snapshot.at = shared.clock.now();
        });
    }
}

/// The stream of a page.
pub(super) async fn stream(
    State(shared): State<Arc<Shared>>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let slot = Arc::clone(&shared.feed.slots).try_acquire_owned().map_err(|_| {
        Error::new(ErrorKind::Exhausted, format!("{MOST_STREAMS} pages are open"))
            .help("close some; the others are served by polling")
    })?;
    let snapshots = WatchStream::new(shared.feed.latest.subscribe());
    shared.feed.wanted.notify_waiters();
    let mut seen = Seen::default();
    let events = snapshots.flat_map(move |snapshot| {
        // Held until the page is gone.
        let _slot = &slot;
        stream::iter(seen.news(&snapshot))
    });
    Ok(Sse::new(events.map(Ok).take_until(shared.stopping.clone().cancelled_owned())))
}

/// What a page has been told.
#[derive(Default)]
struct Seen {
    round: u64,
    versions: BTreeMap<&'static str, u64>,
}

impl Seen {
    fn news(&mut self, snapshot: &Snapshot) -> Vec<Event> {
        let mut events = Vec::new();
        for (name, part) in &snapshot.parts {
            if self.versions.insert(name, part.version) != Some(part.version) {
                events.push(Event::default().event(part.event).data(&part.text));
            }
        }
        if self.round != snapshot.round {
            self.round = snapshot.round;
            let data = format!(r#"{{"at":{}}}"#, snapshot.at.as_millis());
            events.push(Event::default().event("heartbeat").data(data));
        }
        events
    }
}
