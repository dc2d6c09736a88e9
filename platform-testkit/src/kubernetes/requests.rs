//! How many requests of which verb the server has taken.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Counts by verb as RBAC names them: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`,
/// `deletecollection`; and `dry-run` for writes that were to change nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestCounts(BTreeMap<&'static str, u64>);

impl RequestCounts {
    /// How often a verb was asked for.
    pub fn of(&self, verb: &str) -> u64 {
        self.0.get(verb).copied().unwrap_or(0)
    }

    /// How many requests were to write, dry runs left out.
    pub fn writes(&self) -> u64 {
        ["create", "update", "patch", "delete", "deletecollection"]
            .into_iter()
            .map(|verb| self.of(verb))
            .sum()
    }

    /// What came after an earlier count.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let later = |(verb, count): (&&'static str, &u64)| (*verb, count.saturating_sub(earlier.of(verb)));
        Self(self.0.iter().map(later).collect())
    }
}

#[derive(Debug, Default)]
pub(super) struct Requests(Mutex<RequestCounts>);

impl Requests {
    pub(super) fn count(&self, verb: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).0.entry(verb).or_default() += 1;
    }

    pub(super) fn counts(&self) -> RequestCounts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
