//! Clusters at an emulator of AWS. `PLATFORM_AWS_EMULATOR` names a program that is run with a port as its only argument and serves AWS' APIs on it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod access;
mod adoption;
mod broken;
mod calls;
mod clashes;
mod connection;
mod counts;
mod faults;
mod leftovers;
mod lifecycle;
mod policy;
mod seam;
mod server;
mod upgrades;
mod wire;
