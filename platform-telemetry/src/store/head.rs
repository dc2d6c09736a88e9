//! What is durable in the journal and not in a partition yet, in memory.

use super::{
    codec::{Decoder, Encoder},
    series::SeriesId,
};
use platform_core::{
    Result,
    telemetry::{Labels, LogRecord},
};
use std::{collections::HashMap, sync::Arc, time::Instant};

/// The time of a sample in milliseconds, and the bits of its value: NaNs carry meaning in theirs.
pub(super) type RawPoint = (i64, u64);

/// What one frame of the journal holds.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) samples: Vec<(SeriesId, RawPoint)>,
    pub(super) logs: Vec<LogRecord>,
}

impl Entry {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::default();
        encoder.count(self.samples.len());
        for (series, (timestamp, value)) in &self.samples {
            encoder.u32(*series);
            encoder.i64(*timestamp);
            encoder.u64(*value);
        }
        encoder.count(self.logs.len());
        for record in &self.logs {
            encoder.log(record);
        }
        encoder.into_bytes()
    }

    pub(super) fn decode(frame: &[u8]) -> Result<Self> {
        let mut decoder = Decoder::new(frame);
        let mut entry = Self::default();
        for _ in 0..decoder.u32()? {
            entry.samples.push((decoder.u32()?, (decoder.i64()?, decoder.u64()?)));
        }
        for _ in 0..decoder.u32()? {
            entry.logs.push(decoder.log()?);
        }
        Ok(entry)
    }
}

/// The entries of one journal.
#[derive(Debug)]
pub(super) struct Head {
    /// The journal's number. Later generations win over earlier ones.
    pub(super) generation: u64,
    /// The length in milliseconds of the partitions it goes to.
    pub(super) partition_millis: i64,
    /// Points in the order of writing.
    pub(super) samples: HashMap<SeriesId, Vec<RawPoint>>,
    /// Records in the order of writing.
    pub(super) logs: Vec<Arc<[LogRecord]>>,
    pub(super) sample_count: usize,
    pub(super) log_count: usize,
    /// About how much memory it takes.
    pub(super) bytes: usize,
    /// When the first entry came.
    pub(super) since: Option<Instant>,
}

impl Head {
    pub(super) fn new(generation: u64, partition_millis: i64) -> Self {
        Self {
            generation,
            partition_millis,
            samples: HashMap::new(),
            logs: Vec::new(),
            sample_count: 0,
            log_count: 0,
            bytes: 0,
            since: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sample_count == 0 && self.log_count == 0
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.since.get_or_insert_with(Instant::now);
        self.sample_count += entry.samples.len();
        self.log_count += entry.logs.len();
        self.bytes += entry.samples.len() * size_of::<RawPoint>();
        self.bytes += entry.logs.iter().map(log_bytes).sum::<usize>();
        for (series, point) in entry.samples {
            self.samples.entry(series).or_default().push(point);
        }
        if !entry.logs.is_empty() {
            self.logs.push(entry.logs.into());
        }
    }
}

/// About how much memory a record takes.
pub(super) fn log_bytes(record: &LogRecord) -> usize {
    size_of::<LogRecord>() + record.body.len() + label_bytes(&record.labels)
}

/// About how much memory labels take.
pub(super) fn label_bytes(labels: &Labels) -> usize {
    labels.iter().map(|(name, value)| 48 + name.len() + value.len()).sum()
}

/// The place of a log record in the order of writing, over all generations.
pub(super) fn sequence(generation: u64, position: usize) -> u64 {
    (generation << 32) | (position as u64 & u64::from(u32::MAX))
}
