//! The agent: from sources over its spool to sinks that misbehave, over crashes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, beside the tests themselves")]

mod crash;
mod outage;
mod store;
mod support;
