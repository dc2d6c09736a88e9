//! What queries see: the partitions as they were last committed, and the heads that are not in them yet.

use super::{
    fault,
    head::{Head, sequence},
    logs::{LogSearch, LogView, Place},
    partition::{PartitionKey, PartitionView},
    samples::{self, SampleView, Stamped, stamped},
    series::{Dictionary, SeriesId},
    words,
};
use crate::engine::SeriesReader;
use platform_core::{
    Error, ErrorKind, Result,
    clock::Timestamp,
    telemetry::{LogPage, LogRecord, Selector, Series, TimeRange},
};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, RwLock},
};
use tantivy::DocAddress;

/// How many points a selector may choose, as in Prometheus: they are in memory at once.
const MAX_POINTS: usize = 50_000_000;

/// Everything that can be asked for. Writers change it as a whole, under its locks; the dictionary is changed first.
#[derive(Debug)]
pub(super) struct View {
    pub(super) dictionary: RwLock<Dictionary>,
    pub(super) state: RwLock<State>,
}

/// Each record is in exactly one of these.
#[derive(Debug)]
pub(super) struct State {
    /// What is written now.
    pub(super) active: Head,
    /// What is about to be committed to the partitions, the oldest first.
    pub(super) frozen: VecDeque<Arc<Head>>,
    pub(super) partitions: BTreeMap<PartitionKey, Arc<PartitionView>>,
}

impl State {
    fn heads(&self) -> impl Iterator<Item = &Head> {
        self.frozen.iter().map(|head| &**head).chain([&self.active])
    }

    fn partitions_in(&self, range: TimeRange) -> Vec<Arc<PartitionView>> {
        self.partitions.values().filter(|p| p.key.overlaps(range)).cloned().collect()
    }
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) samples: u64,
    pub(super) log_records: u64,
    pub(super) series: u64,
}

impl View {
    pub(super) fn counts(&self) -> Counts {
        let series = fault::unpoisoned(self.dictionary.read()).len() as u64;
        let state = fault::unpoisoned(self.state.read());
        let mut counts = Counts { samples: 0, log_records: 0, series };
        for partition in state.partitions.values() {
            counts.samples += partition.samples.as_ref().map_or(0, SampleView::count);
            counts.log_records += partition.logs.as_ref().map_or(0, LogView::count);
        }
        for head in state.heads() {
            counts.samples += head.sample_count as u64;
            counts.log_records += head.log_count as u64;
        }
        counts
    }

    pub(super) fn label_values(
        &self,
        name: &str,
        selector: Option<&Selector>,
        range: TimeRange,
    ) -> Result<Vec<String>> {
        let candidates = fault::unpoisoned(self.dictionary.read()).by_label_value(name, selector);
        let mut values = Vec::new();
        for (value, series) in candidates {
            if self.has_samples(&series, range)? {
                values.push(value.to_string());
            }
        }
        Ok(values)
    }

    fn has_samples(&self, series: &[SeriesId], range: TimeRange) -> Result<bool> {
        let partitions = {
            let state = fault::unpoisoned(self.state.read());
            let in_head = |head: &Head| {
                series
                    .iter()
                    .filter_map(|id| head.samples.get(id))
                    .flatten()
                    .any(|(at, _)| samples::contains(range, *at))
            };
            if state.heads().any(in_head) {
                return Ok(true);
            }
            state.partitions_in(range)
        };
        for partition in partitions {
            if let Some(view) = &partition.samples
                && view.any(series, range, partition.key.is_within(range))?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn logs(&self, search: &LogSearch) -> Result<LogPage> {
        let (heads, partitions) = {
            let state = fault::unpoisoned(self.state.read());
            let heads: Vec<(u64, Vec<Arc<[LogRecord]>>)> =
                state.heads().map(|head| (head.generation, head.logs.clone())).collect();
            (heads, state.partitions_in(search.range))
        };
        let mut hits = Hits::new(search.limit);
        let mut analyzer = words::analyzer();
        for (generation, chunks) in &heads {
            for (position, record) in chunks.iter().flat_map(|chunk| chunk.iter()).enumerate() {
                if search.matches(record, &mut analyzer) {
                    hits.total += 1;
                    let place = search.place(record.timestamp.as_millis(), sequence(*generation, position));
                    hits.add(place, Hit::InHead(record));
                }
            }
        }
        let mut indexes: Vec<_> = partitions
            .iter()
            .filter_map(|partition| Some((partition.key, partition.logs.as_ref()?)))
            .collect();
        indexes.sort_by_key(|(key, _)| search.best_place(key.range()));
        for (key, view) in &indexes {
            // What cannot come before the last hit is only counted.
            let limit = if hits.beat(search.best_place(key.range())) { 0 } else { search.limit };
            let (found, total) = view.search(search, limit, key.is_within(search.range))?;
            hits.total += total;
            for (place, address) in found {
                hits.add(place, Hit::Indexed(view, address));
            }
        }
        let Hits { by_place, total, .. } = hits;
        let records = by_place.into_values().flatten().map(|hit| match hit {
            Hit::InHead(record) => Ok(record.clone()),
            Hit::Indexed(view, address) => view.record(address),
        });
        Ok(LogPage { records: records.collect::<Result<_>>()?, total })
    }
}

impl SeriesReader for View {
    fn select(&self, selector: &Selector, range: TimeRange) -> Result<Vec<Series>> {
        let chosen = fault::unpoisoned(self.dictionary.read()).select(selector);
        if chosen.is_empty() {
            return Ok(Vec::new());
        }
        let mut ids: Vec<SeriesId> = chosen.iter().map(|(id, _)| *id).collect();
        ids.sort_unstable();
        let mut points: HashMap<SeriesId, Vec<Stamped>> = HashMap::with_capacity(ids.len());
        let (partitions, in_heads) = {
            let state = fault::unpoisoned(self.state.read());
            let mut in_heads = Vec::new();
            for head in state.heads() {
                for id in &ids {
                    if let Some(written) = head.samples.get(id) {
                        in_heads.extend(stamped(written, head.generation, range).map(|point| (*id, point)));
                    }
                }
            }
            (state.partitions_in(range), in_heads)
        };
        for partition in &partitions {
            if let Some(view) = &partition.samples {
                view.read(&ids, range, &mut points)?;
            }
            if points.values().map(Vec::len).sum::<usize>() > MAX_POINTS {
                let message = format!("{selector} chooses more than {MAX_POINTS} points");
                return Err(
                    Error::new(ErrorKind::Exhausted, message).help("choose fewer series, or a shorter range")
                );
            }
        }
        for (id, point) in in_heads {
            points.entry(id).or_default().push(point);
        }
        let series = chosen.into_iter().filter_map(|(id, entry)| {
            let mut points = points.remove(&id).filter(|points| !points.is_empty())?;
            samples::last_of_each_time(&mut points);
            let points = points
                .iter()
                .map(|p| (Timestamp::from_millis(p.timestamp), f64::from_bits(p.value)))
                .collect();
            Some(Series { metric: Some(entry.metric), labels: entry.labels, points })
        });
        Ok(series.collect())
    }
}

/// The first records of an answer, by place.
struct Hits<'a> {
    limit: usize,
    count: usize,
    by_place: BTreeMap<Place, Vec<Hit<'a>>>,
    total: u64,
}

enum Hit<'a> {
    InHead(&'a LogRecord),
    Indexed(&'a LogView, DocAddress),
}

impl<'a> Hits<'a> {
    fn new(limit: usize) -> Self {
        Self { limit, count: 0, by_place: BTreeMap::new(), total: 0 }
    }

    fn add(&mut self, place: Place, hit: Hit<'a>) {
        if self.beat(place) {
            return;
        }
        self.by_place.entry(place).or_default().push(hit);
        self.count += 1;
        if self.count > self.limit
            && let Some(mut last) = self.by_place.last_entry()
        {
            last.get_mut().pop();
            self.count -= 1;
            if last.get().is_empty() {
                last.remove();
            }
        }
    }

    /// Whether there are enough hits that come before `place`.
    fn beat(&self, place: Place) -> bool {
        self.count >= self.limit && self.by_place.last_key_value().is_some_and(|(last, _)| *last < place)
    }
}
