//! All files of a tail: which there are, which are the same under another name, and what to read next.

use super::{
    assembly::{Assembling, Entry, Marks},
    checkpoint::{Checkpoint, Identity, Position},
    follower::{Follower, Outcome, Ticket},
    format::{LogFormat, Stream},
    multiline::Rules,
    neighbours::{Former, Neighbours},
    place::Place,
    record::{Content, record},
    stats::Counters,
};
use crate::sources::PodMetadata;
use platform_core::{
    clock::Timestamp,
    telemetry::{Labels, LogRecord},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// How long the position in a file that is not there is kept: a volume may be mounted later.
const FORGET_AFTER: Duration = Duration::from_secs(7 * 86_400);

/// Where reading begins in a file that is seen for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum StartAt {
    /// Everything it has.
    Beginning,
    /// Only what comes from now on: at the start of its last line if that is unfinished.
    #[default]
    End,
}

/// How a tail reads.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) patterns: Vec<String>,
    pub(super) exclude: Vec<glob::Pattern>,
    pub(super) source: String,
    pub(super) labels: Labels,
    pub(super) start_at: StartAt,
    pub(super) line_limit: usize,
    pub(super) partial_grace: Duration,
    pub(super) rotated_idle: Duration,
    pub(super) format: LogFormat,
    pub(super) rules: Option<Arc<Rules>>,
    pub(super) metadata: Option<PodMetadata>,
    pub(super) metadata_wait: Duration,
}

impl Config {
    fn assembling(&self, path: &Path, place: Option<&Place>) -> Assembling {
        Assembling {
            format: self.format.of(path, place.is_some()),
            rules: self.rules.clone(),
            line_limit: self.line_limit,
            grace: self.partial_grace,
        }
    }
}

/// Records of one file.
#[derive(Debug)]
pub(super) struct Batched {
    pub(super) follower: u64,
    pub(super) ticket: Ticket,
    pub(super) records: Vec<LogRecord>,
}

/// Follows files. Does nothing by itself: somebody polls it and tells it what became of what it read.
#[derive(Debug)]
pub(super) struct Tailer {
    config: Arc<Config>,
    counters: Arc<Counters>,
    followers: BTreeMap<u64, Follower>,
    next: u64,
    /// Positions of a former run whose files have not been found.
    former: Vec<Position>,
    /// Patterns whose present files are not new.
    former_patterns: BTreeSet<String>,
    first: bool,
    /// Whose turn it is.
    turn: u64,
    unreadable: BTreeSet<PathBuf>,
    /// What is beside the files that are followed, by where these are.
    neighbours: BTreeMap<PathBuf, Neighbours>,
    /// What a former run knew of these.
    former_neighbours: BTreeMap<PathBuf, Former>,
    /// A file was opened or began anew, which no checkpoint knows.
    unwritten: bool,
}

impl Tailer {
    /// Continues at `checkpoint`, if there is one.
    pub(super) fn new(config: Arc<Config>, counters: Arc<Counters>, checkpoint: Option<Checkpoint>) -> Self {
        let Checkpoint { files: former, patterns, beside, .. } = checkpoint.unwrap_or_default();
        let former_patterns = patterns.into_iter().collect();
        let mut former_neighbours: BTreeMap<PathBuf, Former> = BTreeMap::new();
        for position in &former {
            let known = former_neighbours.entry(position.home().clone()).or_default();
            known.followed.insert(position.identity);
        }
        for (home, beside) in beside {
            former_neighbours.entry(home).or_default().beside = Some(beside);
        }
        Self {
            config,
            counters,
            followers: BTreeMap::new(),
            next: 0,
            former,
            former_patterns,
            first: true,
            turn: 0,
            unreadable: BTreeSet::new(),
            neighbours: BTreeMap::new(),
            former_neighbours,
            unwritten: false,
        }
    }

    /// Looks for files and reads at most `room` batches.
    pub(super) fn poll(&mut self, now: Instant, wall: Timestamp, room: usize) -> Vec<Batched> {
        self.discover(now);
        let mut batches = Vec::new();
        let mut idle = BTreeSet::new();
        while batches.len() < room {
            // One batch of each in turn, so that a busy file does not starve the others.
            let turn = self.turn;
            let after = self.followers.range(turn..).map(|(id, _)| *id).find(|id| !idle.contains(id));
            let Some(id) = after.or_else(|| self.followers.keys().copied().find(|id| !idle.contains(id)))
            else {
                break;
            };
            self.turn = id + 1;
            match self.read(id, now, wall) {
                Ok(Some(batch)) => {
                    if let Some(follower) = self.followers.get(&id) {
                        self.unreadable.remove(&follower.path);
                    }
                    batches.push(batch);
                }
                Ok(None) => {
                    idle.insert(id);
                }
                Err(error) => {
                    self.complain(id, &error);
                    idle.insert(id);
                }
            }
        }
        self.retire(now);
        batches
    }

    /// Notes what became of a batch.
    pub(super) fn settle(&mut self, follower: u64, ticket: Ticket, outcome: Outcome, now: Instant) {
        // A follower is kept until everything of it is settled; one that is gone has nothing left to note.
        let Some(follower) = self.followers.get_mut(&follower) else { return };
        if outcome != Outcome::Durable {
            self.counters.deliveries_failed.fetch_add(1, Ordering::Relaxed);
        }
        match follower.settle(ticket, outcome, now) {
            Ok(settled) => {
                self.counters.lines_delivered.fetch_add(settled.delivered, Ordering::Relaxed);
                if settled.lost > 0 {
                    self.counters.lines_lost.fetch_add(settled.lost, Ordering::Relaxed);
                    tracing::error!(
                        file = follower.name,
                        lines = settled.lost,
                        "lines of a log were lost: they were not stored and cannot be read again"
                    );
                }
                if settled.rewound {
                    tracing::warn!(file = follower.name, "lines of a log were not stored and are read again");
                }
            }
            Err(error) => {
                tracing::warn!(file = follower.name, %error, "a log cannot be read again");
                self.counters.read_errors.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Whether files were opened or began anew since this was last asked: they should be in a checkpoint soon, or they are not
    /// found again if they are renamed while nobody looks.
    pub(super) fn take_unwritten(&mut self) -> bool {
        std::mem::take(&mut self.unwritten)
    }

    /// How far everything is durable.
    pub(super) fn checkpoint(&self, wall: Timestamp) -> Checkpoint {
        let kept = self.former.iter().filter(|position| wall.since(position.seen) < FORGET_AFTER).cloned();
        let files = self.followers.values().map(|follower| follower.position(wall)).chain(kept).collect();
        let mut checkpoint = Checkpoint::new(self.config.patterns.clone(), files);
        let seen = self.neighbours.iter().map(|(home, seen)| (home, seen.rotated.keys().copied().collect()));
        // What was not looked at yet is as the former run left it.
        let homes: BTreeSet<&PathBuf> = checkpoint.files.iter().map(Position::home).collect();
        let unseen = self.former_neighbours.iter().filter(|(home, _)| homes.contains(home));
        let unseen = unseen.filter_map(|(home, former)| Some((home, former.beside.clone()?)));
        checkpoint.beside = unseen.chain(seen).map(|(home, beside)| (home.clone(), beside)).collect();
        checkpoint
    }

    fn discover(&mut self, now: Instant) {
        let first = std::mem::replace(&mut self.first, false);
        let mut present = BTreeMap::new();
        for pattern in &self.config.patterns {
            // On the first look, files of a pattern that was not followed before were there before us.
            let is_old = first && !self.former_patterns.contains(pattern);
            for path in expand(pattern) {
                if self.config.exclude.iter().any(|glob| glob.matches_path(&path)) {
                    continue;
                }
                // A link counts as what it leads to.
                if let Ok(metadata) = std::fs::metadata(&path)
                    && metadata.is_file()
                {
                    present.entry(path).or_insert((Identity::of(&metadata), is_old));
                }
            }
        }
        self.note_renames(&present, now);
        let mut known: BTreeSet<Identity> = self.followers.values().map(|f| f.identity).collect();
        for (path, (identity, is_old)) in &present {
            if known.insert(*identity)
                && let Err(error) = self.open(path, *identity, *is_old, now)
            {
                known.remove(identity);
                // A file that is gone between the look and the opening is no news.
                if error.kind() != io::ErrorKind::NotFound && self.unreadable.insert(path.clone()) {
                    self.counters.read_errors.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(file = %path.display(), %error, "a log cannot be opened; trying again");
                }
            }
        }
        if first {
            self.find_renamed(now);
        }
        self.find_missed(now);
        self.counters.files.store(self.followers.len() as u64, Ordering::Relaxed);
    }

    /// Files that have another name now, and those whose name has another file.
    fn note_renames(&mut self, present: &BTreeMap<PathBuf, (Identity, bool)>, now: Instant) {
        for follower in self.followers.values_mut() {
            let at_its_path = present.get(&follower.path).map(|(identity, _)| *identity);
            if at_its_path == Some(follower.identity) {
                follower.rotated = None;
            } else if let Some((path, _)) = present.iter().find(|(_, (id, _))| *id == follower.identity) {
                self.counters.rotations.fetch_add(1, Ordering::Relaxed);
                follower.path.clone_from(path);
                follower.rotated = None;
            } else if follower.rotated.is_none() {
                self.counters.rotations.fetch_add(1, Ordering::Relaxed);
                follower.rotated = Some(now);
            }
        }
    }

    fn open(&mut self, path: &Path, identity: Identity, is_old: bool, now: Instant) -> io::Result<()> {
        let file = File::open(path)?;
        if Identity::of(&file.metadata()?) != identity {
            // It was rotated between the look and the opening: the next look sees both, and neither twice.
            return Err(io::ErrorKind::NotFound.into());
        }
        // After a reboot, a volume may have another device number.
        let former = self.former.iter().position(|position| {
            position.identity.inode == identity.inode
                && (position.identity.device == identity.device || position.path == path)
        });
        let offset = match former.map(|at| self.former.swap_remove(at)) {
            Some(position) if position.fits(&file)? => position.resumption(),
            None if is_old && self.config.start_at == StartAt::End => {
                (last_line(&file, self.config.line_limit)?, Marks::default())
            }
            // New; or the number was another file's, or it was rewritten while nobody looked.
            _ => (0, Marks::default()),
        };
        let place = Place::of(path);
        let how = self.config.assembling(path, place.as_ref());
        let follower = Follower::new(path, place, file, offset, how, now)?;
        self.unreadable.remove(path);
        self.followers.insert(self.next, follower);
        self.next += 1;
        self.unwritten = true;
        Ok(())
    }

    /// Looks for files that were renamed out of the patterns while nobody looked: what they have more is read too.
    fn find_renamed(&mut self, now: Instant) {
        let paths =
            self.former.iter().flat_map(|position| [Some(&position.path), position.resolved.as_ref()]);
        let directories: BTreeSet<PathBuf> =
            paths.flatten().filter_map(|path| path.parent().map(Path::to_owned)).collect();
        for entry in directories.iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            let identity = Identity::of(&metadata);
            let Some(at) = self.former.iter().position(|position| position.identity == identity) else {
                continue;
            };
            let opened = || -> io::Result<Option<Follower>> {
                let (Some(position), true) = (self.former.get(at), metadata.is_file()) else {
                    return Ok(None);
                };
                let file = File::open(entry.path())?;
                if !position.fits(&file)? {
                    return Ok(None);
                }
                // Whose it is, its former name says, and if that is a link that is gone, its present one.
                let place = Place::of(&position.path).or_else(|| Place::of(&entry.path()));
                let how = self.config.assembling(&position.path, place.as_ref());
                let mut follower =
                    Follower::new(&position.path, place, file, position.resumption(), how, now)?;
                follower.path = entry.path();
                follower.home.clone_from(position.home());
                follower.rotated = Some(now);
                Ok(Some(follower))
            };
            if let Ok(Some(follower)) = opened() {
                self.former.swap_remove(at);
                self.counters.rotations.fetch_add(1, Ordering::Relaxed);
                self.followers.insert(self.next, follower);
                self.next += 1;
            }
        }
    }

    /// Looks for files that were created and renamed between two looks: beside a followed one is one more under a name of its rotation, and its own
    /// name is another file's. A copy, whose original keeps its name, is none of them.
    fn find_missed(&mut self, now: Instant) {
        let homes: BTreeMap<PathBuf, u64> =
            self.followers.iter().map(|(id, f)| (f.home.clone(), *id)).collect();
        self.neighbours.retain(|home, _| homes.contains_key(home));
        for (home, id) in homes {
            let before = self.neighbours.get(&home);
            let Some(present) = Neighbours::of(&home, before) else { continue };
            let missed = match (before, self.former_neighbours.get(&home)) {
                (Some(before), _) => before.missed(&present, |path| self.is_copy(path, &home)),
                (None, Some(former)) => former.missed(&present),
                // What is there when a file is first seen was there before it.
                (None, None) => Vec::new(),
            };
            let is_known = |identity| self.followers.values().any(|f| f.identity == identity);
            let missed: Vec<PathBuf> = missed
                .into_iter()
                .filter(|(one, _)| !is_known(**one))
                .map(|(_, path)| path.clone())
                .collect();
            let mut is_whole = true;
            for path in missed {
                let Some(follower) = self.followers.get(&id) else { break };
                let (name, place) = (PathBuf::from(&follower.name), follower.place.clone());
                let how = self.config.assembling(&name, place.as_ref());
                let opened = File::open(&path)
                    .and_then(|file| Follower::new(&name, place, file, (0, Marks::default()), how, now));
                match opened {
                    Ok(mut follower) => {
                        self.counters.rotations.fetch_add(1, Ordering::Relaxed);
                        self.former.retain(|position| position.identity != follower.identity);
                        (follower.path, follower.home, follower.rotated) = (path, home.clone(), Some(now));
                        self.followers.insert(self.next, follower);
                        self.next += 1;
                        self.unwritten = true;
                    }
                    // It was renamed once more: the next look finds it.
                    Err(_) => is_whole = false,
                }
            }
            if is_whole {
                let present = match self.former_neighbours.remove(&home) {
                    Some(former) => former.at_rest(present),
                    None => present,
                };
                self.neighbours.insert(home, present);
            }
        }
    }

    /// Whether the file at `path` begins as one does that is followed at `home`.
    fn is_copy(&self, path: &Path, home: &Path) -> bool {
        let Ok(file) = File::open(path) else { return false };
        let mut followers = self.followers.values().filter(|follower| follower.home == home);
        followers.any(|follower| follower.is_beginning_of(&file))
    }

    fn read(&mut self, id: u64, now: Instant, wall: Timestamp) -> io::Result<Option<Batched>> {
        let Some(follower) = self.followers.get_mut(&id) else { return Ok(None) };
        // What is not known yet is waited for, but not for ever: the lines say where they are from all the same.
        let known = follower.place.as_ref().map(|place| labels_of(place, self.config.metadata.as_ref()));
        if let Some((_, false)) = known {
            if now.saturating_duration_since(follower.opened) < self.config.metadata_wait {
                return Ok(None);
            }
            if !std::mem::replace(&mut follower.is_unknown, true) {
                self.counters.pods_unknown.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(file = follower.name, "the pod of a log is not known to its cluster");
            }
        }
        let chunk = match follower.truncated(now)? {
            None => follower.read(now, self.config.partial_grace)?,
            Some((unread, held)) => {
                self.unwritten = true;
                self.counters.truncations.fetch_add(1, Ordering::Relaxed);
                self.counters.bytes_lost.fetch_add(unread, Ordering::Relaxed);
                if unread > 0 {
                    tracing::warn!(
                        file = follower.name,
                        bytes = unread,
                        "a log was truncated before all of it was read"
                    );
                }
                match held {
                    Some(chunk) => Some(chunk),
                    None => follower.read(now, self.config.partial_grace)?,
                }
            }
        };
        let Some(chunk) = chunk else { return Ok(None) };
        let add = |counter: &std::sync::atomic::AtomicU64, by: u64| counter.fetch_add(by, Ordering::Relaxed);
        add(&self.counters.bytes_read, chunk.bytes);
        let sum = |of: fn(&Entry) -> u64| chunk.entries.iter().map(of).sum::<u64>();
        add(&self.counters.lines_read, sum(|entry| entry.lines));
        add(&self.counters.lines_joined, sum(|entry| entry.lines - 1));
        add(&self.counters.lines_partial, sum(|entry| u64::from(entry.is_partial)));
        add(&self.counters.lines_unwrapped, sum(|entry| entry.odd));
        let cut = sum(|entry| u64::from(entry.cut > 0));
        add(&self.counters.lines_cut, cut);
        let place_labels = match known {
            Some((labels, _)) => labels,
            None => Labels::from_iter([("file", follower.name.as_str()), ("source", &self.config.source)]),
        };
        let of_file = self.config.labels.with(&place_labels);
        let labels = [Stream::Unnamed, Stream::Stdout, Stream::Stderr]
            .map(|stream| (stream, of_file.with(&Labels::from_iter([("stream", stream.as_str())]))));
        let content = Content::of(follower.format());
        let mut invalid = 0;
        let records = chunk.entries.into_iter().map(|entry| {
            let text = String::from_utf8(entry.bytes).unwrap_or_else(|error| {
                // The end of a line that was cut may be the middle of a character.
                invalid += u64::from(entry.cut == 0 || error.utf8_error().error_len().is_some());
                String::from_utf8_lossy(error.as_bytes()).into_owned()
            });
            let labels = labels.iter().find(|(stream, _)| *stream == entry.stream);
            record(content, text, entry.time, wall, labels.map_or(&of_file, |(_, labels)| labels))
        });
        let records = records.collect();
        add(&self.counters.lines_invalid_utf8, invalid);
        if cut > 0 {
            tracing::warn!(
                file = follower.name,
                lines = cut,
                limit = self.config.line_limit,
                "lines of a log were cut: they are too long"
            );
        }
        Ok(Some(Batched { follower: id, ticket: chunk.ticket, records }))
    }

    fn complain(&mut self, id: u64, error: &io::Error) {
        self.counters.read_errors.fetch_add(1, Ordering::Relaxed);
        if let Some(follower) = self.followers.get(&id)
            && self.unreadable.insert(follower.path.clone())
        {
            tracing::warn!(file = follower.name, %error, "a log cannot be read; trying again");
        }
    }

    /// Lets go of files that were rotated away and have nothing more.
    fn retire(&mut self, now: Instant) {
        let idle = self.config.rotated_idle;
        self.followers.retain(|_, follower| {
            follower.rotated.is_none_or(|since| now.saturating_duration_since(since) < idle)
                || !follower.is_finished(now, idle)
        });
    }
}

/// What the lines of a container are labelled with, and whether that is all that there is to know.
fn labels_of(place: &Place, metadata: Option<&PodMetadata>) -> (Labels, bool) {
    let container = |labels: Labels| labels.with_label("container", &place.container);
    let known = metadata.map(|metadata| metadata.labels(&place.namespace, &place.pod, place.uid.as_deref()));
    if let Some(Some(labels)) = known {
        return (container(labels), true);
    }
    let named = [
        ("namespace", place.namespace.as_str()),
        ("pod", &place.pod),
        ("pod_uid", place.uid.as_deref().unwrap_or_default()),
    ];
    (container(named.into_iter().collect()), known.is_none())
}

/// The paths that a pattern stands for now. What cannot be looked into is not there.
fn expand(pattern: &str) -> Vec<PathBuf> {
    if !pattern.contains(['*', '?', '[']) {
        return vec![PathBuf::from(pattern)];
    }
    // The pattern was checked when the tail was built.
    glob::glob(pattern).map_or_else(|_| Vec::new(), |paths| paths.flatten().collect())
}

/// Where the last line begins if it is unfinished, else the end; not further back than a line may be long.
fn last_line(file: &File, line_limit: usize) -> io::Result<u64> {
    let len = file.metadata()?.len();
    let from = len.saturating_sub(line_limit as u64);
    let bytes = super::checkpoint::read_exactly(file, from, usize::try_from(len - from).unwrap_or_default())?;
    Ok(match bytes.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => from + end as u64 + 1,
        None if from == 0 => 0,
        None => len,
    })
}

#[cfg(test)]
mod storm;
#[cfg(test)]
mod tests;
