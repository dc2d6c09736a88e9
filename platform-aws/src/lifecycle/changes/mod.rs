//! What stands between a cluster and what is wanted.
//!
//! ```text
//! change      one thing to be done, when it comes, and how a plan tells it
//! compare     what is compared with what
//! ```

mod change;
mod compare;

pub use change::{Change, Phase};

use crate::settings::LogType;
use aws_sdk_eks::types as eks;
use platform_core::cluster::ClusterChange;
use std::fmt;

/// What stands between a cluster and its spec, in the order in which it is done.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Changes {
    /// What can be done while it runs.
    pub changes: Vec<Change>,
    /// What can only be had by a cluster, or a part of it, made anew, which is not done: a sentence each.
    pub recreate: Vec<String>,
}

impl Changes {
    /// Whether everything is as wanted.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.recreate.is_empty()
    }

    /// As the platform's plan has it.
    pub(crate) fn summary(&self) -> ClusterChange {
        let update = self.changes.iter().map(ToString::to_string);
        if !self.recreate.is_empty() {
            ClusterChange::Recreate { differences: self.recreate.iter().cloned().chain(update).collect() }
        } else if self.changes.is_empty() {
            ClusterChange::Unchanged
        } else {
            ClusterChange::Update { differences: update.collect() }
        }
    }
}

/// A line for each change, under its phase.
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for difference in &self.recreate {
            writeln!(f, "-/+ {difference}")?;
        }
        for change in &self.changes {
            writeln!(f, "~ {change}")?;
        }
        Ok(())
    }
}

/// The log type as AWS names it.
pub(crate) fn log_type(log: LogType) -> eks::LogType {
    match log {
        LogType::Api => eks::LogType::Api,
        LogType::Audit => eks::LogType::Audit,
        LogType::Authenticator => eks::LogType::Authenticator,
        LogType::ControllerManager => eks::LogType::ControllerManager,
        LogType::Scheduler => eks::LogType::Scheduler,
    }
}

/// The minor version of `1.34`.
pub(crate) fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("1.")?.split('.').next()?.parse().ok()
}
