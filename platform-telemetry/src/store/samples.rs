//! The samples of a partition: the number of the series is indexed, time and value are columns.

use super::{
    fault,
    head::{Head, RawPoint},
    series::SeriesId,
};
use platform_core::{Result, telemetry::TimeRange};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};
use tantivy::{
    DocSet, Searcher, SegmentReader, TERMINATED, TantivyDocument, Term,
    columnar::ColumnValues,
    schema::{FAST, Field, INDEXED, IndexRecordOption, Schema},
};

/// A point with the generation that wrote it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamped {
    pub(super) timestamp: i64,
    pub(super) generation: u64,
    pub(super) value: u64,
}

/// The points that lie in `range`.
pub(super) fn stamped(
    points: &[RawPoint],
    generation: u64,
    range: TimeRange,
) -> impl Iterator<Item = Stamped> {
    points.iter().filter(move |(at, _)| contains(range, *at)).map(move |(timestamp, value)| Stamped {
        timestamp: *timestamp,
        generation,
        value: *value,
    })
}

/// The fields of the index.
#[derive(Debug, Clone)]
pub(super) struct SampleSchema {
    pub(super) schema: Schema,
    series: Field,
    timestamp: Field,
    value: Field,
    generation: Field,
}

impl SampleSchema {
    pub(super) fn new() -> Self {
        let mut builder = Schema::builder();
        let series = builder.add_u64_field("series", INDEXED);
        let timestamp = builder.add_i64_field("timestamp", FAST);
        // The bits of the value: the columns of floating-point numbers make no promise for NaNs.
        let value = builder.add_u64_field("value", FAST);
        let generation = builder.add_u64_field("generation", FAST);
        Self { schema: builder.build(), series, timestamp, value, generation }
    }

    /// The documents of a head's samples that lie in `range`, by series and time, one for each time.
    pub(super) fn documents<'a>(
        &'a self,
        head: &'a Head,
        range: TimeRange,
    ) -> impl Iterator<Item = TantivyDocument> + 'a {
        let mut series: Vec<SeriesId> = head.samples.keys().copied().collect();
        series.sort_unstable();
        series.into_iter().flat_map(move |id| {
            let written = head.samples.get(&id).map_or(&[][..], Vec::as_slice);
            let mut points = stamped(written, head.generation, range).collect();
            last_of_each_time(&mut points);
            points.into_iter().map(move |point| {
                let mut document = TantivyDocument::new();
                document.add_u64(self.series, u64::from(id));
                document.add_i64(self.timestamp, point.timestamp);
                document.add_u64(self.value, point.value);
                document.add_u64(self.generation, point.generation);
                document
            })
        })
    }
}

/// The samples that were in a partition at some moment.
#[derive(Debug, Clone)]
pub(super) struct SampleView {
    pub(super) path: PathBuf,
    pub(super) searcher: Searcher,
    pub(super) schema: SampleSchema,
}

impl SampleView {
    pub(super) fn count(&self) -> u64 {
        self.searcher.num_docs()
    }

    /// The greatest number of a series in it.
    pub(super) fn last_series(&self) -> Result<Option<u64>> {
        self.guarded(|| {
            let mut last = None;
            for segment in self.searcher.segment_readers() {
                let index = segment.inverted_index(self.schema.series)?;
                let terms = index.terms();
                let mut term = Vec::new();
                if let Some(ordinal) = (terms.num_terms() as u64).checked_sub(1)
                    && terms.ord_to_term(ordinal, &mut term)?
                {
                    last = last.max(term.as_slice().try_into().ok().map(u64::from_be_bytes));
                }
            }
            Ok(last)
        })
    }

    /// Appends the points of `series` in `range` to `points`, in no order.
    pub(super) fn read(
        &self,
        series: &[SeriesId],
        range: TimeRange,
        points: &mut HashMap<SeriesId, Vec<Stamped>>,
    ) -> Result<()> {
        self.guarded(|| {
            for segment in self.searcher.segment_readers() {
                let index = segment.inverted_index(self.schema.series)?;
                let columns = Columns::open(segment)?;
                let mut block = Block::default();
                for id in series {
                    let term = Term::from_field_u64(self.schema.series, u64::from(*id));
                    let Some(mut postings) = index.read_postings(&term, IndexRecordOption::Basic)? else {
                        continue;
                    };
                    let found = points.entry(*id).or_default();
                    found.reserve(postings.doc_freq() as usize);
                    while block.fill(&mut postings) {
                        columns.read(&mut block, range, found);
                    }
                }
            }
            Ok(())
        })
    }

    /// Whether one of `series` has a sample in `range`. `whole` says that the range covers the partition.
    pub(super) fn any(&self, series: &[SeriesId], range: TimeRange, whole: bool) -> Result<bool> {
        self.guarded(|| {
            for segment in self.searcher.segment_readers() {
                let index = segment.inverted_index(self.schema.series)?;
                let columns = Columns::open(segment)?;
                for id in series {
                    let term = Term::from_field_u64(self.schema.series, u64::from(*id));
                    let Some(mut postings) = index.read_postings(&term, IndexRecordOption::Basic)? else {
                        continue;
                    };
                    while postings.doc() != TERMINATED {
                        if whole || contains(range, columns.timestamp.get_val(postings.doc())) {
                            return Ok(true);
                        }
                        postings.advance();
                    }
                }
            }
            Ok(false)
        })
    }

    fn guarded<T>(&self, work: impl FnOnce() -> tantivy::Result<T>) -> Result<T> {
        fault::guarded("read", self.path(), work)
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether a moment in milliseconds is in `range`.
pub(super) fn contains(range: TimeRange, millis: i64) -> bool {
    range.from.as_millis() <= millis && millis < range.to.as_millis()
}

/// Sorts by time, and keeps of each time the one that was written last; within a generation that is the later in `points`.
pub(super) fn last_of_each_time(points: &mut Vec<Stamped>) {
    if points.is_sorted_by(|a, b| a.timestamp < b.timestamp) {
        return;
    }
    points.sort_by_key(|point| (point.timestamp, point.generation));
    points.dedup_by(|later, kept| {
        let same = later.timestamp == kept.timestamp;
        if same {
            *kept = *later;
        }
        same
    });
}

const BLOCK: usize = 256;

/// Documents of a series, and what their columns say.
struct Block {
    documents: Vec<u32>,
    timestamps: [i64; BLOCK],
    values: [u64; BLOCK],
    generations: [u64; BLOCK],
}

impl Default for Block {
    fn default() -> Self {
        let documents = Vec::with_capacity(BLOCK);
        Self { documents, timestamps: [0; BLOCK], values: [0; BLOCK], generations: [0; BLOCK] }
    }
}

impl Block {
    /// Takes the next documents; `false` if there are none.
    fn fill(&mut self, postings: &mut impl DocSet) -> bool {
        self.documents.clear();
        while self.documents.len() < BLOCK && postings.doc() != TERMINATED {
            self.documents.push(postings.doc());
            postings.advance();
        }
        !self.documents.is_empty()
    }
}

struct Columns {
    timestamp: std::sync::Arc<dyn ColumnValues<i64>>,
    value: std::sync::Arc<dyn ColumnValues<u64>>,
    generation: std::sync::Arc<dyn ColumnValues<u64>>,
}

impl Columns {
    fn open(segment: &SegmentReader) -> tantivy::Result<Self> {
        let columns = segment.fast_fields();
        Ok(Self {
            timestamp: columns.i64("timestamp")?.first_or_default_col(0),
            value: columns.u64("value")?.first_or_default_col(0),
            generation: columns.u64("generation")?.first_or_default_col(0),
        })
    }

    fn read(&self, block: &mut Block, range: TimeRange, points: &mut Vec<Stamped>) {
        let Block { documents, timestamps, values, generations } = block;
        // A short block leaves the rest of the arrays as it was.
        let count = documents.len().min(BLOCK);
        let (Some(timestamps), Some(values), Some(generations)) =
            (timestamps.get_mut(..count), values.get_mut(..count), generations.get_mut(..count))
        else {
            return;
        };
        self.timestamp.get_vals(documents, timestamps);
        if !timestamps.iter().any(|at| contains(range, *at)) {
            return;
        }
        self.value.get_vals(documents, values);
        self.generation.get_vals(documents, generations);
        for ((timestamp, value), generation) in timestamps.iter().zip(values.iter()).zip(generations.iter()) {
            if contains(range, *timestamp) {
                points.push(Stamped { timestamp: *timestamp, generation: *generation, value: *value });
            }
        }
    }
}
