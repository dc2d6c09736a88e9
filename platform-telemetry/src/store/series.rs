//! The dictionary of series: each metric with its labels is kept once, and samples carry its number.

use super::{
    codec::{Decoder, Encoder},
    frames::FrameFile,
};
use platform_core::{
    Error, ErrorKind, Result,
    telemetry::{Labels, Matcher, MetricKind, Sample, Selector},
};
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

/// The number of a series in its store.
pub(super) type SeriesId = u32;

/// A series without its samples.
#[derive(Debug, Clone)]
pub(super) struct SeriesEntry {
    pub(super) metric: Arc<str>,
    pub(super) labels: Labels,
    pub(super) kind: MetricKind,
}

/// All series, by number and by name.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    entries: Vec<SeriesEntry>,
    by_metric: BTreeMap<Arc<str>, HashMap<Labels, SeriesId>>,
}

impl Dictionary {
    /// Reads the dictionary from its file.
    pub(super) fn open(path: &Path) -> Result<(Self, FrameFile)> {
        let (file, frames) = FrameFile::open(path)?;
        let mut dictionary = Self::default();
        for frame in frames {
            dictionary
                .extend(decode(&frame).map_err(|e| e.operation("read").subject(path.display().to_string()))?);
        }
        Ok((dictionary, file))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, id: SeriesId) -> Option<&SeriesEntry> {
        self.entries.get(id as usize)
    }

    /// Fails if the partitions have a series that is not in the dictionary: the end of its file is lost.
    pub(super) fn expect_to_have(&self, last: Option<u64>, path: &Path) -> Result<()> {
        match last {
            Some(last) if last >= self.len() as u64 => Err(Error::new(
                ErrorKind::Corrupt,
                format!("it has {} series, and there are samples of series {last}", self.len()),
            )
            .operation("read")
            .subject(path.display().to_string())
            .help("restore the file from a copy; its end is missing or damaged")),
            _ => Ok(()),
        }
    }

    pub(super) fn id(&self, metric: &str, labels: &Labels) -> Option<SeriesId> {
        self.by_metric.get(metric)?.get(labels).copied()
    }

    /// The series that `selector` chooses, by labels.
    pub(super) fn select(&self, selector: &Selector) -> Vec<(SeriesId, SeriesEntry)> {
        let Some(series) = self.by_metric.get(selector.metric.as_str()) else { return Vec::new() };
        let mut chosen: Vec<(SeriesId, SeriesEntry)> = series
            .iter()
            .filter(|(labels, _)| selector.matches(labels))
            .filter_map(|(_, id)| Some((*id, self.get(*id)?.clone())))
            .collect();
        chosen.sort_by(|(_, a), (_, b)| a.labels.cmp(&b.labels));
        chosen
    }

    /// The series by the value of their label `name`; `__name__` is the metric.
    pub(super) fn by_label_value(
        &self,
        name: &str,
        selector: Option<&Selector>,
    ) -> BTreeMap<Arc<str>, Vec<SeriesId>> {
        let matchers: &[Matcher] = selector.map_or(&[], |s| &s.matchers);
        let mut values: BTreeMap<Arc<str>, Vec<SeriesId>> = BTreeMap::new();
        for (metric, series) in &self.by_metric {
            if selector.is_some_and(|s| s.metric != **metric) {
                continue;
            }
            for (labels, id) in series {
                let value = if name == "__name__" { Some(&**metric) } else { labels.get(name) };
                if let Some(value) = value
                    && matchers.iter().all(|m| m.matches(labels))
                {
                    match values.get_mut(value) {
                        Some(ids) => ids.push(*id),
                        None => drop(values.insert(value.into(), vec![*id])),
                    }
                }
            }
        }
        values
    }

    fn extend(&mut self, new: Vec<SeriesEntry>) {
        for entry in new {
            let id = self.entries.len() as SeriesId;
            self.by_metric.entry(entry.metric.clone()).or_default().insert(entry.labels.clone(), id);
            self.entries.push(entry);
        }
    }
}

/// Series that are about to be added: numbered, and not seen by anybody before they are durable.
#[derive(Debug)]
pub(super) struct NewSeries<'a> {
    known: &'a Dictionary,
    entries: Vec<SeriesEntry>,
    ids: HashMap<(Arc<str>, Labels), SeriesId>,
}

impl<'a> NewSeries<'a> {
    pub(super) fn beside(known: &'a Dictionary) -> Self {
        Self { known, entries: Vec::new(), ids: HashMap::new() }
    }

    /// The number of the sample's series, which is new if it is not known.
    pub(super) fn number(&mut self, sample: &Sample) -> Result<SeriesId> {
        if let Some(id) = self.known.id(&sample.metric, &sample.labels) {
            return Ok(id);
        }
        let key = (sample.metric.clone(), sample.labels.clone());
        if let Some(id) = self.ids.get(&key) {
            return Ok(*id);
        }
        let id = SeriesId::try_from(self.known.len() + self.entries.len()).map_err(|_| {
            Error::new(
                ErrorKind::Exhausted,
                "the store has 4,294,967,296 series and cannot number another one",
            )
        })?;
        let (metric, labels) = key.clone();
        self.entries.push(SeriesEntry { metric, labels, kind: sample.kind });
        self.ids.insert(key, id);
        Ok(id)
    }

    pub(super) fn into_entries(self) -> Vec<SeriesEntry> {
        self.entries
    }
}

/// Makes new series durable, then known.
pub(super) fn add(
    dictionary: &std::sync::RwLock<Dictionary>,
    file: &mut FrameFile,
    new: Vec<SeriesEntry>,
) -> Result<()> {
    if new.is_empty() {
        return Ok(());
    }
    file.append(&encode(&new))?;
    super::fault::unpoisoned(dictionary.write()).extend(new);
    Ok(())
}

fn encode(entries: &[SeriesEntry]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    for entry in entries {
        encoder.str(&entry.metric);
        encoder.labels(&entry.labels);
        encoder.kind(entry.kind);
    }
    encoder.into_bytes()
}

fn decode(frame: &[u8]) -> Result<Vec<SeriesEntry>> {
    let mut decoder = Decoder::new(frame);
    let mut entries = Vec::new();
    while !decoder.is_empty() {
        entries.push(SeriesEntry {
            metric: decoder.str()?.into(),
            labels: decoder.labels()?,
            kind: decoder.kind()?,
        });
    }
    Ok(entries)
}
