//! Plans as they are printed.

use super::*;
use crate::manifest::ObjectRef;
use serde_json::json;

fn diff(kind: &str, name: &str, change: ObjectChange) -> ObjectDiff {
    ObjectDiff { object: ObjectRef::new("v1", kind, name).in_namespace("api1"), change }
}

#[test]
fn a_plan_reads_as_a_diff() {
    let platform = PlatformName::new("shop").unwrap();
    let environment = EnvironmentName::new("testing").unwrap();
    let role = ClusterRole::Environments(vec![environment.clone()]);
    let cluster = |name: &str, change, sets| ClusterPlan {
        spec: ClusterSpec::new(platform.clone(), ClusterName::new(name).unwrap(), role.clone()),
        change,
        sets,
    };
    let set = |subject, objects| SetPlan { subject, set: None, objects, after: Vec::new() };
    let field = |path: &str, before, after| FieldChange { path: path.to_owned(), before, after };
    let application = SetSubject::Application {
        environment: environment.clone(),
        application: ApplicationName::new("api1").unwrap(),
        image: Image::parse("api1:2").unwrap(),
    };
    let fields = vec![
        field(".spec.replicas", Some(json!(1)), Some(json!(2))),
        field(".data.conf", Some(json!("a\nb\n")), Some(json!("a\nc\n"))),
    ];
    let plan = Plan {
        platform: platform.clone(),
        provider: "embedded".to_owned(),
        simulated: true,
        isolation: Isolation::ClusterPerEnvironment,
        clusters: vec![
            cluster(
                "shop-testing",
                ClusterChange::Create,
                vec![set(
                    SetSubject::Isolation { environment },
                    vec![
                        diff("NetworkPolicy", "a", ObjectChange::Create),
                        diff("NetworkPolicy", "b", ObjectChange::Create),
                    ],
                )],
            ),
            cluster(
                "shop-production",
                ClusterChange::Unchanged,
                vec![
                    set(
                        application,
                        vec![
                            diff("Deployment", "api1", ObjectChange::Update { fields }),
                            diff("Service", "api1", ObjectChange::Unchanged),
                            diff("Ingress", "api1", ObjectChange::Prune),
                        ],
                    ),
                    set(SetSubject::Removed { set: "component.old".to_owned() }, vec![]),
                ],
            ),
        ],
        telemetry: vec!["alert: HighCpu".to_owned()],
        starts_telemetry: true,
        warnings: vec![],
    };
    let wanted = "\
Platform shop on embedded, a cluster per environment
Workloads of embedded clusters are simulated: no container runs.

+ cluster shop-testing (environment testing, 1 node)
    + isolation of testing: 2 NetworkPolicies

  cluster shop-production (environment testing, 1 node)
    ~ application api1 in testing (api1:2)
        ~ Deployment api1/api1
            ~ .spec.replicas: 1 -> 2
            ~ .data.conf:
                 a
                -b
                +c
        - Ingress api1/api1
    - component.old

+ telemetry
    + alert: HighCpu

Plan: create 1 cluster and 2 objects, change 1 object, delete 1 set and 1 object; 1 object is unchanged.";
    assert_eq!(plan.to_string(), wanted);
    assert!(!plan.is_empty());
}

#[test]
fn every_kind_of_change_is_printed_and_counted() {
    let platform = PlatformName::new("shop").unwrap();
    let mut spec = ClusterSpec::new(
        platform.clone(),
        ClusterName::new("shop-control-plane").unwrap(),
        ClusterRole::ControlPlane,
    );
    spec.nodes = 3;
    spec.protected = true;
    spec.kubernetes_version = Some("1.34".to_owned());
    let component = || SetSubject::Component {
        component: ComponentName::new("exporter").unwrap(),
        version: "1.2".to_owned(),
    };
    let change = |path: &str, before, after| FieldChange { path: path.to_owned(), before, after };
    let fields = vec![
        change(".spec.new", None, Some(json!("x"))),
        change(".spec.old", Some(json!([1])), None),
        change(".data.text", Some(json!("a\nb\n")), Some(json!("a\n\u{1b}[2Jc\n"))),
    ];
    let objects = vec![
        diff("A", "new", ObjectChange::Create),
        diff("B", "later", ObjectChange::KnownAfterApply),
        diff("C", "same", ObjectChange::Unchanged),
        diff("D", "changed", ObjectChange::Update { fields }),
        diff("E", "stuck", ObjectChange::Recreate { reason: "field is immutable".to_owned() }),
        diff(
            "F",
            "taken",
            ObjectChange::Conflict { owners: vec![".spec is owned by \"kubectl\"".to_owned()] },
        ),
        diff("G", "old", ObjectChange::Prune),
    ];
    let plan = |change, sets| Plan {
        platform: platform.clone(),
        provider: "kind".to_owned(),
        simulated: false,
        isolation: Isolation::NamespacePerApplication,
        clusters: vec![ClusterPlan { spec: spec.clone(), change, sets }],
        telemetry: vec![],
        starts_telemetry: false,
        warnings: vec!["cluster x is left alone".to_owned()],
    };
    let set = |subject, objects| SetPlan { subject, set: None, objects, after: Vec::new() };
    let differences = vec!["version: 1.33 -> 1.34".to_owned()];
    let full =
        plan(ClusterChange::Recreate { differences: differences.clone() }, vec![set(component(), objects)]);
    let wanted = "\
Platform shop on kind, a namespace per environment and application in a shared cluster

! cluster shop-control-plane (control plane, 3 nodes, Kubernetes 1.34, protected)
    ! version: 1.33 -> 1.34
      this cannot be changed while it runs: delete the cluster to have it created anew
    ~ component exporter 1.2
        + A api1/new
        + B api1/later (known after apply)
        ~ D api1/changed
            + .spec.new: \"x\"
            - .spec.old: [1]
            ~ .data.text:
                 a
                -b
                +\u{fffd}[2Jc
        ! E api1/stuck cannot be changed, it must be recreated: field is immutable
        ! F api1/taken: .spec is owned by \"kubectl\"
        - G api1/old

! cluster x is left alone

Plan: create 2 objects, change 1 object, delete 1 object; 1 object is unchanged; 3 cannot be brought to what is wanted.";
    assert_eq!(full.to_string(), wanted);

    let update = plan(ClusterChange::Update { differences }, vec![]);
    assert!(update.to_string().contains("~ cluster shop-control-plane"), "{update}");
    assert!(update.to_string().ends_with("Plan: change 1 cluster."), "{update}");

    let removed = SetSubject::Removed { set: "component.old".to_owned() };
    let removal = plan(ClusterChange::Unchanged, vec![set(removed, vec![])]);
    assert!(!removal.is_empty());
    assert!(removal.to_string().ends_with("Plan: delete 1 set."), "{removal}");

    let nothing = plan(ClusterChange::Unchanged, vec![set(component(), vec![])]);
    assert!(nothing.is_empty());
    assert!(nothing.to_string().ends_with("Plan: nothing to change."), "{nothing}");
}
