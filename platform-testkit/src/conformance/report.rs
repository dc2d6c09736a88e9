//! What came of a suite.

use super::Outcome;
use serde::Serialize;
use std::{
    fmt,
    future::Future,
    time::{Duration, Instant},
};

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", content = "why", rename_all = "lowercase")]
pub enum Verdict {
    /// It is as it must be.
    Passed,
    /// It is not; why.
    Failed(String),
    /// It could not be tried on this server; why.
    Skipped(String),
}

/// One check of a suite and what came of it.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct CheckResult {
    /// What the check is about; the suite's name where it has but one subject.
    pub subject: &'static str,
    /// What must hold, as a sentence.
    pub name: &'static str,
    /// What it came to.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// How long it took.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub took: Duration,
}

/// What came of a suite.
#[derive(Debug, Clone)]
pub struct Report {
    suite: &'static str,
    results: Vec<CheckResult>,
}

impl Report {
    /// An empty report of a suite.
    pub fn new(suite: &'static str) -> Self {
        Self { suite, results: Vec::new() }
    }

    /// Runs a check and takes down what it answers.
    pub async fn check(&mut self, name: &'static str, check: impl Future<Output = Outcome>) {
        let started = Instant::now();
        let verdict = match check.await {
            Ok(()) => Verdict::Passed,
            Err(why) => Verdict::Failed(why),
        };
        self.record(self.suite, name, verdict, started.elapsed());
    }

    /// Takes down what a check of `subject` came to.
    pub fn record(&mut self, subject: &'static str, name: &'static str, verdict: Verdict, took: Duration) {
        self.results.push(CheckResult { subject, name, verdict, took });
    }

    /// Every check, in the order in which it was taken down.
    pub fn results(&self) -> &[CheckResult] {
        &self.results
    }

    /// How many checks passed.
    pub fn passed(&self) -> usize {
        self.count(|verdict| *verdict == Verdict::Passed)
    }

    /// How many checks failed.
    pub fn failed(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Failed(_)))
    }

    /// How many checks could not be tried.
    pub fn skipped(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Skipped(_)))
    }

    /// The report as an error unless no check failed and some passed, for `unwrap` in tests; a suite without checks has not passed.
    pub fn into_result(self) -> Result<(), Self> {
        if self.failed() == 0 && self.passed() > 0 { Ok(()) } else { Err(self) }
    }

    fn count(&self, of: impl Fn(&Verdict) -> bool) -> usize {
        self.results.iter().filter(|result| of(&result.verdict)).count()
    }
}

/// A line for each check (its verdict, its time, its subject and its sentence), then `N passed, N failed`, and how many were skipped if any were.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subjects = self.results.iter().map(|result| result.subject.len()).max().unwrap_or(0);
        for CheckResult { subject, name, verdict, took } in &self.results {
            let (word, why) = match verdict {
                Verdict::Passed => ("ok", None),
                Verdict::Failed(why) => ("FAILED", Some(why)),
                Verdict::Skipped(why) => ("skipped", Some(why)),
            };
            write!(f, "{word:<7} {:>6.2} s  {subject:<subjects$}  {name}", took.as_secs_f64())?;
            match why {
                Some(why) => writeln!(f, ": {why}")?,
                None => writeln!(f)?,
            }
        }
        write!(f, "{} passed, {} failed", self.passed(), self.failed())?;
        if self.skipped() > 0 {
            write!(f, ", {} skipped", self.skipped())?;
        }
        Ok(())
    }
}

fn seconds<S: serde::Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_skipped_is_said_and_is_no_failure() {
        let mut report = Report::new("suite");
        assert!(report.clone().into_result().is_err());
        report.record("pods", "a pod runs", Verdict::Skipped("there is no node".to_owned()), Duration::ZERO);
        assert!(report.clone().into_result().is_err(), "nothing passed");
        report.record("objects", "an object is there", Verdict::Passed, Duration::from_millis(1500));
        let lines = [
            "skipped   0.00 s  pods     a pod runs: there is no node",
            "ok        1.50 s  objects  an object is there",
            "1 passed, 0 failed, 1 skipped",
        ];
        assert_eq!(report.to_string(), lines.join("\n"));
        assert!(report.clone().into_result().is_ok());
        report.record("objects", "another too", Verdict::Failed("it is not".to_owned()), Duration::ZERO);
        assert!(report.into_result().is_err());
    }
}
