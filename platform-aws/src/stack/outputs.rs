//! What a stack tells.

use super::{
    Place,
    template::{DIGEST, hexadecimal},
};
use crate::settings::{EksSettings, IdentityMechanism, Network, ServiceAccountRole};
use platform_core::{Error, ErrorKind, Result};
use std::collections::BTreeMap;

pub(super) const VPC: &str = "Vpc";
pub(super) const CIDR: &str = "Cidr";
pub(super) const ZONES: &str = "Zones";
pub(super) const PRIVATE_SUBNETS: &str = "PrivateSubnets";
pub(super) const PUBLIC_SUBNETS: &str = "PublicSubnets";
pub(super) const SECURITY_GROUP: &str = "SecurityGroup";
pub(super) const CLUSTER_ROLE: &str = "ClusterRole";
pub(super) const NODE_ROLE: &str = "NodeRole";
pub(super) const FARGATE_ROLE: &str = "FargateRole";

/// What the stack of a cluster made. What the settings bring themselves is not in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct StackOutputs {
    /// The VPC.
    pub(crate) vpc: Option<String>,
    /// Its zones and addresses, with which its template is written again.
    pub(crate) place: Option<Place>,
    /// The subnets of nodes, by zone.
    pub(crate) private_subnets: Vec<String>,
    /// The subnets of load balancers, by zone.
    pub(crate) public_subnets: Vec<String>,
    /// The security group of the control plane's interfaces.
    pub(crate) security_group: Option<String>,
    /// The ARN of the control plane's role.
    pub(crate) cluster_role: Option<String>,
    /// The ARN of the nodes' role.
    pub(crate) node_role: Option<String>,
    /// The ARN of the role that runs Fargate's pods.
    pub(crate) fargate_role: Option<String>,
    /// The ARNs of the roles that Pod Identity hands out, by namespace and service account.
    pub(crate) service_account_roles: BTreeMap<(String, String), String>,
    /// Which template the stack has.
    pub(crate) digest: Option<String>,
}

impl StackOutputs {
    /// Reads what a stack tells. That something is missing which the settings need is an error: the stack has another template.
    pub(crate) fn parse(outputs: &BTreeMap<String, String>, settings: &EksSettings) -> Result<Self> {
        let auto = settings.auto_mode.is_some();
        let new_network = matches!(settings.network, Network::New(_));
        let new_roles = settings.roles.is_none();
        let reader = Reader(outputs);
        let parsed = Self {
            vpc: reader.text(VPC, new_network)?,
            place: place_of(outputs)?,
            private_subnets: reader.list(PRIVATE_SUBNETS, new_network)?,
            public_subnets: reader.list(PUBLIC_SUBNETS, new_network)?,
            security_group: reader.text(SECURITY_GROUP, new_network)?,
            cluster_role: reader.text(CLUSTER_ROLE, new_roles)?,
            node_role: reader.text(NODE_ROLE, new_roles && (auto || !settings.node_groups.is_empty()))?,
            fargate_role: reader.text(FARGATE_ROLE, new_roles && !settings.fargate_profiles.is_empty())?,
            service_account_roles: service_account_roles(outputs, settings, IdentityMechanism::PodIdentity)?,
            digest: reader.text(DIGEST, false)?,
        };
        if new_network && parsed.place.is_none() {
            return Err(missing(CIDR));
        }
        Ok(parsed)
    }
}

impl StackOutputs {
    /// The ARN of the control plane's role.
    pub(crate) fn cluster_role(&self) -> Result<&str> {
        self.cluster_role.as_deref().ok_or_else(|| missing(CLUSTER_ROLE))
    }

    /// The ARN of the nodes' role.
    pub(crate) fn node_role(&self) -> Result<&str> {
        self.node_role.as_deref().ok_or_else(|| missing(NODE_ROLE))
    }

    /// The ARN of the role that runs Fargate's pods.
    pub(crate) fn fargate_role(&self) -> Result<&str> {
        self.fargate_role.as_deref().ok_or_else(|| missing(FARGATE_ROLE))
    }

    /// The security group of the control plane's interfaces.
    pub(crate) fn security_group(&self) -> Result<&str> {
        self.security_group.as_deref().ok_or_else(|| missing(SECURITY_GROUP))
    }

    /// The ARN of the role that Pod Identity hands to a service account.
    pub(crate) fn service_account_role(&self, namespace: &str, name: &str) -> Result<&str> {
        let arn = self.service_account_roles.get(&(namespace.to_owned(), name.to_owned()));
        arn.map(String::as_str)
            .ok_or_else(|| missing(&format!("the role of service account {namespace}/{name}")))
    }
}

/// The ARNs of the roles of service accounts that a stack made, by namespace and service account: those of Pod Identity in the cluster's stack, those
/// of its issuer in their own. That one is missing which the settings want is an error.
pub(crate) fn service_account_roles(
    outputs: &BTreeMap<String, String>,
    settings: &EksSettings,
    mechanism: IdentityMechanism,
) -> Result<BTreeMap<(String, String), String>> {
    let wanted = settings.service_account_roles.iter().filter(|role| role.mechanism == mechanism);
    wanted
        .map(|role| {
            let output = account_output(role);
            let arn = outputs.get(&output).ok_or_else(|| {
                let account = format!("{}/{}", role.namespace, role.service_account);
                missing(&format!("{output}, the role of service account {account}"))
            })?;
            Ok(((role.namespace.clone(), role.service_account.clone()), arn.clone()))
        })
        .collect()
}

/// The VPC of a stack; `None` where the stack made none.
pub(crate) fn vpc_of(outputs: &BTreeMap<String, String>) -> Option<&str> {
    outputs.get(VPC).map(String::as_str)
}

/// Where the VPC of a stack is; `None` where the stack made none.
pub(crate) fn place_of(outputs: &BTreeMap<String, String>) -> Result<Option<Place>> {
    let Some(cidr) = outputs.get(CIDR) else { return Ok(None) };
    let cidr = cidr.parse().map_err(|e| {
        Error::new(ErrorKind::Corrupt, format!("output {CIDR} is {cidr:?}, not a network: {e}"))
            .operation("read")
            .subject("the outputs of the stack")
    })?;
    let zones = Reader(outputs).list(ZONES, true)?;
    Ok(Some(Place { zones, cidr }))
}

/// Which template a stack has, to be compared with [`Template::digest`](super::Template); `None`: not one of ours.
pub(crate) fn digest_of(outputs: &BTreeMap<String, String>) -> Option<&str> {
    outputs.get(DIGEST).map(String::as_str)
}

/// The name of the output, and of the resource, of a service account's role. Such names have letters and digits alone: some of the account's stay
/// readable, the digest tells `a-b/c` from `a/b-c`.
pub(super) fn account_output(role: &ServiceAccountRole) -> String {
    let account = format!("{}/{}", role.namespace, role.service_account);
    let mut readable = String::new();
    for word in account.split(|c: char| !c.is_ascii_alphanumeric()) {
        let mut letters = word.chars();
        readable.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        readable.extend(letters);
    }
    readable.truncate(40);
    let digest = hexadecimal(&account);
    format!("Account{readable}{}", digest.get(..12).unwrap_or(&digest))
}

fn missing(output: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("it does not tell {output}"))
        .operation("read")
        .subject("the outputs of the stack")
        .help("the stack has the template of other settings; apply the settings again, so that it is updated")
}

struct Reader<'a>(&'a BTreeMap<String, String>);

impl Reader<'_> {
    fn text(&self, output: &str, needed: bool) -> Result<Option<String>> {
        match self.0.get(output) {
            Some(value) if !value.is_empty() => Ok(Some(value.clone())),
            _ if needed => Err(missing(output)),
            _ => Ok(None),
        }
    }

    fn list(&self, output: &str, needed: bool) -> Result<Vec<String>> {
        let text = self.text(output, needed)?;
        Ok(text.map(|text| text.split(',').map(str::to_owned).collect()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs() -> BTreeMap<String, String> {
        let pairs = [
            ("Vpc", "vpc-1"),
            ("Cidr", "10.3.0.0/16"),
            ("Zones", "eu-west-1a,eu-west-1b"),
            ("PrivateSubnets", "subnet-1,subnet-2"),
            ("PublicSubnets", "subnet-3,subnet-4"),
            ("SecurityGroup", "sg-1"),
            ("ClusterRole", "arn:aws:iam::1:role/platform-a-ClusterRole-X"),
            ("NodeRole", "arn:aws:iam::1:role/platform-a-NodeRole-X"),
            ("Digest", "00"),
        ];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn what_a_stack_tells_is_read() {
        let parsed = StackOutputs::parse(&outputs(), &EksSettings::default()).unwrap();
        assert_eq!(parsed.vpc.as_deref(), Some("vpc-1"));
        let zones = vec!["eu-west-1a".to_owned(), "eu-west-1b".to_owned()];
        assert_eq!(parsed.place, Some(Place { zones, cidr: "10.3.0.0/16".parse().unwrap() }));
        assert_eq!(parsed.private_subnets, ["subnet-1", "subnet-2"]);
        assert_eq!(parsed.public_subnets, ["subnet-3", "subnet-4"]);
        assert_eq!(parsed.security_group.as_deref(), Some("sg-1"));
        assert_eq!(parsed.node_role.as_deref(), Some("arn:aws:iam::1:role/platform-a-NodeRole-X"));
        assert_eq!((parsed.fargate_role, parsed.digest.as_deref()), (None, Some("00")));
    }

    #[test]
    fn what_the_settings_need_must_be_there() {
        for output in outputs().keys().filter(|output| *output != "Digest") {
            let mut outputs = outputs();
            outputs.remove(output);
            let error = StackOutputs::parse(&outputs, &EksSettings::default()).unwrap_err().to_string();
            assert!(error.contains(&format!("it does not tell {output} (")), "{output}: {error}");
        }
        let settings = EksSettings::from_yaml(
            "{fargateProfiles: [{name: a, selectors: [{namespace: b}]}],
              serviceAccountRoles: [{namespace: c, serviceAccount: d, policies: ['arn:aws:iam::aws:policy/P']}]}",
        )
        .unwrap();
        let mut outputs = outputs();
        let error =
            |outputs: &BTreeMap<_, _>| StackOutputs::parse(outputs, &settings).unwrap_err().to_string();
        assert!(error(&outputs).contains("FargateRole"));
        outputs.insert("FargateRole".to_owned(), "arn:f".to_owned());
        assert!(error(&outputs).contains("the role of service account c/d"), "{}", error(&outputs));
        outputs.insert(account_output(&settings.service_account_roles[0]), "arn:d".to_owned());
        let parsed = StackOutputs::parse(&outputs, &settings).unwrap();
        assert_eq!(parsed.service_account_roles[&("c".to_owned(), "d".to_owned())], "arn:d");
    }

    #[test]
    fn what_is_not_made_is_not_needed() {
        let settings = EksSettings::from_yaml(
            "{network: {existing: {vpc: vpc-1, subnets: [subnet-1, subnet-2]}},
              roles: {cluster: 'arn:aws:iam::1:role/c', node: 'arn:aws:iam::1:role/n'}}",
        )
        .unwrap();
        assert_eq!(StackOutputs::parse(&BTreeMap::new(), &settings).unwrap(), StackOutputs::default());
        let broken = BTreeMap::from([("Cidr".to_owned(), "10.0.0.0".to_owned())]);
        assert!(place_of(&broken).unwrap_err().to_string().contains("not a network"));
    }

    #[test]
    fn names_of_outputs_are_told_apart() {
        let role = |namespace: &str, account: &str| ServiceAccountRole {
            namespace: namespace.to_owned(),
            service_account: account.to_owned(),
            policies: Vec::new(),
            mechanism: IdentityMechanism::PodIdentity,
        };
        assert_eq!(
            account_output(&role("kube-system", "ebs-csi.controller")),
            format!(
                "AccountKubeSystemEbsCsiController{}",
                &hexadecimal("kube-system/ebs-csi.controller")[..12]
            )
        );
        assert_ne!(account_output(&role("a-b", "c")), account_output(&role("a", "b-c")));
        let long = account_output(&role(&"n".repeat(63), &"s.".repeat(126)));
        assert!(long.len() <= 64 && long.chars().all(|c| c.is_ascii_alphanumeric()), "{long}");
    }
}
