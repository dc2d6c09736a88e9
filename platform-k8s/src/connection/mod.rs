//! Reaching an API server: clients with fresh credentials, requests that end, kinds that are served.

pub(crate) mod api;
pub(crate) mod client;
pub(crate) mod error;
mod in_cluster;
mod kubeconfig;
pub(crate) mod proxy;
pub(crate) mod resource;
pub(crate) mod watch;

pub use in_cluster::access_in_cluster;
pub(crate) use kubeconfig::access_from;
pub use kubeconfig::access_from_kubeconfig;
