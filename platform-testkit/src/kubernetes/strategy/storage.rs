//! PersistentVolumes and their claims: the default class, and the finalizers that hold what is in use.

use serde_json::{Value, json};

use crate::kubernetes::resource::GroupResource;
use crate::kubernetes::store::Store;

/// Holds a claim while a pod uses it.
pub(in crate::kubernetes) const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
/// Holds a volume while it is bound to a claim.
pub(in crate::kubernetes) const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";

const CLASSES: GroupResource = GroupResource::new("storage.k8s.io", "storageclasses");
const IS_DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

/// The class of claims that name none; the newest one where several want to be that.
pub(in crate::kubernetes) fn default_class(store: &Store) -> Option<String> {
    let classes = store.list(&CLASSES, None).items;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let defaults =
        classes.iter().filter(|class| class["metadata"]["annotations"][IS_DEFAULT] == "true").map(|class| {
            let metadata = &class["metadata"];
            (text(&metadata["creationTimestamp"]), std::cmp::Reverse(text(&metadata["name"])))
        });
    defaults.max().map(|(_, name)| name.0)
}

/// Writes the default class into a claim that names none. An empty name asks for no class.
pub(super) fn choose_class(store: &Store, claim: &mut Value) {
    if claim["spec"]["storageClassName"].is_null()
        && let Some(class) = default_class(store)
    {
        claim["spec"]["storageClassName"] = json!(class);
    }
}

pub(super) fn protect(object: &mut Value, finalizer: &str) {
    let mut finalizers = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    if !finalizers.iter().any(|one| one == finalizer) {
        finalizers.push(json!(finalizer));
    }
    object["metadata"]["finalizers"] = Value::Array(finalizers);
}
