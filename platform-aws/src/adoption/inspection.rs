//! Everything that EKS tells of a cluster.

use super::Origin;
use crate::api::{ApiResult, Aws};
use aws_sdk_eks::types::{
    AccessEntry, Addon, AssociatedAccessPolicy, AuthenticationMode, Cluster, FargateProfile, Nodegroup,
    PodIdentityAssociationSummary,
};
use futures::{future::try_join_all, try_join};
use platform_core::{Error, Result};
use std::{collections::HashMap, fmt};

/// A cluster as EKS tells it. [`inspect`] reads it and changes nothing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Inspection {
    /// Its name.
    pub name: String,
    /// Who made it, as far as its tags tell.
    pub origin: Origin,
    /// The cluster.
    pub cluster: Box<Cluster>,
    /// Its managed node groups.
    pub node_groups: Vec<Nodegroup>,
    /// Its Fargate profiles.
    pub fargate_profiles: Vec<FargateProfile>,
    /// Its addons.
    pub addons: Vec<Addon>,
    /// Who may use it. Empty where it knows a ConfigMap only.
    pub principals: Vec<Principal>,
    /// Which service accounts get roles by Pod Identity.
    pub associations: Vec<PodIdentityAssociationSummary>,
}

/// An access entry with its policies.
#[derive(Debug, Clone, PartialEq)]
pub struct Principal {
    /// The entry.
    pub entry: AccessEntry,
    /// What it may.
    pub policies: Vec<AssociatedAccessPolicy>,
}

/// Reads what there is of a cluster.
pub async fn inspect(aws: &Aws, name: &str) -> Result<Inspection> {
    read(aws, name)
        .await
        .map_err(|e| Error::from(e).operation("inspect").subject(format!("EKS cluster {name}")))
}

async fn read(aws: &Aws, name: &str) -> ApiResult<Inspection> {
    let cluster = Box::new(aws.clusters.describe(name).await?);
    let mode = cluster.access_config.as_ref().and_then(|access| access.authentication_mode.as_ref());
    let by_config_map = mode == Some(&AuthenticationMode::ConfigMap);
    let node_groups = async {
        let names = aws.node_groups.list(name).await?;
        try_join_all(names.iter().map(|group| aws.node_groups.describe(name, group))).await
    };
    let fargate_profiles = async {
        let names = aws.fargate.list(name).await?;
        try_join_all(names.iter().map(|profile| aws.fargate.describe(name, profile))).await
    };
    let addons = async {
        let names = aws.addons.list(name).await?;
        try_join_all(names.iter().map(|addon| aws.addons.describe(name, addon))).await
    };
    let principals = async {
        // EKS refuses to list entries of a cluster that does not look at them.
        let arns = if by_config_map { Vec::new() } else { aws.access.list_entries(name).await? };
        try_join_all(arns.iter().map(|arn| async move {
            let (entry, policies) =
                try_join!(aws.access.describe_entry(name, arn), aws.access.policies(name, arn))?;
            Ok(Principal { entry, policies })
        }))
        .await
    };
    let (node_groups, fargate_profiles, addons, principals, associations) =
        try_join!(node_groups, fargate_profiles, addons, principals, aws.access.list_associations(name))?;
    let origin = Origin::of(cluster.tags.as_ref().unwrap_or(&HashMap::new()));
    Ok(Inspection {
        name: name.to_owned(),
        origin,
        cluster,
        node_groups,
        fargate_profiles,
        addons,
        principals,
        associations,
    })
}

impl Inspection {
    /// The Kubernetes version of its control plane.
    pub fn version(&self) -> Option<&str> {
        self.cluster.version.as_deref()
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = "unknown";
        writeln!(
            f,
            "EKS cluster {}: Kubernetes {}, made by {}",
            self.name,
            self.version().unwrap_or(unknown),
            self.origin
        )?;
        let settings = self.settings();
        let mut line = |what: &str, value: String| {
            let value = if value.is_empty() { "none" } else { &value };
            writeln!(f, "  {what:12} {value}")
        };
        if let crate::settings::Network::Existing(network) = &settings.network {
            let subnets = network.subnets.len() + network.control_plane_subnets.len();
            line("network", format!("{}, {subnets} subnets", network.vpc))?;
        }
        let endpoint = &settings.endpoint;
        let cidrs =
            endpoint.public_access_cidrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let from = if cidrs.is_empty() { "everywhere" } else { &cidrs };
        line(
            "endpoint",
            match (endpoint.public, endpoint.private) {
                (true, true) => format!("public from {from}, and private"),
                (true, false) => format!("public from {from}"),
                (false, _) => "private".to_owned(),
            },
        )?;
        let groups = settings.node_groups.iter().map(|group| {
            let size = group.scaling.map(|s| format!(", {} of {} to {} nodes", s.desired, s.min, s.max));
            format!("{} ({}{})", group.name, group.instance_types.join(" or "), size.unwrap_or_default())
        });
        line("node groups", groups.collect::<Vec<_>>().join(", "))?;
        let names = |names: Vec<Option<&str>>| names.into_iter().flatten().collect::<Vec<_>>().join(", ");
        let profiles = self.fargate_profiles.iter().map(|profile| profile.fargate_profile_name.as_deref());
        line("Fargate", names(profiles.collect()))?;
        line("addons", names(self.addons.iter().map(|addon| addon.addon_name.as_deref()).collect()))?;
        let principals = self.principals.iter().map(|principal| principal.entry.principal_arn.as_deref());
        line("access", names(principals.collect()))?;
        let accounts = self.associations.iter().map(|association| {
            let part = |part: &Option<String>| part.clone().unwrap_or_default();
            format!("{}/{}", part(&association.namespace), part(&association.service_account))
        });
        line("Pod Identity", accounts.collect::<Vec<_>>().join(", "))?;
        line("encryption", settings.secrets_encryption_key.unwrap_or_default())?;
        let logs: Vec<String> = settings
            .logging
            .iter()
            .filter_map(|log| serde_json::to_value(log).ok()?.as_str().map(str::to_owned))
            .collect();
        line("logs", logs.join(", "))
    }
}
