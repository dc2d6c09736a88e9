//! What tests and demonstrations stand on.
//!
//! [`kubernetes`] is an embedded Kubernetes API server with a simulated cluster behind it; [`aws`] tells whether requests are signed as AWS wants them.

pub mod aws;
pub mod kubernetes;

pub mod conformance;
mod provider;

pub use provider::{EmbeddedProvider, EmbeddedProviderBuilder};
