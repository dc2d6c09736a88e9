//! Lines that belong together.

use super::check_some;
use crate::{
    error::{Error, Result},
    telemetry::prometheus_duration,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Which lines of a log are one record. They are joined by line ends, each file's and each stream's by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Multiline {
    /// Which lines belong to the line before them.
    pub rule: MultilineRule,
    /// How long a record may be, in bytes; a line that makes it longer begins another. Default: 256 KiB.
    #[serde(default = "default_bytes")]
    pub max_bytes: usize,
    /// How long a record without an end waits for its next line. Default: 2 seconds.
    #[serde(default = "default_flush", with = "prometheus_duration")]
    pub flush_after: Duration,
}

/// Which lines belong to the line before them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum MultilineRule {
    /// All that do not match this regular expression: it says how a record begins.
    Start(String),
    /// Those that match this regular expression.
    Continuation(String),
    /// Those of an exception of Java or another language of its machine.
    Java,
    /// Those of a traceback of Python.
    Python,
    /// Those of a panic of Go.
    Go,
    /// Those of an exception, a traceback or a panic.
    StackTraces,
}

fn default_bytes() -> usize {
    256 * 1024
}

fn default_flush() -> Duration {
    Duration::from_secs(2)
}

impl Multiline {
    /// Joins by this rule, with the defaults.
    pub fn new(rule: MultilineRule) -> Self {
        Self { rule, max_bytes: default_bytes(), flush_after: default_flush() }
    }

    /// Joins the lines of stack traces.
    pub fn stack_traces() -> Self {
        Self::new(MultilineRule::StackTraces)
    }

    /// Sets how long a record may be, in bytes.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets how long a record without an end waits for its next line.
    #[must_use]
    pub fn flush_after(mut self, wait: Duration) -> Self {
        self.flush_after = wait;
        self
    }

    /// Checks what a single field cannot show: that the expression is one, and that the limits are some.
    pub fn check(&self) -> Result<()> {
        check_some("maxBytes", self.max_bytes as u64)?;
        if self.flush_after.is_zero() {
            return Err(Error::invalid("flushAfter: a record must have time to end"));
        }
        let (MultilineRule::Start(pattern) | MultilineRule::Continuation(pattern)) = &self.rule else {
            return Ok(());
        };
        match regex::Regex::new(pattern) {
            Ok(regex) if regex.is_match("") && matches!(self.rule, MultilineRule::Continuation(_)) => {
                Err(Error::invalid(format!("rule: {pattern:?} matches an empty line, and so every line"))
                    .help("begin it with ^ and say what such a line begins with"))
            }
            Ok(_) => Ok(()),
            Err(error) => {
                Err(Error::invalid(format!("rule: {pattern:?} is no regular expression")).source(error))
            }
        }
    }
}
