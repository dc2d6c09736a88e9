//! Kubeconfigs for kubectl, which asks the AWS CLI for tokens.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use platform_core::{Error, Result};
use serde::Serialize;

/// What kubectl and other tools need to reach a cluster: its address, whom to trust there, and that the AWS CLI gives tokens. No secret is in it.
///
/// ```
/// use platform_aws::access::Kubeconfig;
///
/// let text = Kubeconfig::new("shop", "eu-west-1", "https://0123.gr7.eu-west-1.eks.amazonaws.com")
///     .profile("work")
///     .to_yaml()?;
/// assert!(text.contains("get-token"));
/// # Ok::<(), platform_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubeconfig {
    cluster: String,
    region: String,
    server: String,
    context: Option<String>,
    certificate_authority: Option<Vec<u8>>,
    role_arn: Option<String>,
    profile: Option<String>,
}

impl Kubeconfig {
    /// For the cluster that EKS calls `cluster`, whose API server is at `server`.
    pub fn new(cluster: impl Into<String>, region: impl Into<String>, server: impl Into<String>) -> Self {
        Self {
            cluster: cluster.into(),
            region: region.into(),
            server: server.into(),
            context: None,
            certificate_authority: None,
            role_arn: None,
            profile: None,
        }
    }

    /// The name of the context, the cluster and the user in it. Default: the cluster's.
    #[must_use]
    pub fn context(mut self, name: impl Into<String>) -> Self {
        self.context = Some(name.into());
        self
    }

    /// Trusts servers whose certificates `pem` signed. Default: those that the machine trusts.
    #[must_use]
    pub fn certificate_authority(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificate_authority = Some(pem.into());
        self
    }

    /// Takes this role for tokens. Default: the caller's own identity.
    #[must_use]
    pub fn role_arn(mut self, arn: impl Into<String>) -> Self {
        self.role_arn = Some(arn.into());
        self
    }

    /// Lets the AWS CLI use this profile. Default: the one that is set where kubectl runs.
    #[must_use]
    pub fn profile(mut self, name: impl Into<String>) -> Self {
        self.profile = Some(name.into());
        self
    }

    /// As YAML, the content of a file.
    pub fn to_yaml(&self) -> Result<String> {
        let name = self.context.as_deref().unwrap_or(&self.cluster);
        let mut args = vec![
            "--region",
            &self.region,
            "eks",
            "get-token",
            "--cluster-name",
            &self.cluster,
            "--output",
            "json",
        ];
        if let Some(role) = &self.role_arn {
            args.extend(["--role-arn", role]);
        }
        let profile = self.profile.as_deref();
        let file = File {
            api_version: "v1",
            kind: "Config",
            clusters: [Named {
                name,
                value: Entry::Cluster {
                    server: &self.server,
                    certificate_authority_data: self
                        .certificate_authority
                        .as_ref()
                        .map(|pem| STANDARD.encode(pem)),
                },
            }],
            contexts: [Named { name, value: Entry::Context { cluster: name, user: name } }],
            current_context: name,
            users: [Named {
                name,
                value: Entry::User {
                    exec: Exec {
                        api_version: "client.authentication.k8s.io/v1beta1",
                        command: "aws",
                        args,
                        env: profile.map(|value| [Variable { name: "AWS_PROFILE", value }]),
                    },
                },
            }],
        };
        serde_saphyr::to_string(&file).map_err(|error| {
            Error::internal(error.to_string())
                .operation("write the kubeconfig of")
                .subject(format!("cluster {}", self.cluster))
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    api_version: &'static str,
    kind: &'static str,
    clusters: [Named<'a>; 1],
    contexts: [Named<'a>; 1],
    #[serde(rename = "current-context")]
    current_context: &'a str,
    users: [Named<'a>; 1],
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    #[serde(flatten)]
    value: Entry<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Entry<'a> {
    #[serde(rename_all = "kebab-case")]
    Cluster {
        server: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        certificate_authority_data: Option<String>,
    },
    Context {
        cluster: &'a str,
        user: &'a str,
    },
    User {
        exec: Exec<'a>,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Exec<'a> {
    api_version: &'static str,
    command: &'static str,
    args: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    env: Option<[Variable<'a>; 1]>,
}

#[derive(Serialize)]
struct Variable<'a> {
    name: &'static str,
    value: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(kubeconfig: &Kubeconfig) -> Value {
        serde_saphyr::from_str(&kubeconfig.to_yaml().unwrap()).unwrap()
    }

    #[test]
    fn it_is_what_the_aws_cli_writes() {
        let arn = "arn:aws:eks:eu-west-1:123456789012:cluster/shop";
        let kubeconfig = Kubeconfig::new("shop", "eu-west-1", "https://shop.example")
            .context(arn)
            .certificate_authority("PEM\n")
            .role_arn("arn:aws:iam::123456789012:role/admin")
            .profile("work");
        let expected = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": arn, "cluster": {"server": "https://shop.example", "certificate-authority-data": "UEVNCg=="}}],
            "contexts": [{"name": arn, "context": {"cluster": arn, "user": arn}}],
            "current-context": arn,
            "users": [{"name": arn, "user": {"exec": {
                "apiVersion": "client.authentication.k8s.io/v1beta1",
                "command": "aws",
                "args": [
                    "--region", "eu-west-1", "eks", "get-token", "--cluster-name", "shop", "--output", "json",
                    "--role-arn", "arn:aws:iam::123456789012:role/admin",
                ],
                "env": [{"name": "AWS_PROFILE", "value": "work"}],
            }}}],
        });
        assert_eq!(read(&kubeconfig), expected);
    }

    #[test]
    fn what_is_not_given_is_left_out_and_names_stay_text() {
        let read = read(&Kubeconfig::new("1e3", "eu-west-1", "https://shop.example"));
        assert_eq!(read["current-context"], json!("1e3"));
        assert_eq!(read["users"][0]["user"]["exec"]["args"][5], json!("1e3"));
        assert_eq!(read["clusters"][0]["cluster"], json!({"server": "https://shop.example"}));
        assert_eq!(read["users"][0]["user"]["exec"].get("env"), None);
    }
}
