//! Namespaces: nothing new in those that are missing or being deleted, and some that stay.

use crate::kubernetes::error::ApiError;
use crate::kubernetes::resource::Resource;
use crate::kubernetes::state::Key;
use crate::kubernetes::store::{NAMESPACES, Store, check_live};

/// Refuses new content where there is no namespace for it.
pub(super) fn check(store: &Store, resource: &Resource, key: &Key) -> Result<(), ApiError> {
    if !resource.namespaced {
        return Ok(());
    }
    let namespace = store.get(&Key::new(&NAMESPACES, "", key.namespace.clone()))?;
    check_live(&namespace, key)
}

/// Refuses to delete the namespaces that every cluster has.
pub(in crate::kubernetes) fn check_deletion(key: &Key) -> Result<(), ApiError> {
    if key.resource == NAMESPACES && matches!(key.name.as_str(), "default" | "kube-system" | "kube-public") {
        return Err(ApiError::forbidden(&NAMESPACES, &key.name, "this namespace may not be deleted"));
    }
    Ok(())
}
