//! A cluster in the words of our settings, and what they have no words for.

use super::{Inspection, Principal, nodes};
use crate::settings::{
    AccessEntry, AccessPolicy, AccessScope, Addon, AutoMode, EksSettings, Endpoint, ExistingNetwork,
    ExistingRoles, LogType, Network, NodePool, SupportType,
};
use aws_sdk_eks::types::{self as eks, AuthenticationMode};
use ipnet::Ipv4Net;
use std::collections::BTreeSet;

/// Settings while they are written, and what does not fit in.
#[derive(Debug, Default)]
pub(super) struct Description {
    pub(super) settings: EksSettings,
    /// One sentence each.
    pub(super) inexpressible: Vec<String>,
}

impl Inspection {
    /// It in the words of our settings, with its network and its roles as what exists. What they have no words for is
    /// [apart](Self::inexpressible).
    pub fn settings(&self) -> EksSettings {
        self.describe().settings
    }

    /// What our settings cannot say of it, one sentence each. It stays as it is, and is not seen when it changes.
    pub fn inexpressible(&self) -> Vec<String> {
        self.describe().inexpressible
    }

    pub(super) fn describe(&self) -> Description {
        let mut description = Description::default();
        description.network(self);
        description.control_plane(&self.cluster);
        nodes::describe(&mut description, self);
        description.roles(self);
        description.addons(&self.addons);
        description.access(self);
        if let Err(error) = description.settings.validate() {
            description.lacks(format!("as settings it would be refused: {}", error.message()));
        }
        description
    }
}

impl Description {
    pub(super) fn lacks(&mut self, what: impl Into<String>) {
        self.inexpressible.push(what.into());
    }

    fn network(&mut self, inspection: &Inspection) {
        let Some(vpc) = &inspection.cluster.resources_vpc_config else {
            return self.lacks("EKS tells nothing of its network");
        };
        let control_plane: BTreeSet<&String> = vpc.subnet_ids.iter().flatten().collect();
        let mut of_nodes: BTreeSet<&String> = inspection
            .node_groups
            .iter()
            .flat_map(|group| group.subnets.iter().flatten())
            .chain(inspection.fargate_profiles.iter().flat_map(|profile| profile.subnets.iter().flatten()))
            .collect();
        for subnet in of_nodes.difference(&control_plane) {
            self.lacks(format!("nodes are in {subnet}, where the control plane has no interface"));
        }
        if of_nodes.is_empty() {
            of_nodes.clone_from(&control_plane);
        }
        let mut network =
            ExistingNetwork::new(vpc.vpc_id.clone().unwrap_or_default(), of_nodes.iter().copied());
        network.control_plane_subnets =
            control_plane.difference(&of_nodes).map(|subnet| (*subnet).clone()).collect();
        network.security_groups = vpc.security_group_ids.clone().unwrap_or_default();
        self.settings.network = Network::Existing(network);

        let mut endpoint = Endpoint {
            public: vpc.endpoint_public_access,
            private: vpc.endpoint_private_access,
            public_access_cidrs: Vec::new(),
        };
        for cidr in vpc.public_access_cidrs.iter().flatten().filter(|_| endpoint.public) {
            match cidr.parse::<Ipv4Net>() {
                // Everywhere is the default.
                Ok(net) if net.prefix_len() == 0 => {}
                Ok(net) => endpoint.public_access_cidrs.push(net),
                Err(_) => self.lacks(format!("its endpoint is open to {cidr}, which is no IPv4 network")),
            }
        }
        self.settings.endpoint = endpoint;
    }

    fn control_plane(&mut self, cluster: &eks::Cluster) {
        if let Some(network) = &cluster.kubernetes_network_config {
            if network.ip_family == Some(eks::IpFamily::Ipv6) {
                self.lacks("its pods have IPv6 addresses");
            }
            self.settings.service_cidr =
                network.service_ipv4_cidr.as_ref().and_then(|cidr| cidr.parse().ok());
        }
        let logging = cluster.logging.iter().flat_map(|logging| logging.cluster_logging.iter().flatten());
        let enabled = logging.filter(|setup| setup.enabled == Some(true));
        self.settings.logging =
            enabled.flat_map(|setup| setup.types.iter().flatten()).filter_map(log_type).collect();
        let support = cluster.upgrade_policy.as_ref().and_then(|policy| policy.support_type.as_ref());
        if support == Some(&eks::SupportType::Extended) {
            self.settings.upgrade_policy = SupportType::Extended;
        }
        self.settings.deletion_protection = cluster.deletion_protection;
        let mut keys = cluster.encryption_config.iter().flatten();
        self.settings.secrets_encryption_key =
            keys.find_map(|config| config.provider.as_ref()?.key_arn.clone());
        let reserved = ["aws:", "platform.dev/", "kubernetes.io/cluster/"];
        let tags = cluster.tags.iter().flatten();
        // A tag of eksctl on what it did not make would mislead it.
        let own = tags.filter(|(key, _)| {
            !key.contains("eksctl") && !reserved.iter().any(|prefix| key.starts_with(prefix))
        });
        self.settings.tags = own.map(|(key, value)| (key.clone(), value.clone())).collect();

        if let Some(compute) = cluster.compute_config.as_ref().filter(|compute| compute.enabled == Some(true))
        {
            let mut auto = AutoMode::default();
            auto.node_pools.clear();
            for pool in compute.node_pools.iter().flatten() {
                match pool.as_str() {
                    "general-purpose" => _ = auto.node_pools.insert(NodePool::GeneralPurpose),
                    "system" => _ = auto.node_pools.insert(NodePool::System),
                    other => self.lacks(format!("the node pool {other} of Auto Mode")),
                }
            }
            self.settings.auto_mode = Some(auto);
        }
        let zonal_shift = cluster.zonal_shift_config.as_ref().and_then(|config| config.enabled);
        let tier = cluster.control_plane_scaling_config.as_ref().and_then(|config| config.tier.as_ref());
        let others = [
            (cluster.outpost_config.is_some(), "it is on an Outpost"),
            (cluster.remote_network_config.is_some(), "it has hybrid nodes"),
            (zonal_shift == Some(true), "zonal shift is on"),
            (
                tier.is_some_and(|tier| *tier != eks::ProvisionedControlPlaneTier::Standard),
                "its control plane has a provisioned tier",
            ),
        ];
        for (_, what) in others.iter().filter(|(is_so, _)| *is_so) {
            self.lacks(*what);
        }
    }

    fn roles(&mut self, inspection: &Inspection) {
        let auto =
            inspection.cluster.compute_config.as_ref().and_then(|compute| compute.node_role_arn.clone());
        let groups = inspection.node_groups.iter().filter_map(|group| group.node_role.clone());
        let node = self.only("nodes", auto.into_iter().chain(groups).collect());
        let profiles = inspection.fargate_profiles.iter();
        let fargate = self
            .only("Fargate", profiles.filter_map(|profile| profile.pod_execution_role_arn.clone()).collect());
        let cluster = inspection.cluster.role_arn.clone().unwrap_or_default();
        self.settings.roles = Some(ExistingRoles { cluster, node, fargate });
    }

    /// The one role of several, as our settings have one.
    fn only(&mut self, of: &str, roles: BTreeSet<String>) -> Option<String> {
        let mut roles = roles.into_iter();
        let first = roles.next();
        for other in roles {
            self.lacks(format!(
                "{of} have the role {other} too; new ones would have {}",
                first.as_deref().unwrap_or_default()
            ));
        }
        first
    }

    fn addons(&mut self, addons: &[eks::Addon]) {
        let mut described = Vec::new();
        for addon in addons {
            let name = addon.addon_name.clone().unwrap_or_default();
            let mut ours = Addon::new(&name);
            ours.version.clone_from(&addon.addon_version);
            if let Some(values) =
                addon.configuration_values.as_deref().filter(|values| !values.trim().is_empty())
            {
                // EKS takes JSON and YAML, of which JSON is a part.
                match serde_saphyr::from_str::<serde_json::Value>(values) {
                    Ok(values) => ours.configuration = Some(values),
                    Err(_) => self.lacks(format!("the configuration of the addon {name}, which is no YAML")),
                }
            }
            if addon.service_account_role_arn.is_some()
                || addon.pod_identity_associations.as_ref().is_some_and(|roles| !roles.is_empty())
            {
                self.lacks(format!("the addon {name} has a role of its own"));
            }
            described.push(ours);
        }
        self.settings.addons = Some(described);
    }

    fn access(&mut self, inspection: &Inspection) {
        let config = inspection.cluster.access_config.as_ref();
        match config.and_then(|config| config.authentication_mode.as_ref()) {
            Some(AuthenticationMode::ConfigMap) => self.lacks(
                "its users are in the ConfigMap kube-system/aws-auth alone; switch EKS' access entries on (API_AND_CONFIG_MAP), which cannot be undone",
            ),
            Some(AuthenticationMode::ApiAndConfigMap) => {
                self.lacks("users and nodes in the ConfigMap kube-system/aws-auth, if there are any");
            }
            _ => {}
        }
        for principal in &inspection.principals {
            self.principal(principal);
        }
    }

    fn principal(&mut self, principal: &Principal) {
        let entry = &principal.entry;
        let arn = entry.principal_arn.clone().unwrap_or_default();
        // Entries of nodes and of EKS itself are EKS' own work.
        if entry.r#type.as_deref() != Some("STANDARD") || arn.contains(":role/aws-service-role/") {
            return;
        }
        let mut policies = Vec::new();
        for associated in &principal.policies {
            let policy = associated.policy_arn.clone().unwrap_or_default();
            match access_policy(&policy) {
                Some(policy) => {
                    let scope = associated.access_scope.as_ref();
                    let namespaces = scope.and_then(|scope| scope.namespaces.clone()).unwrap_or_default();
                    policies.push(AccessScope { policy, namespaces });
                }
                None => self.lacks(format!("{arn} has the policy {policy}")),
            }
        }
        let groups = entry.kubernetes_groups.clone().unwrap_or_default();
        let mut described = AccessEntry::administrator(arn);
        described.groups = groups;
        described.policies = policies;
        self.settings.access_entries.push(described);
    }
}

fn access_policy(arn: &str) -> Option<AccessPolicy> {
    match arn.rsplit('/').next()? {
        "AmazonEKSClusterAdminPolicy" => Some(AccessPolicy::ClusterAdmin),
        "AmazonEKSAdminPolicy" => Some(AccessPolicy::Admin),
        "AmazonEKSEditPolicy" => Some(AccessPolicy::Edit),
        "AmazonEKSViewPolicy" => Some(AccessPolicy::View),
        _ => None,
    }
}

fn log_type(log: &eks::LogType) -> Option<LogType> {
    match log {
        eks::LogType::Api => Some(LogType::Api),
        eks::LogType::Audit => Some(LogType::Audit),
        eks::LogType::Authenticator => Some(LogType::Authenticator),
        eks::LogType::ControllerManager => Some(LogType::ControllerManager),
        eks::LogType::Scheduler => Some(LogType::Scheduler),
        _ => None,
    }
}
