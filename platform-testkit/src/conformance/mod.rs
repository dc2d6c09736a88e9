//! Conformance suites: what every implementation must do, whatever it stands on.
//!
//! [`cluster`], [`provider`] and [`store`] are functions over `&dyn Trait` of the platform that run their checks one after the other;
//! [`kubernetes`] asks an API server itself, several checks at a time. Each answers with a [`Report`]. A check that fails does not
//! end the suite.

pub mod cluster;
pub mod kubernetes;
pub mod provider;
mod report;
pub mod store;

pub use report::{CheckResult, Report, Verdict};

use std::fmt;

/// What a check answers: nothing, or what was not as it must be.
pub type Outcome = Result<(), String>;

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
