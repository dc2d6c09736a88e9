//! Notifiers against real servers on this machine, and the plane with its alerts on the embedded store.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests, beside the tests themselves"
)]

mod email;
mod http;
mod plane;
mod support;
