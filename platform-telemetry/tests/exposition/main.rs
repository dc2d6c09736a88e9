//! What is read of expositions is what Prometheus reads of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

mod prometheus;
mod texts;
