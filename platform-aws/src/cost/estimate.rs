//! Lines and sums.

use super::{Money, PriceTable, lines};
use crate::settings::EksSettings;
use platform_core::cluster::ClusterSpec;
use serde::Serialize;

/// The hours of a month, by AWS' own estimates.
pub(super) const HOURS: u64 = 730;

/// What is not counted, since it depends on use.
const NOT_COUNTED: [&str; 8] = [
    "data that leaves AWS, the region or a zone",
    "data through NAT gateways and load balancers",
    "logs of the control plane and others in CloudWatch",
    "volumes that pods claim, and their snapshots",
    "load balancers that Services and Ingresses make beyond the number that is expected",
    "requests to KMS",
    "nodes that something adds or takes away later",
    "taxes, discounts, savings plans",
];

/// What clusters would cost in a month of 730 hours. It prints as a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CostEstimate {
    /// The region.
    pub region: String,
    /// The day of the prices.
    pub prices_of: String,
    /// Each cluster.
    pub clusters: Vec<ClusterCost>,
    /// What is known of all together, in millionths of a dollar; spot instances at the price on demand.
    pub monthly: Money,
    /// How many lines are not known and not in the sum.
    pub unknown: usize,
    /// What is not counted in any case.
    pub not_counted: Vec<&'static str>,
}

/// What a cluster would cost in a month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ClusterCost {
    /// The cluster.
    pub cluster: String,
    /// What it is made of.
    pub lines: Vec<CostLine>,
    /// What is known of it.
    pub monthly: Money,
}

/// Something that costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CostLine {
    /// What.
    pub what: String,
    /// How many, and at which price: `3 × $0.1008/h`.
    pub count: String,
    /// What it comes to in a month.
    pub amount: Amount,
    /// What to know of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What a line comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Amount {
    /// So much.
    Known(Money),
    /// At most so much: spot prices move below the one on demand.
    UpTo(Money),
    /// Not known, and why.
    NotKnown(String),
}

impl Amount {
    /// How much, where it is known.
    pub fn money(&self) -> Option<Money> {
        match self {
            Self::Known(money) | Self::UpTo(money) => Some(*money),
            Self::NotKnown(_) => None,
        }
    }
}

/// What is expected of a cluster beside its settings. The default is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Expectations {
    /// Network load balancers that Services and Ingresses will make, open to the internet.
    pub load_balancers: u32,
    /// What pods on Fargate will reserve, where it is known.
    pub fargate: Option<FargateUse>,
    /// Whether the version is in extended support already.
    pub extended_support: bool,
}

impl Expectations {
    /// So many load balancers.
    #[must_use]
    pub const fn load_balancers(mut self, count: u32) -> Self {
        self.load_balancers = count;
        self
    }

    /// So much on Fargate, all pods together.
    #[must_use]
    pub const fn fargate(mut self, reserved: FargateUse) -> Self {
        self.fargate = Some(reserved);
        self
    }

    /// A version in extended support.
    #[must_use]
    pub const fn extended_support(mut self) -> Self {
        self.extended_support = true;
        self
    }
}

/// What pods on Fargate reserve, all together, all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FargateUse {
    /// Thousandths of a vCPU.
    pub milli_cpus: u32,
    /// MiB of memory.
    pub mebibytes: u32,
}

impl ClusterCost {
    /// What a cluster of this spec and these settings would cost in a region.
    pub fn new(
        prices: &PriceTable,
        region: &str,
        spec: &ClusterSpec,
        settings: &EksSettings,
        expected: &Expectations,
    ) -> Self {
        let prices = prices.regions.get(region).cloned().unwrap_or_default();
        let lines = lines::of(&prices, region, spec.nodes, settings, expected);
        let monthly = lines.iter().filter_map(|line| line.amount.money()).sum();
        Self { cluster: spec.name.to_string(), lines, monthly }
    }
}

impl CostEstimate {
    /// The clusters of a region together.
    pub fn new(prices: &PriceTable, region: &str, clusters: Vec<ClusterCost>) -> Self {
        let lines = clusters.iter().flat_map(|cluster| &cluster.lines);
        Self {
            region: region.to_owned(),
            prices_of: prices.date.clone(),
            monthly: clusters.iter().map(|cluster| cluster.monthly).sum(),
            unknown: lines.filter(|line| line.amount.money().is_none()).count(),
            clusters,
            not_counted: NOT_COUNTED.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests;
