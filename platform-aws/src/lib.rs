//! EKS for the platform: clusters with their networks, roles, nodes, addons and access; planned, resumable, and removed without a trace.

pub mod access;
pub mod adoption;
pub mod api;
pub mod cost;
mod encoding;
mod lifecycle;
mod ownership;
mod partition;
pub mod permissions;
mod preflight;
mod provider;
pub mod settings;
mod stack;
mod wait;

pub use lifecycle::changes::{Change, Changes, Phase};
pub use ownership::{CLUSTER_TAG, IMPORTED_TAG, PLATFORM_TAG};
pub use preflight::{PreflightCheck, PreflightReport, PreflightVerdict};
pub use provider::{ApiServerAddress, ApiServers, EksProvider, EksProviderBuilder};
pub use wait::Polling;
