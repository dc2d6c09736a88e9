//! The console over real connections: its API, its events, and its page in a browser.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests, beside the tests themselves"
)]

mod api;
mod browser;
mod dashboards;
mod events;
mod fixture;
mod misuse;
mod page;
