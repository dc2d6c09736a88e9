//! `pods/log`: what a container has printed and, with `follow`, what it prints until it ends.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use futures::stream;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::answer;
use super::read::key;
use super::request::{Parameters, Target};
use crate::kubernetes::error::ApiError;
use crate::kubernetes::logs::Line;
use crate::kubernetes::state::Key;
use crate::kubernetes::store::{Store, Watch};

pub(super) fn get(
    store: &Arc<Store>,
    target: &Target,
    query: &Parameters,
    shutdown: CancellationToken,
) -> Result<Response, ApiError> {
    let key = key(target);
    // Changes from here on end the wait for more, so that none is missed.
    let watch = store.watch(Some(&key.resource), Some(&key.namespace), store.revision());
    let pod = store.get(&key)?;
    let container = chosen_container(&pod, query)?.to_owned();
    let timestamps = query.flag("timestamps")?;
    let (mut lines, next) = store.logs().since(&key.namespace, &key.name, &container, 0);
    if query.flag("previous")? {
        lines.clear();
    }
    let tail = query.integer("tailLines")?.and_then(|count| usize::try_from(count).ok());
    let skipped = tail.map_or(0, |tail| lines.len().saturating_sub(tail));
    let first = written(lines.get(skipped..).unwrap_or_default(), timestamps);
    if !query.flag("follow")? {
        return Ok(answer::text(200, "text/plain", first));
    }
    let uid = pod["metadata"]["uid"].clone();
    let follower = Follower {
        store: store.clone(),
        key,
        uid,
        container,
        next,
        timestamps,
        watch,
        shutdown,
        ended: false,
    };
    let more = stream::unfold((Some(first), follower), |(first, mut follower)| async move {
        let text = match first {
            Some(text) if !text.is_empty() => text,
            _ => follower.more().await?,
        };
        Some((Ok::<_, Infallible>(text), (None, follower)))
    });
    Ok(answer::text(200, "text/plain", Body::from_stream(more)))
}

/// Reads a container's log until the container has ended.
struct Follower {
    store: Arc<Store>,
    key: Key,
    uid: Value,
    container: String,
    next: u64,
    timestamps: bool,
    watch: Watch,
    shutdown: CancellationToken,
    ended: bool,
}

impl Follower {
    /// The lines that are new; `None` after the last ones.
    async fn more(&mut self) -> Option<String> {
        let mut appended = self.store.logs().appended();
        loop {
            appended.borrow_and_update();
            // Asked before reading: what is printed at the very end is read too.
            let ended = self.ended || self.has_ended();
            let (lines, next) =
                self.store.logs().since(&self.key.namespace, &self.key.name, &self.container, self.next);
            if !lines.is_empty() {
                self.next = next;
                return Some(written(&lines, self.timestamps));
            }
            if ended {
                return None;
            }
            tokio::select! {
                () = self.shutdown.cancelled() => return None,
                _ = appended.changed() => {}
                event = self.watch.next() => self.ended = event.is_err(),
            }
        }
    }

    fn has_ended(&self) -> bool {
        let Some(pod) = self.store.find(&self.key).filter(|pod| pod["metadata"]["uid"] == self.uid) else {
            return true;
        };
        let status = &pod["status"];
        let terminated = ["containerStatuses", "initContainerStatuses"]
            .into_iter()
            .filter_map(|list| status[list].as_array())
            .flatten()
            .any(|one| one["name"] == self.container.as_str() && !one["state"]["terminated"].is_null());
        terminated || matches!(status["phase"].as_str(), Some("Succeeded" | "Failed"))
    }
}

/// The container that the request names, or the only one.
fn chosen_container<'a>(pod: &'a Value, query: &'a Parameters) -> Result<&'a str, ApiError> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let containers: Vec<&str> = ["containers", "initContainers"]
        .into_iter()
        .filter_map(|list| pod["spec"][list].as_array())
        .flatten()
        .filter_map(|container| container["name"].as_str())
        .collect();
    match (query.get("container"), containers.as_slice()) {
        (Some(wanted), known) if known.contains(&wanted) => Ok(wanted),
        (Some(wanted), _) => {
            Err(ApiError::bad_request(format!("container {wanted} is not valid for pod {name}")))
        }
        (None, [only]) => Ok(only),
        (None, _) => {
            let listed = containers.join(" ");
            let message =
                format!("a container name must be specified for pod {name}, choose one of: [{listed}]");
            Err(ApiError::bad_request(message))
        }
    }
}

fn written(lines: &[Line], timestamps: bool) -> String {
    let mut out = String::new();
    for line in lines {
        if timestamps {
            out.push_str(&line.at.to_string());
            out.push(' ');
        }
        out.push_str(&line.text);
        out.push('\n');
    }
    out
}
