//! Service accounts: every pod runs as one, and has its token.

use serde_json::{Value, json};
use uuid::Uuid;

use super::pod::items;
use crate::kubernetes::error::ApiError;
use crate::kubernetes::resource::GroupResource;
use crate::kubernetes::state::Key;
use crate::kubernetes::store::Store;

const ACCOUNTS: GroupResource = GroupResource::new("", "serviceaccounts");
/// The pod of a static manifest, which is nobody's.
const MIRROR: &str = "kubernetes.io/config.mirror";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME: &str = "kube-api-access-";

/// Gives a new pod its account and mounts the token, unless pod or account do not want it.
pub(super) fn set(store: &Store, key: &Key, pod: &mut Value) -> Result<(), ApiError> {
    if pod["metadata"]["annotations"].get(MIRROR).is_some() {
        return Ok(());
    }
    let given = pod["spec"]["serviceAccountName"].as_str().filter(|name| !name.is_empty());
    let name = given.unwrap_or("default").to_owned();
    let account = store.find(&Key::new(&ACCOUNTS, key.namespace.clone(), name.clone())).ok_or_else(|| {
        let space = &key.namespace;
        let why =
            format!("error looking up service account {space}/{name}: serviceaccount \"{name}\" not found");
        ApiError::forbidden(&key.resource, &key.name, &why)
    })?;
    let spec = &mut pod["spec"];
    spec["serviceAccountName"] = json!(name);
    spec["serviceAccount"] = json!(name);
    if items(spec, "imagePullSecrets").is_empty()
        && let Some(secrets) = account.get("imagePullSecrets")
    {
        spec["imagePullSecrets"] = secrets.clone();
    }
    let wanted = spec["automountServiceAccountToken"]
        .as_bool()
        .or(account["automountServiceAccountToken"].as_bool())
        .unwrap_or(true);
    if wanted {
        mount_token(spec);
    }
    Ok(())
}

fn mount_token(spec: &mut Value) {
    let mounts = |container: &Value| {
        items(container, "volumeMounts").iter().any(|mount| mount["mountPath"] == MOUNT_PATH)
    };
    let volumes = items(spec, "volumes").iter().filter_map(|volume| volume["name"].as_str());
    let given = volumes.into_iter().find(|name| name.starts_with(VOLUME)).map(str::to_owned);
    let is_new = given.is_none();
    let volume = given.unwrap_or_else(|| format!("{VOLUME}{:.5}", Uuid::new_v4().simple()));
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if mounts(container) {
                continue;
            }
            let mount = json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH});
            push(container, "volumeMounts", mount);
            mounted = true;
        }
    }
    if mounted && is_new {
        let sources = json!([
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [
                {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
            ]}},
        ]);
        let projected = json!({"defaultMode": 420, "sources": sources});
        push(spec, "volumes", json!({"name": volume, "projected": projected}));
    }
}

fn push(object: &mut Value, field: &str, item: Value) {
    match object.get_mut(field).and_then(Value::as_array_mut) {
        Some(list) => list.push(item),
        None => object[field] = json!([item]),
    }
}
