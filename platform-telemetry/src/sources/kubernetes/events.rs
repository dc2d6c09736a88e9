//! A cluster's Events as log records.

use super::object::Object;
use futures::{FutureExt, future::BoxFuture};
use platform_core::{
    ErrorKind, Result,
    clock::Timestamp,
    telemetry::{Batch, Emitter, Labels, LogRecord, Severity},
};
use serde_json::Value;
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

/// Longer than a pipeline retries: then it has answered.
const DELIVERY_DEADLINE: Duration = Duration::from_secs(900);

/// Which Events were emitted, and how often they had been seen by then.
#[derive(Default)]
pub(super) struct Events {
    emitted: HashMap<String, u64>,
    under_way: Vec<(BoxFuture<'static, Result<()>>, Vec<String>)>,
}

impl Events {
    /// Emits what is new among `listed`.
    pub(super) async fn emit(
        &mut self,
        listed: &[Value],
        read: Timestamp,
        labels: &(dyn Fn(&str) -> Labels + Sync),
        out: &Emitter,
    ) -> Result<()> {
        self.forget_what_was_not_stored();
        let (mut records, mut fresh) = (Vec::new(), Vec::new());
        let mut present = HashSet::new();
        for event in listed.iter().map(Object::new) {
            let (uid, count) = (event.uid(), count(event));
            present.insert(uid);
            if self.emitted.get(uid).is_none_or(|emitted| *emitted < count) {
                let own = labels(event.namespace());
                records.push(record(event, read, &own));
                fresh.push((uid.to_owned(), count));
            }
        }
        // The API server forgets Events after an hour: so does this.
        self.emitted.retain(|uid, _| present.contains(uid.as_str()));
        if !records.is_empty() {
            let delivery = out.emit(Batch::logs(records)).await?;
            let uids = fresh.iter().map(|(uid, _)| uid.clone()).collect();
            self.emitted.extend(fresh);
            self.under_way.push((delivery.durable(DELIVERY_DEADLINE).boxed(), uids));
        }
        Ok(())
    }

    fn forget_what_was_not_stored(&mut self) {
        self.under_way.retain_mut(|(delivery, uids)| match delivery.now_or_never() {
            None => true,
            Some(Ok(())) => false,
            Some(Err(error)) => {
                // What the sink will never take would only be refused again, at every reading.
                if error.is_retryable() || matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Cancelled) {
                    for uid in uids {
                        self.emitted.remove(uid);
                    }
                }
                false
            }
        });
    }
}

/// How often it was seen: a series counts for itself, and what is new counts once.
fn count(event: Object<'_>) -> u64 {
    let count = event.number("/series/count").or_else(|| event.number("/count"));
    count.map_or(1, |count| (count as u64).max(1))
}

fn record(event: Object<'_>, read: Timestamp, labels: &Labels) -> LogRecord {
    let or = |one: &str, other: &str| {
        let text = event.text(one);
        if text.is_empty() { event.text(other).to_owned() } else { text.to_owned() }
    };
    let kind = event.text("/involvedObject/kind");
    let own = [
        ("source", "kubernetes-events".to_owned()),
        ("namespace", or("/involvedObject/namespace", "/metadata/namespace")),
        ("kind", kind.to_owned()),
        ("name", event.text("/involvedObject/name").to_owned()),
        ("reason", event.text("/reason").to_owned()),
        ("type", event.text("/type").to_owned()),
        ("component", or("/reportingComponent", "/source/component")),
        ("node", event.text("/source/host").to_owned()),
        ("pod", if kind == "Pod" { event.text("/involvedObject/name").to_owned() } else { String::new() }),
    ];
    let time = event.time(&[
        "/series/lastObservedTime",
        "/lastTimestamp",
        "/eventTime",
        "/firstTimestamp",
        "/metadata/creationTimestamp",
    ]);
    LogRecord {
        timestamp: time.unwrap_or(read),
        severity: if event.text("/type") == "Warning" { Severity::Warn } else { Severity::Info },
        body: event.text("/message").to_owned(),
        labels: labels.with(&own.into_iter().collect()),
    }
}
