//! Deletes indexes of days that are past their time, where the server has no data streams that see to it.

use super::Elasticsearch;
use crate::task::AbortOnDrop;
use ::elasticsearch::http::Method;
use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use platform_core::{
    Error, Result,
    telemetry::document::{Signal, data_stream, day_of_index},
};
use std::time::Duration;

/// How often it is looked for old indexes.
const EVERY: Duration = Duration::from_secs(3600);
const DEADLINE: Duration = Duration::from_secs(60);

/// Looks for old indexes as long as it lives.
pub(super) struct Expiry(#[expect(dead_code, reason = "it lives as long as this")] AbortOnDrop);

impl Expiry {
    pub(super) fn start(server: Elasticsearch, retention: Duration) -> Self {
        Self(AbortOnDrop(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(EVERY);
            loop {
                ticks.tick().await;
                match expire(&server, retention, Timestamp::now()).await {
                    Ok(gone) if gone.is_empty() => {}
                    Ok(gone) => tracing::info!(indexes = ?gone, "deleted, for they are past their time"),
                    Err(error) => {
                        tracing::warn!(%error, "old indexes could not be deleted; trying again in an hour");
                    }
                }
            }
        })))
    }
}

/// Deletes the indexes of days that ended before `retention` ago, and names them.
async fn expire(server: &Elasticsearch, retention: Duration, now: Timestamp) -> Result<Vec<String>> {
    let mut gone = Vec::new();
    for signal in Signal::ALL {
        let path = format!("/_cat/indices/{}?format=json&h=index", data_stream(signal, "*"));
        let listed = server.ask(Method::Get, &path, None, DEADLINE).await?;
        let names = listed.as_array().into_iter().flatten().filter_map(|one| one.get("index")?.as_str());
        for name in names.filter(|name| is_past(signal, name, retention, now)) {
            server
                .ask(Method::Delete, &format!("/{name}"), None, DEADLINE)
                .await
                .map_err(|error| Error::operation(error, "delete").subject(format!("index {name}")))?;
            gone.push(name.to_owned());
        }
    }
    Ok(gone)
}

fn is_past(signal: Signal, index: &str, retention: Duration, now: Timestamp) -> bool {
    let Some(day) = day_of_index(signal, index) else { return false };
    let ended = end_of(day).and_then(|end| end.checked_add(retention).ok());
    ended.is_some_and(|kept_until| kept_until <= now)
}

fn end_of(day: Date) -> Option<Timestamp> {
    day.checked_add(1.day()).ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_past_when_its_last_document_is() {
        let now: Timestamp = "2026-11-26T12:00:00Z".parse().unwrap();
        let day = Duration::from_secs(24 * 3600);
        let is_past = |index: &str, days: u32| is_past(Signal::Logs, index, day * days, now);
        assert!(is_past("logs-generic.otel-testing-2026.11.24", 1));
        assert!(!is_past("logs-generic.otel-testing-2026.11.25", 1));
        assert!(!is_past("logs-generic.otel-testing-2026.11.26", 0));
        assert!(!is_past("logs-generic.otel-testing", 0));
        assert!(!is_past("logs-of-somebody-else-2020.01.01", 0));
    }
}
