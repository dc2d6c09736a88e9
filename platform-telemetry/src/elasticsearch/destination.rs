//! Elasticsearch as the destination of an ingester.

use super::{
    Elasticsearch, answer,
    expiry::Expiry,
    schema::{self, Schema},
};
use crate::ingest::{Destination, Event, EventBatch, Outcome, Route};
use ::elasticsearch::http::Method;
use async_trait::async_trait;
use jiff::civil::Date;
use platform_core::{Result, telemetry::document::Signal};
use std::{fmt, time::Duration};

/// Configures an [`ElasticsearchDestination`].
#[derive(Debug, Clone)]
#[must_use = "nothing is installed before `install`"]
pub struct ElasticsearchDestinationBuilder {
    server: Elasticsearch,
    retention: Duration,
    data_streams: Option<bool>,
    request_timeout: Duration,
}

impl ElasticsearchDestinationBuilder {
    /// After which time documents are deleted. Default: 30 days.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// Whether data streams are written, or an index for each day. Default: what the server says that it has.
    pub fn data_streams(mut self, data_streams: bool) -> Self {
        self.data_streams = Some(data_streams);
        self
    }

    /// How long the server may take for a request. Default: 60 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Asks the server what it has, and installs the index templates. Templates of a newer version are refused with
    /// [`Refused`](platform_core::ErrorKind::Refused). Must be called within a tokio runtime.
    pub async fn install(self, deadline: Duration) -> Result<ElasticsearchDestination> {
        let schema = schema::install(&self.server, self.retention, self.data_streams, deadline).await?;
        tracing::info!(
            version = %schema.server_version,
            data_streams = schema.features.data_streams,
            installed = ?schema.installed,
            "Elasticsearch is prepared"
        );
        let expiry =
            (!schema.features.data_streams).then(|| Expiry::start(self.server.clone(), self.retention));
        Ok(ElasticsearchDestination {
            server: self.server,
            schema,
            request_timeout: self.request_timeout,
            _expiry: expiry,
        })
    }
}

/// Puts events into Elasticsearch by bulk requests.
///
/// - Log records are created under the identity of their event: one that is there already is a duplicate and no second document. (Within
///   an index: a repeat that comes after a data stream has rolled over is not noticed.)
/// - Metrics in data streams are time series, of which Elasticsearch itself refuses a second sample of the same time. They get no identity.
/// - A document goes to the stream of its topic's environment, whatever it says of itself; where it says another, Elasticsearch refuses it.
pub struct ElasticsearchDestination {
    server: Elasticsearch,
    schema: Schema,
    request_timeout: Duration,
    _expiry: Option<Expiry>,
}

impl ElasticsearchDestination {
    /// Into `server`, to be configured and installed.
    pub fn builder(server: Elasticsearch) -> ElasticsearchDestinationBuilder {
        ElasticsearchDestinationBuilder {
            server,
            retention: Duration::from_secs(30 * 24 * 3600),
            data_streams: None,
            request_timeout: Duration::from_secs(60),
        }
    }

    /// What was found on the server.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }
}

/// Where the documents of a route go: a data stream, or the index of the day. It is written for every event, so nothing is allocated.
fn push_index(route: &Route, day: Option<Date>, out: &mut Vec<u8>) {
    for part in [route.signal.as_str(), "-", route.signal.dataset(), "-", &route.environment] {
        out.extend_from_slice(part.as_bytes());
    }
    if let Some(day) = day {
        let (year, month, day) =
            (day.year().unsigned_abs(), day.month().unsigned_abs(), day.day().unsigned_abs());
        let digit = |number: u16, power: u16| b'0' + (number / power % 10) as u8;
        let two = |number: u8| [digit(number.into(), 10), digit(number.into(), 1)];
        let ([m, n], [d, e]) = (two(month), two(day));
        let year = [1000, 100, 10, 1].map(|power| digit(year, power));
        out.push(b'-');
        out.extend_from_slice(&year);
        out.extend_from_slice(&[b'.', m, n, b'.', d, e]);
    }
}

/// The day of a record's time in UTC. It is a record's and not the document's, so that no document can make an index of any day.
fn day(millis: i64) -> Date {
    jiff::Timestamp::from_millisecond(millis).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC).date()
}

impl fmt::Debug for ElasticsearchDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ElasticsearchDestination")
            .field("server", &self.server)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Destination for ElasticsearchDestination {
    fn name(&self) -> &'static str {
        "elasticsearch"
    }

    fn frame(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        let day = (!self.schema.features.data_streams).then(|| day(event.timestamp));
        out.extend_from_slice(b"{\"create\":{\"_index\":\"");
        push_index(event.route, day, out);
        if event.route.signal == Signal::Logs || !self.schema.features.data_streams {
            out.extend_from_slice(b"\",\"_id\":\"");
            out.extend_from_slice(&event.id.digits());
        }
        out.extend_from_slice(b"\"}}\n");
    }

    async fn write(&self, events: &EventBatch) -> Result<Vec<Outcome>> {
        let path = format!("/_bulk?{}", answer::FILTER);
        let answer = self
            .server
            .send(Method::Post, &path, "application/x-ndjson", Some(events.bytes()), self.request_timeout)
            .await?;
        match answer.status {
            200..=299 => answer::outcomes(&answer.body),
            _ => Err(answer.failure().operation("write to").subject("Elasticsearch")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform_core::telemetry::document::{daily_index, data_stream};

    #[test]
    fn indexes_are_called_as_documents_say() {
        for topic in ["testing.logs.v1", "a-b.metrics.v1"] {
            let route = Route::of_topic(topic).unwrap();
            let named = |day| {
                let mut out = Vec::new();
                push_index(&route, day, &mut out);
                String::from_utf8(out).unwrap()
            };
            assert_eq!(named(None), data_stream(route.signal, &route.environment));
            for millis in [0, 1_764_108_000_123, 253_402_300_799_000] {
                let day = day(millis);
                assert_eq!(named(Some(day)), daily_index(route.signal, &route.environment, day));
            }
        }
        assert_eq!(day(1_764_108_000_123), jiff::civil::date(2025, 11, 25));
    }
}
