//! What was tried against an isolation, what stopped it, and what did not.

use super::Isolation;
use crate::name::{ClusterName, EnvironmentName, Namespace, PlatformName};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Who tries.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
#[non_exhaustive]
pub enum Principal {
    /// Who deploys into an environment's namespace: a token of its account.
    Deployer {
        /// The environment.
        environment: EnvironmentName,
        /// The namespace.
        namespace: Namespace,
    },
    /// A pod of an environment.
    Pod {
        /// The environment.
        environment: EnvironmentName,
        /// The namespace.
        namespace: Namespace,
    },
    /// Who administers a cluster: the platform's own credentials. What stops it stops everybody below.
    Administrator {
        /// The cluster.
        cluster: ClusterName,
    },
}

/// `deployer of testing in testing-api1`.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deployer { environment, namespace } => {
                write!(f, "deployer of {environment} in {namespace}")
            }
            Self::Pod { environment, namespace } => write!(f, "pod of {environment} in {namespace}"),
            Self::Administrator { cluster } => write!(f, "administrator of cluster {cluster}"),
        }
    }
}

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Action {
    /// Read an object.
    Read,
    /// List objects.
    List,
    /// Read secrets.
    ReadSecrets,
    /// Create an object.
    Create,
    /// Apply an object, by server-side apply.
    Apply,
    /// Patch an object.
    Patch,
    /// Delete an object.
    Delete,
    /// Delete all objects of a kind.
    DeleteAll,
    /// Run a command in a pod.
    Exec,
    /// Show its token to another cluster's API server.
    Authenticate,
    /// Open a TCP connection and read an answer.
    Connect,
    /// Run a pod that requests more than the quota.
    ExceedQuota,
    /// Offer a port on every node.
    OpenNodePort,
    /// Take the traffic of an address that is not its own, by a Service's `externalIPs`.
    ClaimAddress,
    /// Bind an account to a cluster role in its own namespace.
    BindRole,
    /// Bind an account to a cluster role in the whole cluster.
    BindClusterRole,
    /// Give its own role more rights.
    WidenRole,
    /// Act as somebody else.
    Impersonate,
    /// Run a privileged container.
    RunPrivileged,
    /// Mount a directory of the node.
    MountHostPath,
    /// Use the node's network.
    UseHostNetwork,
    /// Take a port of the node.
    UseHostPort,
    /// Remove its network policy.
    RemoveNetworkPolicy,
    /// Remove its quota.
    RemoveQuota,
    /// Change the labels of its namespace, by which policies know it.
    RelabelNamespace,
    /// Remove the deletion guard.
    RemoveGuard,
    /// Delete a namespace.
    DeleteNamespace,
    /// Take the protection from a namespace.
    Unprotect,
}

/// A verb, to stand before a target.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::List => "list",
            Self::ReadSecrets => "read the secrets of",
            Self::Create => "create",
            Self::Apply => "apply",
            Self::Patch => "patch",
            Self::Delete | Self::DeleteNamespace => "delete",
            Self::DeleteAll => "delete all",
            Self::Exec => "run a command in",
            Self::Authenticate => "show its token to",
            Self::Connect => "connect to",
            Self::ExceedQuota => "exceed the quota of",
            Self::OpenNodePort => "open a port of every node from",
            Self::ClaimAddress => "claim a foreign address from",
            Self::BindRole | Self::BindClusterRole => "bind cluster-admin in",
            Self::WidenRole => "widen",
            Self::Impersonate => "act as",
            Self::RunPrivileged => "run a privileged pod in",
            Self::MountHostPath => "mount a node's directory in",
            Self::UseHostNetwork => "use a node's network from",
            Self::UseHostPort => "use a node's port from",
            Self::RemoveNetworkPolicy | Self::RemoveQuota | Self::RemoveGuard => "remove",
            Self::RelabelNamespace => "relabel",
            Self::Unprotect => "unprotect",
        })
    }
}

/// What stopped an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "barrier")]
#[non_exhaustive]
pub enum Barrier {
    /// The API server knows no such token.
    Authentication,
    /// Access control: RBAC grants no such right.
    AccessControl,
    /// Pod Security.
    PodSecurity,
    /// A quota.
    ResourceQuota {
        /// Its name.
        name: String,
    },
    /// An admission policy.
    AdmissionPolicy {
        /// Its name.
        name: String,
    },
    /// An admission webhook.
    AdmissionWebhook {
        /// Its name.
        name: String,
    },
    /// Network policies: no answer came, while a pod of the same environment got one.
    NetworkPolicy,
    /// Another cluster's network: no answer came, while a pod of the same environment got one.
    OtherNetwork,
}

impl fmt::Display for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authentication => f.write_str("no such token there"),
            Self::AccessControl => f.write_str("RBAC"),
            Self::PodSecurity => f.write_str("Pod Security"),
            Self::ResourceQuota { name } => write!(f, "ResourceQuota {name}"),
            Self::AdmissionPolicy { name } => write!(f, "policy {name}"),
            Self::AdmissionWebhook { name } => write!(f, "webhook {name}"),
            Self::NetworkPolicy => f.write_str("NetworkPolicy"),
            Self::OtherNetwork => f.write_str("another network"),
        }
    }
}

/// Why something was not tried.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "because")]
#[non_exhaustive]
pub enum NotTried {
    /// Nothing runs in the pods of a simulated cluster.
    Simulated,
    /// The cluster has no node that runs pods.
    NoNodes,
    /// The attempt could not be made: it says nothing about the isolation, and the isolation is not proved.
    Failed {
        /// Why, in a sentence.
        reason: String,
    },
}

impl fmt::Display for NotTried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simulated => f.write_str("simulated"),
            Self::NoNodes => f.write_str("the cluster has no ready node"),
            Self::Failed { reason } => f.write_str(reason),
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
#[non_exhaustive]
pub enum Verdict {
    /// It was stopped.
    Stopped {
        /// What stopped it.
        by: Barrier,
    },
    /// Nothing stopped it.
    Allowed,
    /// It was not made.
    NotTried {
        /// Why not.
        why: NotTried,
    },
}

/// How an attempt should end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expectation {
    /// It crosses a border.
    Stopped,
    /// It crosses none: a control, without which "stopped" might only mean that nothing works.
    Allowed,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Attempt {
    /// Who tried.
    pub principal: Principal,
    /// What.
    pub action: Action,
    /// On what: `ConfigMap production/kube-root-ca.crt`.
    pub target: String,
    /// How it should end.
    pub expected: Expectation,
    /// How it ended.
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl Attempt {
    /// An attempt that should be stopped.
    pub fn crossing(
        principal: Principal,
        action: Action,
        target: impl Into<String>,
        verdict: Verdict,
    ) -> Self {
        Self { principal, action, target: target.into(), expected: Expectation::Stopped, verdict }
    }

    /// An attempt that should not be stopped.
    pub fn control(
        principal: Principal,
        action: Action,
        target: impl Into<String>,
        verdict: Verdict,
    ) -> Self {
        Self { principal, action, target: target.into(), expected: Expectation::Allowed, verdict }
    }

    /// Whether it ended as it should. One that was not tried since there is nothing to reach counts as such; one that failed does not.
    pub fn is_as_expected(&self) -> bool {
        match (&self.verdict, self.expected) {
            (Verdict::Stopped { .. }, expected) => expected == Expectation::Stopped,
            (Verdict::Allowed, expected) => expected == Expectation::Allowed,
            (Verdict::NotTried { why: NotTried::Simulated | NotTried::NoNodes }, _) => true,
            (Verdict::NotTried { why: NotTried::Failed { .. } }, _) => false,
        }
    }
}

/// `deployer of testing in testing: list Pods of production: stopped by RBAC`.
impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}: ", self.principal, self.action, self.target)?;
        match &self.verdict {
            Verdict::Stopped { by } => write!(f, "stopped by {by}"),
            Verdict::Allowed => f.write_str("allowed"),
            Verdict::NotTried { why } => write!(f, "not tried: {why}"),
        }
    }
}

/// Whether a platform's environments are kept apart: every attempt to cross a border, and how it ended.
///
/// Made by [`Platform::verify`](crate::Platform::verify). It prints as a table, what is not as it should be marked with `!`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct IsolationReport {
    /// The platform.
    pub platform: PlatformName,
    /// The provider of its clusters.
    pub provider: String,
    /// Whether workloads are simulated, so that nothing can be said about the network.
    pub simulated: bool,
    /// How its environments are kept apart.
    pub isolation: Isolation,
    /// What was tried, in the order of principals.
    pub attempts: Vec<Attempt>,
}

impl IsolationReport {
    /// Whether everything was stopped that should be, and nothing else. An isolation of which something could not be tried does not hold,
    /// unless there is nothing to reach.
    pub fn holds(&self) -> bool {
        !self.attempts.is_empty() && self.attempts.iter().all(Attempt::is_as_expected)
    }

    /// What was not stopped, and should be.
    pub fn breaches(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts
            .iter()
            .filter(|attempt| attempt.expected == Expectation::Stopped && attempt.verdict == Verdict::Allowed)
    }

    /// Everything that did not end as it should: breaches, controls that were stopped, and attempts that could not be made.
    pub fn surprises(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().filter(|attempt| !attempt.is_as_expected())
    }

    /// The attempts at `action`.
    pub fn of(&self, action: Action) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().filter(move |attempt| attempt.action == action)
    }
}

impl fmt::Display for IsolationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut stopped, mut allowed, mut untried) = (0, 0, 0);
        for attempt in &self.attempts {
            match attempt.verdict {
                Verdict::Stopped { .. } => stopped += 1,
                Verdict::Allowed => allowed += 1,
                Verdict::NotTried { .. } => untried += 1,
            }
        }
        let holds = if self.holds() { "holds" } else { "DOES NOT HOLD" };
        write!(f, "isolation of {} on {} ({}) {holds}: ", self.platform, self.provider, self.isolation)?;
        write!(f, "{stopped} attempts stopped, {allowed} allowed, {untried} not tried")?;
        let surprises = self.surprises().count();
        if surprises > 0 {
            write!(f, ", {surprises} not as it should be")?;
        }
        let described: Vec<(String, &Attempt)> =
            self.attempts.iter().map(|a| (format!("{} {}", a.action, a.target), a)).collect();
        let width = described.iter().map(|(text, _)| text.chars().count()).max().unwrap_or(0);
        let mut principal = None;
        for (text, attempt) in described {
            if principal != Some(&attempt.principal) {
                principal = Some(&attempt.principal);
                write!(f, "\n  {}", attempt.principal)?;
            }
            let mark = if attempt.is_as_expected() { ' ' } else { '!' };
            write!(f, "\n  {mark} {text:width$}  ")?;
            match (&attempt.verdict, attempt.expected) {
                (Verdict::Stopped { by }, Expectation::Stopped) => write!(f, "stopped by {by}")?,
                (Verdict::Stopped { by }, Expectation::Allowed) => {
                    write!(f, "STOPPED by {by}, and should be allowed")?;
                }
                (Verdict::Allowed, Expectation::Allowed) => f.write_str("allowed, as it should be")?,
                (Verdict::Allowed, Expectation::Stopped) => f.write_str("ALLOWED")?,
                (Verdict::NotTried { why }, _) => write!(f, "not tried: {why}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployer() -> Principal {
        Principal::Deployer {
            environment: EnvironmentName::new("testing").unwrap(),
            namespace: Namespace::new("testing").unwrap(),
        }
    }

    fn stopped() -> Verdict {
        Verdict::Stopped { by: Barrier::AccessControl }
    }

    fn untried(why: NotTried) -> Verdict {
        Verdict::NotTried { why }
    }

    fn report(attempts: Vec<Attempt>) -> IsolationReport {
        IsolationReport {
            platform: PlatformName::new("shop").unwrap(),
            provider: "kind".to_owned(),
            simulated: false,
            isolation: Isolation::NamespacePerEnvironment,
            attempts,
        }
    }

    fn crossing(verdict: Verdict) -> Attempt {
        Attempt::crossing(deployer(), Action::List, "Pods of production", verdict)
    }

    #[test]
    fn it_holds_only_if_everything_ended_as_it_should() {
        let control = |verdict| Attempt::control(deployer(), Action::List, "Pods of testing", verdict);
        let holds = |attempts: Vec<Attempt>| report(attempts).holds();
        assert!(holds(vec![crossing(stopped()), control(Verdict::Allowed)]));
        assert!(holds(vec![crossing(untried(NotTried::Simulated)), control(untried(NotTried::NoNodes))]));
        assert!(!holds(vec![crossing(stopped()), crossing(Verdict::Allowed)]));
        assert!(!holds(vec![crossing(stopped()), control(stopped())]));
        assert!(!holds(vec![crossing(untried(NotTried::Failed { reason: "no image".into() }))]));
        // Nothing tried is nothing proved.
        assert!(!holds(Vec::new()));
    }

    #[test]
    fn the_table_marks_what_is_not_as_it_should_be() {
        let secrets =
            Attempt::crossing(deployer(), Action::ReadSecrets, "namespace production", Verdict::Allowed);
        let report = report(vec![crossing(stopped()), secrets]);
        assert_eq!(report.breaches().count(), 1);
        assert_eq!(
            report.to_string(),
            "isolation of shop on kind (namespace per environment) DOES NOT HOLD: 1 attempts stopped, 1 allowed, 0 not tried, \
             1 not as it should be\n  deployer of testing in testing\n    list Pods of production                   stopped by RBAC\n  \
             ! read the secrets of namespace production  ALLOWED"
        );
    }

    #[test]
    fn a_report_is_the_same_after_writing_and_reading() {
        let policy = Barrier::AdmissionPolicy { name: "deletion-guard.shop.production".into() };
        let attempts = vec![
            crossing(Verdict::Stopped { by: policy }),
            crossing(untried(NotTried::Failed { reason: "no image".into() })),
            Attempt::control(
                Principal::Administrator { cluster: ClusterName::new("shop-shared").unwrap() },
                Action::Connect,
                "a pod",
                Verdict::Allowed,
            ),
        ];
        let report = report(attempts);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<IsolationReport>(&text).unwrap(), report, "{text}");
    }
}
