//! A store as the destination of an ingester.

use super::{
    batch::EventBatch,
    destination::{Destination, Outcome, Refusal},
};
use crate::message::decode;
use async_trait::async_trait;
use platform_core::{
    Result,
    telemetry::{Batch, TelemetrySink, document::Signal},
};
use std::sync::Arc;

/// Reads documents and writes them to a store, or to whatever else takes telemetry. What is no document becomes a dead letter.
///
/// A store knows no identities: what is read again after a crash is there twice, if it is a log record. Of a series it keeps one sample of each
/// time.
#[derive(Debug, Clone)]
pub struct StoreDestination {
    sink: Arc<dyn TelemetrySink>,
}

impl StoreDestination {
    /// Writes to `sink`.
    pub fn new(sink: Arc<dyn TelemetrySink>) -> Self {
        Self { sink }
    }
}

#[async_trait]
impl Destination for StoreDestination {
    fn name(&self) -> &str {
        self.sink.name()
    }

    async fn write(&self, events: &EventBatch) -> Result<Vec<Outcome>> {
        let mut batch = Batch::default();
        let outcomes = events.events().map(|event| {
            let read = match event.route.signal {
                Signal::Metrics => decode::sample(event.payload).map(|sample| batch.samples.push(sample)),
                Signal::Logs => decode::log(event.payload).map(|record| batch.logs.push(record)),
            };
            match read {
                Ok(()) => Outcome::Indexed,
                Err(error) => Outcome::Refused(Refusal {
                    status: 400,
                    kind: "document_parsing_exception".to_owned(),
                    reason: error.to_string(),
                }),
            }
        });
        let outcomes = outcomes.collect();
        if !batch.is_empty() {
            self.sink.write(batch).await?;
        }
        Ok(outcomes)
    }
}
