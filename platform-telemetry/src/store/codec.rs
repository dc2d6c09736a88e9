//! How records are laid out in bytes: little endian, strings with their length before them.

use platform_core::{
    Error, ErrorKind, Result,
    clock::Timestamp,
    telemetry::{Labels, LogRecord, MetricKind, Severity},
};
use std::sync::Arc;

/// Appends values to a buffer.
#[derive(Debug, Default)]
pub(super) struct Encoder(Vec<u8>);

impl Encoder {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A length or a count. What would not fit was refused before: see [`MAX_BATCH_BYTES`](super::MAX_BATCH_BYTES).
    pub(super) fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    pub(super) fn str(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(super) fn labels(&mut self, labels: &Labels) {
        self.count(labels.len());
        for (name, value) in labels.iter() {
            self.str(name);
            self.str(value);
        }
    }

    pub(super) fn log(&mut self, record: &LogRecord) {
        self.i64(record.timestamp.as_millis());
        self.u8(severity_ordinal(record.severity));
        self.str(&record.body);
        self.labels(&record.labels);
    }

    pub(super) fn kind(&mut self, kind: MetricKind) {
        let position = KINDS.iter().position(|known| *known == kind).unwrap_or(KINDS.len());
        self.u8(u8::try_from(position).unwrap_or(u8::MAX));
    }
}

/// Takes values from the front of bytes.
#[derive(Debug)]
pub(super) struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) =
            self.0.split_at_checked(count).ok_or_else(|| damaged("it ends in the middle of a value"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) =
            self.0.split_first_chunk::<N>().ok_or_else(|| damaged("it ends in the middle of a number"))?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    pub(super) fn str(&mut self) -> Result<&'a str> {
        let length = self.u32()? as usize;
        std::str::from_utf8(self.take(length)?).map_err(|e| damaged("a string is not UTF-8").source(e))
    }

    pub(super) fn labels(&mut self) -> Result<Labels> {
        let count = self.u32()?;
        let mut pairs: Vec<(Arc<str>, Arc<str>)> = Vec::new();
        for _ in 0..count {
            pairs.push((self.str()?.into(), self.str()?.into()));
        }
        Ok(pairs.into_iter().collect())
    }

    pub(super) fn log(&mut self) -> Result<LogRecord> {
        let timestamp = Timestamp::from_millis(self.i64()?);
        let severity = Severity::ALL
            .get(usize::from(self.u8()?))
            .copied()
            .ok_or_else(|| damaged("a severity is not known"))?;
        Ok(LogRecord { timestamp, severity, body: self.str()?.to_owned(), labels: self.labels()? })
    }

    pub(super) fn kind(&mut self) -> Result<MetricKind> {
        Ok(KINDS.get(usize::from(self.u8()?)).copied().unwrap_or_default())
    }
}

/// The position of a severity in the order of gravity.
pub(super) fn severity_ordinal(severity: Severity) -> u8 {
    severity as u8
}

const KINDS: [MetricKind; 4] =
    [MetricKind::Counter, MetricKind::Gauge, MetricKind::Histogram, MetricKind::Summary];

fn damaged(why: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("a stored record is damaged: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            millis: i64,
            severity in 0usize..6,
            body: String,
            labels in proptest::collection::btree_map(".{0,8}", ".{0,8}", 0..4),
        ) {
            let record = LogRecord {
                timestamp: Timestamp::from_millis(millis),
                severity: Severity::ALL[severity],
                body,
                labels: labels.into_iter().collect(),
            };
            let mut encoder = Encoder::default();
            encoder.log(&record);
            encoder.kind(MetricKind::Gauge);
            encoder.kind(MetricKind::Unknown);
            let bytes = encoder.into_bytes();
            let mut decoder = Decoder::new(&bytes);
            prop_assert_eq!(decoder.log().unwrap(), record);
            prop_assert_eq!(decoder.kind().unwrap(), MetricKind::Gauge);
            prop_assert_eq!(decoder.kind().unwrap(), MetricKind::Unknown);
            prop_assert!(decoder.is_empty());
        }

        #[test]
        fn arbitrary_bytes_are_an_error_or_a_record_and_never_a_panic(bytes: Vec<u8>) {
            if let Err(error) = Decoder::new(&bytes).log() {
                prop_assert_eq!(error.kind(), ErrorKind::Corrupt);
            }
        }
    }
}
