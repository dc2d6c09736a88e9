//! Columns of configuration, accounts and storage.

use serde_json::{Value, json};

use super::column::{Column, age, at, column, name, wide};
use super::text::{list_of, text_of};
use crate::kubernetes::resource::Resource;

/// The columns of configuration and storage; `None` for other kinds.
pub(super) fn columns(resource: &Resource) -> Option<Vec<Column>> {
    let mut columns = vec![name()];
    match (resource.group.as_str(), resource.id.plural()) {
        ("", "configmaps") => {
            let entries = |map: &Value| {
                ["data", "binaryData"]
                    .iter()
                    .filter_map(|part| map[*part].as_object())
                    .map(serde_json::Map::len)
                    .sum::<usize>()
            };
            columns.extend([column("Data", move |map, _| json!(entries(map))), age()]);
        }
        ("", "secrets") => columns.extend([
            at("Type", "/type"),
            column("Data", |secret, _| json!(secret["data"].as_object().map_or(0, serde_json::Map::len))),
            age(),
        ]),
        ("", "serviceaccounts") => columns.extend([
            column("Secrets", |account, _| json!(account["secrets"].as_array().map_or(0, Vec::len))),
            age(),
        ]),
        ("", "persistentvolumeclaims") => columns.extend([
            at("Status", "/status/phase"),
            at("Volume", "/spec/volumeName"),
            at("Capacity", "/status/capacity/storage"),
            column("Access Modes", |claim, _| json!(access_modes(&claim["spec"]["accessModes"]))),
            at("StorageClass", "/spec/storageClassName"),
            at("VolumeAttributesClass", "/spec/volumeAttributesClassName"),
            age(),
            wide(at("VolumeMode", "/spec/volumeMode")),
        ]),
        ("", "persistentvolumes") => columns.extend([
            at("Capacity", "/spec/capacity/storage"),
            column("Access Modes", |volume, _| json!(access_modes(&volume["spec"]["accessModes"]))),
            at("Reclaim Policy", "/spec/persistentVolumeReclaimPolicy"),
            at("Status", "/status/phase"),
            at("Claim", "/spec/claimRef/name"),
            at("StorageClass", "/spec/storageClassName"),
            age(),
        ]),
        ("storage.k8s.io", "storageclasses") => {
            columns = vec![
                column("Name", |class, _| {
                    let default = class["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"]
                        == "true";
                    json!(text_of(&class["metadata"]["name"]) + if default { " (default)" } else { "" })
                }),
                at("Provisioner", "/provisioner"),
                at("ReclaimPolicy", "/reclaimPolicy"),
                at("VolumeBindingMode", "/volumeBindingMode"),
                column("AllowVolumeExpansion", |class, _| json!(class["allowVolumeExpansion"] == true)),
                age(),
            ];
        }
        _ => return None,
    }
    Some(columns)
}

fn access_modes(modes: &Value) -> String {
    let short = |mode: &Value| match mode.as_str() {
        Some("ReadWriteOnce") => "RWO".to_owned(),
        Some("ReadOnlyMany") => "ROX".to_owned(),
        Some("ReadWriteMany") => "RWX".to_owned(),
        Some("ReadWriteOncePod") => "RWOP".to_owned(),
        _ => text_of(mode),
    };
    let listed = list_of(modes, short);
    if listed == "<none>" { String::new() } else { listed }
}
