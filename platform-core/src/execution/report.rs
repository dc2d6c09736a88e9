//! What came of a run.

use super::StepId;
use crate::{
    error::{Error, ErrorKind, Result},
    event::StepOutcome,
};
use serde::Serialize;
use std::{fmt, sync::Arc, time::Duration};

/// What came of one step.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct StepReport {
    /// Which.
    pub step: StepId,
    /// How it ended.
    pub outcome: StepOutcome,
    /// What it did, in a sentence, or why it did not.
    pub message: String,
    /// How many times it was tried.
    pub attempts: u32,
    /// How long it took, retries and waits included.
    pub elapsed: Duration,
    /// The error it failed with.
    #[serde(skip)]
    pub error: Option<Arc<Error>>,
}

/// What came of a run, step by step in the order of the graph.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The steps.
    pub steps: Vec<StepReport>,
    /// How long the run took.
    pub elapsed: Duration,
}

impl Report {
    /// Whether every step ended well.
    pub fn succeeded(&self) -> bool {
        self.steps.iter().all(|s| matches!(s.outcome, StepOutcome::Done | StepOutcome::Unchanged))
    }

    /// How many steps ended with `outcome`.
    pub fn count(&self, outcome: StepOutcome) -> usize {
        self.steps.iter().filter(|s| s.outcome == outcome).count()
    }

    /// The report of one step.
    pub fn step(&self, id: &str) -> Option<&StepReport> {
        self.steps.iter().find(|s| s.step.as_str() == id)
    }

    /// The report if every step ended well, else an error that says what failed and what was not reached.
    ///
    /// It is retryable if all failures are, and of the kind of the first one.
    pub fn into_result(self) -> Result<Self> {
        if self.succeeded() {
            return Ok(self);
        }
        let failed: Vec<&Arc<Error>> = self.steps.iter().filter_map(|s| s.error.as_ref()).collect();
        let messages: Vec<String> = self
            .steps
            .iter()
            .filter(|s| s.outcome == StepOutcome::Failed)
            .map(|s| format!("{}: {}", s.step, s.message))
            .collect();
        let cancelled = self.count(StepOutcome::Cancelled) > 0 || failed.is_empty();
        let kind = failed.first().map_or(ErrorKind::Cancelled, |e| e.kind());
        let not_reached = self.count(StepOutcome::NotReached) + self.count(StepOutcome::Cancelled);
        let message =
            if messages.is_empty() { "the run was cancelled".to_owned() } else { messages.join("; ") };
        let rest = match not_reached {
            0 => String::new(),
            1 => "; 1 step was not reached".to_owned(),
            count => format!("; {count} steps were not reached"),
        };
        Err(Error::new(kind, message + &rest)
            .retryable(!cancelled && failed.iter().all(|e| e.is_retryable()))
            .help("mend the cause and run it again: what is done stays done"))
    }
}

/// A line for each step and one for the whole.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.steps.iter().map(|s| s.step.as_str().len()).max().unwrap_or(0);
        for step in &self.steps {
            let seconds = step.elapsed.as_secs_f64();
            writeln!(f, "{:<11}  {:<width$}  {seconds:>6.2} s  {}", step.outcome, step.step, step.message)?;
        }
        write!(
            f,
            "{} done, {} unchanged, {} failed, {} not reached in {:.2} s",
            self.count(StepOutcome::Done),
            self.count(StepOutcome::Unchanged),
            self.count(StepOutcome::Failed),
            self.count(StepOutcome::NotReached) + self.count(StepOutcome::Cancelled),
            self.elapsed.as_secs_f64()
        )
    }
}
