//! Conformance suites over the platform's traits: what every implementation must do, whatever it stands on.
//!
//! Each suite is a function over `&dyn Trait` that runs its checks one after the other and answers with a [`Report`]. A check that
//! fails does not end the suite.

pub mod cluster;
pub mod provider;
pub mod store;

use std::{fmt, future::Future};

/// What a check answers: nothing, or what was not as it must be.
pub type Outcome = Result<(), String>;

/// What came of a suite.
#[derive(Debug, Clone)]
pub struct Report {
    suite: &'static str,
    results: Vec<(&'static str, Outcome)>,
}

impl Report {
    /// An empty report of a suite.
    pub fn new(suite: &'static str) -> Self {
        Self { suite, results: Vec::new() }
    }

    /// Runs a check and takes down what it answers.
    pub async fn check(&mut self, name: &'static str, check: impl Future<Output = Outcome>) {
        let outcome = check.await;
        self.results.push((name, outcome));
    }

    /// How many checks passed.
    pub fn passed(&self) -> usize {
        self.results.iter().filter(|(_, outcome)| outcome.is_ok()).count()
    }

    /// How many checks failed.
    pub fn failed(&self) -> usize {
        self.results.len() - self.passed()
    }

    /// The report as an error unless every check passed, for `unwrap` in tests; a suite without checks has not passed.
    pub fn into_result(self) -> Result<(), Self> {
        if self.failed() == 0 && self.passed() > 0 { Ok(()) } else { Err(self) }
    }
}

/// A line for each check, then `N passed, N failed`.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, outcome) in &self.results {
            match outcome {
                Ok(()) => writeln!(f, "ok      {}: {name}", self.suite)?,
                Err(why) => writeln!(f, "FAILED  {}: {name}: {why}", self.suite)?,
            }
        }
        write!(f, "{} passed, {} failed", self.passed(), self.failed())
    }
}

/// An [`Outcome`] from a condition.
pub fn ensure(condition: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if condition { Ok(()) } else { Err(otherwise()) }
}

/// An [`Outcome`] from a comparison.
pub fn ensure_eq<T: PartialEq + fmt::Debug>(actual: &T, wanted: &T, what: &str) -> Outcome {
    ensure(actual == wanted, || format!("{what}: is {actual:?}, must be {wanted:?}"))
}

/// An [`Outcome`] from a call that must fail with an error of `kind`.
pub fn ensure_fails<T: fmt::Debug>(
    result: platform_core::Result<T>,
    kind: platform_core::ErrorKind,
    what: &str,
) -> Outcome {
    match result {
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => Err(format!("{what}: must fail with {kind:?}, fails with {error:?}")),
        Ok(value) => Err(format!("{what}: must fail with {kind:?}, answers {value:?}")),
    }
}
