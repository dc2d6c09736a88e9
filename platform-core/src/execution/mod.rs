//! Doing things in order: a graph of steps, run with bounded parallelism, deadlines, retries and cancellation, and a
//! report of what came of each.
//!
//! ```
//! use platform_core::execution::{Executor, Step, StepDone, StepGraph};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> platform_core::Result<()> {
//! let graph = StepGraph::new(vec![
//!     Step::new("cluster/testing", "create the cluster", |_| async { Ok(StepDone::changed("created")) }),
//!     Step::new("application/api1", "deploy api1", |_| async { Ok(StepDone::unchanged("as wanted")) })
//!         .after(["cluster/testing"]),
//! ])?;
//! let report = Executor::default().start(graph).await;
//! assert!(report.succeeded());
//! # Ok(()) }
//! ```

mod executor;
mod graph;
mod report;
mod retry;
mod step;
#[cfg(test)]
mod tests;

pub use executor::{Executor, Run};
pub use graph::StepGraph;
pub use report::{Report, StepReport};
pub use retry::RetryPolicy;
pub use step::{Step, StepContext, StepDone, StepId};
