//! The services that are called so: where they are and how they are spoken to.

use crate::partition::domain;
use std::borrow::Cow;

/// A service of AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Service {
    /// Its name in signatures and hosts.
    pub(crate) name: &'static str,
    /// What requests are written in.
    pub(crate) protocol: Protocol,
    /// Whether it is one for all regions of a partition.
    global: bool,
}

/// What requests are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// A form, answered by XML. With the version of the API.
    Query(&'static str),
    /// JSON, with the name of the API that comes before the operation's.
    Json(&'static str),
}

/// Networks, volumes.
pub(crate) const EC2: Service = Service::query("ec2", "2016-11-15");
/// Application and network load balancers.
pub(crate) const LOAD_BALANCING: Service = Service::query("elasticloadbalancing", "2015-12-01");
/// Load balancers of the former generation.
pub(crate) const CLASSIC_LOAD_BALANCING: Service = Service::query("elasticloadbalancing", "2012-06-01");
/// Roles and what they may do.
pub(crate) const IAM: Service = Service { global: true, ..Service::query("iam", "2010-05-08") };
/// Quotas.
pub(crate) const SERVICE_QUOTAS: Service =
    Service { name: "servicequotas", protocol: Protocol::Json("ServiceQuotasV20190624"), global: false };

impl Service {
    const fn query(name: &'static str, version: &'static str) -> Self {
        Self { name, protocol: Protocol::Query(version), global: false }
    }

    /// The region that requests are signed for by somebody who works in `region`.
    pub(crate) fn signing_region<'a>(&self, region: &'a str) -> Cow<'a, str> {
        if !self.global {
            return region.into();
        }
        match region {
            region if region.starts_with("cn-") => "cn-north-1",
            region if region.starts_with("us-gov-") => "us-gov-west-1",
            region if region.starts_with("eusc-") => "eusc-de-east-1",
            region if region.starts_with("us-isob-") => "us-isob-east-1",
            region if region.starts_with("us-iso-") => "us-iso-east-1",
            _ => "us-east-1",
        }
        .into()
    }

    /// Its URL for somebody who works in `region`; `fips`: where encryption is validated by FIPS 140.
    pub(crate) fn endpoint(&self, region: &str, fips: bool) -> String {
        let name = self.name;
        // In GovCloud these hosts are validated as they are.
        if region.starts_with("us-gov-") {
            match name {
                "iam" => return "https://iam.us-gov.amazonaws.com".to_owned(),
                "ec2" | "elasticloadbalancing" | "servicequotas" => {
                    return format!("https://{name}.{region}.amazonaws.com");
                }
                _ => {}
            }
        }
        let fips = if fips { "-fips" } else { "" };
        match self.signing_region(region).as_ref() {
            "us-east-1" if self.global => format!("https://{name}{fips}.amazonaws.com"),
            signing => format!("https://{name}{fips}.{signing}.{}", domain(region)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As botocore's rules of endpoints say.
    #[test]
    fn endpoints_follow_their_partition() {
        let endpoints = include_str!("../../../tests/fixtures/endpoints.json");
        let endpoints: Vec<(String, String, bool, String, String)> = serde_json::from_str(endpoints).unwrap();
        assert!(endpoints.len() >= 40, "{}", endpoints.len());
        for (service, region, fips, url, signing) in endpoints {
            let of = [EC2, LOAD_BALANCING, IAM, SERVICE_QUOTAS].into_iter().find(|one| one.name == service);
            let of = of.unwrap();
            assert_eq!(of.endpoint(&region, fips), url, "{service} in {region}");
            assert_eq!(of.signing_region(&region), signing, "{service} in {region}");
        }
    }
}
