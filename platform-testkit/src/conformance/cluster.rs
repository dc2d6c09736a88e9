//! What every [`Cluster`] must do.
//!
//! Objects are written through the cluster under test alone, in namespaces and sets that begin with `conformance`, for two platforms,
//! `conformance` and `stranger`. What a former run left is deleted first, and everything at the end.

use super::{Outcome, Report, ensure, ensure_eq, ensure_fails};
use platform_core::{
    Error, ErrorKind, Result,
    cluster::{
        ApplyOptions, ApplyReport, Cluster, ListOptions, ObjectChange, ObjectDiff, ObjectOutcome, Readiness,
    },
    event::Progress,
    manifest::{Manifest, ManifestSet, ObjectRef},
    name::PlatformName,
};
use serde_json::{Value, json};
use std::time::Duration;

/// How long anything that should succeed may take; far more than it takes.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long to wait for what never comes.
const IMPATIENCE: Duration = Duration::from_secs(1);
/// More objects than fit on one page of a list.
const MANY: usize = 510;

/// Runs the suite on a cluster that runs workloads.
pub async fn run(cluster: &dyn Cluster) -> Report {
    Suite::new(cluster).run().await
}

/// The suite, fitted to what there is to test.
#[derive(Debug)]
pub struct Suite<'a> {
    cluster: &'a dyn Cluster,
    rival: Option<&'a dyn Cluster>,
    image: Option<String>,
}

impl<'a> Suite<'a> {
    /// All checks that one handle of a cluster allows, with `registry.k8s.io/pause:3.10` as the image of workloads.
    pub fn new(cluster: &'a dyn Cluster) -> Self {
        Self { cluster, rival: None, image: Some("registry.k8s.io/pause:3.10".to_owned()) }
    }

    /// Also checks conflicts, with another handle of the same cluster that writes under another field manager.
    #[must_use]
    pub fn rival(mut self, rival: &'a dyn Cluster) -> Self {
        self.rival = Some(rival);
        self
    }

    /// Takes another image that runs for workloads.
    #[must_use]
    pub fn image(mut self, image: impl Into<String>) -> Self {
        self.image = Some(image.into());
        self
    }

    /// Leaves out the checks that need nodes.
    #[must_use]
    pub fn without_workloads(mut self) -> Self {
        self.image = None;
        self
    }

    /// Runs the suite.
    pub async fn run(self) -> Report {
        let mut report = Report::new("cluster");
        report.check("a former run can be cleaned up", self.clean_up()).await;
        report.check("the version is told", self.version()).await;
        report.check("a diff of what is new writes nothing", self.diff_is_dry()).await;
        report.check("a second apply writes nothing", self.apply_is_idempotent()).await;
        report.check("a diff names the fields that change", self.diff_names_fields()).await;
        report.check("a field that left the manifest is removed", self.dropped_field()).await;
        report.check("what cannot change is told apart and not forced", self.immutable()).await;
        report.check("a wrong manifest is refused before anything is written", self.invalid()).await;
        report.check("objects of another platform are neither changed nor deleted", self.foreign()).await;
        report.check("an object is in one set only", self.two_sets()).await;
        report.check("values of secrets are not shown", self.secrets()).await;
        report.check("what left the set is pruned", self.prune()).await;
        report.check("namespaces are spared by pruning", self.spare()).await;
        report.check("a definition and its objects are applied in one set", self.definitions()).await;
        report.check("lists are complete, sorted and selected", self.lists()).await;
        report.check("what is not there is not an error", self.absent()).await;
        report.check("a deleted set is gone", self.delete_set()).await;
        report.check("waiting ends with the deadline and says what is missing", self.wait_times_out()).await;
        report.check("what needs no waiting is ready at once", self.wait_is_over()).await;
        if let Some(rival) = self.rival {
            report.check("a conflict names field and manager, and force ends it", self.conflict(rival)).await;
            report.check("drift of our fields is found and repaired", self.drift(rival)).await;
        }
        if let Some(image) = &self.image {
            report.check("a workload becomes ready", self.workload(image)).await;
            report.check("a workload that cannot start fails fast", self.broken_workload(image)).await;
        }
        report.check("everything can be cleaned up", self.clean_up()).await;
        report
    }

    async fn version(&self) -> Outcome {
        let version = self.cluster.version().await.map_err(text)?;
        ensure(version.starts_with('v'), || format!("{version} is no version"))
    }

    async fn diff_is_dry(&self) -> Outcome {
        let set = set("dry", vec![namespace("dry"), config("dry", "one", "1")])?;
        let diff = self.cluster.diff(&set, &ours()?).await.map_err(text)?;
        ensure_eq(change(&diff, 0)?, &ObjectChange::Create, "a new namespace")?;
        ensure_eq(change(&diff, 1)?, &ObjectChange::KnownAfterApply, "what is in a namespace to come")?;
        for object in set.references() {
            let found = self.cluster.get(&object).await.map_err(text)?;
            ensure(found.is_none(), || format!("the diff wrote {object}"))?;
        }
        let sets = self.cluster.sets(&ours()?.owner).await.map_err(text)?;
        ensure(!sets.contains(&set.name().to_owned()), || format!("the diff wrote a set: {sets:?}"))
    }

    async fn apply_is_idempotent(&self) -> Outcome {
        let manifests = vec![
            namespace("twice"),
            config("twice", "one", "1"),
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": metadata("twice", "web"),
                "spec": {"selector": {"a": "b"}, "ports": [{"name": "http", "port": 80}, {"name": "metrics", "port": 81}]},
            }),
            deployment("twice", "web", "example.com/web:1", 0),
            json!({
                "apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata("twice", "quota"),
                "spec": {"hard": {"requests.cpu": "1500m", "requests.memory": "1024Mi", "pods": "10"}},
            }),
            json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata("twice", "deny"),
                "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
            }),
        ];
        let set = set("twice", manifests)?;
        let first = self.apply(&set).await?;
        ensure_eq(&first.count(ObjectOutcome::Created), &set.manifests().len(), "objects that were created")?;
        let reported: Vec<ObjectRef> = first.objects.iter().map(|(object, _)| object.clone()).collect();
        ensure_eq(&reported, &set.references(), "the order of the report")?;
        let before = self.versions(&set).await?;
        let second = self.apply(&set).await?;
        ensure(!second.wrote(), || format!("the second apply says that it wrote: {second:?}"))?;
        ensure_eq(&self.versions(&set).await?, &before, "resource versions after a second apply")?;
        for one in self.cluster.diff(&set, &ours()?).await.map_err(text)? {
            ensure_eq(&one.change, &ObjectChange::Unchanged, &one.object.to_string())?;
        }
        let sets = self.cluster.sets(&ours()?.owner).await.map_err(text)?;
        ensure(sets.contains(&set.name().to_owned()), || format!("the set is not listed: {sets:?}"))
    }

    async fn diff_names_fields(&self) -> Outcome {
        let with = |image: &str, value: &str| {
            let manifests = vec![
                namespace("fields"),
                config("fields", "one", value),
                deployment("fields", "web", image, 0),
            ];
            set("fields", manifests)
        };
        self.apply(&with("example.com/web:1", "1")?).await?;
        let changed = with("example.com/web:2", "1")?;
        let diff = self.cluster.diff(&changed, &ours()?).await.map_err(text)?;
        ensure_eq(change(&diff, 1)?, &ObjectChange::Unchanged, "the object that is the same")?;
        let ObjectChange::Update { fields } = change(&diff, 2)? else {
            return Err(format!("a new image must be an update, is {diff:?}"));
        };
        let paths: Vec<&str> = fields.iter().map(|field| field.path.as_str()).collect();
        ensure_eq(&paths, &vec![".spec.template.spec.containers[name=\"web\"].image"], "the paths")?;
        let values: Vec<_> = fields.iter().map(|field| (field.before.clone(), field.after.clone())).collect();
        let wanted = vec![(Some(json!("example.com/web:1")), Some(json!("example.com/web:2")))];
        ensure_eq(&values, &wanted, "the values")?;
        let report = self.apply(&changed).await?;
        ensure_eq(&report.count(ObjectOutcome::Configured), &1, "objects that were changed")?;
        ensure_eq(&report.count(ObjectOutcome::Unchanged), &2, "objects that were not")?;
        let after = self.apply(&changed).await?;
        ensure(!after.wrote(), || format!("once changed it changes again: {after:?}"))
    }

    async fn dropped_field(&self) -> Outcome {
        let with = |data: Value| {
            let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("dropped", "one"), "data": data});
            set("dropped", vec![namespace("dropped"), map])
        };
        self.apply(&with(json!({"keep": "1", "drop": "2"}))?).await?;
        let less = with(json!({"keep": "1"}))?;
        let diff = self.cluster.diff(&less, &ours()?).await.map_err(text)?;
        let ObjectChange::Update { fields } = change(&diff, 1)? else {
            return Err(format!("a field less must be an update, is {diff:?}"));
        };
        let dropped = fields.iter().any(|field| field.path == ".data.drop" && field.after.is_none());
        ensure(dropped, || format!("{fields:?} does not tell that .data.drop goes"))?;
        self.apply(&less).await?;
        let live = self.read(&config_ref("dropped", "one")).await?;
        ensure_eq(&live["data"], &json!({"keep": "1"}), "the data")
    }

    async fn immutable(&self) -> Outcome {
        let with = |label: &str| {
            let mut workload = deployment("immutable", "web", "example.com/web:1", 0);
            workload["spec"]["selector"]["matchLabels"] = json!({"app": label});
            workload["spec"]["template"]["metadata"]["labels"] = json!({"app": label});
            set("immutable", vec![namespace("immutable"), workload])
        };
        let set = with("web")?;
        self.apply(&set).await?;
        let before = self.versions(&set).await?;
        let other = with("other")?;
        let diff = self.cluster.diff(&other, &ours()?).await.map_err(text)?;
        let ObjectChange::Recreate { reason } = change(&diff, 1)? else {
            return Err(format!("another selector must be a recreation, is {diff:?}"));
        };
        ensure(reason.contains("spec.selector"), || format!("{reason:?} does not name the field"))?;
        let refused = self.cluster.apply(&other, &ours()?.force(true)).await;
        ensure_fails(refused, ErrorKind::Unsupported, "applying what cannot change")?;
        ensure_eq(&self.versions(&set).await?, &before, "resource versions after a refused apply")
    }

    async fn invalid(&self) -> Outcome {
        self.apply(&set("invalid", vec![namespace("invalid")])?).await?;
        let wrong = |spec: Value| {
            let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata("invalid", "web"), "spec": spec});
            set("invalid", vec![namespace("invalid"), config("invalid", "one", "1"), service])
        };
        for (spec, named) in [
            (json!({"ports": [{"port": 80}], "slector": {}}), "slector"),
            (json!({"ports": [{"port": "eighty"}]}), "port"),
            (json!({"ports": [{"port": 70000}]}), "port"),
        ] {
            let error = match self.cluster.apply(&wrong(spec.clone())?, &ours()?).await {
                Ok(report) => return Err(format!("{spec} was accepted: {report:?}")),
                Err(error) => error,
            };
            ensure_eq(&error.kind(), &ErrorKind::Invalid, &format!("the kind of {error}"))?;
            ensure(error.to_string().contains(named), || format!("{error} does not name {named}"))?;
            ensure(error.to_string().contains("invalid/web"), || {
                format!("{error} does not name the object")
            })?;
        }
        let found = self.cluster.get(&config_ref("invalid", "one")).await.map_err(text)?;
        ensure(found.is_none(), || "an object of a refused set was written".to_owned())
    }

    async fn foreign(&self) -> Outcome {
        let theirs = set("theirs", vec![namespace("foreign"), config("foreign", "one", "theirs")])?;
        self.cluster.apply(&theirs, &strangers()?).await.map_err(text)?;
        let before = self.versions(&theirs).await?;
        let set = set("foreign", vec![config("foreign", "one", "ours"), config("foreign", "two", "ours")])?;
        let diff = self.cluster.diff(&set, &ours()?).await.map_err(text)?;
        let ObjectChange::Conflict { owners } = change(&diff, 0)? else {
            return Err(format!("an object of a stranger must be a conflict, is {diff:?}"));
        };
        ensure(owners.iter().any(|o| o.contains("stranger")), || {
            format!("{owners:?} does not say whose it is")
        })?;
        let refused = self.cluster.apply(&set, &ours()?.force(true)).await;
        ensure_fails(
            refused,
            ErrorKind::AlreadyExists,
            "applying over an object of a stranger, even by force",
        )?;
        ensure_eq(&self.versions(&theirs).await?, &before, "resource versions of the stranger's objects")?;
        let two = self.cluster.get(&config_ref("foreign", "two")).await.map_err(text)?;
        ensure(two.is_none(), || "the rest of a refused set was written".to_owned())?;
        let taken = self.cluster.apply(&theirs, &ours()?).await;
        ensure_fails(taken, ErrorKind::AlreadyExists, "applying the set of a stranger under its name")?;
        let deleted = self.cluster.delete_set(theirs.name(), &ours()?).await;
        ensure_fails(deleted, ErrorKind::AlreadyExists, "deleting the set of a stranger")?;
        let sets = self.cluster.sets(&ours()?.owner).await.map_err(text)?;
        ensure(!sets.contains(&theirs.name().to_owned()), || format!("{sets:?} has the stranger's set"))
    }

    async fn two_sets(&self) -> Outcome {
        let first = set("first", vec![namespace("shared"), config("shared", "one", "1")])?;
        self.apply(&first).await?;
        let second = set("second", vec![config("shared", "one", "2")])?;
        let error = match self.cluster.apply(&second, &ours()?.force(true)).await {
            Ok(report) => return Err(format!("two sets have the same object: {report:?}")),
            Err(error) => error,
        };
        ensure_eq(&error.kind(), &ErrorKind::AlreadyExists, "the kind of the error")?;
        ensure(error.to_string().contains(first.name()), || format!("{error} does not name the other set"))
    }

    async fn secrets(&self) -> Outcome {
        let with = |password: &str| {
            let secret = json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": metadata("secrets", "one"), "stringData": {"password": password},
            });
            set("secrets", vec![namespace("secrets"), secret])
        };
        // "plum" and "pear" are cGx1bQ== and cGVhcg== where servers keep them.
        self.apply(&with("plum")?).await?;
        let again = self.apply(&with("plum")?).await?;
        ensure(!again.wrote(), || format!("a secret is written again: {again:?}"))?;
        let diff = self.cluster.diff(&with("pear")?, &ours()?).await.map_err(text)?;
        let ObjectChange::Update { fields } = change(&diff, 1)? else {
            return Err(format!("another password must be an update, is {diff:?}"));
        };
        ensure_eq(&fields.len(), &1, "fields that change")?;
        let shown = format!("{diff:?}");
        for value in ["plum", "pear", "cGx1bQ==", "cGVhcg=="] {
            ensure(!shown.contains(value), || format!("the diff shows {value}"))?;
        }
        self.apply(&with("pear")?).await?;
        let live =
            self.read(&ObjectRef::new("v1", "Secret", "one").in_namespace(in_suite("secrets"))).await?;
        ensure_eq(&live["data"]["password"], &json!("cGVhcg=="), "the password")
    }

    async fn prune(&self) -> Outcome {
        let with = |names: &[&str]| {
            let maps = names.iter().map(|name| config("prune", name, "1"));
            set("prune", std::iter::once(namespace("prune")).chain(maps).collect())
        };
        self.apply(&with(&["one", "two", "three"])?).await?;
        let kept = self.cluster.apply(&with(&["one", "two"])?, &ours()?.prune(false)).await.map_err(text)?;
        ensure_eq(&kept.count(ObjectOutcome::Pruned), &0, "objects pruned unasked")?;
        let fewer = with(&["one"])?;
        let diff = self.cluster.diff(&fewer, &ours()?).await.map_err(text)?;
        let pruned: Vec<&ObjectRef> =
            diff.iter().filter(|d| d.change == ObjectChange::Prune).map(|d| &d.object).collect();
        let wanted = [config_ref("prune", "three"), config_ref("prune", "two")];
        ensure_eq(&pruned, &wanted.iter().collect(), "what would be pruned")?;
        let report = self.apply(&fewer).await?;
        ensure_eq(&report.count(ObjectOutcome::Pruned), &2, "objects pruned")?;
        for gone in &wanted {
            let found = self.cluster.get(gone).await.map_err(text)?;
            ensure(found.is_none(), || format!("{gone} is still there"))?;
        }
        let again = self.apply(&fewer).await?;
        ensure(!again.wrote(), || format!("pruning is not finished: {again:?}"))
    }

    async fn spare(&self) -> Outcome {
        let both = set("spare", vec![namespace("spare"), namespace("spare2"), config("spare2", "one", "1")])?;
        self.apply(&both).await?;
        let fewer = set("spare", vec![namespace("spare")])?;
        let report = self.apply(&fewer).await?;
        ensure_eq(&report.count(ObjectOutcome::Pruned), &1, "objects pruned")?;
        let spared = ObjectRef::new("v1", "Namespace", in_suite("spare2"));
        let live = self.read(&spared).await?;
        ensure(live.pointer("/metadata/deletionTimestamp").is_none(), || {
            "a namespace was pruned".to_owned()
        })?;
        let again = self.apply(&fewer).await?;
        ensure(!again.wrote(), || format!("a spared namespace is written about: {again:?}"))?;
        let deleted = self.cluster.delete_set(fewer.name(), &ours()?).await.map_err(text)?;
        ensure(deleted.deleted.contains(&spared), || {
            format!("a spared namespace outlives its set: {deleted:?}")
        })
    }

    async fn definitions(&self) -> Outcome {
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "widgets.conformance.platform.dev"},
            "spec": {
                "group": "conformance.platform.dev", "scope": "Namespaced",
                "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
                }}}],
            },
        });
        let widget = |size: u32| {
            json!({
                "apiVersion": "conformance.platform.dev/v1", "kind": "Widget",
                "metadata": metadata("definitions", "one"), "spec": {"size": size},
            })
        };
        let with =
            |size| set("definitions", vec![widget(size), definition.clone(), namespace("definitions")]);
        let diff = self.cluster.diff(&with(1)?, &ours()?).await.map_err(text)?;
        ensure_eq(change(&diff, 0)?, &ObjectChange::KnownAfterApply, "an object of a kind to come")?;
        self.apply(&with(1)?).await?;
        let again = self.apply(&with(1)?).await?;
        ensure(!again.wrote(), || format!("the second apply says that it wrote: {again:?}"))?;
        let report = self.apply(&with(2)?).await?;
        ensure_eq(&report.count(ObjectOutcome::Configured), &1, "objects that were changed")?;
        let reference = with(2)?.references().remove(0);
        ensure_eq(&self.read(&reference).await?["spec"]["size"], &json!(2), "the size")?;
        let deleted = self.cluster.delete_set(with(2)?.name(), &ours()?).await.map_err(text)?;
        ensure_eq(&deleted.deleted.len(), &3, "objects deleted")?;
        let found = self.cluster.get(&with(2)?.references().remove(1)).await.map_err(text)?;
        ensure(found.is_none(), || "the definition is still there".to_owned())
    }

    async fn lists(&self) -> Outcome {
        let maps = (0..MANY).map(|i| {
            let parity = if i % 2 == 0 { "even" } else { "odd" };
            let mut map = config("lists", &format!("map-{i:04}"), "1");
            map["metadata"]["labels"] = json!({"parity": parity, "suite": "lists"});
            map
        });
        let set = set("lists", std::iter::once(namespace("lists")).chain(maps).collect())?;
        self.apply(&set).await?;
        let here = ListOptions::all().namespace(in_suite("lists")).label("suite", "lists");
        let all = self.cluster.list("v1", "ConfigMap", &here).await.map_err(text)?;
        let names: Vec<&str> = all.iter().filter_map(|o| o.pointer("/metadata/name")?.as_str()).collect();
        ensure_eq(&names.len(), &MANY, "objects listed")?;
        ensure(names.is_sorted(), || "the list is not in order".to_owned())?;
        let typed = all.iter().all(|o| o["kind"] == "ConfigMap" && o["apiVersion"] == "v1");
        ensure(typed, || "objects of a list lack their kind".to_owned())?;
        let odd = self.cluster.list("v1", "ConfigMap", &here.label("parity", "odd")).await.map_err(text)?;
        ensure_eq(&odd.len(), &(MANY / 2), "objects with a label")?;
        let everywhere = ListOptions::all().label("suite", "lists");
        let everywhere = self.cluster.list("v1", "ConfigMap", &everywhere).await.map_err(text)?;
        ensure_eq(&everywhere.len(), &MANY, "objects in all namespaces")?;
        let again = self.apply(&set).await?;
        ensure(!again.wrote(), || "a second apply of many objects wrote".to_owned())
    }

    async fn absent(&self) -> Outcome {
        for object in [
            config_ref("nowhere", "one"),
            ObjectRef::new("v1", "Namespace", in_suite("nowhere")),
            ObjectRef::new("nothing.platform.dev/v1", "Nothing", "one"),
        ] {
            let found = self.cluster.get(&object).await.map_err(text)?;
            ensure(found.is_none(), || format!("{object} exists"))?;
            let health = self.cluster.health(std::slice::from_ref(&object)).await.map_err(text)?;
            let readiness: Vec<Readiness> = health.iter().map(|h| h.readiness).collect();
            ensure_eq(&readiness, &vec![Readiness::NotFound], &format!("the health of {object}"))?;
        }
        let listed = self.cluster.list("nothing.platform.dev/v1", "Nothing", &ListOptions::all()).await;
        ensure_fails(listed, ErrorKind::NotFound, "listing a kind that is not served")?;
        let nothing = self.cluster.delete_set("conformance.nothing", &ours()?).await.map_err(text)?;
        ensure(nothing.deleted.is_empty() && nothing.left.is_empty(), || {
            format!("deleting nothing gives {nothing:?}")
        })
    }

    async fn delete_set(&self) -> Outcome {
        let workload = deployment("deleted", "web", "example.com/web:1", 0);
        let set = set("deleted", vec![namespace("deleted"), config("deleted", "one", "1"), workload])?;
        self.apply(&set).await?;
        let deleted = self.cluster.delete_set(set.name(), &ours()?).await.map_err(text)?;
        ensure_eq(&deleted.deleted.len(), &3, "objects deleted")?;
        ensure(deleted.left.is_empty(), || format!("some were left: {:?}", deleted.left))?;
        let position = |kind: &str| deleted.deleted.iter().position(|object| object.kind == kind);
        ensure(position("Deployment") < position("ConfigMap"), || "workloads do not go first".to_owned())?;
        ensure(position("ConfigMap") < position("Namespace"), || "namespaces do not go last".to_owned())?;
        for object in set.references() {
            let found = self.cluster.get(&object).await.map_err(text)?;
            ensure(found.is_none(), || format!("{object} is still there"))?;
        }
        let sets = self.cluster.sets(&ours()?.owner).await.map_err(text)?;
        ensure(!sets.contains(&set.name().to_owned()), || format!("{sets:?} still has the set"))?;
        let again = self.cluster.delete_set(set.name(), &ours()?).await.map_err(text)?;
        ensure(again.deleted.is_empty(), || format!("deleting it again gives {again:?}"))
    }

    async fn wait_times_out(&self) -> Outcome {
        let missing = config_ref("nowhere", "never");
        let error = match self.cluster.wait_ready(&[missing], IMPATIENCE, &Progress::silent()).await {
            Ok(()) => return Err("what does not exist is ready".to_owned()),
            Err(error) => error,
        };
        ensure_eq(&error.kind(), &ErrorKind::Timeout, &format!("the kind of {error}"))?;
        ensure(error.to_string().contains("never"), || format!("{error} does not name what is missing"))
    }

    async fn wait_is_over(&self) -> Outcome {
        let set = set("ready", vec![namespace("ready"), config("ready", "one", "1")])?;
        self.apply(&set).await?;
        self.cluster.wait_ready(&set.references(), PATIENCE, &Progress::silent()).await.map_err(text)?;
        self.cluster.wait_ready(&[], IMPATIENCE, &Progress::silent()).await.map_err(text)?;
        for health in self.cluster.health(&set.references()).await.map_err(text)? {
            ensure_eq(&health.readiness, &Readiness::Current, &health.object.to_string())?;
        }
        Ok(())
    }

    async fn conflict(&self, rival: &dyn Cluster) -> Outcome {
        let with =
            |value: &str| set("conflict", vec![namespace("conflict"), config("conflict", "one", value)]);
        self.apply(&with("ours")?).await?;
        rival.apply(&with("theirs")?, &ours()?.force(true)).await.map_err(text)?;
        let diff = self.cluster.diff(&with("ours")?, &ours()?).await.map_err(text)?;
        let ObjectChange::Conflict { owners } = change(&diff, 1)? else {
            return Err(format!("a field of a rival must be a conflict, is {diff:?}"));
        };
        ensure(owners.iter().all(|o| o.contains(".data.value is owned by \"")), || {
            format!("{owners:?} name no field")
        })?;
        let error = match self.cluster.apply(&with("ours")?, &ours()?).await {
            Ok(report) => return Err(format!("a conflict was overwritten: {report:?}")),
            Err(error) => error,
        };
        ensure_eq(&error.kind(), &ErrorKind::Conflict, &format!("the kind of {error}"))?;
        ensure(error.to_string().contains(".data.value is owned by \""), || {
            format!("{error} names no field")
        })?;
        ensure_eq(
            &self.read(&config_ref("conflict", "one")).await?["data"]["value"],
            &json!("theirs"),
            "the value",
        )?;
        let forced = self.cluster.apply(&with("ours")?, &ours()?.force(true)).await.map_err(text)?;
        ensure_eq(&forced.count(ObjectOutcome::Configured), &1, "objects taken over")?;
        ensure_eq(
            &self.read(&config_ref("conflict", "one")).await?["data"]["value"],
            &json!("ours"),
            "the value",
        )?;
        let again = self.apply(&with("ours")?).await?;
        ensure(!again.wrote(), || format!("the conflict is not over: {again:?}"))
    }

    async fn drift(&self, rival: &dyn Cluster) -> Outcome {
        let with = |image: &str| set("drift", vec![namespace("drift"), deployment("drift", "web", image, 0)]);
        self.apply(&with("example.com/web:1")?).await?;
        rival.apply(&with("example.com/web:evil")?, &ours()?.force(true)).await.map_err(text)?;
        let diff =
            self.cluster.diff(&with("example.com/web:1")?, &ours()?.force(true)).await.map_err(text)?;
        let ObjectChange::Update { fields } = change(&diff, 1)? else {
            return Err(format!("drift must be an update, is {diff:?}"));
        };
        ensure(fields.iter().any(|f| f.path.contains("].image")), || {
            format!("{fields:?} does not name the image")
        })?;
        self.cluster.apply(&with("example.com/web:1")?, &ours()?.force(true)).await.map_err(text)?;
        let live = self.read(&deployment_ref("drift", "web")).await?;
        let image = live.pointer("/spec/template/spec/containers/0/image").cloned().unwrap_or_default();
        ensure_eq(&image, &json!("example.com/web:1"), "the image")
    }

    async fn workload(&self, image: &str) -> Outcome {
        let set = set("workload", vec![namespace("workload"), deployment("workload", "web", image, 2)])?;
        self.apply(&set).await?;
        self.cluster.wait_ready(&set.references(), PATIENCE, &Progress::silent()).await.map_err(text)?;
        let again = self.apply(&set).await?;
        ensure(!again.wrote(), || format!("a running workload is written again: {again:?}"))
    }

    async fn broken_workload(&self, image: &str) -> Outcome {
        let with =
            |image: &str| set("broken", vec![namespace("broken"), deployment("broken", "web", image, 1)]);
        let broken = with("registry.invalid/image-pull-back-off:1")?;
        self.apply(&broken).await?;
        let error = match self.cluster.wait_ready(&broken.references(), PATIENCE, &Progress::silent()).await {
            Ok(()) => return Err("an image that does not exist is ready".to_owned()),
            Err(error) => error,
        };
        ensure_eq(&error.kind(), &ErrorKind::Failed, &format!("the kind of {error}"))?;
        let said = error.to_string();
        ensure(
            said.contains("Image") && said.contains("pod web-") && said.contains("container web"),
            || format!("{said:?} names no reason, pod and container"),
        )?;
        // The failing pods of the old image must not fail the rollout of the new one.
        let mended = with(image)?;
        self.apply(&mended).await?;
        self.cluster.wait_ready(&mended.references(), PATIENCE, &Progress::silent()).await.map_err(text)
    }

    async fn clean_up(&self) -> Outcome {
        for options in [ours()?, strangers()?] {
            for name in self.cluster.sets(&options.owner).await.map_err(text)? {
                let report = self.cluster.delete_set(&name, &options).await.map_err(text)?;
                ensure(report.left.is_empty(), || format!("of {name} this was left: {:?}", report.left))?;
            }
        }
        Ok(())
    }

    async fn apply(&self, set: &ManifestSet) -> Result<ApplyReport, String> {
        self.cluster.apply(set, &ours()?).await.map_err(text)
    }

    async fn read(&self, object: &ObjectRef) -> Result<Value, String> {
        self.cluster.get(object).await.map_err(text)?.ok_or_else(|| format!("{object} does not exist"))
    }

    /// What changes when somebody writes the objects: the generation where there is one, since controllers write status
    /// whenever they like.
    async fn versions(&self, set: &ManifestSet) -> Result<Vec<Value>, String> {
        let mut versions = Vec::new();
        for object in set.references() {
            let metadata = self.read(&object).await?["metadata"].take();
            let generation = metadata.get("generation").or_else(|| metadata.get("resourceVersion"));
            versions.push(generation.cloned().unwrap_or_default());
        }
        Ok(versions)
    }
}

fn ours() -> Result<ApplyOptions, String> {
    options("conformance")
}

fn strangers() -> Result<ApplyOptions, String> {
    options("stranger")
}

fn options(platform: &str) -> Result<ApplyOptions, String> {
    let options = ApplyOptions::new(PlatformName::new(platform).map_err(text)?);
    Ok(options.deadline(PATIENCE))
}

/// The name of a namespace of the suite.
fn in_suite(name: &str) -> String {
    format!("conformance-{name}")
}

/// A set of objects, which are checked here and nowhere else.
fn set(name: &str, objects: Vec<Value>) -> Result<ManifestSet, String> {
    let manifests = objects.into_iter().map(Manifest::new).collect::<Result<Vec<_>>>().map_err(text)?;
    ManifestSet::new(format!("conformance.{name}"), manifests).map_err(text)
}

fn metadata(namespace: &str, name: &str) -> Value {
    json!({"name": name, "namespace": in_suite(namespace)})
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": in_suite(name)}})
}

fn config(namespace: &str, name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(namespace, name), "data": {"value": value}})
}

fn config_ref(namespace: &str, name: &str) -> ObjectRef {
    ObjectRef::new("v1", "ConfigMap", name).in_namespace(in_suite(namespace))
}

fn deployment(namespace: &str, name: &str, image: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(namespace, name),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{
                        "name": name, "image": image, "ports": [{"name": "http", "containerPort": 8080}],
                        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
                    }],
                },
            },
        },
    })
}

fn deployment_ref(namespace: &str, name: &str) -> ObjectRef {
    ObjectRef::new("apps/v1", "Deployment", name).in_namespace(in_suite(namespace))
}

fn change(diff: &[ObjectDiff], at: usize) -> Result<&ObjectChange, String> {
    diff.get(at).map(|one| &one.change).ok_or_else(|| format!("the diff has no object {at}: {diff:?}"))
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn text(error: Error) -> String {
    error.to_string()
}
