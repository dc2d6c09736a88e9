//! PersistentVolumeClaims: each gets a volume at once.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::deletion::DeleteOptions;
use super::super::error::ApiError;
use super::super::resource::GroupResource;
use super::super::semantics::validate::quantity;
use super::super::store::{Key, Stored};
use super::super::strategy::{CLAIM_PROTECTION, VOLUME_PROTECTION, default_class};
use super::cluster::Cluster;
use super::object::{
    CLAIMS, CONTROLLER_MANAGER, PODS, STORAGE_CLASSES, VOLUMES, has_ended, is_being_deleted, items, name,
    namespace, text, uid,
};

const COMPONENT: &str = "persistentvolume-controller";

impl Cluster {
    pub(super) fn claim(&mut self, claim: &Stored) -> Result<(), ApiError> {
        if is_being_deleted(claim) {
            let used =
                |pod: &Arc<Stored>| !has_ended(pod) && claims_of(pod).contains(&Key::of(&CLAIMS, claim));
            if self.store.list(&PODS, Some(namespace(claim))).items.iter().any(used) {
                return Ok(());
            }
            return self.unprotect(&CLAIMS, claim, CLAIM_PROTECTION);
        }
        if text(claim, "/status/phase") == "Bound" {
            return Ok(());
        }
        let volume = match self.volume_for(claim) {
            Some(volume) => volume,
            None => match self.provision(claim)? {
                Some(volume) => volume,
                None => return Ok(()),
            },
        };
        self.bind(claim, &volume)
    }

    /// A volume that nobody claims is available; one that is deleted goes once it is not bound.
    pub(super) fn volume(&mut self, volume: &Stored) -> Result<(), ApiError> {
        let phase = text(volume, "/status/phase");
        if is_being_deleted(volume) {
            let claim =
                volume.pointer("/spec/claimRef").and_then(|claim| self.store.find_uid(text(claim, "/uid")));
            if phase == "Bound" && claim.is_some() {
                return Ok(());
            }
            return self.unprotect(&VOLUMES, volume, VOLUME_PROTECTION);
        }
        if matches!(phase, "" | "Pending") && volume.pointer("/spec/claimRef").is_none() {
            return self.put_status(&VOLUMES, volume, json!({"phase": "Available"}), CONTROLLER_MANAGER);
        }
        Ok(())
    }

    fn unprotect(&self, resource: &GroupResource, object: &Stored, finalizer: &str) -> Result<(), ApiError> {
        let mut freed = object.value().clone();
        let Some(finalizers) = freed.pointer_mut("/metadata/finalizers").and_then(Value::as_array_mut) else {
            return Ok(());
        };
        finalizers.retain(|one| one != finalizer);
        self.store.update(resource, freed, CONTROLLER_MANAGER)?;
        Ok(())
    }

    /// A volume that is meant for the claim or that nobody has and that suits it; the smallest one.
    fn volume_for(&self, claim: &Stored) -> Option<Arc<Stored>> {
        let wanted = text(claim, "/spec/volumeName");
        let size = |object: &Value, pointer: &str| quantity::nanos(text(object, pointer)).unwrap_or(0);
        let asked = size(claim, "/spec/resources/requests/storage");
        let class = self.class_of(claim);
        let suits = |volume: &&Arc<Stored>| {
            let reserved = text(volume, "/spec/claimRef/name");
            let ours = reserved == name(claim)
                && text(volume, "/spec/claimRef/namespace") == namespace(claim)
                && [uid(claim), ""].contains(&text(volume, "/spec/claimRef/uid"));
            let modes = items(volume, "/spec/accessModes");
            let fits = size(volume, "/spec/capacity/storage") >= asked
                && items(claim, "/spec/accessModes").iter().all(|mode| modes.contains(mode))
                && text(volume, "/spec/storageClassName") == class;
            if ours {
                return true;
            }
            reserved.is_empty() && if wanted.is_empty() { fits } else { name(volume) == wanted }
        };
        let volumes = self.store.list(&VOLUMES, None).items;
        volumes.iter().filter(suits).min_by_key(|volume| size(volume, "/spec/capacity/storage")).cloned()
    }

    /// The claim's storage class, or the default one; empty for a claim that wants none.
    fn class_of(&self, claim: &Value) -> String {
        if let Some(class) = claim.pointer("/spec/storageClassName").and_then(Value::as_str) {
            return class.to_owned();
        }
        default_class(&self.store).unwrap_or_default()
    }

    /// Makes a volume; `None` when the claim has to wait for one or for its class.
    fn provision(&self, claim: &Stored) -> Result<Option<Arc<Stored>>, ApiError> {
        let class = self.class_of(claim);
        if class.is_empty() || !text(claim, "/spec/volumeName").is_empty() {
            let message = "no persistent volumes available for this claim and no storage class is set";
            self.events.normal(claim, COMPONENT, "FailedBinding", message);
            return Ok(None);
        }
        let Some(found) = self.store.find(&Key::new(&STORAGE_CLASSES, "", class.clone())) else {
            let message = format!("storageclass.storage.k8s.io {class:?} not found");
            self.events.warning(claim, COMPONENT, "ProvisioningFailed", &message);
            return Ok(None);
        };
        let volume_name = format!("pvc-{}", uid(claim));
        let volume = json!({
            "metadata": {
                "name": volume_name,
                "annotations": {"pv.kubernetes.io/provisioned-by": text(&found, "/provisioner")},
            },
            "spec": {
                "capacity": {"storage": text(claim, "/spec/resources/requests/storage")},
                "accessModes": items(claim, "/spec/accessModes"),
                "claimRef": claim_reference(claim),
                "persistentVolumeReclaimPolicy": text(&found, "/reclaimPolicy"),
                "storageClassName": class,
                "volumeMode": text(claim, "/spec/volumeMode"),
                "hostPath": {"path": format!("/var/local-path-provisioner/{volume_name}"), "type": "DirectoryOrCreate"},
            },
        });
        let volume = match self.store.create(&VOLUMES, volume, CONTROLLER_MANAGER) {
            Err(error) if error.reason == "AlreadyExists" => {
                self.store.get(&Key::new(&VOLUMES, "", volume_name.clone()))?
            }
            created => created?,
        };
        let message = format!("Successfully provisioned volume {volume_name}");
        self.events.normal(claim, text(&found, "/provisioner"), "ProvisioningSucceeded", &message);
        Ok(Some(volume))
    }

    fn bind(&self, claim: &Stored, volume: &Stored) -> Result<(), ApiError> {
        let mut taken = volume.value().clone();
        taken["spec"]["claimRef"] = claim_reference(claim);
        let taken = self.store.update(&VOLUMES, taken, CONTROLLER_MANAGER)?;
        self.put_status(&VOLUMES, &taken, json!({"phase": "Bound"}), CONTROLLER_MANAGER)?;
        let mut bound = claim.value().clone();
        bound["spec"]["volumeName"] = json!(name(volume));
        for (key, value) in
            [("pv.kubernetes.io/bind-completed", "yes"), ("pv.kubernetes.io/bound-by-controller", "yes")]
        {
            bound["metadata"]["annotations"][key] = json!(value);
        }
        let bound = self.store.update(&CLAIMS, bound, CONTROLLER_MANAGER)?;
        let status = json!({
            "phase": "Bound",
            "accessModes": items(volume, "/spec/accessModes"),
            "capacity": volume.pointer("/spec/capacity").cloned().unwrap_or_default(),
        });
        self.put_status(&CLAIMS, &bound, status, CONTROLLER_MANAGER)
    }

    /// Does with the volume of a deleted claim what its reclaim policy says.
    pub(super) fn release_volume(&self, claim: &Value) {
        let key = Key::new(&VOLUMES, "", text(claim, "/spec/volumeName"));
        let Some(volume) =
            self.store.find(&key).filter(|volume| text(volume, "/spec/claimRef/uid") == uid(claim))
        else {
            return;
        };
        let result = if text(&volume, "/spec/persistentVolumeReclaimPolicy") == "Delete" {
            self.store.delete(&key, &DeleteOptions::default()).map(|_| ())
        } else {
            self.put_status(&VOLUMES, &volume, json!({"phase": "Released"}), CONTROLLER_MANAGER)
        };
        if let Err(error) = result {
            tracing::debug!(%error, "the volume of a deleted claim was not released");
        }
    }
}

/// The claims that a pod's volumes name.
pub(super) fn claims_of(pod: &Value) -> Vec<Key> {
    let names = items(pod, "/spec/volumes").iter().filter_map(|volume| {
        let own = || volume.get("ephemeral").map(|_| format!("{}-{}", name(pod), text(volume, "/name")));
        let named = volume.pointer("/persistentVolumeClaim/claimName").and_then(Value::as_str);
        named.map(str::to_owned).or_else(own)
    });
    names.map(|claim| Key::new(&CLAIMS, namespace(pod), claim)).collect()
}

fn claim_reference(claim: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "name": name(claim),
        "namespace": namespace(claim),
        "uid": uid(claim),
    })
}
