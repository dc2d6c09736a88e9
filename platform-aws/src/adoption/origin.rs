//! Who made a cluster, by its tags.

use crate::ownership::PLATFORM_TAG;
use std::{collections::HashMap, fmt};

/// Both the former and the present tag.
const EKSCTL_TAGS: [&str; 2] =
    ["alpha.eksctl.io/cluster-name", "eksctl.cluster.k8s.io/v1alpha1/cluster-name"];
const STACK_TAG: &str = "aws:cloudformation:stack-name";

/// Who made a cluster. Tags tell it, and anybody can write tags: it is a hint, no proof.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// A platform of this software.
    Platform(String),
    /// eksctl.
    Eksctl,
    /// Terraform or OpenTofu, which leave no tag of their own: a tag that people write there.
    Terraform {
        /// The tag.
        evidence: String,
    },
    /// A stack of CloudFormation, by hand or by the CDK.
    CloudFormation {
        /// The stack.
        stack: String,
    },
    /// Nobody who leaves a sign.
    Unknown,
}

impl Origin {
    pub(super) fn of(tags: &HashMap<String, String>) -> Self {
        if let Some(platform) = tags.get(PLATFORM_TAG) {
            return Self::Platform(platform.clone());
        }
        if EKSCTL_TAGS.iter().any(|tag| tags.contains_key(*tag)) {
            return Self::Eksctl;
        }
        if let Some(stack) = tags.get(STACK_TAG) {
            return Self::CloudFormation { stack: stack.clone() };
        }
        // The least of several, so that the answer is always the same.
        let signs = tags.iter().filter(|(key, value)| is_of_terraform(key, value));
        match signs.min() {
            Some((key, value)) => Self::Terraform { evidence: format!("{key}={value}") },
            None => Self::Unknown,
        }
    }
}

/// `Terraform=true`, `ManagedBy=Terraform`, `GithubRepo=terraform-aws-eks` and the like.
fn is_of_terraform(key: &str, value: &str) -> bool {
    [key, value].iter().any(|text| {
        let text = text.to_ascii_lowercase();
        text.contains("terraform") || text.contains("opentofu")
    }) && !value.eq_ignore_ascii_case("false")
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Platform(platform) => write!(f, "the platform {platform}"),
            Self::Eksctl => f.write_str("eksctl"),
            Self::Terraform { evidence } => write!(f, "Terraform, by the tag {evidence}"),
            Self::CloudFormation { stack } => write!(f, "the CloudFormation stack {stack}"),
            Self::Unknown => f.write_str("somebody who left no sign"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(tags: &[(&str, &str)]) -> Origin {
        Origin::of(&tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn tags_tell_who_made_it() {
        let stack = ("aws:cloudformation:stack-name", "eksctl-a-cluster");
        assert_eq!(of(&[("alpha.eksctl.io/cluster-name", "a"), stack]), Origin::Eksctl);
        assert_eq!(of(&[("eksctl.cluster.k8s.io/v1alpha1/cluster-name", "a")]), Origin::Eksctl);
        assert_eq!(of(&[stack]).to_string(), "the CloudFormation stack eksctl-a-cluster");
        let terraform =
            [("Terraform", "true"), ("ManagedBy", "OpenTofu"), ("GithubRepo", "terraform-aws-eks")];
        for tag in terraform {
            assert_eq!(of(&[tag]), Origin::Terraform { evidence: format!("{}={}", tag.0, tag.1) });
        }
        assert_eq!(of(&[("terraform", "false"), ("team", "a")]), Origin::Unknown);
        let ours = [("platform.dev/platform", "shop"), ("alpha.eksctl.io/cluster-name", "a")];
        assert_eq!(of(&ours), Origin::Platform("shop".to_owned()));
    }
}
