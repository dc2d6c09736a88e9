//! Kubernetes for the platform: server-side apply, diff, prune, readiness, isolation objects and rendering.
//!
//! ```text
//! orchestrator  Kubernetes: connects to clusters, renders applications, isolation, components
//! cluster       KubeCluster: what is done in one cluster
//!   connection    clients whose credentials stay fresh, requests with timeouts and retries, discovery, kubeconfig files
//!   apply         review by dry run, staged server-side apply, ApplySets (KEP-3659), pruning, deletion
//!   readiness     kstatus's rules, the reasons of pods, waiting by watches
//! render        applications and isolation as objects
//! isolation     whether it holds, the deletion guard, what a deletion would take with it
//! components    the catalogue: ingress, metrics, logs, dashboards, alerts; what all have in common is in its frame
//! kind          KindProvider: clusters in containers of this machine
//! labels        every label and annotation that is written
//! ```
//!
//! The paved path goes through [`Kubernetes`], given to a platform as its orchestrator. By itself:
//!
//! ```no_run
//! use platform_core::{
//!     cluster::{ApplyOptions, Cluster},
//!     manifest::{Manifest, ManifestSet},
//!     name::{ClusterName, PlatformName},
//! };
//! use platform_k8s::{Kubernetes, access_from_kubeconfig};
//!
//! # async fn example() -> platform_core::Result<()> {
//! let access = access_from_kubeconfig("kubeconfig".as_ref(), None, ClusterName::new("shop-testing")?)?;
//! let cluster = Kubernetes::default().connect_kube(&access)?;
//! let namespace = Manifest::new(serde_json::json!({
//!     "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "testing"},
//! }))?;
//! let set = ManifestSet::new("isolation.testing", vec![namespace])?;
//! let options = ApplyOptions::new(PlatformName::new("shop")?);
//! for change in cluster.diff(&set, &options).await? {
//!     println!("{}: {:?}", change.object, change.change);
//! }
//! cluster.apply(&set, &options).await?;
//! # Ok(())
//! # }
//! ```

mod apply;
mod cluster;
pub mod components;
mod connection;
mod isolation;
#[cfg(unix)]
pub mod kind;
pub mod labels;
mod orchestrator;
mod readiness;
mod render;

pub use cluster::KubeCluster;
pub use connection::{access_from_kubeconfig, access_in_cluster};
pub use orchestrator::Kubernetes;
