//! The seam: the calls of AWS that are made, as narrow traits, and their implementations by AWS' clients.
//!
//! A service that tests against a fake implements the traits that its test touches and replaces those fields of [`Aws`]. Inputs are the
//! builders of AWS' own client, outputs its types, so that nothing is lost in between.
//!
//! ```text
//! error       what AWS answered, by its code
//! eks         clusters, node groups, Fargate profiles, addons, access, Pod Identity
//! stacks      CloudFormation
//! network     zones, VPCs, and what controllers leave behind: EC2 and load balancers
//! account     who calls, what it may, which quotas hold: STS, IAM, Service Quotas
//! signed      requests that are signed here, for services whose clients are too heavy
//! ```

mod account;
mod eks;
mod error;
mod network;
mod signed;
mod stacks;

pub use account::{AccountApi, Caller, Permission, Quota};
pub use eks::{AccessApi, AddonApi, ClusterApi, FargateApi, NodeGroupApi};
pub use error::{ApiError, ApiErrorKind, ApiResult};
pub use network::{Leftover, LeftoverKind, NetworkApi, Vpc};
pub use stacks::{Stack, StackApi, StackEvent, StackRequest};

use aws_config::SdkConfig;
use std::sync::Arc;

/// Everything that is called at AWS, each part replaceable. Cheap to clone.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Aws {
    /// Clusters.
    pub clusters: Arc<dyn ClusterApi>,
    /// Managed node groups.
    pub node_groups: Arc<dyn NodeGroupApi>,
    /// Fargate profiles.
    pub fargate: Arc<dyn FargateApi>,
    /// Addons.
    pub addons: Arc<dyn AddonApi>,
    /// Access entries and Pod Identity.
    pub access: Arc<dyn AccessApi>,
    /// Stacks of CloudFormation.
    pub stacks: Arc<dyn StackApi>,
    /// Zones, VPCs and what is left in them.
    pub network: Arc<dyn NetworkApi>,
    /// Who calls, and what it may.
    pub account: Arc<dyn AccountApi>,
}

impl Aws {
    /// AWS itself, or whatever `configuration` has as endpoint. It must have a region and credentials.
    pub fn new(configuration: &SdkConfig) -> Self {
        let eks = Arc::new(eks::EksClient::new(configuration));
        let signed = signed::SignedClient::new(configuration);
        Self {
            clusters: eks.clone(),
            node_groups: eks.clone(),
            fargate: eks.clone(),
            addons: eks.clone(),
            access: eks,
            stacks: Arc::new(stacks::StackClient::new(configuration)),
            network: Arc::new(network::NetworkClient::new(signed.clone())),
            account: Arc::new(account::AccountClient::new(configuration, signed)),
        }
    }
}
