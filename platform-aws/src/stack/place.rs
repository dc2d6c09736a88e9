//! The addresses of a new VPC and of its subnets.

use ipnet::Ipv4Net;

/// Where a new VPC is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its zones; there is room for three.
    pub(crate) zones: Vec<String>,
    /// Its addresses, at least a /20.
    pub(crate) cidr: Ipv4Net,
}

/// The subnets of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ZoneSubnets {
    /// The zone.
    pub(crate) zone: String,
    /// For load balancers and NAT gateways.
    pub(crate) public: Ipv4Net,
    /// For nodes and pods.
    pub(crate) private: Ipv4Net,
}

impl Place {
    /// The subnets of each zone. The VPC is cut in quarters: the last three are the private subnets, since pods take an address each; the first
    /// is cut in quarters again, of which the first three are the public ones. So a third zone moves no subnet of the others.
    pub(crate) fn subnets(&self) -> Vec<ZoneSubnets> {
        let private = quarters(self.cidr).skip(1);
        let public = quarters(self.cidr).take(1).flat_map(quarters);
        self.zones
            .iter()
            .zip(public.zip(private))
            .map(|(zone, (public, private))| ZoneSubnets { zone: zone.clone(), public, private })
            .collect()
    }
}

/// The four quarters of a network, in order; none where it is too small to be divided.
fn quarters(net: Ipv4Net) -> impl Iterator<Item = Ipv4Net> {
    net.subnets(net.prefix_len().saturating_add(2)).into_iter().flatten()
}

/// The first /16 of `10.0.0.0/8` that overlaps none of `taken`: VPCs of the region, and the addresses of services where they are chosen.
pub(crate) fn free_cidr(taken: &[Ipv4Net]) -> Option<Ipv4Net> {
    let sixteenths = (0..=255).filter_map(|second| Ipv4Net::new([10, second, 0, 0].into(), 16).ok());
    sixteenths.into_iter().find(|net| !taken.iter().any(|other| overlap(*net, *other)))
}

fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other) || other.contains(&one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    fn place(cidr: Ipv4Net, zones: usize) -> Place {
        Place { zones: (0..zones).map(|zone| format!("eu-west-1{zone}")).collect(), cidr }
    }

    #[test]
    fn a_vpc_is_divided_so() {
        let subnets = place(net("10.1.0.0/16"), 3).subnets();
        let of = |zone: usize| (subnets[zone].public.to_string(), subnets[zone].private.to_string());
        assert_eq!(of(0), ("10.1.0.0/20".into(), "10.1.64.0/18".into()));
        assert_eq!(of(1), ("10.1.16.0/20".into(), "10.1.128.0/18".into()));
        assert_eq!(of(2), ("10.1.32.0/20".into(), "10.1.192.0/18".into()));
    }

    #[test]
    fn the_first_free_network_is_taken() {
        assert_eq!(free_cidr(&[]), Some(net("10.0.0.0/16")));
        assert_eq!(free_cidr(&[net("10.0.0.0/15"), net("10.2.128.0/20")]), Some(net("10.3.0.0/16")));
        assert_eq!(free_cidr(&[net("172.31.0.0/16")]), Some(net("10.0.0.0/16")));
        assert_eq!(free_cidr(&[net("10.0.0.0/8")]), None);
        assert_eq!(free_cidr(&[net("0.0.0.0/0")]), None);
    }

    proptest! {
        #[test]
        fn subnets_are_disjoint_inside_and_enough(address: u32, prefix in 16u8..=20, zones in 2usize..=3) {
            let cidr = Ipv4Net::new(address.into(), prefix).unwrap().trunc();
            let subnets = place(cidr, zones).subnets();
            prop_assert_eq!(subnets.len(), zones);
            let all: Vec<Ipv4Net> = subnets.iter().flat_map(|zone| [zone.public, zone.private]).collect();
            for (index, one) in all.iter().enumerate() {
                prop_assert!(cidr.contains(one), "{one} is outside of {cidr}");
                // The smallest that EC2 takes is a /28, and EKS wants 16 addresses for its interfaces.
                prop_assert!(one.prefix_len() <= 24);
                for other in &all[index + 1..] {
                    prop_assert!(!overlap(*one, *other), "{one} overlaps {other}");
                }
            }
            prop_assert!(subnets.iter().all(|zone| zone.private.prefix_len() < zone.public.prefix_len()));
        }

        #[test]
        fn a_third_zone_moves_nothing(address: u32, prefix in 16u8..=20) {
            let cidr = Ipv4Net::new(address.into(), prefix).unwrap().trunc();
            prop_assert_eq!(place(cidr, 2).subnets(), place(cidr, 3).subnets()[..2].to_vec());
        }

        #[test]
        fn a_free_network_overlaps_nothing(taken in prop::collection::vec((any::<u32>(), 4u8..=28), 0..40)) {
            let taken: Vec<Ipv4Net> = taken
                .into_iter()
                .map(|(address, prefix)| Ipv4Net::new((0x0a00_0000 | (address & 0x01ff_ffff)).into(), prefix).unwrap())
                .collect();
            if let Some(free) = free_cidr(&taken) {
                prop_assert!(net("10.0.0.0/8").contains(&free) && free.prefix_len() == 16);
                prop_assert!(taken.iter().all(|other| !overlap(free, other.trunc())));
                // It is the first: each one before it is taken at least in part.
                let before = net("10.0.0.0/8").subnets(16).unwrap().take_while(|other| *other != free);
                for other in before {
                    prop_assert!(taken.iter().any(|taken| overlap(other, *taken)));
                }
            } else {
                prop_assert!(taken.iter().any(|net| net.prefix_len() < 16));
            }
        }
    }
}
