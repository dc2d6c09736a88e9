//! Traefik, for Ingress and Gateway API.

use super::{
    frame::{ContainerDefaults, Defaults, Frame, Installation, Program, Tag, http_get, rule},
    ingress::{Exposure, ingress_class},
};
use platform_core::{Error, ErrorKind, Result, component::ComponentScope, manifest::Manifest};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{fs, path::PathBuf};

const USER: u32 = 65532;
const WEB: u16 = 8000;
const WEB_SECURE: u16 = 8443;
const ADMIN: u16 = 8080;

/// [Traefik](https://doc.traefik.io/traefik/): serves the routes of applications on every environment's cluster by Ingress, and by
/// [Gateway API](https://gateway-api.sigs.k8s.io/) where that is chosen; its metrics are on port 8080.
///
/// Its class is `traefik`, the cluster's default unless told otherwise, so that applications need not name it. It needs no CRDs for Ingress.
pub type Traefik = Installation<TraefikSettings>;

/// What only Traefik knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct TraefikSettings {
    /// The name of its class, and of its class of gateways. Default: `traefik`.
    pub class: String,
    /// Whether it serves ingresses that name no class; at most one controller of a cluster may. Default: true.
    pub default_class: bool,
    /// How it is reached. Default: on node ports that the cluster chooses.
    pub exposure: Exposure,
    /// Serves the Gateway API too. Default: no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_api: Option<GatewayApi>,
}

impl Default for TraefikSettings {
    fn default() -> Self {
        Self {
            class: "traefik".to_owned(),
            default_class: true,
            exposure: Exposure::default(),
            gateway_api: None,
        }
    }
}

/// The Gateway API: its CRDs, which are its project's and not the platform's, and a Gateway `traefik` in the component's namespace that takes
/// routes from all namespaces.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct GatewayApi {
    /// A file with the CRDs, such as the `standard-install.yaml` of a release, which is read when the document is. Default: none, they are in the
    /// cluster already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crds_file: Option<PathBuf>,
    /// The CRDs.
    #[serde(skip)]
    pub crds: Vec<Manifest>,
}

impl GatewayApi {
    /// Its CRDs are in the cluster already.
    pub fn installed() -> Self {
        Self::default()
    }

    /// Its CRDs are installed with the component.
    pub fn with_crds(crds: Vec<Manifest>) -> Self {
        Self { crds_file: None, crds }
    }

    /// Its CRDs are installed with the component; they are read from a file of YAML documents now. Blocks while it reads.
    ///
    /// Fails with [`NotFound`](ErrorKind::NotFound) for a file that is not there, and with [`Invalid`](ErrorKind::Invalid) for what is not such
    /// a file.
    pub fn from_file(path: impl Into<PathBuf>) -> Result<Self> {
        let mut api = Self { crds_file: Some(path.into()), crds: Vec::new() };
        api.read()?;
        Ok(api)
    }

    fn read(&mut self) -> Result<()> {
        let Some(path) = &self.crds_file else { return Ok(()) };
        let in_file = |error: Error| error.operation("read").subject(path.display().to_string());
        let text = fs::read_to_string(path).map_err(|error| {
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                _ => ErrorKind::Invalid,
            };
            in_file(Error::new(kind, "the file is not readable").source(error))
        })?;
        self.crds = manifests(&text).map_err(in_file)?;
        Ok(())
    }
}

/// The objects of a file of YAML documents.
fn manifests(text: &str) -> Result<Vec<Manifest>> {
    let documents: Vec<Option<Value>> = serde_saphyr::from_multiple(text)
        .map_err(|e| Error::invalid(format!("it is not YAML: {}", e.to_string().trim_end())))?;
    documents.into_iter().flatten().filter(|document| !document.is_null()).map(Manifest::new).collect()
}

impl Traefik {
    /// Sets how it is reached.
    #[must_use]
    pub fn exposure(mut self, exposure: Exposure) -> Self {
        self.settings.exposure = exposure;
        self
    }

    /// Serves the Gateway API too.
    #[must_use]
    pub fn gateway_api(mut self, api: GatewayApi) -> Self {
        self.settings.gateway_api = Some(api);
        self
    }
}

impl Program for TraefikSettings {
    const DEFAULTS: &'static Defaults = &Defaults {
        name: "traefik",
        version: "3.7.13",
        scope: ComponentScope::Environments,
        containers: &[ContainerDefaults {
            name: "traefik",
            repository: "docker.io/library/traefik",
            tag: Tag::V,
            cpu: "100m",
            memory: "64Mi",
            memory_limit: "256Mi",
        }],
        replicas: Some(1),
        storage: None,
    };

    fn load(&mut self) -> Result<()> {
        self.gateway_api.as_mut().map_or(Ok(()), GatewayApi::read)
    }

    fn objects(&self, frame: &Frame<'_>) -> Result<Vec<Value>> {
        let container = self
            .exposure
            .ports(frame.container("traefik")?, WEB, WEB_SECURE)
            .port("metrics", ADMIN)
            .args(self.args(frame))
            // It is ready before it has its routes.
            .ready_when(json!({"httpGet": {"path": "/ping", "port": "metrics"}, "initialDelaySeconds": 2}))
            .alive_when(http_get("/ping", "metrics"))
            // Who still sends it requests has heard by then that it leaves.
            .set("lifecycle", json!({"preStop": {"sleep": {"seconds": 5}}}))
            .mount("tmp", "/tmp");
        let pod = frame
            .pod()
            .user(USER)
            .api_access()
            .container(container)
            .empty_dir("tmp", None)
            .scraped(ADMIN, "/metrics");
        let [role, binding] = frame.cluster_role(&self.rules());
        let mut objects: Vec<Value> = self
            .gateway_api
            .iter()
            .flat_map(|api| &api.crds)
            .map(|manifest| manifest.object().clone())
            .collect();
        objects.extend([
            frame.service_account(),
            role,
            binding,
            ingress_class(frame, &self.class, "traefik.io/ingress-controller", self.default_class),
            self.exposure.strategy(frame.deployment(pod)).into(),
            self.exposure.service(frame),
        ]);
        if self.gateway_api.is_some() {
            objects.extend(self.gateway(frame));
        }
        objects.extend(frame.disruption_budget());
        Ok(objects)
    }
}

impl TraefikSettings {
    fn args(&self, frame: &Frame<'_>) -> Vec<String> {
        let mut args = vec![
            "--global.checknewversion=false".to_owned(),
            "--global.sendanonymoususage=false".to_owned(),
            format!("--entrypoints.web.address=:{WEB}"),
            format!("--entrypoints.websecure.address=:{WEB_SECURE}"),
            "--entrypoints.websecure.http.tls=true".to_owned(),
            format!("--entrypoints.traefik.address=:{ADMIN}"),
            "--entrypoints.web.transport.lifecycle.requestacceptgracetimeout=5s".to_owned(),
            "--entrypoints.websecure.transport.lifecycle.requestacceptgracetimeout=5s".to_owned(),
            "--ping=true".to_owned(),
            "--metrics.prometheus=true".to_owned(),
            "--providers.kubernetesingress=true".to_owned(),
            format!("--providers.kubernetesingress.ingressclass={}", self.class),
        ];
        let published = format!("{}/{}", frame.namespace(), frame.name());
        if self.exposure.is_load_balancer() {
            args.push(format!("--providers.kubernetesingress.ingressendpoint.publishedservice={published}"));
        }
        if self.gateway_api.is_some() {
            args.push("--providers.kubernetesgateway=true".to_owned());
            if self.exposure.is_load_balancer() {
                args.extend([
                    format!("--providers.kubernetesgateway.statusaddress.service.name={}", frame.name()),
                    format!(
                        "--providers.kubernetesgateway.statusaddress.service.namespace={}",
                        frame.namespace()
                    ),
                ]);
            }
        }
        args
    }

    fn rules(&self) -> Vec<Value> {
        let read = ["get", "list", "watch"];
        let mut rules = vec![
            rule(&[""], &["nodes", "secrets", "services"], &read),
            rule(&["discovery.k8s.io"], &["endpointslices"], &read),
            rule(&["networking.k8s.io"], &["ingressclasses", "ingresses"], &read),
            rule(&["networking.k8s.io"], &["ingresses/status"], &["update"]),
        ];
        if self.gateway_api.is_some() {
            let group = ["gateway.networking.k8s.io"];
            let kinds =
                ["gatewayclasses", "gateways", "httproutes", "grpcroutes", "tlsroutes", "backendtlspolicies"];
            let status: Vec<String> = kinds.iter().map(|kind| format!("{kind}/status")).collect();
            let status: Vec<&str> = status.iter().map(String::as_str).collect();
            rules.extend([
                rule(&[""], &["configmaps", "namespaces"], &read),
                rule(&group, &kinds, &read),
                rule(&group, &["referencegrants"], &read),
                rule(&group, &status, &["update"]),
            ]);
        }
        rules
    }

    fn gateway(&self, frame: &Frame<'_>) -> [Value; 2] {
        const VERSION: &str = "gateway.networking.k8s.io/v1";
        [
            json!({
                "apiVersion": VERSION,
                "kind": "GatewayClass",
                "metadata": frame.cluster_metadata(&self.class),
                "spec": {"controllerName": "traefik.io/gateway-controller"},
            }),
            json!({
                "apiVersion": VERSION,
                "kind": "Gateway",
                "metadata": frame.metadata(frame.name()),
                "spec": {
                    "gatewayClassName": self.class,
                    // The port is that of the entry point, not of the Service.
                    "listeners": [{
                        "name": "http",
                        "protocol": "HTTP",
                        "port": WEB,
                        "allowedRoutes": {"namespaces": {"from": "All"}},
                    }],
                },
            }),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_documents_is_read_whole() {
        let text = "# a comment\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n";
        let names: Vec<String> =
            manifests(text).unwrap().iter().map(|manifest| manifest.reference().name.clone()).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(manifests("a: [").unwrap_err().to_string().contains("it is not YAML"));
        assert!(manifests("a: 1").unwrap_err().to_string().contains("apiVersion"));
        let error = GatewayApi::from_file("nowhere/crds.yaml").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
