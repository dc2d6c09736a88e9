//! How an estimate prints.

use super::{Amount, ClusterCost, CostEstimate};
use std::fmt;

impl fmt::Display for CostEstimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "a month of 730 hours in {}, by prices of {}", self.region, self.prices_of)?;
        for cluster in &self.clusters {
            write!(f, "{cluster}")?;
        }
        write!(f, "together {}", self.monthly)?;
        match self.unknown {
            0 => writeln!(f)?,
            1 => writeln!(f, ", and 1 line that is not known")?,
            many => writeln!(f, ", and {many} lines that are not known")?,
        }
        writeln!(f, "not counted: {}", self.not_counted.join("; "))
    }
}

impl fmt::Display for ClusterCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |text: fn(&super::CostLine) -> usize| self.lines.iter().map(text).max().unwrap_or(0);
        let what = width(|line| line.what.chars().count());
        let count = width(|line| line.count.chars().count());
        writeln!(f, "{}", self.cluster)?;
        for line in &self.lines {
            let amount = match &line.amount {
                Amount::Known(money) => format!("{money:>12}"),
                Amount::UpTo(money) => format!("{money:>12} at most"),
                Amount::NotKnown(why) => format!("{:>12}: {why}", "not known"),
            };
            write!(f, "  {:what$}  {:count$}  {amount}", line.what, line.count)?;
            match &line.note {
                Some(note) => writeln!(f, " ({note})")?,
                None => writeln!(f)?,
            }
        }
        writeln!(f, "  {:what$}  {:count$}  {:>12}", "a month", "", self.monthly)
    }
}
