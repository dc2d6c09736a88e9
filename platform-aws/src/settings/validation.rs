//! What settings cannot be, told all at once.

use super::{EksSettings, IdentityMechanism, NatGateways, Network, NodeGroup};
use ipnet::Ipv4Net;
use std::collections::BTreeSet;

/// The private networks that EKS takes for services.
const PRIVATE: [&str; 3] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
/// Tags of AWS, and ours, by which ownership is known.
const RESERVED_TAGS: [&str; 3] = ["aws:", "platform.dev/", "kubernetes.io/cluster/"];

pub(super) fn problems(settings: &EksSettings) -> Vec<String> {
    let mut problems = Vec::new();
    network(settings, &mut problems);
    compute(settings, &mut problems);
    roles(settings, &mut problems);
    addons(settings, &mut problems);
    for (key, value) in &settings.tags {
        if RESERVED_TAGS.iter().any(|prefix| key.starts_with(prefix)) {
            problems.push(format!("tags: {key:?} begins with a prefix that is reserved"));
        }
        if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
            problems.push(format!("tags: {key:?}: a key has 1 to 128 characters, a value at most 256"));
        }
    }
    problems
}

fn network(settings: &EksSettings, problems: &mut Vec<String>) {
    let mut of = |problem: String| problems.push(problem);
    match &settings.network {
        Network::New(new) => {
            if !(2..=3).contains(&new.zones) {
                of(format!("network.new.zones: {} is not 2 or 3", new.zones));
            }
            if let Some(cidr) = new.cidr {
                if !(16..=20).contains(&cidr.prefix_len()) {
                    of(format!("network.new.cidr: {cidr} is not of /16 to /20"));
                }
                if cidr.trunc() != cidr {
                    of(format!(
                        "network.new.cidr: {cidr} has bits behind its prefix: it is {}",
                        cidr.trunc()
                    ));
                }
            }
            if new.nat_gateways == NatGateways::None && !settings.endpoint.private {
                of("network.new.natGateways: without NAT nodes reach the API server by the private endpoint alone, which is off".to_owned());
            }
        }
        Network::Existing(existing) => {
            if !existing.vpc.starts_with("vpc-") {
                of(format!("network.existing.vpc: {:?} is not the id of a VPC", existing.vpc));
            }
            if existing.subnets.len() + existing.control_plane_subnets.len() < 2 {
                of("network.existing.subnets: EKS needs subnets in at least two zones".to_owned());
            }
            for subnet in existing.subnets.iter().chain(&existing.control_plane_subnets) {
                if !subnet.starts_with("subnet-") {
                    of(format!("network.existing: {subnet:?} is not the id of a subnet"));
                }
            }
        }
    }
    let endpoint = &settings.endpoint;
    if !endpoint.public && !endpoint.private {
        of("endpoint: it is neither public nor private: nobody would reach the API server".to_owned());
    }
    if !endpoint.public && !endpoint.public_access_cidrs.is_empty() {
        of("endpoint.publicAccessCidrs: the endpoint is not public".to_owned());
    }
    if let Some(cidr) = settings.service_cidr {
        let private =
            PRIVATE.iter().filter_map(|net| net.parse::<Ipv4Net>().ok()).any(|net| net.contains(&cidr));
        if !private || !(12..=24).contains(&cidr.prefix_len()) {
            of(format!("serviceCidr: {cidr} is not a private network of /12 to /24"));
        }
        if let Network::New(new) = &settings.network
            && new.cidr.is_some_and(|vpc| vpc.contains(&cidr) || cidr.contains(&vpc))
        {
            of(format!("serviceCidr: {cidr} overlaps the VPC"));
        }
    }
}

fn compute(settings: &EksSettings, problems: &mut Vec<String>) {
    if settings.node_groups.is_empty() && settings.auto_mode.is_none() && settings.fargate_profiles.is_empty()
    {
        problems.push(
            "nodeGroups: there is nothing that pods run on: no group, no Auto Mode, no Fargate profile"
                .to_owned(),
        );
    }
    let mut names = BTreeSet::new();
    for group in &settings.node_groups {
        node_group(group, problems);
        if !names.insert(&group.name) {
            problems.push(format!("nodeGroups: {} is there twice", group.name));
        }
    }
    let mut names = BTreeSet::new();
    for profile in &settings.fargate_profiles {
        if !is_name(&profile.name, 100) || profile.name.starts_with("eks-") {
            problems.push(format!("fargateProfiles: {:?} is not a name of a profile", profile.name));
        }
        if !names.insert(&profile.name) {
            problems.push(format!("fargateProfiles: {} is there twice", profile.name));
        }
        if !(1..=5).contains(&profile.selectors.len()) {
            problems.push(format!(
                "fargateProfiles: {} has {} selectors, not 1 to 5",
                profile.name,
                profile.selectors.len()
            ));
        }
    }
    if settings.auto_mode.as_ref().is_some_and(|auto| auto.node_pools.is_empty()) {
        problems.push("autoMode.nodePools: it has no pool; leave it out for both".to_owned());
    }
}

fn node_group(group: &NodeGroup, problems: &mut Vec<String>) {
    let mut of = |problem: String| problems.push(format!("nodeGroups: {}: {problem}", group.name));
    if !is_name(&group.name, 63) {
        of("a name has 1 to 63 letters, digits, '-' and '_' and begins with a letter or digit".to_owned());
    }
    if group.instance_types.is_empty() || group.instance_types.len() > 20 {
        of("it has 1 to 20 instance types".to_owned());
    }
    for instance_type in &group.instance_types {
        if !instance_type.contains('.') {
            of(format!("{instance_type:?} is not an instance type, like m7i.large"));
        }
    }
    if let Some(scaling) = group.scaling
        && (scaling.max == 0
            || scaling.min > scaling.max
            || !(scaling.min..=scaling.max).contains(&scaling.desired))
    {
        of(format!(
            "scaling: min {} <= desired {} <= max {} with a max above 0 does not hold",
            scaling.min, scaling.desired, scaling.max
        ));
    }
    if !(20..=16_384).contains(&group.disk_size) {
        of(format!("diskSize: {} is not 20 to 16384 GiB", group.disk_size));
    }
    if !(1..=100).contains(&group.max_unavailable_percentage) {
        of(format!("maxUnavailablePercentage: {} is not 1 to 100", group.max_unavailable_percentage));
    }
}

fn roles(settings: &EksSettings, problems: &mut Vec<String>) {
    if let Some(roles) = &settings.roles {
        let auto = settings.auto_mode.is_some();
        if roles.node.is_none() && (!settings.node_groups.is_empty() || auto) {
            problems.push("roles.node: nodes need a role".to_owned());
        }
        if roles.fargate.is_none() && !settings.fargate_profiles.is_empty() {
            problems.push("roles.fargate: Fargate profiles need a role".to_owned());
        }
        for arn in [Some(&roles.cluster), roles.node.as_ref(), roles.fargate.as_ref()].into_iter().flatten() {
            arn_of("roles", arn, ":role/", problems);
        }
    }
    let mut principals = BTreeSet::new();
    for entry in &settings.access_entries {
        arn_of("accessEntries", &entry.principal, ":iam::", problems);
        if !principals.insert(&entry.principal) {
            problems.push(format!("accessEntries: {} is there twice", entry.principal));
        }
        if entry.groups.iter().any(|group| group.starts_with("system:")) {
            problems.push(format!(
                "accessEntries: {}: EKS refuses groups that begin with \"system:\"",
                entry.principal
            ));
        }
    }
    let mut accounts = BTreeSet::new();
    for role in &settings.service_account_roles {
        let account = format!("{}/{}", role.namespace, role.service_account);
        if !accounts.insert(account.clone()) {
            problems.push(format!("serviceAccountRoles: {account} is there twice"));
        }
        if role.policies.is_empty() {
            problems.push(format!("serviceAccountRoles: {account} has no policies"));
        }
        for policy in &role.policies {
            arn_of("serviceAccountRoles", policy, ":policy/", problems);
        }
        let agent = settings.auto_mode.is_some()
            || settings.wanted_addons().iter().any(|addon| addon.name == "eks-pod-identity-agent");
        if role.mechanism == IdentityMechanism::PodIdentity && !agent {
            problems.push(format!("serviceAccountRoles: {account} needs the addon eks-pod-identity-agent"));
        }
    }
    if let Some(key) = &settings.secrets_encryption_key {
        arn_of("secretsEncryptionKey", key, ":kms:", problems);
    }
}

fn addons(settings: &EksSettings, problems: &mut Vec<String>) {
    let addons = settings.wanted_addons();
    let mut names = BTreeSet::new();
    for addon in &addons {
        if !names.insert(&addon.name) {
            problems.push(format!("addons: {} is there twice", addon.name));
        }
        if addon.configuration.as_ref().is_some_and(|configuration| !configuration.is_object()) {
            problems.push(format!("addons: {}: configuration is not an object", addon.name));
        }
    }
    if !settings.node_groups.is_empty() && !addons.iter().any(|addon| addon.name == "vpc-cni") {
        // Another CNI is a choice, but nodes wait for it, and so would their group.
        problems.push("addons: without vpc-cni the nodes of a group do not become ready".to_owned());
    }
}

fn arn_of(what: &str, arn: &str, part: &str, problems: &mut Vec<String>) {
    if !arn.starts_with("arn:") || !arn.contains(part) {
        problems.push(format!("{what}: {arn:?} is not an ARN like arn:aws…{part}…"));
    }
}

fn is_name(name: &str, max: usize) -> bool {
    name.len() <= max
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(yaml: &str) -> String {
        EksSettings::from_yaml(yaml).unwrap_err().to_string()
    }

    #[test]
    fn the_default_is_valid_and_survives_writing() {
        EksSettings::default().validate().unwrap();
        let text = serde_json::to_string(&EksSettings::default()).unwrap();
        assert_eq!(serde_json::from_str::<EksSettings>(&text).unwrap(), EksSettings::default());
        assert_eq!(EksSettings::from_yaml("{}").unwrap(), EksSettings::default());
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let error = message(
            "{network: {new: {zones: 4, cidr: 10.1.0.0/24}}, endpoint: {public: false, private: false},
              nodeGroups: [{name: a, scaling: {min: 3, max: 2, desired: 3}, diskSize: 1}, {name: a}]}",
        );
        for part in [
            "6 problems",
            "network.new.zones: 4 is not 2 or 3",
            "10.1.0.0/24 is not of /16 to /20",
            "nobody would reach the API server",
            "min 3 <= desired 3 <= max 2",
            "diskSize: 1",
            "a is there twice",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn what_belongs_together_is_checked_together() {
        let cases = [
            ("nodeGroups: []", "there is nothing that pods run on"),
            ("serviceCidr: 8.8.0.0/16", "is not a private network"),
            ("{serviceCidr: 10.1.0.0/20, network: {new: {cidr: 10.1.0.0/16}}}", "overlaps the VPC"),
            ("addons: []", "without vpc-cni"),
            ("tags: {'platform.dev/platform': other}", "reserved"),
            ("roles: {cluster: 'arn:aws:iam::1:role/a'}", "nodes need a role"),
            ("accessEntries: [{principal: someone}]", "is not an ARN"),
            ("network: {existing: {vpc: vpc-1, subnets: [subnet-1]}}", "at least two zones"),
            ("secretsEncryptionKey: mine", "is not an ARN"),
        ];
        for (yaml, says) in cases {
            assert!(message(yaml).contains(says), "{yaml}: {}", message(yaml));
        }
        assert!(message("nodeGroup: []").contains("unknown field"));
    }
}
