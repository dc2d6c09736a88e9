//! The files that a followed one is rotated to.

use super::checkpoint::Identity;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Coarser than the modification times of any file system that is still in use.
const CLOCK_TICK: Duration = Duration::from_secs(2);

/// What is beside a file at one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Neighbours {
    /// Which file has the name itself.
    live: Option<Identity>,
    /// Which had it when the directory was last listed at rest: a list of one that changes meanwhile may lack what was there.
    at_rest: Option<Identity>,
    /// Those with a number or a date behind the name.
    pub(super) rotated: BTreeMap<Identity, PathBuf>,
    /// When the directory was changed, where that is long enough ago to tell it from the next change.
    settled: Option<SystemTime>,
}

impl Neighbours {
    /// What is beside `home` now; `None` where nothing has changed since `before`, or nobody can look.
    pub(super) fn of(home: &Path, before: Option<&Self>) -> Option<Self> {
        let directory = home.parent()?;
        let name = home.file_name()?.to_str()?;
        let modified = std::fs::metadata(directory).and_then(|metadata| metadata.modified()).ok()?;
        if before.is_some_and(|before| before.settled == Some(modified)) {
            return None;
        }
        let settled = modified.elapsed().is_ok_and(|age| age > CLOCK_TICK).then_some(modified);
        let rotated = std::fs::read_dir(directory).ok()?.flatten().filter_map(|entry| {
            let is_rotated = entry.file_name().to_str()?.strip_prefix(name).is_some_and(is_rotation);
            let metadata = if is_rotated { entry.metadata().ok()? } else { return None };
            metadata.is_file().then(|| (Identity::of(&metadata), entry.path()))
        });
        let rotated = rotated.collect();
        // The last, so that a file that is renamed meanwhile is missed by neither look.
        let live = std::fs::metadata(home).ok().map(|metadata| Identity::of(&metadata));
        let at_rest = match before {
            Some(before) if settled.is_none() => before.at_rest,
            _ => live,
        };
        Some(Self { live, at_rest, rotated, settled })
    }
}

/// What a former run knew of the files with one name.
#[derive(Debug, Default)]
pub(super) struct Former {
    /// Those that it followed.
    pub(super) followed: BTreeSet<Identity>,
    /// Those that were beside them; `None` where it did not look.
    pub(super) beside: Option<BTreeSet<Identity>>,
}

impl Former {
    fn is_replaced(&self, present: &Neighbours) -> bool {
        present.live.is_none_or(|live| !self.followed.contains(&live))
    }

    /// What is `present`, if it is to be compared with what this run left.
    pub(super) fn at_rest(&self, mut present: Neighbours) -> Neighbours {
        if self.is_replaced(&present) {
            present.at_rest = self.followed.first().copied();
        }
        present
    }

    /// The files of `present` that were created and renamed after that run, or rewritten and renamed: one that it followed and that is as it was then is
    /// known by now.
    pub(super) fn missed<'a>(&'a self, present: &'a Neighbours) -> Vec<(&'a Identity, &'a PathBuf)> {
        let Some(beside) = &self.beside else { return Vec::new() };
        if !self.is_replaced(present) {
            return Vec::new();
        }
        present.rotated.iter().filter(|(identity, _)| !beside.contains(identity)).collect()
    }
}

impl Neighbours {
    /// The files of `present` that were created and renamed after this look. A copy, whose original keeps its name, is none of them: `is_copy` is asked
    /// where the name is the same file's as at this look, which may have overlooked one that was just being renamed.
    pub(super) fn missed<'a>(
        &'a self,
        present: &'a Self,
        is_copy: impl Fn(&Path) -> bool,
    ) -> Vec<(&'a Identity, &'a PathBuf)> {
        if self.at_rest == present.live {
            return Vec::new();
        }
        let new = present.rotated.iter().filter(|(identity, _)| !self.rotated.contains_key(identity));
        new.filter(|(_, path)| self.live != present.live || !is_copy(path)).collect()
    }
}

/// `.1`, `-20261123`, `.20261123-203628`, `.2026-11-23T20:36:28Z`
fn is_rotation(suffix: &str) -> bool {
    suffix.starts_with(['.', '-', '_'])
        && suffix.bytes().any(|b| b.is_ascii_digit())
        && suffix.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_' | b':' | b'T' | b'Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rotations_end_with_numbers_and_dates() {
        for suffix in [".1", "-20261123", ".20261123-203628", ".2026-11-23T20:36:28Z", "_7"] {
            assert!(is_rotation(suffix), "{suffix}");
        }
        for suffix in ["", ".", ".gz", ".1.gz", ".swp", "1", ".old"] {
            assert!(!is_rotation(suffix), "{suffix}");
        }
    }

    #[test]
    fn what_is_beside_a_file_is_told_from_what_is_not() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["app.log", "app.log.1", "app.log.2.gz", "other.log.1"] {
            std::fs::write(directory.path().join(name), name).unwrap();
        }
        let found = Neighbours::of(&directory.path().join("app.log"), None).unwrap();
        assert!(found.live.is_some());
        assert_eq!(found.rotated.into_values().collect::<Vec<_>>(), [directory.path().join("app.log.1")]);
        assert_eq!(Neighbours::of(&directory.path().join("gone/app.log"), None), None);
    }
}
