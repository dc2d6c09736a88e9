//! What a run did.

use serde::Serialize;
use std::fmt;

/// What the run did, as one JSON object.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) platform: String,
    pub(crate) provider: String,
    pub(crate) simulated: bool,
    pub(crate) clusters: usize,
    pub(crate) clusters_created: usize,
    pub(crate) objects_applied: usize,
    pub(crate) objects_unchanged: usize,
    /// Seconds from the start of the plan until everything was ready.
    pub(crate) ready_after: f64,
    /// Whether every attempt to cross from one environment to another was stopped, and how many there were.
    pub(crate) isolation_holds: bool,
    pub(crate) isolation_attempts: usize,
    pub(crate) page: Option<String>,
    pub(crate) samples_stored: u64,
    pub(crate) log_lines_stored: u64,
    /// Those of former runs included.
    pub(crate) samples_in_store: u64,
    pub(crate) log_lines_in_store: u64,
    pub(crate) alerts_fired: u64,
    pub(crate) notifications_sent: u64,
    pub(crate) dropped: u64,
}

/// The summary for people.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} of {} clusters created in {:.2} s",
            self.clusters_created, self.clusters, self.ready_after
        )?;
        let holds = if self.isolation_holds { "holds" } else { "DOES NOT HOLD" };
        writeln!(f, "isolation {holds} by {} attempts", self.isolation_attempts)?;
        writeln!(f, "{} objects written, {} unchanged", self.objects_applied, self.objects_unchanged)?;
        writeln!(
            f,
            "{} samples and {} log lines stored, {} dropped; {} and {} in the store",
            self.samples_stored,
            self.log_lines_stored,
            self.dropped,
            self.samples_in_store,
            self.log_lines_in_store
        )?;
        write!(f, "{} alerts fired, {} notifications sent", self.alerts_fired, self.notifications_sent)
    }
}
