//! An index on disk that is filled generation by generation.

use super::{fault, words};
use platform_core::Result;
use std::{
    fs,
    path::{Path, PathBuf},
};
use tantivy::{
    Index, IndexReader, IndexSettings, IndexWriter, ReloadPolicy, Searcher, TantivyDocument,
    directory::MmapDirectory, indexer::IndexWriterOptions, schema::Schema,
};

/// An index of which each commit holds whole generations of the journal, and says which was the last.
pub(super) struct Table {
    path: PathBuf,
    index: Index,
    reader: IndexReader,
    writer: Option<IndexWriter>,
    committed: u64,
}

impl Table {
    /// Opens the index in `path`, or creates it if there is none. `verify` reads all of it once and compares checksums.
    pub(super) fn open(path: &Path, schema: &Schema, verify: bool) -> Result<Self> {
        fs::create_dir_all(path).map_err(|e| fault::io(e, "create", path))?;
        let exists = path.join("meta.json").exists();
        if !exists && has_segments(path)? {
            let missing = tantivy::error::DataCorruption::comment_only("its list of segments is missing");
            return Err(fault::index(missing.into(), "open", path));
        }
        fault::guarded("open", path, || {
            let directory = MmapDirectory::open(path)?;
            let index = if exists {
                Index::open(directory)?
            } else {
                Index::create(directory, schema.clone(), IndexSettings::default())?
            };
            if index.schema() != *schema {
                return Err(tantivy::TantivyError::SchemaError("it has other fields".to_owned()));
            }
            if verify && let Some(file) = index.validate_checksum()?.into_iter().next() {
                let damage = "its checksum is wrong".to_owned();
                return Err(tantivy::error::DataCorruption::new(file, damage).into());
            }
            index.tokenizers().register(words::ANALYZER, words::analyzer());
            // The default policy polls the disk twice a second.
            let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
            let committed = last_generation(&index)?;
            Ok(Self { path: path.to_owned(), index, reader, writer: None, committed })
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The last generation that is in it.
    pub(super) fn committed(&self) -> u64 {
        self.committed
    }

    pub(super) fn searcher(&self) -> Searcher {
        self.reader.searcher()
    }

    /// Adds the documents of a generation, all or none. Does nothing if the generation is in it already.
    pub(super) fn commit(
        &mut self,
        generation: u64,
        memory: usize,
        documents: impl IntoIterator<Item = TantivyDocument>,
    ) -> Result<()> {
        if self.committed >= generation {
            return Ok(());
        }
        let (writer, index, reader) = (&mut self.writer, &self.index, &self.reader);
        let outcome = fault::guarded("write to", &self.path, || {
            let writer = match writer {
                Some(writer) => writer,
                None => writer.insert(index.writer_with_options(options(memory))?),
            };
            for document in documents {
                writer.add_document(document)?;
            }
            let mut commit = writer.prepare_commit()?;
            commit.set_payload(&generation.to_string());
            commit.commit()?;
            reader.reload()
        });
        if outcome.is_ok() {
            self.committed = generation;
        } else {
            // What was added and not committed goes with the writer; the commit itself may have come through.
            self.writer = None;
            let found = fault::guarded("read", &self.path, || {
                reader.reload()?;
                last_generation(index)
            });
            self.committed = found.unwrap_or(self.committed);
        }
        outcome
    }

    /// Waits for merges under way, and gives back the memory and threads for writing.
    pub(super) fn settle(&mut self) {
        let Some(writer) = self.writer.take() else { return };
        let outcome = fault::guarded("merge", &self.path, || {
            writer.wait_merging_threads()?;
            self.reader.reload()
        });
        if let Err(error) = outcome {
            tracing::warn!(%error, "a merge failed; its segments stay as they were");
        }
    }

    /// Merges all segments into one, for a partition that is not expected to grow any more.
    pub(super) fn compact(&mut self) {
        // A segment can be in one merge at a time.
        self.settle();
        let (index, reader) = (&self.index, &self.reader);
        let outcome = fault::guarded("merge", &self.path, || {
            let segments = index.searchable_segment_ids()?;
            if segments.len() > 1 {
                let mut writer: IndexWriter = index.writer_with_options(options(MIN_WRITER_MEMORY))?;
                writer.merge(&segments).wait()?;
                writer.wait_merging_threads()?;
            }
            reader.reload()
        });
        if let Err(error) = outcome {
            tracing::warn!(%error, "a merge failed; its segments stay as they were");
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // A merge that outlived its writer would meet the next one that is opened here.
        self.settle();
    }
}

/// The least memory that the index library accepts for a writer.
pub(super) const MIN_WRITER_MEMORY: usize = 15_000_000;

fn options(memory: usize) -> IndexWriterOptions {
    IndexWriterOptions::builder()
        .num_worker_threads(1)
        .num_merge_threads(1)
        .memory_budget_per_thread(memory.max(MIN_WRITER_MEMORY))
        .build()
}

fn last_generation(index: &Index) -> tantivy::Result<u64> {
    match index.load_metas()?.payload {
        // It was created and never committed to.
        None => Ok(0),
        Some(payload) => payload.parse().map_err(|_| {
            tantivy::error::DataCorruption::comment_only("its last commit does not say its generation").into()
        }),
    }
}

fn has_segments(path: &Path) -> Result<bool> {
    let failed = |e| fault::io(e, "list", path);
    for entry in fs::read_dir(path).map_err(failed)? {
        if entry.map_err(failed)?.path().extension().is_some_and(|extension| extension == "store") {
            return Ok(true);
        }
    }
    Ok(false)
}
