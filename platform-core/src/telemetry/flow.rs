//! From sources to whoever drains them: a bounded channel of batches that are acknowledged.

use super::{Batch, Labels};
use crate::error::{Error, ErrorKind, Result};
use async_trait::async_trait;
use std::{fmt, time::Duration};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Where telemetry comes from.
///
/// Implemented by scrapes, file tails, hosts, clusters; run by a pipeline, each in a task of its own.
#[async_trait]
pub trait TelemetrySource: Send + Sync + fmt::Debug {
    /// A name for messages and for the label `source`: `host`, `tail:/var/log/syslog`.
    fn name(&self) -> &str;

    /// Emits until `shutdown` is cancelled, then ends in time with what it has.
    ///
    /// # Behavior
    /// - What cannot be read now (a target that is down, a missing file) is no error: it is counted, told by `tracing`, and
    ///   tried again at the next interval. An error ends the source for good.
    /// - A source that can read again keeps its checkpoint before what was not delivered.
    ///
    /// # Cancel safety
    /// Dropping the future loses what was read and not emitted; sources that read again at the checkpoint lose nothing.
    async fn run(&self, out: &Emitter, shutdown: &CancellationToken) -> Result<()>;
}

/// The sending side. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Emitter {
    labels: Labels,
    sender: mpsc::Sender<Envelope>,
}

impl Emitter {
    /// The same channel with labels put on everything emitted; a record's own labels win.
    #[must_use]
    pub fn with_labels(&self, labels: &Labels) -> Self {
        Self { labels: self.labels.with(labels), sender: self.sender.clone() }
    }

    /// Emits a batch, waiting while the channel is full.
    ///
    /// Fails with [`Cancelled`](ErrorKind::Cancelled) when nobody drains any more.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, the batch was not emitted.
    pub async fn emit(&self, mut batch: Batch) -> Result<Delivery> {
        if !self.labels.is_empty() {
            for sample in &mut batch.samples {
                sample.labels = self.labels.with(&sample.labels);
            }
            for record in &mut batch.logs {
                record.labels = self.labels.with(&record.labels);
            }
        }
        let (acknowledge, delivery) = oneshot::channel();
        let envelope = Envelope { batch, acknowledge };
        self.sender.send(envelope).await.map_err(|_| {
            Error::new(ErrorKind::Cancelled, "the pipeline has stopped").operation("emit telemetry")
        })?;
        Ok(Delivery(delivery))
    }
}

/// The fate of an emitted batch.
#[derive(Debug)]
#[must_use = "await it to know that the batch is durable, or drop it knowingly"]
pub struct Delivery(oneshot::Receiver<Result<()>>);

impl Delivery {
    /// Waits until the batch is durable in the sink, at most for `deadline`.
    pub async fn durable(self, deadline: Duration) -> Result<()> {
        match tokio::time::timeout(deadline, self.0).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Error::new(ErrorKind::Cancelled, "the pipeline dropped the batch")),
            Err(_) => Err(Error::new(ErrorKind::Timeout, format!("not durable after {deadline:?}"))),
        }
        .map_err(|e| e.operation("deliver telemetry"))
    }
}

/// A batch on its way, with the means to acknowledge it.
#[derive(Debug)]
pub struct Envelope {
    /// What was emitted.
    pub batch: Batch,
    acknowledge: oneshot::Sender<Result<()>>,
}

impl Envelope {
    /// Splits the batch from its acknowledgement.
    pub fn open(self) -> (Batch, impl FnOnce(Result<()>) + Send + 'static) {
        let acknowledge = self.acknowledge;
        (self.batch, move |outcome| {
            // A source that does not wait for the delivery is fine.
            let _ = acknowledge.send(outcome);
        })
    }
}

/// The receiving side: ends when all emitters are gone.
pub type Envelopes = mpsc::Receiver<Envelope>;

/// A channel that holds at most `capacity` batches (at least one); emitters wait while it is full.
pub fn channel(capacity: usize) -> (Emitter, Envelopes) {
    let (sender, envelopes) = mpsc::channel(capacity.clamp(1, Semaphore::MAX_PERMITS));
    (Emitter { labels: Labels::empty(), sender }, envelopes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Timestamp,
        telemetry::{LogRecord, Severity},
    };
    use futures::FutureExt;

    fn line(body: &str) -> Batch {
        Batch::logs(vec![LogRecord {
            timestamp: Timestamp::default(),
            severity: Severity::Info,
            body: body.to_owned(),
            labels: Labels::from_iter([("source", "own")]),
        }])
    }

    #[tokio::test]
    async fn a_full_channel_holds_the_emitter_back_and_acknowledgements_come_through() {
        let (emitter, mut envelopes) = channel(1);
        let emitter = emitter.with_labels(&Labels::from_iter([("cluster", "c"), ("source", "channel")]));
        let first = emitter.emit(line("one")).await.unwrap();
        assert!(emitter.emit(line("two")).now_or_never().is_none());
        let (batch, acknowledge) = envelopes.recv().await.unwrap().open();
        assert_eq!(batch.logs[0].labels.to_string(), r#"{cluster="c",source="own"}"#);
        acknowledge(Ok(()));
        first.durable(Duration::from_secs(5)).await.unwrap();
        drop(envelopes);
        assert_eq!(emitter.emit(line("three")).await.unwrap_err().kind(), ErrorKind::Cancelled);
    }
}
