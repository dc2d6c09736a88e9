//! Doing the steps of a plan: a graph, bounded parallelism, deadlines, retries, cancellation, a report.

mod step;

pub use step::StepId;
