//! The way of an object into the store: decode, default, validate, track managers, commit.
//!
//! A write prepares its object from the version it saw, outside of every lock, and starts again if another write
//! was committed meanwhile.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::admission::{self, Operation, Request};
use super::auth::{User, check_escalation};
use super::decode::{self, Complaints, FieldValidation};
use super::deletion::timestamp;
use super::error::ApiError;
use super::http::scale_of;
use super::metadata;
use super::resource::Resource;
use super::semantics::apply::{self, ApplyContext};
use super::state::{Key, Stored};
use super::store::{NAMESPACES, Refused, Store};
use super::strategy;

/// Who writes, and how strictly.
#[derive(Debug, Clone)]
pub(super) struct WriteOptions {
    pub(super) user: Arc<User>,
    pub(super) manager: String,
    /// Whether the request names its manager.
    pub(super) named: bool,
    pub(super) dry_run: bool,
    pub(super) validation: FieldValidation,
    /// What is to be said about the fields of the request before anyone knew its kind.
    pub(super) complaints: Complaints,
    pub(super) subresource: Option<&'static str>,
}

impl WriteOptions {
    /// Of a component of the cluster.
    pub(super) fn of(manager: &str) -> Self {
        let (user, validation) = (User::component(manager), FieldValidation::Ignore);
        Self {
            user,
            manager: manager.to_owned(),
            named: true,
            dry_run: false,
            validation,
            complaints: Complaints::default(),
            subresource: None,
        }
    }

    fn asked(&self, kind: &'static str) -> admission::Options<'_> {
        admission::Options { kind, manager: self.named.then_some(self.manager.as_str()) }
    }

    pub(super) fn subresource(self, name: &'static str) -> Self {
        Self { subresource: Some(name), ..self }
    }
}

/// An object as a writer wants it.
pub(super) enum Write {
    /// By create, update or patch: who manages which fields follows from the difference.
    Replace(Value),
    /// By server-side apply, which has already merged the managed fields.
    Apply(Value),
}

/// What a writer makes of the stored object; `None` leaves it as it is.
pub(super) type Intent<'a> = dyn Fn(Option<&Stored>) -> Result<Option<Write>, ApiError> + 'a;

/// A write that succeeded.
pub(super) struct Written {
    pub(super) object: Arc<Stored>,
    pub(super) created: bool,
    pub(super) warnings: Vec<String>,
}

impl Store {
    /// Creates an object. `namespace` is the one of the request; empty for cluster-scoped resources.
    pub(super) fn write_new(
        &self,
        resource: &Resource,
        namespace: &str,
        object: Value,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        self.insert(resource, namespace, Write::Replace(object), options)?
            .map_err(|key| ApiError::already_exists(&key.resource, &key.name))
    }

    /// Changes an object by what `change` makes of the stored one; by nothing if it makes `None`. It is called again when another write came first.
    pub(super) fn write_over(
        &self,
        resource: &Resource,
        key: &Key,
        options: &WriteOptions,
        change: &Intent<'_>,
    ) -> Result<Written, ApiError> {
        loop {
            let live = self.find(key);
            let write = change(live.as_deref())?;
            let Some(live) = live else {
                let write = write.ok_or_else(|| ApiError::not_found(&key.resource, &key.name))?;
                match self.insert(resource, &key.namespace, write, options)? {
                    Ok(written) => return Ok(written),
                    Err(_raced) => continue,
                }
            };
            let (prepared, mut warnings) = match write {
                Some(write) => self.prepare(resource, &live, write, options)?,
                None => (None, Vec::new()),
            };
            match self.admit_change(resource, key, &live, prepared, options) {
                Ok((object, more)) => {
                    warnings.extend(more);
                    return Ok(Written { object, created: false, warnings });
                }
                Err(Refused::Raced) => {}
                Err(Refused::For(error)) => return Err(error),
            }
        }
    }

    /// Stores a change, `None` for one that changes nothing, if admission lets it through. Returns warnings too.
    fn admit_change(
        &self,
        resource: &Resource,
        key: &Key,
        live: &Arc<Stored>,
        prepared: Option<Value>,
        options: &WriteOptions,
    ) -> Result<(Arc<Stored>, Vec<String>), Refused> {
        let object = prepared.as_ref().unwrap_or(live.value());
        let request = Request {
            operation: Operation::Update,
            resource,
            key,
            subresource: options.subresource,
            object: Some(object),
            old: Some(live.value()),
            user: &options.user,
            dry_run: options.dry_run,
            options: options.asked("UpdateOptions"),
        };
        let admitted = if options.subresource == Some("scale") {
            // Who scales writes the scale, not what is scaled.
            let scales = [live.value(), object].map(|object| scale_of(resource, object));
            let [old, object] = &scales;
            admission::admit(self, &Request { object: Some(object), old: Some(old), ..request })
        } else {
            admission::admit(self, &request)
        };
        let admitted = admitted.map_err(Refused::For)?;
        let object = match prepared {
            None => live.clone(),
            Some(prepared) if options.dry_run => Stored::new(prepared, live.revision()),
            Some(prepared) if released(key, &prepared) => {
                self.commit_removal(key, live.revision(), prepared)?
            }
            Some(prepared) => self.commit(key, Some(live.revision()), prepared)?,
        };
        Ok((object, admitted.settle(self)))
    }

    /// `Ok(Err(key))` when the object is already there.
    fn insert(
        &self,
        resource: &Resource,
        namespace: &str,
        write: Write,
        options: &WriteOptions,
    ) -> Result<Result<Written, Key>, ApiError> {
        let now = Timestamp::now();
        let (mut object, applied) = match write {
            Write::Replace(object) => (object, false),
            Write::Apply(mut object) => {
                // An apply may name the version that it expects; there is none.
                if let Some(fields) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                    fields.remove("resourceVersion");
                }
                (object, true)
            }
        };
        metadata::for_create(resource, namespace, &mut object, now)?;
        let key = Key::of(&resource.id, &object);
        let validation = if applied { FieldValidation::Declared } else { options.validation };
        let mut warnings = decode::accept(resource, &mut object, validation, &options.complaints)?;
        check_escalation(self, &options.user, resource, namespace, None, &object)?;
        strategy::drop_status(resource, &mut object);
        if !applied {
            // Nobody owns what the server adds from here on.
            let time = timestamp(now);
            let api_version = resource.api_version();
            apply::track_update(&context(resource, options, &api_version, &time), None, &mut object);
        }
        admission::mutate(self, resource, &key, &mut object)?;
        strategy::prepare_create(self, resource, &mut object, now)?;
        metadata::validate(resource, &object)?;
        decode::validate(resource, &object)?;
        strategy::validate_create(resource, &object)?;
        strategy::check_rules(resource, None, &object)?;
        metadata::tidy(&mut object);
        if self.find(&key).is_some() {
            return Ok(Err(key));
        }
        let request = Request {
            operation: Operation::Create,
            resource,
            key: &key,
            subresource: None,
            object: Some(&object),
            old: None,
            user: &options.user,
            dry_run: options.dry_run,
            options: options.asked("CreateOptions"),
        };
        let admitted = admission::admit(self, &request)?;
        let object = if options.dry_run {
            Stored::new(object, 0)
        } else {
            match self.commit(&key, None, object) {
                Ok(object) => object,
                Err(Refused::Raced) => return Ok(Err(key)),
                Err(Refused::For(error)) => return Err(error),
            }
        };
        warnings.extend(admitted.settle(self));
        if !options.dry_run && key.resource == NAMESPACES {
            self.furnish(&key.name)?;
        }
        Ok(Ok(Written { object, created: true, warnings }))
    }

    /// The object as it is to be stored; `None` when that is what is stored already.
    fn prepare(
        &self,
        resource: &Resource,
        live: &Stored,
        write: Write,
        options: &WriteOptions,
    ) -> Result<(Option<Value>, Vec<String>), ApiError> {
        let now = Timestamp::now();
        let (mut object, applied) = match write {
            Write::Replace(object) => (object, false),
            Write::Apply(object) => (object, true),
        };
        metadata::check_versions(resource, live, &object)?;
        if object == *live.value() {
            return Ok((None, Vec::new()));
        }
        strategy::restrict(resource, options.subresource, live, &mut object);
        metadata::for_update(resource, live, &mut object)?;
        let validation = if applied { FieldValidation::Declared } else { options.validation };
        let warnings = decode::accept(resource, &mut object, validation, &options.complaints)?;
        let namespace = live["metadata"]["namespace"].as_str().unwrap_or_default();
        check_escalation(self, &options.user, resource, namespace, Some(live.value()), &object)?;
        if !applied {
            let time = timestamp(now);
            let api_version = resource.api_version();
            apply::track_update(
                &context(resource, options, &api_version, &time),
                Some(live.value()),
                &mut object,
            );
        }
        strategy::prepare_update(self, resource, live, &mut object)?;
        metadata::validate(resource, &object)?;
        decode::validate(resource, &object)?;
        strategy::validate_update(resource, live, &object)?;
        strategy::check_rules(resource, Some(live.value()), &object)?;
        strategy::count_generation(resource, live, &mut object);
        metadata::tidy(&mut object);
        Ok(((object != *live.value()).then_some(object), warnings))
    }

    /// What every namespace holds from its start: a service account and the cluster's root certificates.
    fn furnish(&self, namespace: &str) -> Result<(), ApiError> {
        let options = WriteOptions::of("kube-controller-manager");
        let account = json!({"metadata": {"name": "default"}});
        let about = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints \
                     such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
                     distributions of Kubernetes clusters.";
        let roots = json!({
            "metadata": {"name": "kube-root-ca.crt", "annotations": {"kubernetes.io/description": about}},
            "data": {"ca.crt": ""},
        });
        for (plural, object) in [("serviceaccounts", account), ("configmaps", roots)] {
            if let Some(resource) = self.registry().find("", "v1", plural) {
                match self.write_new(&resource, namespace, object, &options) {
                    Err(error) if !matches!(error.code, 403 | 404 | 409) => return Err(error),
                    // The namespace went again, or someone else was faster.
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// Whether a marked object has nothing left that holds it.
fn released(key: &Key, object: &Value) -> bool {
    let empty = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    let metadata = &object["metadata"];
    !metadata["deletionTimestamp"].is_null()
        && metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && empty(&object["metadata"]["finalizers"])
        && (key.resource != NAMESPACES || empty(&object["spec"]["finalizers"]))
}

/// Who applies or updates what, for the bookkeeping of managed fields.
pub(super) fn context<'a>(
    resource: &'a Resource,
    options: &'a WriteOptions,
    api_version: &'a str,
    now: &'a str,
) -> ApplyContext<'a> {
    ApplyContext {
        schema: &resource.schema,
        manager: &options.manager,
        force: false,
        subresource: options.subresource,
        api_version,
        now,
    }
}
