//! The platform's language: what a platform is, what has to be done to bring it about, and the traits that everything else
//! implements. This crate knows no Kubernetes, no cloud and no disk.
//!
//! # The paved path
//!
//! A [`PlatformSpec`] says what is wanted. With a provider of clusters and an orchestrator it becomes a [`Platform`], whose calls plan, apply,
//! deploy, promote, roll back, watch and destroy. There is no state file, so each can be repeated and resumed.
//!
//! ```
//! use platform_core::{
//!     Confirmation, Platform, PlatformSpec, Result, cluster::ClusterProvider,
//!     orchestrator::Orchestrator,
//! };
//!
//! let spec = PlatformSpec::from_yaml(
//!     "
//!     name: shop
//!     environments: [{ name: testing }, { name: production, protected: true }]
//!     applications: [{ name: api1, image: registry.example.com/api1:1.4.0, ports: [{ number: 8080 }] }]
//!     ",
//! )?;
//! spec.validate()?;
//!
//! async fn run(
//!     spec: PlatformSpec,
//!     provider: impl ClusterProvider + 'static,
//!     kubernetes: impl Orchestrator + 'static,
//! ) -> Result<()> {
//!     let platform = Platform::from_spec(spec).provider(provider).orchestrator(kubernetes).build()?;
//!     let plan = platform.plan().await?;
//!     println!("{plan}");
//!     platform.apply(&plan)?.await?;
//!     platform.promote(&"api1".try_into()?, &"testing".try_into()?, &"production".try_into()?).await?.await?;
//!     platform.destroy(&Confirmation::parse("shop production")).await?.await?;
//!     Ok(())
//! }
//! # Ok::<(), platform_core::Error>(())
//! ```
//!
//! # What is wanted
//!
//! - [`PlatformSpec`], [`Environment`], [`ControlPlane`], [`Application`] and [`component`]: a platform as a value, read from YAML, TOML or JSON.
//! - [`Isolation`]: what keeps environments apart, and [`isolation::IsolationReport`] whether it does; [`platform::BlastRadius`]: what a deletion
//!   would take with it.
//! - [`name`], [`Image`], [`Quantity`]: words that are checked where they enter.
//!
//! # What is done
//!
//! - [`platform`]: the composition and its calls; [`plan`]: what applying would do; [`status`]: how everything is.
//! - [`execution`]: graphs of steps with limits, deadlines, retries and cancellation; [`event`]: what happens meanwhile.
//! - [`error`]: the one error of every boundary. Its [`ErrorKind`] is what callers decide by.
//!
//! # What others implement
//!
//! - [`cluster`]: where clusters come from and what is done in them; [`manifest`]: the objects that are applied there.
//! - [`orchestrator`]: from the platform's words to objects; [`component::Component`]: what is installed beside applications.
//! - [`telemetry`]: samples, logs, queries and where they flow; [`alert`] and [`dashboard`]: who is told and what is shown.
//! - [`clock`]: what time it is.
//!
//! # Rules that hold everywhere
//!
//! - Futures may be dropped at any time; what was done stays, and the same call resumes.
//! - Every wait has a deadline, and every retry an end.
//! - Calls that start a run ([`Platform::apply`], [`execution::Executor::start`]) need a tokio runtime with time enabled.

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
mod image;
mod image_overrides;
pub mod isolation;
pub mod manifest;
pub mod name;
pub mod orchestrator;
pub mod plan;
pub mod platform;
mod quantity;
pub mod status;
pub mod telemetry;

pub use application::Application;
pub use environment::{ControlPlane, Environment, Quota};
pub use error::{Error, ErrorKind, Result};
pub use image::Image;
pub use image_overrides::ImageOverrides;
pub use isolation::Isolation;
pub use plan::Plan;
pub use platform::{Confirmation, Platform, PlatformBuilder, PlatformSpec};
pub use quantity::Quantity;
