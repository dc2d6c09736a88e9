//! Clusters at an emulator of AWS. `PLATFORM_AWS_EMULATOR` names a program that is run with a port as its only argument and serves AWS' APIs on it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod access;
mod adoption;
mod calls;
mod faults;
mod lifecycle;
mod server;
mod wire;
