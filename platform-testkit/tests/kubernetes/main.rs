//! The embedded Kubernetes API, driven by `kube` as its users drive it, and by the real kubectl.

// Helpers of tests fail as tests do.
#![allow(clippy::expect_used, clippy::panic, clippy::needless_pass_by_value, clippy::similar_names)]

mod admission;
mod apply;
mod authentication;
mod authorization;
mod conformance;
mod crud;
mod custom;
mod deletion;
mod discovery;
mod events;
mod faults;
mod fixture;
mod kubectl;
mod persistence;
mod pods;
mod watch;
