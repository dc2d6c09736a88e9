//! Fargate profiles.

use crate::{
    api::ApiErrorKind,
    lifecycle::{
        foundation::Foundation,
        job::{Job, found},
    },
    ownership,
    settings::FargateProfile,
    wait::{State, is_role_not_known_yet},
};
use aws_sdk_eks::{
    operation::create_fargate_profile::builders::CreateFargateProfileInputBuilder, types as eks,
};
use platform_core::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet};

impl Job<'_> {
    /// The profile, active.
    pub(crate) async fn ensure_fargate_profile(
        &self,
        profile: &FargateProfile,
        foundation: &Foundation,
    ) -> Result<()> {
        let what = format!("Fargate profile {}", profile.name);
        self.progress.report(format!("creating {what}"));
        let role = match self.settings.roles.as_ref().and_then(|roles| roles.fargate.clone()) {
            Some(role) => role,
            None => foundation.outputs.fargate_role()?.to_owned(),
        };
        let selectors = profile.selectors.iter().map(|selector| {
            eks::FargateProfileSelector::builder()
                .namespace(&selector.namespace)
                .set_labels(Some(selector.labels.clone().into_iter().collect()))
                .build()
        });
        let content = serde_json::to_string(profile).unwrap_or_default();
        let request = CreateFargateProfileInputBuilder::default()
            .cluster_name(self.name())
            .fargate_profile_name(&profile.name)
            .pod_execution_role_arn(role)
            .set_subnets(Some(self.node_subnets(foundation)))
            .set_selectors(Some(selectors.collect()))
            .set_tags(Some(ownership::for_eks(&self.tags())))
            .client_request_token(self.token(foundation.incarnation(), "CreateFargateProfile", &content));
        let created = self
            .waiter(self.deadlines.settle)
            .settle(&what, is_role_not_known_yet, || async {
                match self.aws.fargate.create(request.clone()).await {
                    Err(error) if error.kind == ApiErrorKind::AlreadyExists => {
                        self.aws.fargate.describe(self.name(), &profile.name).await
                    }
                    answer => answer,
                }
            })
            .await?;
        if created.status() == Some(&eks::FargateProfileStatus::Active) {
            return Ok(());
        }
        let read = || async {
            let there = self.aws.fargate.describe(self.name(), &profile.name).await?;
            match there.status() {
                Some(eks::FargateProfileStatus::Active) => Ok(State::Done(())),
                Some(eks::FargateProfileStatus::CreateFailed) => {
                    Err(Error::new(ErrorKind::Failed, format!("{what} is CREATE_FAILED")).help(
                        "see that its subnets are private, then run it again: the profile is made anew",
                    ))
                }
                status => {
                    Ok(State::Pending(status.map_or("UNKNOWN", eks::FargateProfileStatus::as_str).to_owned()))
                }
            }
        };
        self.waiter(self.deadlines.nodes).until(&what, read).await
    }

    /// Brings a profile that is there, and not active, to its end: one whose creation had failed is made anew.
    pub(crate) async fn repair_fargate_profile(
        &self,
        profile: &FargateProfile,
        there: &eks::FargateProfile,
        foundation: &Foundation,
    ) -> Result<()> {
        if there.status() != Some(&eks::FargateProfileStatus::Creating) {
            self.remove_fargate_profile(&profile.name).await?;
        }
        self.ensure_fargate_profile(profile, foundation).await
    }

    /// Deletes a profile and waits until it is gone: EKS deletes one at a time.
    pub(crate) async fn remove_fargate_profile(&self, name: &str) -> Result<()> {
        let what = format!("deletion of Fargate profile {name}");
        self.progress.report(what.clone());
        let waiter = self.waiter(self.deadlines.nodes);
        let deleted = waiter.settle(
            &what,
            |_| false,
            || async { found(self.aws.fargate.delete(self.name(), name).await) },
        );
        deleted.await?;
        let read = || async {
            Ok(match found(self.aws.fargate.describe(self.name(), name).await)? {
                None => State::Done(()),
                Some(there) => State::Pending(
                    there.status().map_or("UNKNOWN", eks::FargateProfileStatus::as_str).to_owned(),
                ),
            })
        };
        match read().await {
            Ok(State::Done(())) => Ok(()),
            _ => self.waiter(self.deadlines.nodes).until(&what, read).await,
        }
    }
}

/// Whether a profile selects the same pods.
pub(crate) fn is_same_profile(wanted: &FargateProfile, there: &eks::FargateProfile) -> bool {
    let now: BTreeSet<(String, BTreeMap<String, String>)> = there
        .selectors()
        .iter()
        .map(|selector| {
            let labels = selector.labels().cloned().unwrap_or_default().into_iter().collect();
            (selector.namespace().unwrap_or_default().to_owned(), labels)
        })
        .collect();
    now == wanted
        .selectors
        .iter()
        .map(|selector| (selector.namespace.clone(), selector.labels.clone()))
        .collect()
}
