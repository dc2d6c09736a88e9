//! What taking a cluster over changes, and doing it.

use super::{Inspection, Origin};
use crate::api::Aws;
use crate::ownership::{IMPORTED_TAG, PLATFORM_TAG};
use platform_core::{
    Error, ErrorKind, Result,
    name::{ClusterName, PlatformName},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

/// What it means to take a cluster over: tags are written, and from then on the platform changes the cluster and its node groups as its settings
/// say, and deletes them when it is destroyed. It prints as a list, to be read before [`apply`](Self::apply).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Import {
    /// The cluster.
    pub cluster: String,
    /// The platform that takes it over.
    pub platform: PlatformName,
    /// What is tagged: a name and an ARN each, the cluster first.
    pub tagged: Vec<(String, String)>,
    /// The tags that are written.
    pub tags: BTreeMap<String, String>,
    /// What the platform manages afterwards.
    pub managed: Vec<String>,
    /// What stays somebody else's and is neither changed nor deleted.
    pub foreign: Vec<String>,
    /// What settings cannot say.
    pub inexpressible: Vec<String>,
    /// Why it cannot be taken over, if so.
    pub obstacle: Option<String>,
}

impl Inspection {
    /// What it would mean that `platform` takes it over. Nothing is changed.
    pub fn import(&self, platform: &PlatformName) -> Import {
        let group_name = |group: &aws_sdk_eks::types::Nodegroup| {
            format!("node group {}", group.nodegroup_name.as_deref().unwrap_or_default())
        };
        let mut tagged =
            vec![(format!("cluster {}", self.name), self.cluster.arn.clone().unwrap_or_default())];
        tagged.extend(
            self.node_groups
                .iter()
                .map(|group| (group_name(group), group.nodegroup_arn.clone().unwrap_or_default())),
        );
        let tags = [(PLATFORM_TAG, platform.as_str()), (IMPORTED_TAG, "true")];
        let mut managed = vec![format!("cluster {}", self.name)];
        managed.extend(self.node_groups.iter().map(group_name));
        let profiles =
            self.fargate_profiles.iter().filter_map(|profile| profile.fargate_profile_name.as_ref());
        managed.extend(profiles.map(|name| format!("Fargate profile {name}")));
        let addons = self.addons.iter().filter_map(|addon| addon.addon_name.as_ref());
        managed.extend(addons.map(|name| format!("addon {name}")));
        Import {
            cluster: self.name.clone(),
            platform: platform.clone(),
            tagged,
            tags: tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            managed,
            foreign: self.foreign(),
            inexpressible: self.inexpressible(),
            obstacle: obstacle(&self.name, self.cluster.tags.as_ref(), platform),
        }
    }

    fn foreign(&self) -> Vec<String> {
        let mut foreign = Vec::new();
        if let Some(vpc) = self.cluster.resources_vpc_config.as_ref().and_then(|vpc| vpc.vpc_id.as_ref()) {
            foreign.push(format!("network {vpc}"));
        }
        let of_groups: BTreeSet<&String> =
            self.node_groups.iter().filter_map(|group| group.node_role.as_ref()).collect();
        let profiles =
            self.fargate_profiles.iter().filter_map(|profile| profile.pod_execution_role_arn.as_ref());
        let mut roles: BTreeSet<&String> = of_groups.iter().copied().chain(profiles).collect();
        roles.extend(&self.cluster.role_arn);
        let auto = self.cluster.compute_config.as_ref().and_then(|compute| compute.node_role_arn.as_ref());
        roles.extend(auto);
        foreign.extend(roles.iter().map(|role| format!("role {role}")));
        let keys = self.cluster.encryption_config.iter().flatten();
        let keys = keys.filter_map(|config| config.provider.as_ref()?.key_arn.as_ref());
        foreign.extend(keys.map(|key| format!("key {key}")));

        // Nodes that are in no managed group have an entry for their role all the same.
        for entry in self.principals.iter().map(|principal| &principal.entry) {
            let Some(arn) = &entry.principal_arn else { continue };
            let is_of_nodes = entry.r#type.as_deref().is_some_and(|kind| kind.starts_with("EC2_"));
            if is_of_nodes && !roles.contains(arn) {
                foreign.push(format!("nodes outside of managed groups, with the role {arn}"));
            }
        }
        for association in &self.associations {
            let part = |part: &Option<String>| part.clone().unwrap_or_default();
            let account = format!("{}/{}", part(&association.namespace), part(&association.service_account));
            foreign.push(format!("Pod Identity of service account {account}, and its role"));
        }
        match &self.origin {
            Origin::Eksctl => foreign.push(format!(
                "the stacks eksctl-{}-…: whoever deletes them deletes the cluster and its nodes",
                self.name
            )),
            Origin::CloudFormation { stack } => {
                foreign.push(format!("the stack {stack}: whoever deletes it deletes the cluster"));
            }
            Origin::Terraform { .. } => foreign.push(
                "the state of Terraform: it takes back what the platform changes, until the cluster is removed from it"
                    .to_owned(),
            ),
            Origin::Platform(_) | Origin::Unknown => {}
        }
        foreign
    }
}

/// Why a cluster of these tags cannot be taken over.
fn obstacle(name: &str, tags: Option<&HashMap<String, String>>, platform: &PlatformName) -> Option<String> {
    let tag = |key: &str| tags.and_then(|tags| tags.get(key)).map(String::as_str);
    if let Err(error) = ClusterName::new(name) {
        return Some(format!("the platform has no cluster of this name: {}", error.message()));
    }
    match tag(PLATFORM_TAG) {
        Some(owner) if owner != platform.as_str() => Some(format!("it belongs to the platform {owner}")),
        // Written onto what the platform made itself, the tag would leave the network behind for ever.
        Some(_) if tag(IMPORTED_TAG) != Some("true") => {
            Some(format!("the platform {platform} made it and has it already"))
        }
        _ => None,
    }
}

impl Import {
    /// Takes the cluster over: writes the tags. `confirmation` must be the cluster's name. What another platform owns, or this one made, is
    /// [refused](ErrorKind::Refused). A second run goes on where one was interrupted.
    pub async fn apply(&self, aws: &Aws, confirmation: &str) -> Result<()> {
        let subject = format!("EKS cluster {}", self.cluster);
        let refused = |why: String| Error::new(ErrorKind::Refused, why).operation("import").subject(&subject);
        if confirmation != self.cluster {
            return Err(refused(format!("the confirmation is {confirmation:?}"))
                .help(format!("confirm with the name of the cluster, {:?}", self.cluster)));
        }
        if let Some(obstacle) = &self.obstacle {
            return Err(refused(obstacle.clone()));
        }
        let failed = |e| Error::from(e).operation("import").subject(&subject);
        // Somebody else may have been quicker since the inspection.
        let now = aws.clusters.describe(&self.cluster).await.map_err(failed)?;
        if let Some(obstacle) = obstacle(&self.cluster, now.tags.as_ref(), &self.platform) {
            return Err(refused(obstacle).help("inspect it again"));
        }
        for (name, arn) in &self.tagged {
            aws.clusters
                .tag(arn, &self.tags)
                .await
                .map_err(|e| Error::from(e).operation("tag").subject(format!("{name} of {subject}")))?;
        }
        Ok(())
    }
}

impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "import of EKS cluster {} into the platform {}", self.cluster, self.platform)?;
        if let Some(obstacle) = &self.obstacle {
            writeln!(f, "  it cannot be: {obstacle}")?;
        }
        let tags = self.tags.iter().map(|(key, value)| format!("{key}={value}"));
        writeln!(f, "  tags: {}", tags.collect::<Vec<_>>().join(", "))?;
        let mut list = |title: &str, items: &[String]| -> fmt::Result {
            if items.is_empty() {
                return Ok(());
            }
            writeln!(f, "  {title}:")?;
            items.iter().try_for_each(|item| writeln!(f, "    {item}"))
        };
        let tagged: Vec<String> = self.tagged.iter().map(|(name, _)| name.clone()).collect();
        list("on", &tagged)?;
        list("managed afterwards, and deleted with the platform", &self.managed)?;
        list("stays somebody else's", &self.foreign)?;
        list("settings cannot say, so it stays as it is", &self.inexpressible)
    }
}
