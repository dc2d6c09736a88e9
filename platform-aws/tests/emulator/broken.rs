//! What is there and broken, or on its way out, when a run begins.

use crate::{
    seam::{self, ProtectedClusters, Stacks},
    server::{Emulator, cluster, platform},
    wire::Wire,
};
use platform_aws::{EksProvider, settings::EksSettings};
use platform_core::{
    ErrorKind,
    cluster::{ClusterPhase, ClusterProvider, Clusters, Deletion},
    event::Progress,
};
use serde_json::json;
use std::{sync::Arc, time::Duration};

const NAME: &str = "shop-testing";

async fn assert_whole(provider: &EksProvider) {
    assert_eq!(provider.changes(&cluster(NAME)).await.unwrap().unwrap().to_string(), "");
    let stacks = provider.aws().stacks.list().await.unwrap();
    assert_eq!(stacks.len(), 1, "{stacks:?}");
    assert_eq!(stacks[0].status, "CREATE_COMPLETE");
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn a_stack_in_any_broken_state_is_made_anew_or_removed() {
    let emulator = Emulator::start().await;
    let (spec, silent) = (cluster(NAME), Progress::silent());
    for status in
        ["ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED", "REVIEW_IN_PROGRESS"]
    {
        // An earlier run got as far as its stack.
        let (earlier, _) = emulator.provider(|builder| builder).await;
        emulator.fault(r#"{"match": "POST /clusters", "status": 403, "type": "AccessDeniedException"}"#);
        assert_eq!(earlier.create(&spec, &silent).await.unwrap_err().kind(), ErrorKind::Denied);
        let vpcs = earlier.aws().network.vpcs().await.unwrap().len();

        let broken = |aws: &mut platform_aws::api::Aws| {
            aws.stacks = Arc::new(Stacks::new(aws).stays(status, "it went wrong"));
        };
        let (provider, _) = seam::provider(&emulator, "{}", broken).await;
        let listed = provider.list(&platform()).await.unwrap();
        assert_eq!((listed.len(), listed[0].phase), (1, ClusterPhase::Broken), "{status}");
        provider.create(&spec, &silent).await.unwrap_or_else(|error| panic!("{status}: {error}"));
        assert_whole(&provider).await;
        assert_eq!(provider.aws().network.vpcs().await.unwrap().len(), vpcs, "{status}");

        let (provider, _) = seam::provider(&emulator, "{}", broken).await;
        let deleted = provider.delete(&platform(), &spec.name, &silent).await;
        assert_eq!(deleted.unwrap(), Deletion::Deleted, "{status}");
        assert_eq!(provider.aws().stacks.list().await.unwrap(), [], "{status}");
        assert_eq!(provider.aws().network.vpcs().await.unwrap().len(), vpcs - 1, "{status}");
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn a_stack_that_only_a_person_can_mend_is_told() {
    let emulator = Emulator::start().await;
    let (spec, silent) = (cluster(NAME), Progress::silent());
    let (earlier, _) = emulator.provider(|builder| builder).await;
    earlier.create(&spec, &silent).await.unwrap();
    let stuck = |aws: &mut platform_aws::api::Aws| {
        let events = [
            ("NodeRole", "AWS::IAM::Role", "UPDATE_FAILED", "the role was deleted by hand"),
            ("platform-shop-testing", "AWS::CloudFormation::Stack", "UPDATE_ROLLBACK_IN_PROGRESS", "no"),
            ("platform-shop-testing", "AWS::CloudFormation::Stack", "UPDATE_IN_PROGRESS", "User Initiated"),
        ];
        aws.stacks = Arc::new(Stacks::new(aws).stays("UPDATE_ROLLBACK_FAILED", "no").events(&events));
    };
    let (provider, _) = seam::provider(&emulator, "{}", stuck).await;
    let error = provider.create(&spec, &silent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed, "{error}");
    assert!(error.to_string().contains("NodeRole (AWS::IAM::Role): the role was deleted by hand"), "{error}");
    assert!(error.to_string().contains("continue the rollback of stack platform-shop-testing"), "{error}");
    assert_eq!(provider.delete(&platform(), &spec.name, &silent).await.unwrap(), Deletion::Deleted);
    assert_eq!(provider.aws().stacks.list().await.unwrap(), []);
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn a_deletion_that_goes_on_is_waited_for() {
    let emulator = Emulator::start().await;
    let (spec, silent) = (cluster(NAME), Progress::silent());
    for again in [true, false] {
        let (earlier, _) = emulator.provider(|builder| builder).await;
        earlier.create(&spec, &silent).await.unwrap();
        let groups = earlier.aws().node_groups.list(NAME).await.unwrap();
        earlier.aws().node_groups.delete(NAME, &groups[0]).await.unwrap();
        earlier.aws().clusters.delete(NAME).await.unwrap();
        // The earlier run ended after it had asked for the deletion of the stack.
        let (provider, _) = seam::provider(&emulator, "{}", |aws| {
            aws.stacks = Arc::new(Stacks::new(aws).goes_after(4));
        })
        .await;
        if again {
            provider.create(&spec, &silent).await.unwrap();
            assert_whole(&provider).await;
        }
        assert_eq!(provider.delete(&platform(), &spec.name, &silent).await.unwrap(), Deletion::Deleted);
        assert_eq!(provider.aws().stacks.list().await.unwrap(), []);
        assert!(provider.aws().clusters.list().await.unwrap().is_empty());
    }
}

fn fault(call: &str, times: usize, answer: &serde_json::Value) -> String {
    json!({"match": call, "status": 200, "times": times, "body": answer}).to_string()
}

fn failed_group() -> serde_json::Value {
    let issues = json!([{
        "code": "AsgInstanceLaunchFailures",
        "message": "Could not launch On-Demand Instances. VcpuLimitExceeded",
        "resourceIds": ["eks-workers"],
    }]);
    json!({"nodegroup": {
        "nodegroupName": "workers", "clusterName": NAME, "status": "CREATE_FAILED", "version": "1.33",
        "tags": {"platform.dev/platform": "shop"}, "health": {"issues": issues},
    }})
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn a_node_group_that_fails_is_told_and_made_anew_by_the_next_run() {
    let emulator = Emulator::start().await;
    // EKS answers a request that has the token of an earlier one with what that one made, though it is deleted by now.
    let groups = |aws: &mut platform_aws::api::Aws| aws.node_groups = Arc::new(seam::NodeGroups::new(aws));
    let (provider, wire) = seam::provider(&emulator, "{}", groups).await;
    let (spec, silent) = (cluster(NAME), Progress::silent());
    let describe = format!("GET /clusters/{NAME}/node-groups/workers");
    emulator.slow_down("eks::nodegroup", 1);
    // The first look of a creation finds none; then it is watched until it fails.
    emulator.fault(
        &json!({"match": describe, "status": 404, "type": "ResourceNotFoundException", "body": {"message": "none"}})
            .to_string(),
    );
    emulator.fault(&fault(&describe, 2, &failed_group()));
    let error = provider.create(&spec, &silent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed, "{error}");
    let told = error.to_string();
    for words in ["node group workers is CREATE_FAILED", "VcpuLimitExceeded", "the group is made anew"] {
        assert!(told.contains(words), "{told}");
    }

    emulator.fault(&fault(&describe, 1, &failed_group()));
    let changes = provider.changes(&spec).await.unwrap().unwrap().to_string();
    assert!(changes.contains("node group workers: to be deleted and created again"), "{changes}");
    // The next run sees the failure once when it observes, and once when it begins with the group.
    emulator.fault(&fault(&describe, 2, &failed_group()));
    wire.take_calls();
    provider.create(&spec, &silent).await.unwrap();
    let calls = wire.take_calls();
    let of = |method: &str| {
        calls.iter().filter(|call| call.what.starts_with(method) && call.what.contains("node-groups")).count()
    };
    assert_eq!((of("DELETE"), of("POST")), (1, 1));
    assert_whole(&provider).await;
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn a_fargate_profile_that_fails_is_told_and_made_anew_by_the_next_run() {
    let emulator = Emulator::start().await;
    let settings = "fargateProfiles: [{ name: jobs, selectors: [{ namespace: jobs }] }]";
    let (provider, wire) = seam::provider(&emulator, settings, |_| {}).await;
    let (spec, silent) = (cluster(NAME), Progress::silent());
    let profile = |status: &str| {
        json!({"fargateProfile": {
            "fargateProfileName": "jobs", "status": status, "selectors": [{"namespace": "jobs"}],
            "tags": {"platform.dev/platform": "shop"},
        }})
    };
    let path = format!("/clusters/{NAME}/fargate-profiles");
    let creating =
        json!({"match": format!("POST {path}"), "status": 200, "after": true, "body": profile("CREATING")});
    emulator.fault(&creating.to_string());
    emulator.fault(&fault(&format!("GET {path}/jobs"), 1, &profile("CREATE_FAILED")));
    let error = provider.create(&spec, &silent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed, "{error}");
    assert!(error.to_string().contains("Fargate profile jobs is CREATE_FAILED"), "{error}");
    assert!(error.to_string().contains("the profile is made anew"), "{error}");

    emulator.fault(&fault(&format!("GET {path}/jobs"), 1, &profile("CREATE_FAILED")));
    wire.take_calls();
    provider.create(&spec, &silent).await.unwrap();
    let calls = wire.take_calls();
    let of = |method: &str| {
        calls.iter().filter(|call| call.what.starts_with(method) && call.what.contains(&path)).count()
    };
    assert_eq!((of("DELETE"), of("POST")), (1, 1), "{calls:?}");
    assert_whole(&provider).await;
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn a_cluster_that_fails_is_told_and_can_be_deleted() {
    let emulator = Emulator::start().await;
    emulator.slow_down("eks::cluster", 3);
    let (provider, _) = emulator.provider(|builder| builder).await;
    let (spec, silent) = (cluster(NAME), Progress::silent());
    let describe = format!("GET /clusters/{NAME}");
    let failed = json!({"cluster": {
        "name": NAME, "status": "FAILED", "tags": {"platform.dev/platform": "shop"},
        "health": {"issues": [{"code": "Ec2SubnetNotFound", "message": "subnet-1 is gone"}]},
    }});
    emulator.fault(
        &json!({"match": describe, "status": 404, "times": 2, "type": "ResourceNotFoundException", "body": {"message": "none"}})
            .to_string(),
    );
    emulator.fault(&fault(&describe, 2, &failed));
    let error = provider.create(&spec, &silent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed, "{error}");
    let told = error.to_string();
    for words in ["cluster shop-testing is FAILED", "Ec2SubnetNotFound: subnet-1 is gone", "delete it, mend"]
    {
        assert!(told.contains(words), "{told}");
    }
    assert_eq!(provider.delete(&platform(), &spec.name, &silent).await.unwrap(), Deletion::Deleted);
    assert_eq!(provider.aws().stacks.list().await.unwrap(), []);
    provider.create(&spec, &silent).await.unwrap();
}

fn addon(status: &str) -> serde_json::Value {
    let health =
        json!({"issues": [{"code": "InsufficientNumberOfReplicas", "message": "no nodes for the replicas"}]});
    json!({"addon": {"addonName": "coredns", "clusterName": NAME, "status": status, "health": health,
        "tags": {"platform.dev/platform": "shop"}}})
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn an_addon_that_stays_degraded_is_told_by_every_run_until_it_is_not() {
    let emulator = Emulator::start().await;
    let seconds = Duration::from_secs;
    let (provider, _) = emulator
        .provider(|builder| builder.deadlines(seconds(20), seconds(20), Duration::from_millis(300)))
        .await;
    let (spec, silent) = (cluster(NAME), Progress::silent());
    emulator.fault(&fault(&format!("GET /clusters/{NAME}/addons/coredns"), 1000, &addon("DEGRADED")));
    for _ in 0..2 {
        let error = provider.create(&spec, &silent).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        let told = error.to_string();
        for words in ["addon coredns is DEGRADED", "no nodes for the replicas", "run it again"] {
            assert!(told.contains(words), "{told}");
        }
    }
    emulator.forget_faults();
    provider.create(&spec, &silent).await.unwrap();
    assert_whole(&provider).await;
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn an_addon_whose_creation_failed_is_installed_anew_by_the_next_run() {
    let emulator = Emulator::start().await;
    let (provider, wire) = emulator.provider(|builder| builder).await;
    let (spec, silent) = (cluster(NAME), Progress::silent());
    let describe = format!("GET /clusters/{NAME}/addons/coredns");
    emulator.fault(&fault(&describe, 1, &addon("CREATE_FAILED")));
    let error = provider.create(&spec, &silent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed, "{error}");
    let told = error.to_string();
    for words in ["addon coredns is CREATE_FAILED", "no nodes for the replicas", "run it again"] {
        assert!(told.contains(words), "{told}");
    }
    emulator.fault(&fault(&describe, 1, &addon("CREATE_FAILED")));
    wire.take_calls();
    provider.create(&spec, &silent).await.unwrap();
    let calls = wire.take_calls();
    let of = |method: &str| {
        calls.iter().filter(|call| call.what.starts_with(method) && call.what.contains("/addons")).count()
    };
    assert_eq!((of("DELETE"), of("POST")), (1, 1), "{calls:?}");
    assert_whole(&provider).await;
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn a_protection_that_somebody_else_set_is_not_lifted() {
    let emulator = Emulator::start().await;
    let mut clusters = None;
    let (provider, _) = seam::provider(&emulator, "{}", |aws| {
        let protected = Arc::new(ProtectedClusters::new(aws));
        aws.clusters = protected.clone();
        clusters = Some(protected);
    })
    .await;
    let (spec, silent) = (cluster(NAME), Progress::silent());
    provider.create(&spec, &silent).await.unwrap();
    clusters.unwrap().protect(NAME);
    let refused = provider.delete(&platform(), &spec.name, &silent).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused, "{refused}");
    assert!(refused.to_string().contains("somebody other than the platform has protected it"), "{refused}");
    assert!(refused.to_string().contains("--no-deletion-protection"), "{refused}");
    assert_eq!(provider.aws().node_groups.list(NAME).await.unwrap(), ["workers"]);
    let changes = provider.changes(&spec).await.unwrap().unwrap();
    assert_eq!(changes.to_string(), "~ deletion protection: on -> off\n");
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn a_protection_that_was_just_set_when_a_run_died_is_still_ours() {
    let emulator = Emulator::start().await;
    let protect = |aws: &mut platform_aws::api::Aws| aws.clusters = Arc::new(ProtectedClusters::new(aws));
    let (provider, _) = seam::provider(&emulator, "{}", protect).await;
    let (spec, silent) = (cluster(NAME), Progress::silent());
    provider.create(&spec, &silent).await.unwrap();
    let settings = EksSettings::from_yaml("deletionProtection: true").unwrap();
    let aws = provider.aws().clone();
    let builder = emulator.builder(&Wire::default()).aws(aws).settings(Clusters::All, settings);
    let provider = builder.connect().await.unwrap();
    // It dies at whichever tag it writes first, before or after the protection.
    emulator.fault(r#"{"match": "POST /tags/", "status": 403, "type": "AccessDeniedException"}"#);
    assert_eq!(provider.create(&spec, &silent).await.unwrap_err().kind(), ErrorKind::Denied);
    provider.create(&spec, &silent).await.unwrap();
    assert_eq!(provider.aws().clusters.describe(NAME).await.unwrap().deletion_protection(), Some(true));
    assert_eq!(provider.delete(&platform(), &spec.name, &silent).await.unwrap(), Deletion::Deleted);
}
