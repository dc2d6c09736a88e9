//! What a tail counts.

use crate::sources::samples::SampleSet;
use platform_core::{
    clock::Timestamp,
    telemetry::{Labels, MetricKind, Sample},
};
use std::sync::atomic::{AtomicU64, Ordering};

/// What a tail read, and what it could not. All count since the source was made, over restarts of its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TailStats {
    /// Files that are followed now, rotated ones included until they are read to their end.
    pub files: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Lines read, those read again included.
    pub lines_read: u64,
    /// Lines that are durable.
    pub lines_delivered: u64,
    /// Lines longer than the limit, of which the beginning was kept.
    pub lines_cut: u64,
    /// Lines with bytes that are no UTF-8, which became U+FFFD.
    pub lines_invalid_utf8: u64,
    /// Lines that were given away without an end, since none came; their rest is another record.
    pub lines_partial: u64,
    /// Lines that became a part of the record before them: pieces that a runtime had split, and lines of multi-line records.
    pub lines_joined: u64,
    /// Lines of containers that are not as any runtime writes them; kept as they are.
    pub lines_unwrapped: u64,
    /// Files whose pod was not known in time: their lines bear only what the files' names say.
    pub pods_unknown: u64,
    /// Lines that were read, not stored, and cannot be read again: refused by the sink, or truncated meanwhile.
    pub lines_lost: u64,
    /// Bytes that were seen to be there and truncated before they were read. What was written and truncated between two looks is not
    /// known to anybody.
    pub bytes_lost: u64,
    /// Files that were truncated or rewritten in place.
    pub truncations: u64,
    /// Files that were renamed or replaced.
    pub rotations: u64,
    /// Batches that were not stored; their lines are read again unless they count as lost.
    pub deliveries_failed: u64,
    /// Files that could not be opened or read, each once until it can.
    pub read_errors: u64,
}

macro_rules! counters {
    ($($field:ident => $metric:literal),* $(,)?) => {
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $field: AtomicU64,)*
        }

        impl Counters {
            pub(super) fn snapshot(&self) -> TailStats {
                TailStats { $($field: self.$field.load(Ordering::Relaxed),)* }
            }

            /// As `platform_tail_*`.
            pub(super) fn samples(&self, at: Timestamp, labels: &Labels) -> Vec<Sample> {
                let mut set = SampleSet::new(at);
                $(
                    let kind = if $metric.ends_with("_total") { MetricKind::Counter } else { MetricKind::Gauge };
                    set.push($metric, kind, labels.clone(), self.$field.load(Ordering::Relaxed) as f64);
                )*
                set.into_samples()
            }
        }
    };
}

counters! {
    files => "platform_tail_files",
    bytes_read => "platform_tail_read_bytes_total",
    lines_read => "platform_tail_lines_total",
    lines_delivered => "platform_tail_lines_delivered_total",
    lines_cut => "platform_tail_lines_cut_total",
    lines_invalid_utf8 => "platform_tail_lines_invalid_utf8_total",
    lines_partial => "platform_tail_lines_partial_total",
    lines_joined => "platform_tail_lines_joined_total",
    lines_unwrapped => "platform_tail_lines_unwrapped_total",
    pods_unknown => "platform_tail_pods_unknown_total",
    lines_lost => "platform_tail_lines_lost_total",
    bytes_lost => "platform_tail_lost_bytes_total",
    truncations => "platform_tail_truncations_total",
    rotations => "platform_tail_rotations_total",
    deliveries_failed => "platform_tail_deliveries_failed_total",
    read_errors => "platform_tail_read_errors_total",
}
