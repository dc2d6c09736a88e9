//! Zones, VPCs, and what controllers of a cluster leave behind in them: EC2 and Elastic Load Balancing.

mod classic;
mod ec2;
mod load_balancers;
mod tags;

use super::{ApiResult, signed::SignedClient};
use async_trait::async_trait;
use futures::future;
use ipnet::Ipv4Net;
use std::{collections::BTreeMap, fmt};

/// What is asked of the network, and swept from it.
#[async_trait]
pub trait NetworkApi: Send + Sync + fmt::Debug {
    /// `ec2:DescribeAvailabilityZones`: the names of the region's zones that are available, without local zones, in order.
    async fn zones(&self) -> ApiResult<Vec<String>>;
    /// `ec2:DescribeVpcs`, all pages.
    async fn vpcs(&self) -> ApiResult<Vec<Vpc>>;
    /// What controllers of `cluster` made outside of Kubernetes and did not delete, and network interfaces that are left in `vpc`:
    /// load balancers, their target groups, volumes, interfaces and security groups, by the tags `kubernetes.io/cluster/NAME=owned`,
    /// `elbv2.k8s.aws/cluster=NAME` and, for Auto Mode, `eks:eks-cluster-name=NAME`. What is not tagged so is never answered with.
    async fn leftovers(&self, cluster: &str, vpc: Option<&str>) -> ApiResult<Vec<Leftover>>;
    /// Deletes one of them. What is not there is fine.
    async fn delete(&self, leftover: &Leftover) -> ApiResult<()>;
}

/// A VPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vpc {
    /// Its id.
    pub id: String,
    /// Its addresses, all of them.
    pub cidrs: Vec<Ipv4Net>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// Something that a controller made and left.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leftover {
    /// What it is. The order of the kinds is that in which they can be deleted.
    pub kind: LeftoverKind,
    /// Its id or ARN, or its name where it has neither.
    pub id: String,
    /// Why it cannot be deleted now: `attached to i-…`; `None`: nothing is known against it.
    pub in_use: Option<String>,
}

/// What controllers make outside of Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LeftoverKind {
    /// An application or network load balancer.
    LoadBalancer,
    /// A load balancer of the former generation.
    ClassicLoadBalancer,
    /// The targets of a load balancer.
    TargetGroup,
    /// A network interface.
    NetworkInterface,
    /// A security group.
    SecurityGroup,
    /// A volume of EBS.
    Volume,
}

impl fmt::Display for LeftoverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LoadBalancer => "load balancer",
            Self::ClassicLoadBalancer => "classic load balancer",
            Self::TargetGroup => "target group",
            Self::NetworkInterface => "network interface",
            Self::SecurityGroup => "security group",
            Self::Volume => "volume",
        })
    }
}

/// EC2 and Elastic Load Balancing themselves.
#[derive(Debug)]
pub(super) struct NetworkClient(SignedClient);

impl NetworkClient {
    pub(super) fn new(client: SignedClient) -> Self {
        Self(client)
    }
}

#[async_trait]
impl NetworkApi for NetworkClient {
    async fn zones(&self) -> ApiResult<Vec<String>> {
        ec2::zones(&self.0).await
    }

    async fn vpcs(&self) -> ApiResult<Vec<Vpc>> {
        ec2::vpcs(&self.0).await
    }

    async fn leftovers(&self, cluster: &str, vpc: Option<&str>) -> ApiResult<Vec<Leftover>> {
        let client = &self.0;
        let found = future::try_join_all([
            Box::pin(load_balancers::balancers(client, cluster)) as future::BoxFuture<'_, _>,
            Box::pin(classic::balancers(client, cluster)),
            Box::pin(load_balancers::target_groups(client, cluster)),
            Box::pin(ec2::interfaces(client, cluster, vpc)),
            Box::pin(ec2::security_groups(client, cluster)),
            Box::pin(ec2::volumes(client, cluster)),
        ]);
        let mut found: Vec<Leftover> = found.await?.into_iter().flatten().collect();
        found.sort();
        Ok(found)
    }

    async fn delete(&self, leftover: &Leftover) -> ApiResult<()> {
        let (client, id) = (&self.0, leftover.id.as_str());
        let deleted = match leftover.kind {
            LeftoverKind::LoadBalancer => load_balancers::delete_balancer(client, id).await,
            LeftoverKind::ClassicLoadBalancer => classic::delete(client, id).await,
            LeftoverKind::TargetGroup => load_balancers::delete_target_group(client, id).await,
            LeftoverKind::NetworkInterface => ec2::delete_interface(client, id).await,
            LeftoverKind::SecurityGroup => ec2::delete_security_group(client, id).await,
            LeftoverKind::Volume => ec2::delete_volume(client, id).await,
        };
        match deleted {
            Err(error) if error.is_not_found() => Ok(()),
            deleted => deleted,
        }
    }
}
