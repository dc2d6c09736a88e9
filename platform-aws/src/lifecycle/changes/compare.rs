//! What is compared with what.

use super::{Change, Changes, log_type, minor};
use crate::{
    api::Stack,
    lifecycle::{
        access, addons, control_plane,
        job::Job,
        nodes::{self, GroupDifference},
        observe::Observed,
    },
    ownership,
    settings::{IdentityMechanism, Network, ServiceAccountRole},
    stack::{self, digest_of, place_of},
};
use aws_sdk_eks::types as eks;
use platform_core::Result;
use std::collections::BTreeSet;

impl Job<'_> {
    /// What stands between what there is and what is wanted.
    pub(crate) fn changes(&self, observed: &Observed, foundation: Option<&Stack>) -> Result<Changes> {
        let mut changes = Changes::default();
        self.compare_foundation(foundation, &mut changes)?;
        self.compare_control_plane(observed, &mut changes);
        self.compare_version(observed, &mut changes);
        self.compare_access(observed, &mut changes);
        self.compare_addons(observed, &mut changes);
        self.compare_nodes(observed, &mut changes);
        self.compare_service_accounts(observed, &mut changes);
        changes.changes.sort_by_key(Change::phase);
        Ok(changes)
    }

    pub(crate) fn compare_foundation(&self, foundation: Option<&Stack>, changes: &mut Changes) -> Result<()> {
        let Some(foundation) = foundation else {
            if stack::is_needed(self.settings) {
                let help = "an imported cluster takes the settings of `Inspection::settings`";
                changes.recreate.push(format!("network and roles: others' -> its own ({help})"));
            }
            return Ok(());
        };
        let place = place_of(&foundation.outputs)?;
        let template = stack::cluster(&self.spec.name, self.settings, place.as_ref());
        if template.is_some_and(|template| Some(template.digest.as_str()) != digest_of(&foundation.outputs)) {
            changes.changes.push(Change::UpdateFoundation);
        }
        if let (Network::New(new), Some(place)) = (&self.settings.network, &place) {
            if usize::from(new.zones) != place.zones.len() {
                changes.recreate.push(format!("network: zones: {} -> {}", place.zones.len(), new.zones));
            }
            if let Some(cidr) = new.cidr.filter(|cidr| *cidr != place.cidr) {
                changes.recreate.push(format!("network: cidr: {} -> {cidr}", place.cidr));
            }
        }
        Ok(())
    }

    fn compare_control_plane(&self, observed: &Observed, changes: &mut Changes) {
        let cluster = &observed.cluster;
        // What AWS does not tell of is no difference: emulators know less.
        if let Some(there) = cluster.resources_vpc_config() {
            let mut differences = Vec::new();
            let wanted = &self.settings.endpoint;
            let mut flag = |name: &str, there: bool, wanted: bool| {
                if there != wanted {
                    differences.push(format!("{name}: {there} -> {wanted}"));
                }
            };
            flag("public", there.endpoint_public_access(), wanted.public);
            flag("private", there.endpoint_private_access(), wanted.private);
            let cidrs: BTreeSet<&str> = there.public_access_cidrs().iter().map(String::as_str).collect();
            let wanted_cidrs = control_plane::public_access_cidrs(wanted);
            let wanted_cidrs: BTreeSet<&str> = wanted_cidrs.iter().map(String::as_str).collect();
            if wanted.public && !cidrs.is_empty() && cidrs != wanted_cidrs {
                let list = |cidrs: BTreeSet<&str>| cidrs.into_iter().collect::<Vec<_>>().join(" ");
                differences.push(format!("publicAccessCidrs: {} -> {}", list(cidrs), list(wanted_cidrs)));
            }
            if !differences.is_empty() {
                changes.changes.push(Change::SetEndpoint(differences));
            }
            if let (Network::Existing(existing), Some(vpc)) = (&self.settings.network, there.vpc_id())
                && existing.vpc != vpc
            {
                changes.recreate.push(format!("network: vpc: {vpc} -> {}", existing.vpc));
            }
        }
        if let Some(logging) = cluster.logging() {
            let from: BTreeSet<String> = logging
                .cluster_logging()
                .iter()
                .filter(|setup| setup.enabled() == Some(true))
                .flat_map(|setup| setup.types().iter().map(|log| log.as_str().to_owned()))
                .collect();
            let to: BTreeSet<String> =
                self.settings.logging.iter().map(|log| log_type(*log).as_str().to_owned()).collect();
            if from != to {
                changes.changes.push(Change::SetLogging { from, to });
            }
        }
        if let Some(there) = cluster.upgrade_policy().and_then(|policy| policy.support_type()) {
            let wanted = self.settings.upgrade_policy;
            if *there != control_plane::support_type(wanted) {
                changes.changes.push(Change::SetUpgradePolicy(wanted));
            }
        }
        if cluster.deletion_protection().is_some_and(|there| there != self.deletion_protection()) {
            changes.changes.push(Change::SetDeletionProtection(self.deletion_protection()));
        }
        let missing: Vec<String> = self
            .tags()
            .into_iter()
            .filter(|(key, value)| cluster.tags().and_then(|tags| tags.get(key)) != Some(value))
            .map(|(key, _)| key)
            .collect();
        if !missing.is_empty() {
            changes.changes.push(Change::SetTags(missing));
        }
        let key = cluster.encryption_config().iter().find_map(|config| config.provider()?.key_arn());
        if key != self.settings.secrets_encryption_key.as_deref()
            && self.settings.secrets_encryption_key.is_some()
        {
            let none = |key: Option<&str>| key.unwrap_or("none").to_owned();
            let wanted = none(self.settings.secrets_encryption_key.as_deref());
            changes.recreate.push(format!("secretsEncryptionKey: {} -> {wanted}", none(key)));
        }
        if let Some(there) = cluster.compute_config().and_then(eks::ComputeConfigResponse::enabled)
            && there != self.settings.auto_mode.is_some()
        {
            changes.recreate.push(format!("autoMode: {there} -> {}", !there));
        }
        if let (Some(there), Some(wanted)) = (
            cluster.kubernetes_network_config().and_then(|config| config.service_ipv4_cidr()),
            self.settings.service_cidr,
        ) && there != wanted.to_string()
        {
            changes.recreate.push(format!("serviceCidr: {there} -> {wanted}"));
        }
    }

    fn compare_version(&self, observed: &Observed, changes: &mut Changes) {
        let there = observed.version();
        self.compare_upgrade(observed, changes);
        let Some(wanted) = self.spec.kubernetes_version.as_deref() else { return };
        let (Some(from), Some(to)) = (minor(there), minor(wanted)) else { return };
        if to < from {
            changes.recreate.push(format!("kubernetes version: {there} -> {wanted} (EKS does not go back)"));
        }
        for step in from..to {
            changes
                .changes
                .push(Change::Upgrade { from: format!("1.{step}"), to: format!("1.{}", step + 1) });
        }
    }

    /// An upgrade whose control plane is done, and whose addons are not. One that comes after takes them along.
    fn compare_upgrade(&self, observed: &Observed, changes: &mut Changes) {
        let there = observed.version();
        let noted = observed.cluster.tags().and_then(|tags| tags.get(ownership::UPGRADE_TAG));
        let goes_on =
            self.spec.kubernetes_version.as_deref().is_some_and(|wanted| minor(wanted) > minor(there));
        if noted.is_some_and(|version| version == there) && !goes_on {
            changes.changes.push(Change::FinishUpgrade(there.to_owned()));
        }
    }

    fn compare_access(&self, observed: &Observed, changes: &mut Changes) {
        for entry in &self.settings.access_entries {
            if !observed.access_entries.contains(&entry.principal) {
                changes.changes.push(Change::CreateAccessEntry(entry.clone()));
                continue;
            }
            let there =
                observed.entry_details.iter().find(|there| there.principal_arn() == Some(&entry.principal));
            let policies = observed.entry_policies.get(&entry.principal).map(Vec::as_slice);
            let differences = access::differences(entry, there, policies, self.partition);
            if !differences.is_empty() {
                changes.changes.push(Change::UpdateAccessEntry(entry.clone(), differences));
            }
        }
        for there in &observed.entry_details {
            let principal = there.principal_arn().unwrap_or_default();
            let is_wanted = self.settings.access_entries.iter().any(|entry| entry.principal == principal);
            if !is_wanted && ownership::is_ours(there.tags(), &self.spec.platform) {
                changes.changes.push(Change::RemoveAccessEntry(principal.to_owned()));
            }
        }
    }

    fn compare_addons(&self, observed: &Observed, changes: &mut Changes) {
        let wanted = self.settings.wanted_addons();
        let names: BTreeSet<&str> = wanted.iter().map(|addon| addon.name.as_str()).collect();
        for addon in &wanted {
            let details = observed.addon_details.iter().find(|there| there.addon_name() == Some(&addon.name));
            if !observed.addons.contains(&addon.name) {
                changes.changes.push(Change::CreateAddon(addon.clone()));
            } else if let Some(details) = details {
                let differences = addons::differences(addon, details);
                if !differences.is_empty() {
                    changes.changes.push(Change::UpdateAddon(addon.clone(), differences));
                }
            }
        }
        for addon in &observed.addon_details {
            let name = addon.addon_name().unwrap_or_default();
            if !names.contains(name) && ownership::is_ours(addon.tags(), &self.spec.platform) {
                changes.changes.push(Change::RemoveAddon(name.to_owned()));
            }
        }
    }

    fn compare_nodes(&self, observed: &Observed, changes: &mut Changes) {
        let wanted = self.node_groups();
        for group in &wanted {
            let there = observed.node_groups.iter().find(|there| there.nodegroup_name() == Some(&group.name));
            let Some(there) = there else {
                changes.changes.push(Change::CreateNodeGroup(group.clone()));
                continue;
            };
            if there.status() == Some(&eks::NodegroupStatus::CreateFailed) {
                changes.changes.push(Change::RepairNodeGroup(group.clone(), nodes::health(there)));
                continue;
            }
            let GroupDifference { update, recreate } = nodes::differences(group, there);
            if !update.is_empty() {
                changes.changes.push(Change::UpdateNodeGroup(group.clone(), update));
            }
            let fixed = recreate.into_iter().map(|difference| {
                format!("node group {}: {difference} (give the group another name: a new one is made and this one drained)", group.name)
            });
            changes.recreate.extend(fixed);
            let lags = minor(there.version().unwrap_or_default()) < minor(observed.version());
            // An upgrade of the control plane takes its groups along.
            let upgrades = changes.changes.iter().any(|change| matches!(change, Change::Upgrade { .. }));
            if lags && !upgrades && there.version().is_some() {
                changes.changes.push(Change::UpgradeNodeGroup {
                    name: group.name.clone(),
                    from: there.version().unwrap_or_default().to_owned(),
                    to: observed.version().to_owned(),
                });
            }
        }
        for group in &observed.node_groups {
            let name = group.nodegroup_name().unwrap_or_default();
            if !wanted.iter().any(|wanted| wanted.name == name)
                && ownership::is_ours(group.tags(), &self.spec.platform)
            {
                changes.changes.push(Change::RemoveNodeGroup(name.to_owned()));
            }
        }
        for profile in &self.settings.fargate_profiles {
            let there = observed
                .fargate_profiles
                .iter()
                .find(|there| there.fargate_profile_name() == Some(&profile.name));
            match there {
                None => changes.changes.push(Change::CreateFargateProfile(profile.clone())),
                Some(there) if !nodes::is_same_profile(profile, there) => changes.recreate.push(format!(
                    "Fargate profile {}: its selectors (give the profile another name)",
                    profile.name
                )),
                Some(_) => {}
            }
        }
        for profile in &observed.fargate_profiles {
            let name = profile.fargate_profile_name().unwrap_or_default();
            let wanted = self.settings.fargate_profiles.iter().any(|wanted| wanted.name == name);
            if !wanted && ownership::is_ours(profile.tags(), &self.spec.platform) {
                changes.changes.push(Change::RemoveFargateProfile(name.to_owned()));
            }
        }
    }

    fn compare_service_accounts(&self, observed: &Observed, changes: &mut Changes) {
        let roles = &self.settings.service_account_roles;
        if let Some(issuer) = access::issuer(&observed.cluster) {
            let template = stack::service_accounts(&self.spec.name, self.settings, issuer);
            let there = observed.service_accounts.as_ref().and_then(|stack| digest_of(&stack.outputs));
            if template.as_ref().map(|template| template.digest.as_str()) != there {
                changes.changes.push(Change::UpdateServiceAccounts);
            }
        }
        let name = |role: &ServiceAccountRole| (role.namespace.clone(), role.service_account.clone());
        let wanted: Vec<&ServiceAccountRole> =
            roles.iter().filter(|role| role.mechanism == IdentityMechanism::PodIdentity).collect();
        let there = |association: &eks::PodIdentityAssociationSummary| {
            (
                association.namespace().unwrap_or_default().to_owned(),
                association.service_account().unwrap_or_default().to_owned(),
            )
        };
        for role in &wanted {
            if !observed.associations.iter().any(|association| there(association) == name(role)) {
                changes.changes.push(Change::CreateAssociation((*role).clone()));
            }
        }
        for association in &observed.association_details {
            if ownership::is_ours(association.tags(), &self.spec.platform)
                && let Some(id) = association.association_id()
            {
                let account = format!(
                    "{}/{}",
                    association.namespace().unwrap_or_default(),
                    association.service_account().unwrap_or_default()
                );
                changes.changes.push(Change::RemoveAssociation { account, id: id.to_owned() });
            }
        }
    }
}
