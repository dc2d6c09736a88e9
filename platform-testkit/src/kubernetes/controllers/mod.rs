//! What makes the workloads of a simulated cluster run: controllers, a scheduler and kubelets.
//!
//! ```text
//! behaviour    how containers behave, by image
//! cluster      the loop: changes of the store in, work out of a queue
//! queue        work by key, each once, some of it later
//! deployment, replica_set, stateful_set, daemon_set, job, revision   what makes pods
//! scheduler    which node a pod runs on
//! kubelet      what becomes of a pod there; container is one container's life
//! service, ingress, claim, policy   endpoints, addresses, volumes, autoscalers and disruption budgets
//! events       what `kubectl describe` tells
//! object       reading and building objects
//! ```
//!
//! Everything is level-triggered: each piece of work reads the newest objects and does what is missing, so that it
//! may be done twice, late or after a restart. One task does it all, woken by changes and timers alone.

mod behaviour;
mod claim;
mod cluster;
mod container;
mod daemon_set;
mod deployment;
mod events;
mod ingress;
mod job;
mod kubelet;
mod object;
mod policy;
mod queue;
mod replica_set;
mod revision;
mod scheduler;
mod service;
mod stateful_set;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::store::Store;

pub use self::behaviour::{Behaviour, ImageBehaviour};

/// Runs the cluster's workloads until `shutdown`. What is running then keeps its state in the store, and the next
/// run takes it up from there.
pub(super) async fn run(store: Arc<Store>, behaviour: Arc<Behaviour>, shutdown: CancellationToken) {
    cluster::Cluster::new(store, behaviour).run(shutdown).await;
}

#[cfg(test)]
mod tests;
