//! Where API servers are reached, if not where EKS says.

use async_trait::async_trait;
use platform_core::{Result, name::ClusterName};
use std::fmt;

/// Says where the API servers of clusters are reached from here: through a tunnel to a private endpoint, a proxy, a port of this machine.
///
/// Given to a provider by [`EksProviderBuilder::api_servers`](crate::EksProviderBuilder::api_servers).
#[async_trait]
pub trait ApiServers: Send + Sync + fmt::Debug {
    /// The address for a cluster that runs; `None`: the one that EKS tells.
    async fn address(&self, cluster: &ClusterName) -> Result<Option<ApiServerAddress>>;
}

/// Where an API server is reached, and whom to trust there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiServerAddress {
    /// Its URL.
    pub server: String,
    /// The certificate authority in PEM; `None`: the cluster's own, or, for plain http, none.
    pub certificate_authority: Option<Vec<u8>>,
}
