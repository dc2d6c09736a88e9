//! What a cluster leaves on disk, and how the next run finds it again.
//!
//! A data directory holds one snapshot (`snapshot.json`) and the log of changes since (`changes-N.jsonl`, where N
//! is the revision of the snapshot that it follows). A change is on disk before the client that made it hears of
//! it. A snapshot is written beside the old one and renamed over it. The last line of a log may be torn by a crash:
//! nobody was told of it, so it is dropped. Anything else that does not read is an error.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::error::ApiError;
use super::resource::GroupResource;
use super::state::{Change, Event, Key, State, Stored};

const FORMAT: &str = "embedded-kubernetes/1";
/// A log longer than this is folded into a new snapshot.
const FOLD_AFTER: u64 = 16 * 1024 * 1024;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The operating system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Another cluster of this or another process uses the directory.
    #[error("{} is in use by another cluster: stop that one or choose another directory", .0.display())]
    InUse(PathBuf),
    /// The file was not written by this software, or not by this version, or is damaged.
    #[error("{} is not the data of an embedded cluster ({why}): restore it or choose another directory", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
}

/// Writes changes in the order of their commits, on a thread of its own.
pub(super) struct Journal {
    changes: mpsc::Sender<Entry>,
    durable: watch::Receiver<Progress>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

enum Entry {
    Change(Arc<Event>),
    Stop,
}

#[derive(Debug, Clone)]
enum Progress {
    Durable(u64),
    Failed(String),
}

impl Journal {
    /// Opens a data directory, made if it is not there, and returns what it holds.
    pub(super) fn open(directory: &Path) -> Result<(Self, State), DataError> {
        fs::create_dir_all(directory).map_err(io("create", directory))?;
        let lock_path = directory.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(io("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(DataError::InUse(directory.to_owned())),
            Err(fs::TryLockError::Error(source)) => return Err(io("lock", &lock_path)(source)),
        }
        let state = load(directory)?;
        let mut writer = Writer {
            directory: directory.to_owned(),
            contents: Contents::of(&state),
            log: None,
            _lock: lock,
        };
        writer.fold()?;
        let (changes, receiver) = mpsc::channel();
        let (progress, durable) = watch::channel(Progress::Durable(state.revision));
        let run = move || writer.run(&receiver, &progress);
        let thread = std::thread::Builder::new().name("embedded-kubernetes-journal".to_owned()).spawn(run);
        let thread = thread.map_err(io("start the writer of", directory))?;
        Ok((Self { changes, durable, writer: Mutex::new(Some(thread)) }, state))
    }

    /// Takes a change to write. Call in the order of the commits.
    pub(super) fn append(&self, event: Arc<Event>) {
        // A writer that is gone has said why; `durable` tells the client.
        self.changes.send(Entry::Change(event)).ok();
    }

    /// Waits until everything up to `revision` is on disk.
    pub(super) async fn durable(&self, revision: u64) -> Result<(), ApiError> {
        let mut progress = self.durable.clone();
        let reached = progress.wait_for(|progress| match progress {
            Progress::Durable(written) => *written >= revision,
            Progress::Failed(_) => true,
        });
        let why = match reached.await.map(|progress| progress.clone()) {
            Ok(Progress::Durable(_)) => return Ok(()),
            Ok(Progress::Failed(why)) => why,
            Err(_) => "the writer of the data directory has stopped".to_owned(),
        };
        Err(ApiError::new(
            500,
            "InternalError",
            format!("Internal error occurred: the change was not stored: {why}"),
        ))
    }

    /// Writes what is left and ends the thread. Blocks until that is done.
    pub(super) fn stop(&self) {
        self.changes.send(Entry::Stop).ok();
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the writer of the data directory ended abnormally");
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The writer's own view of the objects: what a snapshot holds.
struct Contents {
    revision: u64,
    objects: std::collections::BTreeMap<Key, Arc<Stored>>,
}

impl Contents {
    fn of(state: &State) -> Self {
        Self { revision: state.revision, objects: state.everything().into_iter().collect() }
    }

    fn apply(&mut self, event: &Event) {
        self.revision = event.revision;
        match event.change {
            Change::Added | Change::Modified => self.objects.insert(event.key.clone(), event.object.clone()),
            Change::Deleted => self.objects.remove(&event.key),
        };
    }
}

struct Writer {
    directory: PathBuf,
    contents: Contents,
    log: Option<Log>,
    _lock: File,
}

struct Log {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Writer {
    fn run(mut self, changes: &mpsc::Receiver<Entry>, progress: &watch::Sender<Progress>) {
        let mut stopping = false;
        while !stopping {
            let Ok(first) = changes.recv() else { break };
            // Whatever came meanwhile shares one trip to the disk.
            let mut batch = vec![first];
            batch.extend(changes.try_iter());
            stopping = batch.iter().any(|entry| matches!(entry, Entry::Stop));
            if let Err(error) = self.write(&batch) {
                tracing::error!(%error, "changes are no longer stored");
                progress.send_replace(Progress::Failed(error.to_string()));
                return;
            }
            progress.send_replace(Progress::Durable(self.contents.revision));
        }
        if let Err(error) = self.fold() {
            // The log holds the same; only the next start takes longer.
            tracing::warn!(%error, "no snapshot was written at the end");
        }
    }

    fn write(&mut self, batch: &[Entry]) -> Result<(), DataError> {
        let mut lines = Vec::new();
        for entry in batch {
            let Entry::Change(event) = entry else { continue };
            self.contents.apply(event);
            lines.extend_from_slice(record(event).to_string().as_bytes());
            lines.push(b'\n');
        }
        if let Some(log) = &mut self.log {
            log.file.write_all(&lines).and_then(|()| log.file.sync_data()).map_err(io("write", &log.path))?;
            log.length += lines.len() as u64;
            if log.length > FOLD_AFTER {
                self.fold()?;
            }
        }
        Ok(())
    }

    /// Writes a snapshot of everything and begins a new log.
    fn fold(&mut self) -> Result<(), DataError> {
        let path = self.directory.join("snapshot.json");
        let temporary = self.directory.join("snapshot.json.new");
        write_snapshot(&temporary, &self.contents)?;
        fs::rename(&temporary, &path).map_err(io("rename", &temporary))?;
        let name = format!("changes-{}.jsonl", self.contents.revision);
        let log_path = self.directory.join(&name);
        let file =
            OpenOptions::new().create(true).append(true).open(&log_path).map_err(io("open", &log_path))?;
        sync_directory(&self.directory)?;
        for (_, old) in logs(&self.directory)?.into_iter().filter(|(_, path)| *path != log_path) {
            fs::remove_file(&old).map_err(io("remove", &old))?;
        }
        self.log = Some(Log { path: log_path, file, length: 0 });
        Ok(())
    }
}

fn write_snapshot(path: &Path, contents: &Contents) -> Result<(), DataError> {
    let file = File::create(path).map_err(io("create", path))?;
    let mut out = BufWriter::new(file);
    let write = |out: &mut BufWriter<File>| {
        writeln!(
            out,
            "{}",
            json!({"format": FORMAT, "revision": contents.revision, "objects": contents.objects.len()})
        )?;
        for (key, object) in &contents.objects {
            let (group, plural) = (key.resource.group(), key.resource.plural());
            writeln!(out, "{}", json!({"group": group, "resource": plural, "object": object.value()}))?;
        }
        out.flush()?;
        out.get_ref().sync_all()
    };
    write(&mut out).map_err(io("write", path))
}

fn record(event: &Event) -> Value {
    let key = &event.key;
    json!({
        "revision": event.revision,
        "change": event.change.as_str(),
        "group": key.resource.group(),
        "resource": key.resource.plural(),
        "namespace": key.namespace,
        "name": key.name,
        "object": if event.change == Change::Deleted { &Value::Null } else { event.object.value() },
    })
}

fn load(directory: &Path) -> Result<State, DataError> {
    let snapshot = directory.join("snapshot.json");
    let mut contents = Contents { revision: 0, objects: std::collections::BTreeMap::new() };
    let logs = logs(directory)?;
    if snapshot.exists() {
        read_snapshot(&snapshot, &mut contents)?;
    } else if let Some((_, log)) = logs.first() {
        let why = "there is a log of changes but no snapshot".to_owned();
        return Err(DataError::Foreign { path: log.clone(), why });
    }
    for (_, log) in &logs {
        read_log(log, &mut contents)?;
    }
    let mut state = State::new(contents.revision);
    for (key, object) in contents.objects {
        state.restore(key, object);
    }
    Ok(state)
}

fn read_snapshot(path: &Path, contents: &mut Contents) -> Result<(), DataError> {
    let foreign = |why: &str| DataError::Foreign { path: path.to_owned(), why: why.to_owned() };
    let mut lines = BufReader::new(File::open(path).map_err(io("open", path))?).lines();
    let mut next = || match lines.next() {
        Some(Ok(line)) => {
            serde_json::from_str::<Value>(&line).map(Some).map_err(|error| foreign(&error.to_string()))
        }
        Some(Err(source)) if source.kind() == std::io::ErrorKind::InvalidData => {
            Err(foreign("it is not text"))
        }
        Some(Err(source)) => Err(io("read", path)(source)),
        None => Ok(None),
    };
    let head = next()?.ok_or_else(|| foreign("it is empty"))?;
    if head["format"] != FORMAT {
        return Err(foreign("its format is another"));
    }
    contents.revision = head["revision"].as_u64().ok_or_else(|| foreign("it has no revision"))?;
    while let Some(line) = next()? {
        let (key, object) = entry(&line).ok_or_else(|| foreign("an entry is incomplete"))?;
        contents.objects.insert(key, object);
    }
    if head["objects"].as_u64() != Some(contents.objects.len() as u64) {
        return Err(foreign("objects are missing"));
    }
    Ok(())
}

fn read_log(path: &Path, contents: &mut Contents) -> Result<(), DataError> {
    let foreign = |why: String| DataError::Foreign { path: path.to_owned(), why };
    let bytes = fs::read(path).map_err(io("read", path))?;
    let mut rest = bytes.as_slice();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, tail) = rest.split_at(end);
        rest = tail.get(1..).unwrap_or_default();
        let line: Value = serde_json::from_slice(line).map_err(|error| foreign(error.to_string()))?;
        let revision =
            line["revision"].as_u64().ok_or_else(|| foreign("a change has no revision".to_owned()))?;
        if revision <= contents.revision {
            continue;
        }
        if revision != contents.revision + 1 {
            return Err(foreign(format!("changes between {} and {revision} are missing", contents.revision)));
        }
        contents.revision = revision;
        let key = key(&line).ok_or_else(|| foreign(format!("change {revision} names no object")))?;
        if line["change"] == Change::Deleted.as_str() {
            contents.objects.remove(&key);
        } else {
            contents.objects.insert(key, Stored::new(line["object"].clone(), revision));
        }
    }
    Ok(())
}

fn entry(line: &Value) -> Option<(Key, Arc<Stored>)> {
    let id = GroupResource::owned(line["group"].as_str()?, line["resource"].as_str()?);
    let object = &line["object"];
    let revision = object["metadata"]["resourceVersion"].as_str()?.parse().ok()?;
    let key = Key::of(&id, object);
    (!key.name.is_empty()).then(|| (key, Stored::new(object.clone(), revision)))
}

fn key(line: &Value) -> Option<Key> {
    let id = GroupResource::owned(line["group"].as_str()?, line["resource"].as_str()?);
    Some(Key::new(&id, line["namespace"].as_str()?, line["name"].as_str()?))
}

/// The logs of a directory, oldest first.
fn logs(directory: &Path) -> Result<Vec<(u64, PathBuf)>, DataError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(io("list", directory))? {
        let path = entry.map_err(io("list", directory))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let revision = name.strip_prefix("changes-").and_then(|rest| rest.strip_suffix(".jsonl"));
        if let Some(revision) = revision.and_then(|text| text.parse().ok()) {
            found.push((revision, path));
        }
    }
    found.sort();
    Ok(found)
}

fn sync_directory(directory: &Path) -> Result<(), DataError> {
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(io("sync", directory))
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> DataError {
    let path = path.to_owned();
    move |source| DataError::Io { doing, path, source }
}
