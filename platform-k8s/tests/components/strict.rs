//! Every variant of every component, as a real API server validates it.

use crate::{cluster_name, target, variants};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, ValidationDirective},
    core::GroupVersionKind,
    discovery::{self, Scope},
};
use platform_core::manifest::Manifest;
use platform_k8s::{
    Kubernetes, access_from_kubeconfig,
    components::{GatewayApi, Traefik},
};
use platform_testkit::kubernetes::EmbeddedApi;
use serde_json::json;
use std::path::PathBuf;

fn client() -> Client {
    let kubeconfig = PathBuf::from(std::env::var_os("KUBECONFIG").expect("KUBECONFIG names a cluster"));
    let access = access_from_kubeconfig(&kubeconfig, None, cluster_name()).unwrap();
    Kubernetes::default().connect_kube(&access).unwrap().client()
}

async fn api(client: &Client, manifest: &Manifest) -> kube::Result<Api<DynamicObject>> {
    let reference = manifest.reference();
    let kind = GroupVersionKind::gvk(reference.group(), reference.version(), &reference.kind);
    let (resource, capabilities) = discovery::pinned_kind(client, &kind).await?;
    Ok(match (capabilities.scope, &reference.namespace) {
        (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client.clone(), namespace, &resource),
        _ => Api::all_with(client.clone(), &resource),
    })
}

/// What the server says to a server-side apply under strict validation.
async fn validate(client: &Client, manifest: &Manifest, dry_run: bool) -> kube::Result<DynamicObject> {
    let mut params = PatchParams::apply("components-test").force().validation(ValidationDirective::Strict);
    params.dry_run = dry_run;
    let api = api(client, manifest).await?;
    api.patch(&manifest.reference().name, &params, &Patch::Apply(manifest.object())).await
}

async fn ensure_namespace(client: &Client) {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "platform-system"}});
    validate(client, &Manifest::new(namespace).unwrap(), false).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubernetes"]
async fn a_real_api_server_takes_every_variant_under_strict_validation() {
    takes_every_variant(client()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_api_takes_every_variant_under_strict_validation() {
    let api = EmbeddedApi::builder().name("shop-testing").start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, api.kubeconfig()).unwrap();
    let access = access_from_kubeconfig(&kubeconfig, None, cluster_name()).unwrap();
    takes_every_variant(Kubernetes::default().connect_kube(&access).unwrap().client()).await;
}

async fn takes_every_variant(client: Client) {
    ensure_namespace(&client).await;
    let mut taken = 0;
    for variant in variants::all(&target(&["testing", "production"])) {
        for manifest in &variant.manifests {
            let answer = validate(&client, manifest, true).await;
            assert!(answer.is_ok(), "{} of {}: {:?}", manifest.reference(), variant.document, answer.err());
            taken += 1;
        }
    }
    println!("{taken} objects");
    // The server does say no.
    let mut wrong = variants::all(&target(&["testing"])).remove(0).manifests.remove(0).into_object();
    wrong["sped"] = json!({});
    let error = validate(&client, &Manifest::new(wrong).unwrap(), true).await.unwrap_err().to_string();
    assert!(error.contains("sped"), "{error}");
}

/// `PLATFORM_GATEWAY_API` names the file of the CRDs of a release's standard channel.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs gateway api"]
async fn a_real_api_server_takes_the_gateway_api_with_its_crds() {
    let client = client();
    ensure_namespace(&client).await;
    let file = std::env::var_os("PLATFORM_GATEWAY_API").expect("PLATFORM_GATEWAY_API names a file of CRDs");
    let traefik = Traefik::new().unwrap().gateway_api(GatewayApi::from_file(file).unwrap());
    let manifests = platform_core::component::Component::manifests(&traefik, &target(&["testing"])).unwrap();
    let is_definition = |manifest: &&Manifest| manifest.reference().kind == "CustomResourceDefinition";
    let definitions: Vec<&Manifest> = manifests.iter().filter(is_definition).collect();
    assert!(definitions.len() > 5);
    for definition in &definitions {
        validate(&client, definition, false).await.unwrap();
    }
    for kind in ["GatewayClass", "Gateway"] {
        let manifest = manifests.iter().find(|one| one.reference().kind == kind).unwrap();
        crate::http::eventually(kind, std::time::Duration::from_secs(30), || async {
            validate(&client, manifest, true).await.map(drop).map_err(|e| e.to_string())
        })
        .await;
    }
    for definition in definitions {
        let api = api(&client, definition).await.unwrap();
        api.delete(&definition.reference().name, &DeleteParams::default()).await.unwrap();
    }
}
