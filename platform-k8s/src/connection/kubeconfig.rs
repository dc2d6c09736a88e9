//! Access from a kubeconfig file.

use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_STANDARD};
use kube::config::{AuthInfo, Kubeconfig};
use platform_core::{
    Error, ErrorKind, Result,
    cluster::{ClusterAccess, Credential, CredentialSource},
    name::ClusterName,
};
use secrecy::{ExposeSecret, SecretString};
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Access to the cluster of a context of a kubeconfig file; `None`: of its current context.
///
/// Understands tokens, token files, client certificates and certificate authorities, inline or as files. Files are read again
/// whenever a credential is asked for, so that a rotated token or certificate is picked up.
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid) if the file cannot be read or lacks the context, its cluster or its user, and
/// [`Unsupported`](ErrorKind::Unsupported) for a user of an exec plugin, an auth provider or a password, and for
/// a cluster whose certificate is not to be verified.
pub fn access_from_kubeconfig(
    path: &Path,
    context: Option<&str>,
    name: ClusterName,
) -> Result<ClusterAccess> {
    read(path, context, name)
        .map_err(|e| e.operation("read").subject(format!("kubeconfig {}", path.display())))
}

fn read(path: &Path, context: Option<&str>, name: ClusterName) -> Result<ClusterAccess> {
    let config = Kubeconfig::read_from(path).map_err(|e| Error::invalid("it is no kubeconfig").source(e))?;
    access_from(&config, context, name)
}

/// Access to the cluster of a context of a kubeconfig that has been read.
pub(crate) fn access_from(
    config: &Kubeconfig,
    context: Option<&str>,
    name: ClusterName,
) -> Result<ClusterAccess> {
    let context_name = context.or(config.current_context.as_deref()).ok_or_else(|| {
        Error::invalid("it has no current context")
            .help("name a context, or set one with `kubectl config use-context`")
    })?;
    let context =
        config.contexts.iter().find(|c| c.name == context_name).and_then(|c| c.context.as_ref()).ok_or_else(
            || {
                let names: Vec<&str> = config.contexts.iter().map(|c| c.name.as_str()).collect();
                Error::invalid(format!("it has no context {context_name:?}, only {names:?}"))
            },
        )?;
    let cluster = config
        .clusters
        .iter()
        .find(|c| c.name == context.cluster)
        .and_then(|c| c.cluster.as_ref())
        .ok_or_else(|| Error::invalid(format!("it has no cluster {:?}", context.cluster)))?;
    let server = cluster
        .server
        .clone()
        .ok_or_else(|| Error::invalid(format!("cluster {:?} has no server", context.cluster)))?;
    let unsupported = |what: &str| Error::new(ErrorKind::Unsupported, format!("{what} is not supported"));
    if cluster.insecure_skip_tls_verify == Some(true) {
        return Err(
            unsupported("insecure-skip-tls-verify").help("give the certificate authority of the server")
        );
    }
    if cluster.tls_server_name.is_some() || cluster.proxy_url.is_some() {
        return Err(unsupported("a cluster with tls-server-name or proxy-url"));
    }
    let mut access = ClusterAccess::new(name, server);
    let authority = Material::of(
        cluster.certificate_authority_data.as_deref(),
        cluster.certificate_authority.as_deref(),
        "certificate-authority",
    );
    if let Some(authority) = authority {
        access = access.certificate_authority(authority.read()?);
    }
    if let Some(user_name) = &context.user {
        let user = config
            .auth_infos
            .iter()
            .find(|u| &u.name == user_name)
            .ok_or_else(|| Error::invalid(format!("it has no user {user_name:?}")))?;
        if let Some(user) = &user.auth_info {
            let credentials = KubeconfigUser::new(user)?;
            access = access.credentials(std::sync::Arc::new(credentials));
        }
    }
    Ok(access)
}

/// Something of a kubeconfig that is either inline in base64 or in a file.
#[derive(Clone)]
pub(super) enum Material {
    Inline(&'static str, SecretString),
    File(PathBuf),
}

impl Material {
    fn of(inline: Option<&str>, file: Option<&str>, what: &'static str) -> Option<Self> {
        let present = |text: &&str| !text.is_empty();
        match (inline.filter(present), file.filter(present)) {
            (Some(inline), _) => Some(Self::Inline(what, inline.into())),
            (None, Some(file)) => Some(Self::File(file.into())),
            (None, None) => None,
        }
    }

    pub(super) fn read(&self) -> Result<Vec<u8>> {
        match self {
            Self::Inline(what, data) => BASE64_STANDARD
                .decode(data.expose_secret().trim())
                .map_err(|e| Error::invalid(format!("{what}-data is not base64")).source(e)),
            Self::File(path) => std::fs::read(path)
                .map_err(|e| Error::invalid(format!("cannot read {}", path.display())).source(e)),
        }
    }

    fn read_secret(&self) -> Result<SecretString> {
        let text =
            String::from_utf8(self.read()?).map_err(|_| Error::invalid("a key or token is not text"))?;
        Ok(text.trim().into())
    }
}

/// The user of a kubeconfig's context.
pub(super) enum KubeconfigUser {
    Nobody,
    Token(SecretString),
    TokenFile(Material),
    Certificate { certificate: Material, key: Material },
}

impl KubeconfigUser {
    fn new(user: &AuthInfo) -> Result<Self> {
        for (present, what) in [
            (user.exec.is_some(), "an exec plugin"),
            (user.auth_provider.is_some(), "an auth provider"),
            (user.username.is_some() || user.password.is_some(), "a user with a password"),
            (user.impersonate.is_some(), "impersonation"),
        ] {
            if present {
                return Err(Error::new(ErrorKind::Unsupported, format!("{what} is not supported"))
                    .help("use a token, a token file or a client certificate, or write a CredentialSource"));
            }
        }
        let certificate = Material::of(
            user.client_certificate_data.as_deref(),
            user.client_certificate.as_deref(),
            "client-certificate",
        );
        let key_data = user.client_key_data.as_ref().map(ExposeSecret::expose_secret);
        let key = Material::of(key_data, user.client_key.as_deref(), "client-key");
        match (certificate, key) {
            (Some(certificate), Some(key)) => return Ok(Self::Certificate { certificate, key }),
            (None, None) => {}
            _ => return Err(Error::invalid("a client certificate needs a key, and a key a certificate")),
        }
        if let Some(file) = user.token_file.as_deref().filter(|file| !file.is_empty()) {
            return Ok(Self::TokenFile(Material::File(file.into())));
        }
        Ok(user.token.clone().map_or(Self::Nobody, Self::Token))
    }
}

impl fmt::Debug for KubeconfigUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nobody => "KubeconfigUser::Nobody",
            Self::Token(_) => "KubeconfigUser::Token",
            Self::TokenFile(_) => "KubeconfigUser::TokenFile",
            Self::Certificate { .. } => "KubeconfigUser::Certificate",
        })
    }
}

#[async_trait]
impl CredentialSource for KubeconfigUser {
    async fn credential(&self) -> Result<Credential> {
        Ok(match self {
            Self::Nobody => Credential::None,
            Self::Token(token) => Credential::Bearer { token: token.clone(), expires: None },
            Self::TokenFile(file) => Credential::Bearer { token: file.read_secret()?, expires: None },
            Self::Certificate { certificate, key } => {
                Credential::ClientCertificate { certificate: certificate.read()?, key: key.read_secret()? }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig(cluster: &str, user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\n\
             contexts: [{{name: a, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n"
        )
    }

    async fn open(text: &str, context: Option<&str>) -> Result<(ClusterAccess, Credential)> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        std::fs::write(&path, text).unwrap();
        std::fs::write(directory.path().join("token"), "from-file\n").unwrap();
        let access = access_from_kubeconfig(&path, context, ClusterName::new("c").unwrap())?;
        // The directory must outlive the reading of its files.
        let credential = access.credentials.credential().await?;
        Ok((access, credential))
    }

    #[tokio::test]
    async fn tokens_are_read_and_not_shown() {
        let text = kubeconfig("server: 'https://127.0.0.1:6443'", "token: very-secret");
        let (access, credential) = open(&text, None).await.unwrap();
        assert_eq!(access.server, "https://127.0.0.1:6443");
        assert!(
            matches!(&credential, Credential::Bearer { token, .. } if token.expose_secret() == "very-secret")
        );
        assert!(!format!("{access:?} {credential:?}").contains("very-secret"));
    }

    #[tokio::test]
    async fn files_are_found_beside_the_kubeconfig() {
        assert!(open(&kubeconfig("server: 'http://127.0.0.1:1'", "tokenFile: token"), None).await.is_ok());
        assert!(open(&kubeconfig("server: 'http://127.0.0.1:1'", "tokenFile: missing"), None).await.is_err());
    }

    #[tokio::test]
    async fn what_is_missing_or_unsupported_is_named() {
        let says = async |cluster: &str, user: &str, context: Option<&str>| {
            open(&kubeconfig(cluster, user), context).await.err().map(|e| e.to_string()).unwrap_or_default()
        };
        assert!(says("", "", None).await.contains("no server"));
        assert!(says("server: a", "", Some("b")).await.contains("no context \"b\""));
        assert!(says("server: a", "client-key-data: YQ==", None).await.contains("needs a key"));
        assert!(says("server: a", "username: a, password: b", None).await.contains("not supported"));
        assert!(
            says("server: a, insecure-skip-tls-verify: true", "", None)
                .await
                .contains("certificate authority")
        );
        assert!(says("server: a, certificate-authority-data: '%'", "", None).await.contains("not base64"));
    }
}
