//! Until when EKS supports the versions of Kubernetes, and what happens then.

use crate::{api::Aws, lifecycle::changes::minor};
use aws_sdk_eks::types::{ClusterVersionInformation, SupportType, VersionStatus};
use aws_smithy_types::DateTime;
use jiff::Timestamp;
use platform_core::name::ClusterName;
use std::{sync::Arc, time::Duration};
use tokio::{sync::Mutex, time::Instant};

/// For how long what EKS says of its versions is taken for the present.
const KEPT: Duration = Duration::from_secs(3600);
/// For how long it is not asked again after it did not answer.
const SPARED: Duration = Duration::from_secs(60);

/// The versions of EKS, asked for once in an hour.
#[derive(Debug, Default)]
pub(super) struct Versions(Mutex<Option<(Instant, Arc<Vec<ClusterVersionInformation>>)>>);

impl Versions {
    /// All that EKS tells of; nothing where it does not answer.
    pub(super) async fn get(&self, aws: &Aws) -> Arc<Vec<ClusterVersionInformation>> {
        // Held while it is asked, so that clusters that are planned at the same time ask once.
        let mut kept = self.0.lock().await;
        if let Some((_, versions)) = kept.as_ref().filter(|(until, _)| Instant::now() < *until) {
            return versions.clone();
        }
        let (versions, kept_for) = match aws.clusters.versions().await {
            Ok(versions) => (Arc::new(versions), KEPT),
            Err(error) => {
                tracing::debug!(%error, "the versions of EKS are not known");
                (Arc::default(), SPARED)
            }
        };
        *kept = Some((Instant::now() + kept_for, versions.clone()));
        versions
    }
}

/// What is to be known of a cluster whose version EKS no longer supports, or only for more money.
pub(super) fn warning(
    cluster: &ClusterName,
    version: &str,
    policy: Option<&SupportType>,
    versions: &[ClusterVersionInformation],
    now: Timestamp,
) -> Option<String> {
    let Some(found) = versions.iter().find(|there| there.cluster_version() == Some(version)) else {
        // EKS tells of what it supports.
        let oldest = versions.iter().filter_map(|there| minor(there.cluster_version()?)).min()?;
        let is_older = minor(version).is_some_and(|ours| ours < oldest);
        return is_older.then(|| unsupported(cluster, version, ""));
    };
    let standard = found.end_of_standard_support_date().and_then(timestamp);
    let extended = found.end_of_extended_support_date().and_then(timestamp);
    let is_over = |end: Option<Timestamp>| end.is_some_and(|end| end <= now);
    let runs = format!("cluster {cluster} runs Kubernetes {version}");
    if is_over(extended) || found.version_status() == Some(&VersionStatus::Unsupported) {
        let ended = extended.map_or_else(String::new, |end| format!(" since {}", date(end)));
        return Some(unsupported(cluster, version, &ended));
    }
    if !is_over(standard) && found.version_status() != Some(&VersionStatus::ExtendedSupport) {
        return None;
    }
    let ended = standard.map_or_else(String::new, |end| format!(" on {}", date(end)));
    let then = match (policy, extended) {
        (Some(SupportType::Standard), _) => {
            "EKS upgrades its control plane without asking; upgrade it".to_owned()
        }
        (_, Some(end)) => format!(
            "extended support costs six times as much, until EKS upgrades it on {}; upgrade it",
            date(end)
        ),
        (_, None) => "extended support costs six times as much; upgrade it".to_owned(),
    };
    Some(format!("{runs}, whose standard support ended{ended}: {then}"))
}

fn unsupported(cluster: &ClusterName, version: &str, ended: &str) -> String {
    format!(
        "cluster {cluster} runs Kubernetes {version}, which EKS does not support any more{ended}: EKS upgrades its control plane without asking; \
         upgrade it"
    )
}

fn timestamp(date: &DateTime) -> Option<Timestamp> {
    Timestamp::from_second(date.secs()).ok()
}

/// `2026-07-23`.
fn date(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(standard: &str, extended: &str) -> ClusterVersionInformation {
        let at = |text: &str| {
            let at: Timestamp = format!("{text}T00:00:00Z").parse().unwrap();
            DateTime::from_secs(at.as_second())
        };
        ClusterVersionInformation::builder()
            .cluster_version("1.31")
            .end_of_standard_support_date(at(standard))
            .end_of_extended_support_date(at(extended))
            .build()
    }

    fn told(policy: Option<&SupportType>, versions: &[ClusterVersionInformation]) -> Option<String> {
        let name = ClusterName::new("shop-testing").unwrap();
        let now = "2026-01-15T12:00:00Z".parse().unwrap();
        warning(&name, "1.31", policy, versions, now)
    }

    #[test]
    fn only_versions_out_of_support_are_warned_of() {
        let extended = Some(&SupportType::Extended);
        assert_eq!(told(extended, &[version("2026-01-16", "2027-01-16")]), None);
        assert_eq!(told(extended, &[]), None);
        assert_eq!(
            told(extended, &[version("2025-11-26", "2026-11-26")]).as_deref(),
            Some(
                "cluster shop-testing runs Kubernetes 1.31, whose standard support ended on 2025-11-26: extended support costs six times as much, \
                 until EKS upgrades it on 2026-11-26; upgrade it"
            )
        );
        assert_eq!(
            told(Some(&SupportType::Standard), &[version("2025-11-26", "2026-11-26")]).as_deref(),
            Some(
                "cluster shop-testing runs Kubernetes 1.31, whose standard support ended on 2025-11-26: EKS upgrades its control plane without \
                 asking; upgrade it"
            )
        );
        assert_eq!(
            told(extended, &[version("2024-11-26", "2025-11-26")]).as_deref(),
            Some(
                "cluster shop-testing runs Kubernetes 1.31, which EKS does not support any more since 2025-11-26: EKS upgrades its control plane \
                 without asking; upgrade it"
            )
        );
    }

    #[test]
    fn without_dates_the_word_of_eks_counts() {
        let is = |status| {
            ClusterVersionInformation::builder().cluster_version("1.31").version_status(status).build()
        };
        assert_eq!(told(None, &[is(VersionStatus::StandardSupport)]), None);
        assert!(told(None, &[is(VersionStatus::ExtendedSupport)]).unwrap().contains("six times as much"));
        let newer = ClusterVersionInformation::builder().cluster_version("1.32").build();
        assert!(told(None, &[newer]).unwrap().contains("does not support any more:"));
        assert!(told(None, &[is(VersionStatus::Unsupported)]).unwrap().contains("does not support any more"));
    }
}
