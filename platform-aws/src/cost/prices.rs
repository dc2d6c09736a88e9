//! What AWS asks, of a day.

use super::{Money, list};
use platform_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Prices of a day, in millionths of a US dollar, without taxes. They change; a table of one's own replaces the one that is built in.
///
/// ```
/// use platform_aws::cost::PriceTable;
///
/// let table = PriceTable::from_json(
///     r#"{"date": "2026-01-01", "regions": {"eu-north-1": {"controlPlaneHour": 100000, "instanceHours": {"m7i.large": 107100}}}}"#,
/// )?;
/// assert_eq!(table.regions["eu-north-1"].instance_hours["m7i.large"].micros(), 107_100);
/// // What is not in it is told as not known.
/// assert_eq!(table.regions["eu-north-1"].nat_gateway_hour, None);
/// # Ok::<(), platform_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct PriceTable {
    /// The day of the prices, `2026-01-31`.
    pub date: String,
    /// By region.
    pub regions: BTreeMap<String, RegionPrices>,
}

/// The prices of a region; `None`: not known.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct RegionPrices {
    /// The control plane, while its version has standard support.
    pub control_plane_hour: Option<Money>,
    /// The control plane, while its version has extended support.
    pub extended_control_plane_hour: Option<Money>,
    /// What Auto Mode costs above the on-demand price of its instances, in thousandths of it.
    pub auto_mode_permille: Option<u32>,
    /// A NAT gateway.
    pub nat_gateway_hour: Option<Money>,
    /// A public IPv4 address.
    pub public_address_hour: Option<Money>,
    /// A network load balancer.
    pub load_balancer_hour: Option<Money>,
    /// A GB of a gp3 volume for a month.
    pub volume_gigabyte_month: Option<Money>,
    /// A vCPU of Fargate.
    pub fargate_cpu_hour: Option<Money>,
    /// A GB of memory of Fargate.
    pub fargate_gigabyte_hour: Option<Money>,
    /// Instances with Linux, on demand, by type.
    pub instance_hours: BTreeMap<String, Money>,
}

impl PriceTable {
    /// The prices that are built in: list prices of common instance types in `us-east-1`, `us-west-2`, `eu-west-1` and `eu-central-1`.
    pub fn built_in() -> Self {
        list::table()
    }

    /// Reads a table as it serialises. Errors are [`Invalid`](platform_core::ErrorKind::Invalid).
    pub fn from_json(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|e| {
            Error::invalid(e.to_string())
                .operation("read")
                .subject("the table of prices")
                .help("serialise `PriceTable::built_in()` to see what a table looks like")
        })
    }
}
