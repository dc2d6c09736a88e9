//! Watches: a stream of events from a version on, with bookmarks and initial events.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::answer::{self, partial, rendered, shows_as_stored};
use super::read::{Selection, parse_version};
use super::request::{Accept, Form, Parameters, Target};
use super::table;
use crate::kubernetes::error::{ApiError, Cause};
use crate::kubernetes::resource::Resource;
use crate::kubernetes::state::{Change, Event, Stored, encode, watch_line};
use crate::kubernetes::store::{Store, Watch};

/// How often a watch that asked for bookmarks is told how far it is.
const BOOKMARK_EVERY: Duration = Duration::from_secs(10);
/// No watch is longer, nor are those without `timeoutSeconds`: clients begin again anyway.
const LONGEST: Duration = Duration::from_secs(45 * 60);

/// Answers with a stream of events.
pub(super) fn start(
    store: &Arc<Store>,
    target: &Target,
    query: &Parameters,
    headers: &HeaderMap,
    shutdown: CancellationToken,
) -> Result<Response, ApiError> {
    let accept = Accept::parse(headers)?;
    if accept.yaml {
        return Err(ApiError::new(406, "NotAcceptable", "watches are served as application/json"));
    }
    let mut selection = Selection::parse(target, query)?;
    if let Some(name) = &target.name {
        selection = selection.named(name);
    }
    let initial = initial_events(query)?;
    let timeout = match query.integer("timeoutSeconds")? {
        Some(seconds) if seconds > 0 => Duration::from_secs(seconds.unsigned_abs()).min(LONGEST),
        _ => LONGEST,
    };
    let version = match query.get("resourceVersion") {
        None => 0,
        Some(text) => parse_version(text).map_err(|why| ApiError::new(500, "", why))?,
    };
    let view = View {
        resource: target.resource.clone(),
        selection,
        form: accept.form,
        include: table::Include::parse(query.get("includeObject")),
    };
    let namespace = target.namespace.as_deref();
    let from_now = version == 0 || initial == Some(true);
    let mut first = Vec::new();
    let since = if from_now && initial != Some(false) {
        let listing = store.list(&target.resource.id, namespace);
        let seen = listing.items.iter().filter(|object| view.selection.selects(object));
        first.extend(seen.map(|object| view.line(Change::Added, object)));
        if initial == Some(true) && query.flag("allowWatchBookmarks")? {
            first.push(view.bookmark(listing.revision, true));
        }
        listing.revision
    } else if version == 0 {
        store.revision()
    } else {
        version
    };
    let state = Stream {
        watch: store.watch(Some(&target.resource.id), namespace, since),
        first: first.into_iter(),
        view,
        bookmarks: query.flag("allowWatchBookmarks")?,
        next_bookmark: Box::pin(tokio::time::sleep(BOOKMARK_EVERY)),
        end: Box::pin(tokio::time::sleep_until(Instant::now() + timeout)),
        shutdown,
        ended: false,
    };
    let lines = stream::unfold(state, |mut state| async move {
        let line = state.next().await?;
        Some((Ok::<_, std::convert::Infallible>(line), state))
    });
    Ok(answer::text(200, "application/json", Body::from_stream(lines)))
}

/// `sendInitialEvents`, checked as KEP-3157 says.
fn initial_events(query: &Parameters) -> Result<Option<bool>, ApiError> {
    if query.get("sendInitialEvents").is_none() {
        return Ok(None);
    }
    if query.get("resourceVersionMatch") != Some("NotOlderThan") {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        let cause = Cause::forbidden("resourceVersionMatch", why);
        return Err(ApiError::invalid_kind("meta.k8s.io", "ListOptions", "", vec![cause]));
    }
    query.flag("sendInitialEvents").map(Some)
}

/// How a watch sees objects.
struct View {
    resource: Arc<Resource>,
    selection: Selection,
    form: Form,
    include: table::Include,
}

impl View {
    /// The event as this watch sees it: an object that leaves its selection is deleted, one that enters is added.
    fn event(&self, event: &Event) -> Option<Bytes> {
        if self.selection.selects_all() {
            return Some(self.unfiltered(event));
        }
        let before = event.previous.as_ref().is_some_and(|object| self.selection.selects(object));
        let after = event.change != Change::Deleted && self.selection.selects(&event.object);
        match (before, after) {
            (false, false) => None,
            (true, true) => Some(self.unfiltered(event)),
            (false, true) => Some(self.line(Change::Added, &event.object)),
            (true, false) if event.change == Change::Deleted => Some(self.unfiltered(event)),
            (true, false) => {
                // The last state that this watch could see, at the version of the change.
                let mut last =
                    event.previous.as_ref().map(|object| object.value().clone()).unwrap_or_default();
                last["metadata"]["resourceVersion"] = json!(event.revision.to_string());
                Some(self.line(Change::Deleted, &Stored::new(last, event.revision)))
            }
        }
    }

    fn unfiltered(&self, event: &Event) -> Bytes {
        if self.form == Form::Object && shows_as_stored(&self.resource, &event.object) {
            event.line()
        } else {
            self.line(event.change, &event.object)
        }
    }

    fn line(&self, change: Change, object: &Stored) -> Bytes {
        let object = match self.form {
            Form::Object => rendered(&self.resource, object),
            Form::Metadata => encode(&partial(object, "PartialObjectMetadata")),
            Form::Table => {
                let meta = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                encode(&table::of(&self.resource, &[object], &meta, self.include))
            }
        };
        watch_line(change.as_str(), &object)
    }

    fn bookmark(&self, revision: u64, initial_events_end: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if initial_events_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = match self.form {
            Form::Object => {
                json!({"kind": self.resource.kind, "apiVersion": self.resource.api_version(), "metadata": metadata})
            }
            Form::Metadata => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            Form::Table => {
                let row = json!({"cells": [], "object": {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}});
                json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": Value::Null, "rows": [row]})
            }
        };
        watch_line("BOOKMARK", &encode(&object))
    }
}

struct Stream {
    watch: Watch,
    first: std::vec::IntoIter<Bytes>,
    view: View,
    bookmarks: bool,
    next_bookmark: Pin<Box<Sleep>>,
    end: Pin<Box<Sleep>>,
    shutdown: CancellationToken,
    ended: bool,
}

impl Stream {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(line) = self.first.next() {
            return Some(line);
        }
        while !self.ended {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => self.ended = true,
                event = self.watch.next() => match event {
                    Ok(event) => {
                        if let Some(line) = self.with_more(&event) {
                            return Some(line);
                        }
                    }
                    Err(error) => {
                        self.ended = true;
                        return Some(watch_line("ERROR", &encode(&error.status())));
                    }
                },
                () = &mut self.end => {
                    self.ended = true;
                    if self.bookmarks {
                        return Some(self.view.bookmark(self.watch.position(), false));
                    }
                }
                () = &mut self.next_bookmark, if self.bookmarks => {
                    self.next_bookmark.as_mut().reset(Instant::now() + BOOKMARK_EVERY);
                    if let Ok(Some(event)) = self.watch.try_next() {
                        return self.with_more(&event).or_else(|| Some(self.view.bookmark(self.watch.position(), false)));
                    }
                    return Some(self.view.bookmark(self.watch.position(), false));
                }
            }
        }
        None
    }

    /// The event, and whatever else is there already: one write to the connection instead of many.
    fn with_more(&mut self, event: &Event) -> Option<Bytes> {
        const ENOUGH: usize = 64 * 1024;
        let first = self.view.event(event);
        let Ok(Some(second)) = self.watch.try_next() else { return first };
        let mut lines = first.map(|line| line.to_vec()).unwrap_or_default();
        let mut event = Some(second);
        while let Some(one) = event {
            lines.extend_from_slice(&self.view.event(&one).unwrap_or_default());
            event = if lines.len() < ENOUGH { self.watch.try_next().ok().flatten() } else { None };
        }
        (!lines.is_empty()).then(|| Bytes::from(lines))
    }
}
