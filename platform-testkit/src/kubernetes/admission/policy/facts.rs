//! What expressions see of a request: `object`, `oldObject`, `request`, `namespaceObject`, `authorizer`.

use std::cell::OnceCell;

use kube_cel::cel::{Context, Value as Cel};
use serde_json::{Value, json};

use super::super::Request;
use super::authorizer;
use super::cel::{functions, value_of};
use crate::kubernetes::state::Key;
use crate::kubernetes::store::{NAMESPACES, Store};

/// A request as expressions see it, read once for all policies.
pub(super) struct Facts<'a> {
    store: &'a Store,
    request: &'a Request<'a>,
    values: OnceCell<Vec<(&'static str, Cel)>>,
}

impl<'a> Facts<'a> {
    pub(super) fn new(store: &'a Store, request: &'a Request<'a>) -> Self {
        Self { store, request, values: OnceCell::new() }
    }

    /// A scope with the variables that every expression has.
    pub(super) fn scope(&self) -> Context<'static> {
        let values = self.values.get_or_init(|| {
            let of = |value: Option<&Value>| value.map_or(Cel::Null, value_of);
            let mut values = vec![
                ("object", of(self.request.object)),
                ("oldObject", of(self.request.old)),
                ("request", value_of(&described(self.request))),
                ("namespaceObject", self.namespace()),
            ];
            // A store that is being dropped answers nobody any more.
            values.extend(
                self.store.shared().iter().flat_map(|store| authorizer::variables(store, self.request)),
            );
            values
        });
        let mut scope = functions().new_inner_scope();
        for (name, value) in values {
            scope.add_variable_from_value(*name, value.clone());
        }
        scope
    }

    /// The namespace of a namespaced object, with the fields that expressions may use.
    fn namespace(&self) -> Cel {
        let key = &self.request.key;
        if key.namespace.is_empty() {
            return Cel::Null;
        }
        let Some(namespace) = self.store.find(&Key::new(&NAMESPACES, "", key.namespace.clone())) else {
            return Cel::Null;
        };
        let metadata = &namespace["metadata"];
        let mut seen = json!({"metadata": {"UID": metadata["uid"]}});
        for field in [
            "name",
            "generateName",
            "labels",
            "annotations",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "resourceVersion",
            "finalizers",
        ] {
            if let Some(value) = metadata.get(field) {
                seen["metadata"][field] = value.clone();
            }
        }
        seen["spec"] = json!({"finalizers": namespace["spec"]["finalizers"]});
        seen["status"] = json!({"phase": namespace["status"]["phase"]});
        value_of(&seen)
    }
}

/// The variable `request`, after `admission.k8s.io/v1` AdmissionRequest.
fn described(request: &Request<'_>) -> Value {
    let resource = request.resource;
    let (group, version) = (&resource.group, &resource.version);
    let of_object = json!({"group": group, "version": version, "kind": resource.kind});
    let kind = match request.subresource {
        Some("scale") => json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}),
        Some("eviction") => json!({"group": "policy", "version": "v1", "kind": "Eviction"}),
        _ => of_object,
    };
    let place = json!({"group": group, "version": version, "resource": resource.id.plural()});
    // A namespace is in itself.
    let namespace =
        if request.key.resource == NAMESPACES { &request.key.name } else { &request.key.namespace };
    let mut described = json!({
        "kind": kind,
        "resource": place,
        "requestKind": kind,
        "requestResource": place,
        "name": request.key.name,
        "operation": request.operation.as_str(),
        "userInfo": request.user.info(),
        "dryRun": request.dry_run,
        "options": {"kind": request.options.kind, "apiVersion": "meta.k8s.io/v1"},
    });
    if request.dry_run {
        described["options"]["dryRun"] = json!(["All"]);
    }
    if let Some(manager) = request.options.manager {
        described["options"]["fieldManager"] = json!(manager);
    }
    if !namespace.is_empty() {
        described["namespace"] = json!(namespace);
    }
    if let Some(subresource) = request.subresource {
        described["subResource"] = json!(subresource);
        described["requestSubResource"] = json!(subresource);
    }
    described
}
