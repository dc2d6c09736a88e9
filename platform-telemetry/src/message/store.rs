//! Messages straight to a store.

use super::{Message, MessageSink, decode};
use async_trait::async_trait;
use platform_core::{
    Result,
    telemetry::{Batch, TelemetrySink},
};
use std::sync::Arc;

/// Reads the documents of messages and writes them to a store, or to whatever else takes telemetry.
///
/// A group of messages of which one is no document is refused as a whole, before anything is written.
#[derive(Debug, Clone)]
pub struct StoreMessages {
    sink: Arc<dyn TelemetrySink>,
}

impl StoreMessages {
    /// Writes to `sink`.
    pub fn new(sink: Arc<dyn TelemetrySink>) -> Self {
        Self { sink }
    }
}

#[async_trait]
impl MessageSink for StoreMessages {
    fn name(&self) -> &str {
        self.sink.name()
    }

    async fn send(&self, messages: &[Message]) -> Result<()> {
        let mut batch = Batch::default();
        for message in messages {
            decode::message(message, &mut batch)?;
        }
        if batch.is_empty() { Ok(()) } else { self.sink.write(batch).await }
    }
}
