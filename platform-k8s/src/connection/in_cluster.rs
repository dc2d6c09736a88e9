//! Access for a program that runs in a pod.

use super::kubeconfig::{KubeconfigUser, Material};
use platform_core::{Error, ErrorKind, Result, cluster::ClusterAccess, name::ClusterName};
use std::{path::Path, sync::Arc};

/// Where the kubelet puts a pod's token and the certificate authority.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Access to the cluster in which this program runs, as the service account of its pod. The token's file is read again whenever a credential is
/// asked for, since the kubelet renews it.
///
/// # Errors
/// [`Unsupported`](ErrorKind::Unsupported) outside a pod, and [`Invalid`](ErrorKind::Invalid) if the pod has no token.
pub fn access_in_cluster(name: ClusterName) -> Result<ClusterAccess> {
    access(name, Path::new(SERVICE_ACCOUNT), |variable| std::env::var(variable).ok())
        .map_err(|error| error.operation("find").subject("the cluster of this pod"))
}

fn access(
    name: ClusterName,
    files: &Path,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<ClusterAccess> {
    let (Some(host), Some(port)) = (variable("KUBERNETES_SERVICE_HOST"), variable("KUBERNETES_SERVICE_PORT"))
    else {
        return Err(Error::new(ErrorKind::Unsupported, "this program does not run in a pod")
            .help("give it a kubeconfig with KUBECONFIG"));
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let authority = Material::File(files.join("ca.crt"))
        .read()
        .map_err(|error| error.help("the pod needs `automountServiceAccountToken: true`"))?;
    let token = KubeconfigUser::TokenFile(Material::File(files.join("token")));
    Ok(ClusterAccess::new(name, format!("https://{host}:{port}"))
        .certificate_authority(authority)
        .credentials(Arc::new(token)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_finds_its_cluster() {
        let files = tempfile::tempdir().unwrap();
        std::fs::write(files.path().join("ca.crt"), "pem").unwrap();
        let name = || ClusterName::new("shop").unwrap();
        let of = |host: &'static str| {
            move |variable: &str| Some(if variable.ends_with("HOST") { host } else { "443" }.to_owned())
        };
        let found = access(name(), files.path(), of("10.0.0.1")).unwrap();
        assert_eq!(
            (found.server.as_str(), found.certificate_authority.as_deref()),
            ("https://10.0.0.1:443", Some(&b"pem"[..]))
        );
        assert_eq!(access(name(), files.path(), of("fd00::1")).unwrap().server, "https://[fd00::1]:443");
        assert_eq!(access(name(), files.path(), |_| None).unwrap_err().kind(), ErrorKind::Unsupported);
        let error = access(name(), Path::new("/nowhere"), of("10.0.0.1")).unwrap_err();
        assert!(error.to_string().contains("automountServiceAccountToken"), "{error}");
    }
}
