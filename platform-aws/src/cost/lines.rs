//! Which lines a cluster has.

use super::{Amount, CostLine, Expectations, Money, RegionPrices, estimate::HOURS};
use crate::settings::{CapacityType, EksSettings, NatGateways, Network, NodeGroup, Scaling, SupportType};

pub(super) fn of(
    prices: &RegionPrices,
    region: &str,
    nodes: u32,
    settings: &EksSettings,
    expected: &Expectations,
) -> Vec<CostLine> {
    let lines = Lines { prices, region };
    let mut all = vec![lines.control_plane(settings, expected)];
    let mut spec_is_used = false;
    for group in &settings.node_groups {
        let scaling = group.scaling.unwrap_or_else(|| {
            // The spec's number is that of the first group which has none of its own.
            Scaling::fixed(if std::mem::replace(&mut spec_is_used, true) { 1 } else { nodes })
        });
        all.push(lines.instances(group, scaling));
        all.push(lines.volumes(group, scaling));
    }
    if settings.auto_mode.is_some() {
        all.push(lines.auto_mode());
    }
    if !settings.fargate_profiles.is_empty() {
        all.extend(lines.fargate(expected));
    }
    all.extend(lines.network(&settings.network, expected.load_balancers));
    all
}

struct Lines<'a> {
    prices: &'a RegionPrices,
    region: &'a str,
}

impl Lines<'_> {
    fn control_plane(&self, settings: &EksSettings, expected: &Expectations) -> CostLine {
        let extended = self.prices.extended_control_plane_hour;
        if expected.extended_support {
            return self.hourly("control plane, extended support", 1, extended);
        }
        let mut line = self.hourly("control plane", 1, self.prices.control_plane_hour);
        if settings.upgrade_policy == SupportType::Extended {
            let price = extended.map_or_else(|| "more".to_owned(), |price| format!("{}/h", price.exact()));
            line.note = Some(format!("{price} once the version's standard support has ended"));
        }
        line
    }

    fn instances(&self, group: &NodeGroup, scaling: Scaling) -> CostLine {
        let spot = group.capacity_type == CapacityType::Spot;
        let known: Vec<(&String, Money)> = group
            .instance_types
            .iter()
            .filter_map(|name| Some((name, *self.prices.instance_hours.get(name)?)))
            .collect();
        // On demand the first type is taken while there is any; on the spot market whichever is to be had.
        let price = if spot {
            let all = known.len() == group.instance_types.len();
            known.iter().max_by_key(|(_, price)| *price).filter(|_| all).copied()
        } else {
            known.first().filter(|(name, _)| Some(*name) == group.instance_types.first()).copied()
        };
        let types = if spot {
            group.instance_types.join(" or ")
        } else {
            group.instance_types.first().cloned().unwrap_or_default()
        };
        let kind = if spot { ", spot" } else { "" };
        let what = format!("nodes of {}: {types}{kind}", group.name);
        let mut line = self.hourly(&what, scaling.desired, price.map(|(_, price)| price));
        if let (true, Amount::Known(money)) = (spot, &line.amount) {
            line.amount = Amount::UpTo(*money);
        }
        if scaling.max > scaling.desired {
            let most = price.map(|(_, price)| price.times(HOURS).times(scaling.max.into()));
            let most = most.map_or_else(|| "more".to_owned(), |money| money.to_string());
            line.note = Some(format!("{most} with all of at most {} nodes", scaling.max));
        }
        line
    }

    fn volumes(&self, group: &NodeGroup, scaling: Scaling) -> CostLine {
        let gigabytes = u64::from(group.disk_size) * u64::from(scaling.desired);
        let price = self.prices.volume_gigabyte_month;
        let what = format!("root volumes of {}", group.name);
        match price {
            Some(price) => CostLine {
                what,
                count: format!("{gigabytes} GB × {}", price.exact()),
                amount: Amount::Known(price.times(gigabytes)),
                note: None,
            },
            None => self.not_known(what, format!("{gigabytes} GB")),
        }
    }

    /// Auto Mode chooses types and numbers by the pods that there are.
    fn auto_mode(&self) -> CostLine {
        let surcharge = self.prices.auto_mode_permille.map(|permille| {
            let (whole, tenths) = (permille / 10, permille % 10);
            let tenths = if tenths == 0 { String::new() } else { format!(".{tenths}") };
            format!("about {whole}{tenths} % above the price of the instances")
        });
        CostLine {
            what: "nodes of Auto Mode".to_owned(),
            count: String::new(),
            amount: Amount::NotKnown("EKS chooses instances by the pods".to_owned()),
            note: surcharge,
        }
    }

    fn fargate(&self, expected: &Expectations) -> Vec<CostLine> {
        let (cpu, gigabyte) = (self.prices.fargate_cpu_hour, self.prices.fargate_gigabyte_hour);
        let Some(reserved) = expected.fargate else {
            let prices = cpu.zip(gigabyte).map(|(cpu, gigabyte)| {
                format!("{} for a vCPU and {} for a GB an hour", cpu.exact(), gigabyte.exact())
            });
            return vec![CostLine {
                what: "pods on Fargate".to_owned(),
                count: String::new(),
                amount: Amount::NotKnown("it depends on what pods reserve".to_owned()),
                note: prices,
            }];
        };
        let milli_cpus = u64::from(reserved.milli_cpus);
        // Thousandths of a GB, rounded up.
        let milli_gigabytes = (u64::from(reserved.mebibytes) * 1000).div_ceil(1024);
        let line = |what: &str, thousandths: u64, unit: &str, price: Option<Money>| {
            let many = format!("{}.{:03} {unit}", thousandths / 1000, thousandths % 1000);
            match price {
                Some(price) => CostLine {
                    what: what.to_owned(),
                    count: format!("{many} × {}/h", price.exact()),
                    amount: Amount::Known(price.times(HOURS).times(thousandths).thousandth()),
                    note: None,
                },
                None => self.not_known(what.to_owned(), many),
            }
        };
        vec![
            line("Fargate: vCPUs", milli_cpus, "vCPU", cpu),
            line("Fargate: memory", milli_gigabytes, "GB", gigabyte),
        ]
    }

    fn network(&self, network: &Network, load_balancers: u32) -> Vec<CostLine> {
        let mut lines = Vec::new();
        let gateways = match network {
            Network::New(new) => match new.nat_gateways {
                NatGateways::None => 0,
                NatGateways::Single => 1,
                NatGateways::PerZone => u32::from(new.zones),
            },
            Network::Existing(_) => 0,
        };
        if gateways > 0 {
            lines.push(self.hourly("NAT gateways", gateways, self.prices.nat_gateway_hour));
        }
        if load_balancers > 0 {
            lines.push(self.hourly("network load balancers", load_balancers, self.prices.load_balancer_hour));
        }
        // A load balancer has an address in each zone.
        let (addresses, note) = match network {
            Network::New(new) => (gateways + load_balancers * u32::from(new.zones), None),
            Network::Existing(_) => (load_balancers * 2, Some("for load balancers in two zones".to_owned())),
        };
        if addresses > 0 {
            let line = self.hourly("public addresses", addresses, self.prices.public_address_hour);
            lines.push(CostLine { note, ..line });
        }
        lines
    }

    fn hourly(&self, what: &str, count: u32, price: Option<Money>) -> CostLine {
        match price {
            Some(price) => CostLine {
                what: what.to_owned(),
                count: format!("{count} × {}/h", price.exact()),
                amount: Amount::Known(price.times(HOURS).times(count.into())),
                note: None,
            },
            None => self.not_known(what.to_owned(), count.to_string()),
        }
    }

    fn not_known(&self, what: String, count: String) -> CostLine {
        let amount = Amount::NotKnown(format!("the table has no price of it in {}", self.region));
        CostLine { what, count, amount, note: None }
    }
}
