//! Who may use the cluster, and which roles its pods get.

use super::{
    foundation::Foundation,
    job::{Job, found},
    observe::Observed,
};
use crate::{
    api::ApiErrorKind,
    ownership,
    settings::{AccessEntry, IdentityMechanism, ServiceAccountRole},
    stack::{self, digest_of, service_accounts_stack_name},
    wait::is_role_not_known_yet,
};
use aws_sdk_eks::{
    operation::{
        associate_access_policy::builders::AssociateAccessPolicyInputBuilder,
        create_access_entry::builders::CreateAccessEntryInputBuilder,
        create_pod_identity_association::builders::CreatePodIdentityAssociationInputBuilder,
        update_access_entry::builders::UpdateAccessEntryInputBuilder,
    },
    types as eks,
};
use platform_core::{Error, ErrorKind, Result};
use std::collections::BTreeSet;

impl Job<'_> {
    /// Lets a principal in, with its policies. One that is let in already keeps what it has beside.
    pub(crate) async fn ensure_access_entry(
        &self,
        entry: &AccessEntry,
        foundation: &Foundation,
    ) -> Result<()> {
        let what = format!("access entry {}", entry.principal);
        self.progress.report(format!("creating {what}"));
        let content = serde_json::to_string(entry).unwrap_or_default();
        let request = CreateAccessEntryInputBuilder::default()
            .cluster_name(self.name())
            .principal_arn(&entry.principal)
            .set_kubernetes_groups((!entry.groups.is_empty()).then(|| entry.groups.clone()))
            .set_tags(Some(ownership::for_eks(&self.tags())))
            .client_request_token(self.token(foundation.incarnation(), "CreateAccessEntry", &content));
        // A principal that was made just now is not known to EKS yet.
        let waiter = self.waiter(self.deadlines.settle);
        let created = waiter.settle(&what, is_role_not_known_yet, || async {
            match self.aws.access.create_entry(request.clone()).await {
                Err(error) if error.kind == ApiErrorKind::AlreadyExists => Ok(()),
                answer => answer.map(drop),
            }
        });
        created.await?;
        self.ensure_policies(entry).await
    }

    /// Gives an entry its policies. Setting one that is there sets its scope.
    pub(crate) async fn ensure_policies(&self, entry: &AccessEntry) -> Result<()> {
        for scope in &entry.policies {
            let mut scope_request = eks::AccessScope::builder();
            scope_request = if scope.namespaces.is_empty() {
                scope_request.r#type(eks::AccessScopeType::Cluster)
            } else {
                scope_request
                    .r#type(eks::AccessScopeType::Namespace)
                    .set_namespaces(Some(scope.namespaces.clone()))
            };
            let request = AssociateAccessPolicyInputBuilder::default()
                .cluster_name(self.name())
                .principal_arn(&entry.principal)
                .policy_arn(scope.policy.arn(self.partition))
                .access_scope(scope_request.build());
            let what = format!("policy of access entry {}", entry.principal);
            // The entry may take a moment to be seen.
            let waiter = self.waiter(self.deadlines.settle);
            let settled = waiter.settle(
                &what,
                |error| error.kind == ApiErrorKind::NotFound,
                || self.aws.access.associate_policy(request.clone()),
            );
            settled.await?;
        }
        Ok(())
    }

    /// Brings an entry to its groups and policies. Policies of an entry that somebody else made stay beside.
    pub(crate) async fn update_access_entry(&self, entry: &AccessEntry, observed: &Observed) -> Result<()> {
        self.progress.report(format!("updating access entry {}", entry.principal));
        let there =
            observed.entry_details.iter().find(|there| there.principal_arn() == Some(&entry.principal));
        if there.is_some_and(|there| groups(there.kubernetes_groups()) != groups(&entry.groups)) {
            let request = UpdateAccessEntryInputBuilder::default()
                .cluster_name(self.name())
                .principal_arn(&entry.principal)
                .set_kubernetes_groups(Some(entry.groups.clone()));
            self.aws.access.update_entry(request).await?;
        }
        self.ensure_policies(entry).await?;
        if !there.is_some_and(|there| ownership::is_ours(there.tags(), &self.spec.platform)) {
            return Ok(());
        }
        let policies = observed.entry_policies.get(&entry.principal).map(Vec::as_slice).unwrap_or_default();
        for arn in policies.iter().filter_map(eks::AssociatedAccessPolicy::policy_arn) {
            if !entry.policies.iter().any(|scope| scope.policy.arn(self.partition) == arn) {
                found(self.aws.access.disassociate_policy(self.name(), &entry.principal, arn).await)?;
            }
        }
        Ok(())
    }

    pub(crate) async fn remove_access_entry(&self, principal: &str) -> Result<()> {
        self.progress.report(format!("deleting access entry {principal}"));
        found(self.aws.access.delete_entry(self.name(), principal).await)?;
        Ok(())
    }

    /// Makes, updates or removes the stack of roles that trust the cluster's issuer.
    pub(crate) async fn ensure_service_accounts(&self, cluster: &eks::Cluster) -> Result<()> {
        let name = service_accounts_stack_name(&self.spec.name);
        let Some(issuer) = issuer(cluster) else {
            return Err(Error::new(ErrorKind::Failed, "the cluster has no OIDC issuer, which IRSA needs")
                .help("let the roles' mechanism be pod-identity"));
        };
        let Some(template) = stack::service_accounts(&self.spec.name, self.settings, issuer) else {
            if self.own_stack(&name).await?.is_some() {
                self.aws.stacks.delete(&name).await?;
                self.await_stack_gone(&name).await?;
            }
            return Ok(());
        };
        let stack = self.ensure_stack(&name, || async { Ok(template.clone()) }).await?;
        if digest_of(&stack.outputs) == Some(&template.digest) {
            return Ok(());
        }
        self.update_stack(&name, template).await
    }

    /// Gives pods of a service account their role.
    pub(crate) async fn ensure_association(
        &self,
        role: &ServiceAccountRole,
        foundation: &Foundation,
    ) -> Result<()> {
        debug_assert_eq!(role.mechanism, IdentityMechanism::PodIdentity);
        let account = format!("{}/{}", role.namespace, role.service_account);
        self.progress.report(format!("giving service account {account} its role"));
        let arn = foundation.outputs.service_account_role(&role.namespace, &role.service_account)?.to_owned();
        let content = serde_json::to_string(role).unwrap_or_default();
        let request = CreatePodIdentityAssociationInputBuilder::default()
            .cluster_name(self.name())
            .namespace(&role.namespace)
            .service_account(&role.service_account)
            .role_arn(arn)
            .set_tags(Some(ownership::for_eks(&self.tags())))
            .client_request_token(self.token(
                foundation.incarnation(),
                "CreatePodIdentityAssociation",
                &content,
            ));
        let what = format!("role of service account {account}");
        let waiter = self.waiter(self.deadlines.settle);
        let created = waiter.settle(&what, is_role_not_known_yet, || async {
            match self.aws.access.create_association(request.clone()).await {
                Err(error) if error.kind == ApiErrorKind::AlreadyExists => Ok(()),
                answer => answer,
            }
        });
        created.await
    }

    pub(crate) async fn remove_association(&self, account: &str, id: &str) -> Result<()> {
        self.progress.report(format!("taking its role from service account {account}"));
        found(self.aws.access.delete_association(self.name(), id).await)?;
        Ok(())
    }
}

/// What differs between an entry and what is wanted of it, for what is known of it.
pub(crate) fn differences(
    wanted: &AccessEntry,
    there: Option<&eks::AccessEntry>,
    policies: Option<&[eks::AssociatedAccessPolicy]>,
    partition: &str,
) -> Vec<String> {
    let mut differences = Vec::new();
    let list = |words: &BTreeSet<String>| {
        if words.is_empty() { "none".to_owned() } else { words.iter().cloned().collect::<Vec<_>>().join(" ") }
    };
    if let Some(there) = there {
        let (now, then) = (groups(there.kubernetes_groups()), groups(&wanted.groups));
        if now != then {
            differences.push(format!("groups: {} -> {}", list(&now), list(&then)));
        }
    }
    if let Some(policies) = policies {
        let scope = |arn: &str, namespaces: &[String]| {
            let name = arn.rsplit('/').next().unwrap_or(arn);
            if namespaces.is_empty() {
                name.to_owned()
            } else {
                format!("{name}({})", list(&groups(namespaces)))
            }
        };
        let now: BTreeSet<String> = policies
            .iter()
            .map(|policy| {
                let namespaces = policy.access_scope().map(eks::AccessScope::namespaces).unwrap_or_default();
                scope(policy.policy_arn().unwrap_or_default(), namespaces)
            })
            .collect();
        let then: BTreeSet<String> = wanted
            .policies
            .iter()
            .map(|policy| scope(&policy.policy.arn(partition), &policy.namespaces))
            .collect();
        if now != then {
            differences.push(format!("policies: {} -> {}", list(&now), list(&then)));
        }
    }
    differences
}

fn groups(groups: &[String]) -> BTreeSet<String> {
    groups.iter().cloned().collect()
}

/// The URL of the cluster's OIDC issuer.
pub(crate) fn issuer(cluster: &eks::Cluster) -> Option<&str> {
    cluster.identity()?.oidc()?.issuer()
}
