//! What a cluster or a namespace holds, read through the handle of any cluster.

use super::guard;
use crate::labels;
use futures::future::{try_join, try_join_all};
use platform_core::{
    ErrorKind, Result,
    cluster::{Cluster, ListOptions},
    isolation::{Contents, DataFate, Exposure, Holder, LiveVolume, LiveWorkload, NamespaceContents},
    manifest::ObjectRef,
    name::{ApplicationName, ComponentName, EnvironmentName, Namespace, PlatformName},
};
use serde_json::Value;

/// What every cluster comes with.
const COMES_WITH_KUBERNETES: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];
/// The ConfigMap that Kubernetes puts into every namespace.
const AUTHORITY: &str = "kube-root-ca.crt";

const WORKLOADS: [(&str, &str); 7] = [
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "ReplicaSet"),
    ("batch/v1", "CronJob"),
    ("batch/v1", "Job"),
    ("v1", "Pod"),
];

pub(crate) async fn contents(
    cluster: &dyn Cluster,
    platform: &PlatformName,
    namespace: Option<&Namespace>,
) -> Result<Contents> {
    let reader = Reader { cluster, platform, namespace };
    let list = |(version, kind)| reader.list(version, kind);
    let namespaces = reader.namespaces();
    let workloads = try_join_all(WORKLOADS.map(list));
    let others = try_join_all(
        [
            ("v1", "Service"),
            ("networking.k8s.io/v1", "Ingress"),
            ("gateway.networking.k8s.io/v1", "HTTPRoute"),
            ("v1", "Secret"),
            ("v1", "ConfigMap"),
            ("v1", "PersistentVolumeClaim"),
        ]
        .map(list),
    );
    let ((namespaces, workloads), others) = try_join(try_join(namespaces, workloads), others).await?;
    let mut contents = Contents::default();
    contents.namespaces = namespaces;
    for ((version, kind), objects) in WORKLOADS.into_iter().zip(workloads) {
        if kind == "Pod" {
            contents.pods = objects.len();
        }
        let on_their_own = objects.iter().filter(|object| !is_controlled(object));
        contents.workloads.extend(on_their_own.map(|object| LiveWorkload {
            object: reference(version, kind, object),
            holder: reader.holder(object),
            ready: ready(kind, object),
        }));
    }
    let [services, ingresses, routes, secrets, config_maps, claims] =
        <[Vec<Value>; 6]>::try_from(others).unwrap_or_default();
    contents.load_balancers = services
        .iter()
        .filter(|service| text(service, "/spec/type") == Some("LoadBalancer"))
        .map(|service| reader.exposure("v1", "Service", service, addresses(service)))
        .collect();
    contents.routes = ingresses
        .iter()
        .map(|ingress| {
            let hosts = strings(ingress, "/spec/rules", "host");
            reader.exposure("networking.k8s.io/v1", "Ingress", ingress, hosts)
        })
        .chain(routes.iter().map(|route| {
            let hosts = array(route, "/spec/hostnames").filter_map(|h| Some(h.as_str()?.to_owned()));
            reader.exposure("gateway.networking.k8s.io/v1", "HTTPRoute", route, hosts.collect())
        }))
        .collect();
    contents.secrets = secrets.len();
    contents.config_maps =
        config_maps.iter().filter(|map| text(map, "/metadata/name") != Some(AUTHORITY)).count();
    contents.volumes = reader.volumes(&claims).await?;
    Ok(contents)
}

struct Reader<'a> {
    cluster: &'a dyn Cluster,
    platform: &'a PlatformName,
    /// `None`: the whole cluster.
    namespace: Option<&'a Namespace>,
}

impl Reader<'_> {
    async fn list(&self, version: &str, kind: &str) -> Result<Vec<Value>> {
        let options = match self.namespace {
            Some(namespace) => ListOptions::all().namespace(namespace.as_str()),
            None => ListOptions::all(),
        };
        match self.cluster.list(version, kind, &options).await {
            Ok(objects) => Ok(objects
                .into_iter()
                .filter(|object| {
                    self.namespace.is_some() || text(object, "/metadata/namespace").is_none_or(is_of_interest)
                })
                .collect()),
            // Of a kind that is not served there are no objects.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn namespaces(&self) -> Result<Vec<NamespaceContents>> {
        let objects = match self.namespace {
            Some(namespace) => {
                let reference = ObjectRef::new("v1", "Namespace", namespace.as_str());
                self.cluster.get(&reference).await?.into_iter().collect()
            }
            None => self.cluster.list("v1", "Namespace", &ListOptions::all()).await?,
        };
        let named = objects.iter().filter_map(|object| Some((text(object, "/metadata/name")?, object)));
        Ok(named
            .filter(|(name, _)| self.namespace.is_some() || (is_of_interest(name) && *name != "default"))
            .map(|(name, object)| NamespaceContents {
                name: name.to_owned(),
                environment: labels::label(object, labels::ENVIRONMENT).map(str::to_owned),
                protected: labels::label(object, labels::PROTECTED) == Some("true"),
                confirmed: guard::confirms(object, name),
            })
            .collect())
    }

    async fn volumes(&self, claims: &[Value]) -> Result<Vec<LiveVolume>> {
        if claims.is_empty() {
            return Ok(Vec::new());
        }
        let volumes = self.cluster.list("v1", "PersistentVolume", &ListOptions::all()).await?;
        let of = |claim: &Value| {
            let name = text(claim, "/spec/volumeName").filter(|name| !name.is_empty())?;
            volumes.iter().find(|volume| text(volume, "/metadata/name") == Some(name))
        };
        Ok(claims
            .iter()
            .map(|claim| {
                let volume = of(claim);
                let capacity = volume.and_then(|volume| text(volume, "/spec/capacity/storage"));
                let size = capacity.or_else(|| text(claim, "/spec/resources/requests/storage"));
                LiveVolume {
                    claim: reference("v1", "PersistentVolumeClaim", claim),
                    holder: self.holder(claim),
                    size: size.unwrap_or_default().to_owned(),
                    volume: volume.and_then(|v| text(v, "/metadata/name")).map(str::to_owned),
                    fate: volume.map_or(DataFate::NoVolume, |volume| self.fate(volume)),
                }
            })
            .collect())
    }

    fn fate(&self, volume: &Value) -> DataFate {
        let is_on_a_node =
            ["hostPath", "local"].iter().any(|kind| volume.pointer(&format!("/spec/{kind}")).is_some());
        // Nodes go with their cluster.
        if is_on_a_node && self.namespace.is_none() {
            return DataFate::Lost;
        }
        match text(volume, "/spec/persistentVolumeReclaimPolicy") {
            Some("Retain") => DataFate::Kept,
            _ => DataFate::Lost,
        }
    }

    fn exposure(&self, version: &str, kind: &str, object: &Value, names: Vec<String>) -> Exposure {
        Exposure { object: reference(version, kind, object), holder: self.holder(object), names }
    }

    fn holder(&self, object: &Value) -> Holder {
        let label = |key: &str| labels::label(object, key);
        let is_ours =
            [labels::PLATFORM, labels::PART_OF].iter().any(|key| label(key) == Some(self.platform.as_str()));
        if !is_ours {
            let other = label(labels::PLATFORM).map(|platform| format!("platform {platform}"));
            return Holder::Foreign {
                manager: other.or_else(|| label(labels::MANAGED_BY).map(str::to_owned)),
            };
        }
        let name = label(labels::NAME);
        match (label(labels::ENVIRONMENT).map(EnvironmentName::new), name) {
            (Some(Ok(environment)), Some(name)) => match ApplicationName::new(name) {
                Ok(application) => Holder::Application { environment, application },
                Err(_) => Holder::Platform,
            },
            (None, Some(name)) => match ComponentName::new(name) {
                Ok(component) => Holder::Component { component },
                Err(_) => Holder::Platform,
            },
            _ => Holder::Platform,
        }
    }
}

fn is_of_interest(namespace: &str) -> bool {
    !COMES_WITH_KUBERNETES.contains(&namespace)
}

/// Whether another object made it and would make it again.
fn is_controlled(object: &Value) -> bool {
    array(object, "/metadata/ownerReferences")
        .any(|owner| owner.get("controller") == Some(&Value::Bool(true)))
}

fn ready(kind: &str, object: &Value) -> Option<u64> {
    let count = |path: &str| Some(object.pointer(path).and_then(Value::as_u64).unwrap_or(0));
    match kind {
        "DaemonSet" => count("/status/numberReady"),
        "Job" => count("/status/ready"),
        "CronJob" => None,
        "Pod" => {
            let is_ready = |condition: &Value| {
                condition.get("type") == Some(&"Ready".into())
                    && condition.get("status") == Some(&"True".into())
            };
            Some(u64::from(array(object, "/status/conditions").any(is_ready)))
        }
        _ => count("/status/readyReplicas"),
    }
}

fn addresses(service: &Value) -> Vec<String> {
    let ingress = array(service, "/status/loadBalancer/ingress");
    let address = |one: &Value| Some(one.get("hostname").or_else(|| one.get("ip"))?.as_str()?.to_owned());
    ingress.filter_map(address).collect()
}

fn reference(version: &str, kind: &str, object: &Value) -> ObjectRef {
    let reference = ObjectRef::new(version, kind, text(object, "/metadata/name").unwrap_or_default());
    match text(object, "/metadata/namespace") {
        Some(namespace) => reference.in_namespace(namespace),
        None => reference,
    }
}

fn text<'a>(object: &'a Value, path: &str) -> Option<&'a str> {
    object.pointer(path)?.as_str()
}

fn array<'a>(object: &'a Value, path: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    object.pointer(path).and_then(Value::as_array).into_iter().flatten()
}

fn strings(object: &Value, path: &str, key: &str) -> Vec<String> {
    array(object, path).filter_map(|one| Some(one.get(key)?.as_str()?.to_owned())).collect()
}
