//! The network of a cluster.

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// Where nodes and the API server's interfaces are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Network {
    /// A VPC of the cluster's own, made and deleted with it.
    New(NewNetwork),
    /// A VPC that exists, which is neither changed nor deleted.
    Existing(ExistingNetwork),
}

impl Default for Network {
    fn default() -> Self {
        Self::New(NewNetwork::default())
    }
}

/// A VPC to be made: public and private subnets in each zone, nodes in the private ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct NewNetwork {
    /// Its addresses, /16 to /20. Default: the first /16 of `10.0.0.0/8` that no VPC of the region overlaps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cidr: Option<Ipv4Net>,
    /// In how many zones, 2 or 3. Default: 2.
    pub zones: u8,
    /// How nodes reach the internet. Default: one NAT gateway.
    pub nat_gateways: NatGateways,
}

impl Default for NewNetwork {
    fn default() -> Self {
        Self { cidr: None, zones: 2, nat_gateways: NatGateways::default() }
    }
}

/// How nodes in private subnets reach the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NatGateways {
    /// Not at all: images and AWS' services must be reached by endpoints of the VPC, which are not made here.
    None,
    /// By one NAT gateway; nodes of all zones are cut off if its zone fails.
    #[default]
    Single,
    /// By one in each zone.
    PerZone,
}

/// A VPC that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct ExistingNetwork {
    /// Its id, `vpc-…`.
    pub vpc: String,
    /// Subnets in at least two zones, for nodes and for the API server's interfaces.
    pub subnets: Vec<String>,
    /// More subnets for the API server's interfaces alone, such as public ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub control_plane_subnets: Vec<String>,
    /// Security groups for the API server's interfaces beside the one that EKS makes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<String>,
}

impl ExistingNetwork {
    /// A VPC and its subnets for nodes.
    pub fn new(vpc: impl Into<String>, subnets: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            vpc: vpc.into(),
            subnets: subnets.into_iter().map(Into::into).collect(),
            control_plane_subnets: Vec::new(),
            security_groups: Vec::new(),
        }
    }
}

/// From where the API server can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Endpoint {
    /// From the internet. Default: yes. Without it the program must run inside of the VPC or be connected to it.
    pub public: bool,
    /// From inside of the VPC without leaving it. Default: yes.
    pub private: bool,
    /// From where in the internet. Default: everywhere. Nodes and this program must be among them, unless they are inside.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub public_access_cidrs: Vec<Ipv4Net>,
}

impl Default for Endpoint {
    fn default() -> Self {
        Self { public: true, private: true, public_access_cidrs: Vec::new() }
    }
}
