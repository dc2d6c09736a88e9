//! Addons.

use super::{
    foundation::Foundation,
    job::{Job, all, found},
};
use crate::{api::ApiErrorKind, ownership, settings::Addon, wait::State};
use aws_sdk_eks::{
    operation::{
        create_addon::builders::CreateAddonInputBuilder,
        describe_update::builders::DescribeUpdateInputBuilder,
        update_addon::builders::UpdateAddonInputBuilder,
    },
    types as eks,
};
use futures::FutureExt;
use platform_core::{Error, ErrorKind, Result};

impl Job<'_> {
    /// Has an addon installed. It is not waited for: without nodes most are degraded.
    pub(crate) async fn create_addon(&self, addon: &Addon, foundation: &Foundation) -> Result<()> {
        self.progress.report(format!("installing addon {}", addon.name));
        let content = serde_json::to_string(addon).unwrap_or_default();
        let request = CreateAddonInputBuilder::default()
            .cluster_name(self.name())
            .addon_name(&addon.name)
            .set_addon_version(addon.version.clone())
            .set_configuration_values(addon.configuration.as_ref().map(ToString::to_string))
            .resolve_conflicts(eks::ResolveConflicts::Overwrite)
            .set_tags(Some(ownership::for_eks(&self.tags())))
            .client_request_token(self.token(foundation.incarnation(), "CreateAddon", &content));
        let what = format!("addon {}", addon.name);
        let waiter = self.waiter(self.deadlines.settle);
        let created = waiter.settle(
            &what,
            |_| false,
            || async {
                match self.aws.addons.create(request.clone()).await {
                    // The answer of an earlier try was lost.
                    Err(error) if error.kind == ApiErrorKind::AlreadyExists => Ok(()),
                    answer => answer.map(drop),
                }
            },
        );
        created.await
    }

    /// Installs an addon anew whose creation had failed, and asks again for an update that had.
    pub(crate) async fn repair_addon(&self, addon: &Addon, foundation: &Foundation) -> Result<()> {
        let Some(there) = found(self.aws.addons.describe(self.name(), &addon.name).await)? else {
            return self.create_addon(addon, foundation).await;
        };
        match there.status() {
            Some(eks::AddonStatus::CreateFailed) => {
                self.progress.report(format!(
                    "addon {} is CREATE_FAILED: it is removed and installed anew ({})",
                    addon.name,
                    health(&there)
                ));
                self.remove_addon(&addon.name).await?;
            }
            Some(eks::AddonStatus::Deleting) => {}
            Some(eks::AddonStatus::UpdateFailed) => {
                let version = addon.version.clone().or(there.addon_version);
                return self.update_addon(&Addon { version, ..addon.clone() }).await;
            }
            _ => return Ok(()),
        }
        self.await_addon_gone(&addon.name).await?;
        self.create_addon(addon, foundation).await
    }

    async fn await_addon_gone(&self, name: &str) -> Result<()> {
        let read = || async {
            Ok(match found(self.aws.addons.describe(self.name(), name).await)? {
                None => State::Done(()),
                Some(there) => {
                    State::Pending(there.status().map_or("UNKNOWN", eks::AddonStatus::as_str).to_owned())
                }
            })
        };
        match read().await {
            Ok(State::Done(())) => Ok(()),
            _ => self.waiter(self.deadlines.nodes).until(&format!("removal of addon {name}"), read).await,
        }
    }

    /// Brings an addon to its version and configuration.
    pub(crate) async fn update_addon(&self, addon: &Addon) -> Result<()> {
        let request = UpdateAddonInputBuilder::default()
            .set_addon_version(addon.version.clone())
            .set_configuration_values(addon.configuration.as_ref().map(ToString::to_string));
        self.change_addon(&addon.name, request).await
    }

    async fn change_addon(&self, name: &str, request: UpdateAddonInputBuilder) -> Result<()> {
        let what = format!("update of addon {name}");
        self.progress.report(what.clone());
        let request = request
            .cluster_name(self.name())
            .addon_name(name)
            .resolve_conflicts(eks::ResolveConflicts::Preserve);
        let update = self
            .waiter(self.deadlines.settle)
            .settle(&what, |_| false, || self.aws.addons.update(request.clone()))
            .await?;
        let of = |request: DescribeUpdateInputBuilder| request.addon_name(name);
        self.finish_update(&what, &update, of, self.deadlines.nodes).await
    }

    /// Brings addons that have no version of their own to the default of a Kubernetes version.
    pub(crate) async fn upgrade_addons(&self, kubernetes_version: &str) -> Result<()> {
        let unpinned = self.settings.wanted_addons().into_iter().filter(|addon| addon.version.is_none());
        let upgrades: Vec<_> =
            unpinned.map(|addon| self.upgrade_addon(addon.name, kubernetes_version).boxed()).collect();
        all(upgrades).await.map(drop)
    }

    async fn upgrade_addon(&self, name: String, kubernetes_version: &str) -> Result<()> {
        let versions = match self.aws.addons.versions(&name, kubernetes_version).await {
            Ok(versions) => versions,
            // An emulator that has no versions has none to upgrade to.
            Err(error) if error.kind == ApiErrorKind::Unknown => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let Some(wanted) = default_version(&versions, kubernetes_version) else { return Ok(()) };
        let there = found(self.aws.addons.describe(self.name(), &name).await)?;
        match there.and_then(|there| there.addon_version) {
            Some(version) if version != wanted => {
                self.change_addon(&name, UpdateAddonInputBuilder::default().addon_version(wanted)).await
            }
            _ => Ok(()),
        }
    }

    /// Removes an addon with what it installed.
    pub(crate) async fn remove_addon(&self, name: &str) -> Result<()> {
        let what = format!("removal of addon {name}");
        self.progress.report(what.clone());
        let waiter = self.waiter(self.deadlines.settle);
        let removed = waiter.settle(
            &what,
            |_| false,
            || async { found(self.aws.addons.delete(self.name(), name).await) },
        );
        removed.await.map(drop)
    }

    /// Waits until addons are active. One that failed is told with what EKS says of it.
    pub(crate) async fn await_addons(&self, names: &[String]) -> Result<()> {
        let waits: Vec<_> = names.iter().map(|name| self.await_addon(name).boxed()).collect();
        all(waits).await.map(drop)
    }

    async fn await_addon(&self, name: &str) -> Result<()> {
        let read = || async {
            let addon = self.aws.addons.describe(self.name(), name).await?;
            match addon.status() {
                Some(eks::AddonStatus::Active) => Ok(State::Done(())),
                Some(
                    status @ (eks::AddonStatus::CreateFailed
                    | eks::AddonStatus::UpdateFailed
                    | eks::AddonStatus::DeleteFailed),
                ) => Err(Error::new(
                    ErrorKind::Failed,
                    format!("addon {name} is {}: {}", status.as_str(), health(&addon)),
                )
                .help("mend what it names, then run it again")),
                Some(eks::AddonStatus::Degraded) => {
                    Ok(State::Pending(format!("DEGRADED ({})", health(&addon))))
                }
                status => Ok(State::Pending(status.map_or("UNKNOWN", eks::AddonStatus::as_str).to_owned())),
            }
        };
        match read().await {
            Ok(State::Done(())) => Ok(()),
            Err(error) if !error.is_retryable() => Err(error),
            _ => self.waiter(self.deadlines.nodes).until(&format!("addon {name}"), read).await,
        }
    }
}

/// What differs between an addon and what is wanted of it.
pub(crate) fn differences(wanted: &Addon, there: &eks::Addon) -> Vec<String> {
    let mut differences = Vec::new();
    let now = there.addon_version().unwrap_or_default();
    if let Some(version) = wanted.version.as_deref().filter(|version| *version != now) {
        differences.push(format!("version: {now} -> {version}"));
    }
    if let Some(configuration) = &wanted.configuration {
        // EKS keeps the text as it was given; what it says is what counts.
        let now: serde_json::Value =
            there.configuration_values().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        if now != *configuration {
            differences.push("configuration".to_owned());
        }
    }
    differences
}

/// The version that is the default for a Kubernetes version.
fn default_version(addons: &[eks::AddonInfo], kubernetes_version: &str) -> Option<String> {
    let versions = addons.iter().flat_map(eks::AddonInfo::addon_versions);
    let is_default = |version: &&eks::AddonVersionInfo| {
        version.compatibilities().iter().any(|compatibility| {
            compatibility.default_version() && compatibility.cluster_version() == Some(kubernetes_version)
        })
    };
    versions.into_iter().find(is_default)?.addon_version().map(str::to_owned)
}

fn health(addon: &eks::Addon) -> String {
    let issues: Vec<&str> = addon
        .health()
        .map(eks::AddonHealth::issues)
        .unwrap_or_default()
        .iter()
        .filter_map(eks::AddonIssue::message)
        .collect();
    if issues.is_empty() { "EKS does not say why".to_owned() } else { issues.join("; ") }
}
