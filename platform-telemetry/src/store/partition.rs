//! A stretch of time with its two indexes.

use super::{
    fault,
    head::Head,
    logs::{LogSchema, LogView},
    samples::{SampleSchema, SampleView},
    table::Table,
};
use platform_core::{Result, clock::Timestamp, telemetry::TimeRange};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Which stretch of time: the name of the partition's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PartitionKey {
    start: i64,
    length: i64,
}

impl PartitionKey {
    /// The partition of a moment.
    pub(super) fn of(millis: i64, length: i64) -> Self {
        Self { start: millis.div_euclid(length).saturating_mul(length), length }
    }

    /// All partitions that a head goes to.
    pub(super) fn all_of(head: &Head) -> BTreeSet<Self> {
        let samples = head.samples.values().flatten().map(|(at, _)| *at);
        let logs = head.logs.iter().flat_map(|records| records.iter()).map(|r| r.timestamp.as_millis());
        samples.chain(logs).map(|at| Self::of(at, head.partition_millis)).collect()
    }

    pub(super) fn range(self) -> TimeRange {
        let end = self.start.saturating_add(self.length);
        TimeRange::new(Timestamp::from_millis(self.start), Timestamp::from_millis(end))
    }

    pub(super) fn overlaps(self, range: TimeRange) -> bool {
        let own = self.range();
        own.from < range.to && range.from < own.to
    }

    /// Whether all of it is in `range`.
    pub(super) fn is_within(self, range: TimeRange) -> bool {
        let own = self.range();
        range.from <= own.from && own.to <= range.to
    }

    pub(super) fn directory(self, partitions: &Path) -> PathBuf {
        partitions.join(format!("{}-{}", self.start, self.length))
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        let (start, length) = name.rsplit_once('-')?;
        let (start, length) = (start.parse().ok()?, length.parse().ok()?);
        (length > 0).then_some(Self { start, length })
    }
}

/// The fields of both indexes.
#[derive(Debug, Clone)]
pub(super) struct Schemas {
    samples: SampleSchema,
    logs: LogSchema,
}

impl Schemas {
    pub(super) fn new() -> Self {
        Self { samples: SampleSchema::new(), logs: LogSchema::new() }
    }
}

/// What a partition held at some moment.
#[derive(Debug)]
pub(super) struct PartitionView {
    pub(super) key: PartitionKey,
    pub(super) samples: Option<SampleView>,
    pub(super) logs: Option<LogView>,
}

/// A partition that can be written to.
pub(super) struct Partition {
    key: PartitionKey,
    path: PathBuf,
    schemas: Schemas,
    samples: Option<Table>,
    logs: Option<Table>,
}

impl Partition {
    /// Opens a partition; its indexes are created when they are first written to.
    pub(super) fn open(
        key: PartitionKey,
        partitions: &Path,
        schemas: &Schemas,
        verify: bool,
    ) -> Result<Self> {
        let path = key.directory(partitions);
        if !path.exists() {
            fs::create_dir_all(&path).map_err(|e| fault::io(e, "create", &path))?;
            fault::sync_parent(&path)?;
        }
        let open = |name, schema| {
            let path = path.join(name);
            if path.exists() { Table::open(&path, schema, verify).map(Some) } else { Ok(None) }
        };
        let samples = open(SAMPLES, &schemas.samples.schema)?;
        let logs = open(LOGS, &schemas.logs.schema)?;
        Ok(Self { key, path, schemas: schemas.clone(), samples, logs })
    }

    /// Adds what of the head belongs here, unless it is here already.
    pub(super) fn commit(&mut self, head: &Head, memory: usize) -> Result<()> {
        let range = self.key.range();
        let Schemas { samples, logs } = &self.schemas;
        if samples.documents(head, range).next().is_some() {
            let table = table(&mut self.samples, &self.path.join(SAMPLES), &samples.schema)?;
            table.commit(head.generation, memory, samples.documents(head, range))?;
        }
        if logs.documents(head, range).next().is_some() {
            let table = table(&mut self.logs, &self.path.join(LOGS), &logs.schema)?;
            table.commit(head.generation, memory, logs.documents(head, range))?;
        }
        Ok(())
    }

    pub(super) fn view(&self) -> Arc<PartitionView> {
        Arc::new(PartitionView {
            key: self.key,
            samples: self.samples.as_ref().map(|table| SampleView {
                path: table.path().to_owned(),
                searcher: table.searcher(),
                schema: self.schemas.samples.clone(),
            }),
            logs: self.logs.as_ref().map(|table| LogView {
                path: table.path().to_owned(),
                searcher: table.searcher(),
                schema: self.schemas.logs.clone(),
            }),
        })
    }

    /// The last generation of which something is here.
    pub(super) fn committed(&self) -> u64 {
        self.tables().map(Table::committed).max().unwrap_or(0)
    }

    /// Waits for merges under way, and gives back the memory and threads for writing.
    pub(super) fn settle(&mut self) {
        self.samples.iter_mut().chain(&mut self.logs).for_each(Table::settle);
    }

    /// Merges each index into one segment, for a partition that is not expected to grow any more.
    pub(super) fn compact(&mut self) {
        self.samples.iter_mut().chain(&mut self.logs).for_each(Table::compact);
    }

    fn tables(&self) -> impl Iterator<Item = &Table> {
        self.samples.iter().chain(&self.logs)
    }
}

const SAMPLES: &str = "samples";
const LOGS: &str = "logs";

fn table<'a>(
    slot: &'a mut Option<Table>,
    path: &Path,
    schema: &tantivy::schema::Schema,
) -> Result<&'a mut Table> {
    match slot {
        Some(table) => Ok(table),
        None => Ok(slot.insert(Table::open(path, schema, false)?)),
    }
}
