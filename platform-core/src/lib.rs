//! The platform's language: names, specs, plans, the executor and the traits that everything else implements.

pub mod alert;
pub mod application;
pub mod clock;
pub mod cluster;
pub mod component;
pub mod dashboard;
mod environment;
pub mod error;
pub mod event;
pub mod execution;
mod isolation;
pub mod manifest;
pub mod name;
pub mod orchestrator;
pub mod plan;
pub mod platform;
mod quantity;
pub mod status;
pub mod telemetry;

pub use application::{Application, Image};
pub use environment::{ControlPlane, Environment, Quota};
pub use error::{Error, ErrorKind, Result};
pub use isolation::Isolation;
pub use plan::Plan;
pub use platform::{Confirmation, Platform, PlatformBuilder, PlatformSpec};
pub use quantity::Quantity;
