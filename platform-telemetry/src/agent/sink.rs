//! Batches into the spool.

use super::{DeadLetters, envelope, stats::Counters};
use crate::{
    files::unpoisoned,
    message::{Encoder, log_key, sample_key},
    spool::{Records, Spool},
};
use async_trait::async_trait;
use platform_core::{
    Error, ErrorKind, Result,
    telemetry::{Batch, LogRecord, Sample, TelemetrySink, document::Signal},
};
use std::sync::{Arc, Mutex, atomic::Ordering};

/// How much is encoded before it is appended.
const PART_BYTES: u64 = 1 << 20;

/// Writes batches to a spool, one message for each sample and log record; acknowledges them once they are durable there.
///
/// Samples that are not finite have no document: they are counted and left out. A document that is larger than a record of the spool may be is
/// a dead letter.
#[derive(Debug)]
pub struct SpoolSink {
    spool: Arc<Spool>,
    dead_letters: Arc<dyn DeadLetters>,
    encoder: Mutex<Encoder>,
    counters: Arc<Counters>,
}

#[derive(Clone, Copy)]
enum Item<'a> {
    Sample(&'a Sample),
    Log(&'a LogRecord),
}

impl<'a> Item<'a> {
    /// The samples come first, then the log records.
    fn of(batch: &'a Batch, at: usize) -> Option<Self> {
        match batch.samples.get(at) {
            Some(sample) => Some(Self::Sample(sample)),
            None => batch.logs.get(at.checked_sub(batch.samples.len())?).map(Self::Log),
        }
    }
}

impl SpoolSink {
    /// Writes to `spool`. What has no label `environment` goes to the topics of `environment`.
    pub fn new(spool: Arc<Spool>, environment: &str, dead_letters: Arc<dyn DeadLetters>) -> Self {
        Self::counting(spool, environment, dead_letters, Arc::default())
    }

    pub(super) fn counting(
        spool: Arc<Spool>,
        environment: &str,
        dead_letters: Arc<dyn DeadLetters>,
        counters: Arc<Counters>,
    ) -> Self {
        Self { spool, dead_letters, encoder: Mutex::new(Encoder::new(environment)), counters }
    }

    /// Samples that were left out because their values are not finite.
    pub fn not_finite(&self) -> u64 {
        self.counters.not_finite.load(Ordering::Relaxed)
    }

    /// Encodes what fits into one append, from the item at `next` on; answers what was too large, too.
    fn encode<'a>(&self, batch: &'a Batch, next: &mut usize) -> Result<(Records, Vec<Item<'a>>)> {
        let mut encoder = unpoisoned(self.encoder.lock());
        let (mut records, mut too_large) = (self.spool.records(), Vec::new());
        while records.bytes() < PART_BYTES
            && let Some(item) = Item::of(batch, *next)
        {
            *next += 1;
            let pushed = match item {
                Item::Sample(sample) if !sample.value.is_finite() => {
                    self.counters.not_finite.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                }
                Item::Sample(sample) => {
                    let topic = encoder.topic(Signal::Metrics, &sample.labels);
                    records.push_with(512, |out| {
                        let key = |out: &mut Vec<u8>| sample_key(&sample.labels, out);
                        envelope::write(out, &topic, key, |out| {
                            encoder.sample(sample, out);
                        });
                    })
                }
                Item::Log(record) => {
                    let topic = encoder.topic(Signal::Logs, &record.labels);
                    records.push_with(512 + record.body.len(), |out| {
                        let key = |out: &mut Vec<u8>| log_key(&record.labels, out);
                        envelope::write(out, &topic, key, |out| encoder.log(record, out));
                    })
                }
            };
            match pushed {
                Err(error) if error.kind() == ErrorKind::Exhausted => too_large.push(item),
                pushed => pushed?,
            }
        }
        Ok((records, too_large))
    }

    async fn bury(&self, item: Item<'_>) -> Result<()> {
        let batch = match item {
            Item::Sample(sample) => Batch::samples(vec![sample.clone()]),
            Item::Log(record) => Batch::logs(vec![record.clone()]),
        };
        let encoded = unpoisoned(self.encoder.lock()).messages(&batch);
        for message in &encoded.messages {
            let reason = Error::new(ErrorKind::Exhausted, "it is larger than a record of the spool");
            self.dead_letters
                .put(message, &reason.operation("spool"))
                .await
                .map_err(|e| e.retryable(true))?;
            self.counters.dead_letters.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[async_trait]
impl TelemetrySink for SpoolSink {
    fn name(&self) -> &'static str {
        "spool"
    }

    async fn write(&self, batch: Batch) -> Result<()> {
        let mut appended = Vec::new();
        let mut next = 0;
        while next < batch.len() {
            let (records, too_large) = self.encode(&batch, &mut next)?;
            if !records.is_empty() {
                appended.push(self.spool.append(records).await?);
            }
            for item in too_large {
                self.bury(item).await?;
            }
        }
        // A pipeline that keeps its order has one write under way, and nobody to share the sync with.
        self.spool.flush();
        for appended in appended {
            appended.durable().await?;
        }
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        self.spool.close().await
    }
}
