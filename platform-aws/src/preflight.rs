//! Whether clusters can be made, asked before any is.

use crate::{
    api::{ApiError, ApiErrorKind, Caller},
    ownership::{CLUSTER_TAG, PLATFORM_TAG},
    permissions::{PermissionCheck, PermissionScope, Phase},
    provider::EksProvider,
    settings::{EksSettings, Network},
};
use futures::future::join_all;
use ipnet::Ipv4Net;
use platform_core::{Error, ErrorKind, Result, cluster::ClusterSpec};
use serde::Serialize;
use std::fmt;

/// The quota of clusters in a region.
const CLUSTERS: (&str, &str) = ("eks", "L-1194D53C");
/// The quota of VPCs in a region.
const VPCS: (&str, &str) = ("vpc", "L-F678F1CE");

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "verdict", content = "why")]
#[non_exhaustive]
pub enum PreflightVerdict {
    /// It is well; what was found.
    Passed(String),
    /// It could not be found out; why. Clusters can be made all the same.
    NotChecked(String),
    /// Clusters cannot be made; why.
    Failed(String),
}

/// A check before clusters are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PreflightCheck {
    /// What is checked.
    pub name: &'static str,
    /// What it came to.
    #[serde(flatten)]
    pub verdict: PreflightVerdict,
    #[serde(skip)]
    kind: ErrorKind,
}

/// All that was checked, without writing anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PreflightReport {
    /// The region.
    pub region: String,
    /// The checks, in order.
    pub checks: Vec<PreflightCheck>,
}

impl PreflightReport {
    /// An error that tells all failed checks, if there are any. Its kind is that of the first.
    pub fn into_result(self) -> Result<()> {
        let failed = |check: &PreflightCheck| match &check.verdict {
            PreflightVerdict::Failed(why) => Some(format!("{}: {why}", check.name)),
            _ => None,
        };
        let failures: Vec<String> = self.checks.iter().filter_map(failed).collect();
        let Some(first) = self.checks.iter().find(|check| failed(check).is_some()) else { return Ok(()) };
        let help = match first.kind {
            ErrorKind::Denied => {
                "give valid credentials of a caller that has the permissions; `EksProvider::iam_policy` prints them"
            }
            ErrorKind::Exhausted => "have the quota raised in Service Quotas, or delete what is not needed",
            ErrorKind::Conflict => "choose addresses that are free, or leave them out",
            _ => "check the region, the endpoint and the way to it",
        };
        Err(Error::new(first.kind, failures.join("; "))
            .operation("use")
            .subject(format!("EKS in {}", self.region))
            .help(help))
    }

    fn add(&mut self, name: &'static str, verdict: PreflightVerdict, kind: ErrorKind) {
        self.checks.push(PreflightCheck { name, verdict, kind });
    }
}

/// A line for each check.
impl fmt::Display for PreflightReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            let (word, why) = match &check.verdict {
                PreflightVerdict::Passed(found) => ("ok", found),
                PreflightVerdict::NotChecked(why) => ("not checked", why),
                PreflightVerdict::Failed(why) => ("FAILED", why),
            };
            writeln!(f, "{word:<11}  {}: {why}", check.name)?;
        }
        Ok(())
    }
}

impl EksProvider {
    /// Checks who calls, whether the region answers, which permissions and quotas there are, and whether addresses are free. Reads only.
    ///
    /// What may not be read is told as not checked: few roles may simulate policies. Permissions are asked for the clusters that were planned before.
    pub async fn preflight_report(&self) -> Result<PreflightReport> {
        let mut report = PreflightReport { region: self.region().to_owned(), checks: Vec::new() };
        let caller = match self.aws().account.caller().await {
            Ok(caller) => caller,
            Err(error) => {
                let kind = Error::from(error.clone()).kind();
                report.add("caller", PreflightVerdict::Failed(error.to_string()), kind);
                return Ok(report);
            }
        };
        report.add("caller", PreflightVerdict::Passed(caller.arn.clone()), ErrorKind::Denied);
        let aws = self.aws();
        let (zones, vpcs, permissions, clusters) = futures::join!(
            aws.network.zones(),
            aws.network.vpcs(),
            self.check_permissions(&caller),
            aws.clusters.list(),
        );
        let (verdict, kind) = match zones {
            Ok(zones) if zones.len() < 2 => (
                PreflightVerdict::Failed(format!("it has {} zones, EKS needs 2", zones.len())),
                ErrorKind::Exhausted,
            ),
            Ok(zones) => (PreflightVerdict::Passed(format!("{} zones", zones.len())), ErrorKind::Unavailable),
            Err(error) => failed(&error),
        };
        report.add("region", verdict, kind);
        report.add("permissions", permissions, ErrorKind::Denied);
        let planned = self.planned();
        let use_of_clusters = clusters.map(|clusters| {
            let wanted =
                planned.iter().filter(|spec| !clusters.iter().any(|name| *name == spec.name.as_str()));
            Use { used: clusters.len(), wanted: at_least_one(&planned, wanted.count()) }
        });
        report.add(
            "quota of clusters",
            self.check_quota(CLUSTERS, use_of_clusters).await,
            ErrorKind::Exhausted,
        );
        let (addresses, use_of_vpcs) = match vpcs {
            Ok(vpcs) => {
                let taken: Vec<(String, Ipv4Net)> = vpcs
                    .iter()
                    .filter(|vpc| !vpc.tags.contains_key(PLATFORM_TAG))
                    .flat_map(|vpc| vpc.cidrs.iter().map(|cidr| (vpc.id.clone(), *cidr)))
                    .collect();
                let there = |spec: &ClusterSpec| {
                    vpcs.iter()
                        .any(|vpc| vpc.tags.get(CLUSTER_TAG).map(String::as_str) == Some(spec.name.as_str()))
                };
                let is_new = |spec: &ClusterSpec| matches!(self.settings_of(spec).network, Network::New(_));
                let wanted = planned.iter().filter(|spec| is_new(spec) && !there(spec)).count();
                let wanted = at_least_one(&planned, wanted);
                (addresses(self.all_settings(), &taken), Ok(Use { used: vpcs.len(), wanted }))
            }
            Err(error) => (PreflightVerdict::NotChecked(error.to_string()), Err(error)),
        };
        report.add("quota of VPCs", self.check_quota(VPCS, use_of_vpcs).await, ErrorKind::Exhausted);
        report.add("addresses", addresses, ErrorKind::Conflict);
        Ok(report)
    }

    async fn check_permissions(&self, caller: &Caller) -> PreflightVerdict {
        // A session is simulated by its role, whose path only IAM knows.
        let principal = match caller.role() {
            Some(role) => match self.aws().account.role_arn(role).await {
                Ok(arn) => arn,
                Err(error) => return PreflightVerdict::NotChecked(error.to_string()),
            },
            None => caller.arn.clone(),
        };
        let planned = self.planned();
        if planned.is_empty() {
            return PreflightVerdict::NotChecked(
                "no cluster was planned yet: policies allow by name".to_owned(),
            );
        }
        let mut checks: Vec<PermissionCheck> = Vec::new();
        for spec in planned {
            let scope = PermissionScope {
                partition: caller.partition(),
                account: &caller.account,
                region: self.region(),
                clusters: std::slice::from_ref(&spec.name),
                settings: &self.settings_of(&spec),
            };
            for check in scope.checks(&[Phase::Preflight, Phase::Create, Phase::Delete]) {
                if !checks.contains(&check) {
                    checks.push(check);
                }
            }
        }
        let asked = checks.iter().map(|check| self.aws().account.permissions(&principal, check));
        let mut allowed = 0;
        let mut denied = Vec::new();
        for answer in join_all(asked).await {
            match answer {
                Ok(permissions) => {
                    allowed += permissions.iter().filter(|permission| permission.allowed).count();
                    denied.extend(
                        permissions
                            .into_iter()
                            .filter(|permission| !permission.allowed)
                            .map(|permission| permission.action),
                    );
                }
                Err(error) => return PreflightVerdict::NotChecked(error.to_string()),
            }
        }
        if denied.is_empty() {
            return PreflightVerdict::Passed(format!("{allowed} actions are allowed"));
        }
        denied.sort();
        denied.dedup();
        PreflightVerdict::Failed(format!("{principal} may not {}", denied.join(", ")))
    }

    async fn check_quota(
        &self,
        (service, code): (&str, &str),
        asked: Result<Use, ApiError>,
    ) -> PreflightVerdict {
        let Use { used, wanted } = match asked {
            Ok(asked) => asked,
            Err(error) => return PreflightVerdict::NotChecked(error.to_string()),
        };
        match self.aws().account.quota(service, code).await {
            Ok(quota) => {
                let told = format!("{used} of {} are in use, {wanted} more are wanted", quota.value);
                if (used + wanted) as f64 > quota.value {
                    PreflightVerdict::Failed(told)
                } else {
                    PreflightVerdict::Passed(told)
                }
            }
            Err(error) => PreflightVerdict::NotChecked(error.to_string()),
        }
    }
}

/// How much of a quota there is, and how much will be.
struct Use {
    used: usize,
    wanted: usize,
}

/// Where nothing was planned yet, one is what somebody will want.
fn at_least_one(planned: &[ClusterSpec], wanted: usize) -> usize {
    if planned.is_empty() { 1 } else { wanted }
}

fn failed(error: &ApiError) -> (PreflightVerdict, ErrorKind) {
    if error.kind == ApiErrorKind::Denied {
        return (PreflightVerdict::NotChecked(error.to_string()), ErrorKind::Denied);
    }
    (PreflightVerdict::Failed(error.to_string()), Error::from(error.clone()).kind())
}

/// Whether addresses that are set overlap others.
fn addresses<'a>(
    settings: impl Iterator<Item = &'a EksSettings>,
    taken: &[(String, Ipv4Net)],
) -> PreflightVerdict {
    let mut checked: Vec<(String, Ipv4Net)> = taken.to_vec();
    let mut count = 0;
    for settings in settings {
        let Network::New(new) = &settings.network else { continue };
        let Some(cidr) = new.cidr else { continue };
        if let Some((whose, other)) =
            checked.iter().find(|(_, other)| other.contains(&cidr) || cidr.contains(other))
        {
            return PreflightVerdict::Failed(format!("{cidr} overlaps {other} of {whose}"));
        }
        checked.push(("another cluster".to_owned(), cidr));
        count += 1;
    }
    PreflightVerdict::Passed(format!("{count} networks are set, none overlaps another"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_are_found_among_settings_and_vpcs() {
        let settings =
            |cidr: &str| EksSettings::from_yaml(&format!("network: {{new: {{cidr: {cidr}}}}}")).unwrap();
        let taken = [("vpc-1".to_owned(), "172.31.0.0/16".parse().unwrap())];
        let check = |cidrs: &[&str]| {
            let settings: Vec<EksSettings> = cidrs.iter().map(|cidr| settings(cidr)).collect();
            addresses(settings.iter(), &taken)
        };
        assert!(matches!(check(&["10.0.0.0/16", "10.1.0.0/16"]), PreflightVerdict::Passed(_)));
        assert_eq!(
            check(&["172.31.0.0/20"]),
            PreflightVerdict::Failed("172.31.0.0/20 overlaps 172.31.0.0/16 of vpc-1".to_owned())
        );
        assert!(matches!(check(&["10.0.0.0/16", "10.0.16.0/20"]), PreflightVerdict::Failed(_)));
    }

    #[test]
    fn all_failures_are_told() {
        let mut report = PreflightReport { region: "eu-west-1".to_owned(), checks: Vec::new() };
        report.add("caller", PreflightVerdict::Passed("me".to_owned()), ErrorKind::Denied);
        report.add("permissions", PreflightVerdict::Failed("no".to_owned()), ErrorKind::Denied);
        report.add(
            "quota of VPCs",
            PreflightVerdict::Failed("5 of 5 are in use".to_owned()),
            ErrorKind::Exhausted,
        );
        assert!(report.to_string().contains("FAILED       permissions: no"));
        let error = report.into_result().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(error.to_string().contains("permissions: no; quota of VPCs: 5 of 5"), "{error}");
    }
}
