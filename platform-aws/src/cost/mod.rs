//! What clusters would cost, told before they are made.
//!
//! ```text
//! money       amounts without fractions that round
//! prices      what AWS asks, of a day, replaceable
//! list        the prices that are built in
//! estimate    lines and sums
//! lines       which lines a cluster has
//! table       how an estimate prints
//! ```

mod estimate;
mod lines;
mod list;
mod money;
mod prices;
mod table;

pub use estimate::{Amount, ClusterCost, CostEstimate, CostLine, Expectations, FargateUse};
pub use money::Money;
pub use prices::{PriceTable, RegionPrices};
